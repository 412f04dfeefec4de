"""What a name given as an input stands for, before anything of it is read."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from vidswap.errors import InputNotFoundError, NotAVideoError

# Two letters at least: one is a drive's. Path turns "http://" into "http:/".
_PROTOCOL = re.compile(r"([A-Za-z][A-Za-z0-9+.]{1,19}):(/?)")
_KINDS = (
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"), (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)  # fmt: skip


def check_readable(path: Path, *, hint: str = "") -> None:
    """Raise unless there is a regular file or a folder that can be read; nothing is opened.

    InputNotFoundError where there is nothing, with the hint, or what is there may not be read;
    NotAVideoError for devices, pipes and sockets, which may never end, and for addresses.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        _refuse_address(path)
        if str(path) == "-":
            raise NotAVideoError(
                "-: standard input is not read, since files are read several times; save it to "
                "a file and name that"
            ) from None
        words = f"no such file: {path}; {hint}" if hint else f"{path}: no such file"
        raise InputNotFoundError(words) from None
    except (OSError, ValueError) as error:
        words = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputNotFoundError(f"{path} cannot be read: {words}") from error
    for is_kind, words in _KINDS:
        if is_kind(mode):
            raise NotAVideoError(
                f"{path} is {words}, not a file; files are read several times: save it to one "
                "and name that"
            )
    if not os.access(path, os.R_OK):
        raise InputNotFoundError(f"{path} cannot be read: permission denied")


def read_bounded(path: Path, limit: int) -> bytes:
    """A small text, perhaps out of a pipe. Raises OSError, and ValueError where it is larger."""
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"larger than {limit} bytes")
    return content


def _refuse_address(path: Path) -> None:
    found = _PROTOCOL.match(str(path))
    if found is None:
        return
    if found[1].lower() == "file":
        raise NotAVideoError(f"{path} is an address; give the path alone, without `file:`")
    if found[2]:
        raise NotAVideoError(
            f"{path} is an address, and nothing is downloaded; download it and name the file"
        )
    raise NotAVideoError(
        f"{path}: no such file, and protocols such as `{found[1]}:` are not opened; name a file"
    )
