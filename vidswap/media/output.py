"""Where results go: checked before any work, written under a temporary name, moved at the end."""

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vidswap.errors import DiskFullError, OutputExistsError, OutputNotWritableError
from vidswap.runtime.private import HAS_LOCKS, lock, open_private

_ROOM = 32  # bytes that work files add to a name, such as a digest and their kind
TEMPORARY = ".vidswap-"  # how folders for files of a moment begin, beside an output
_FULL = (errno.ENOSPC, errno.EDQUOT)


def check_output(path: Path, overwrite: bool = False) -> None:
    """Raise unless a file can be made at `path`; nothing is written.

    OutputExistsError where it exists and `overwrite` is false, OutputNotWritableError where its
    folder is missing or cannot be written or it is a folder itself.
    """
    folder = path.parent
    longest, size = _longest_name(folder), len(os.fsencode(path.name))
    if size > longest:
        raise OutputNotWritableError(
            f"the name {path.name[:40]}... has {size} bytes and its folder takes {longest}; "
            "shorten it"
        )
    if path.is_dir():
        raise OutputNotWritableError(f"{path} is a folder; name a file")
    if not folder.is_dir():
        raise OutputNotWritableError(f"no such folder: {folder}; make it or name another")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputNotWritableError(f"folder {folder} cannot be written; name another")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists; give --overwrite or name another file")


def temporary_path(path: Path) -> Path:
    """The name a file is written under until it is complete, next to its final one."""
    return path.with_name(f".{work_name(path, path.stem)}.part{path.suffix}")


def locked_part(path: Path) -> IO[bytes] | None:
    """A handle that holds a file in the making against `leftovers.left_in`, until it is closed.

    None where the file cannot be locked.
    """
    if not HAS_LOCKS:
        return None
    with suppress(OSError):
        file = path.open("r+b")
        if lock(file):
            return file
        file.close()
    return None


def work_name(path: Path, name: str) -> str:
    """The middle of a work file's name: `name`, or a short digest where that leaves no room."""
    if len(os.fsencode(name)) + _ROOM <= _longest_name(path.parent):
        return name
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def _longest_name(folder: Path) -> int:
    """Bytes that a name in a folder may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return 255


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Turn the system's complaints about writing `path` into DiskFullError and the like."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(
                f"no space left for {path}; free some or name another disk (nothing was kept)"
            ) from error
        raise OutputNotWritableError(f"{path} cannot be written: {_words(error)}") from error


def replace_whole(path: Path, content: bytes) -> None:
    """Write a file that appears under its name, whatever was there, only when complete.

    Raises DiskFullError and OutputNotWritableError.
    """
    part = temporary_path(path)
    try:
        with writing_errors(path):
            part.write_bytes(content)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def replace_text(path: Path, text: str, errors: str = "strict") -> None:
    """`replace_whole` of text, in UTF-8; errors: for what UTF-8 cannot say, as of `str.encode`."""
    replace_whole(path, text.replace("\n", os.linesep).encode("utf-8", errors))


def write_private(
    path: Path, content: bytes, part: Path | None = None, *, safely: bool = True
) -> None:
    """Write a file for its owner alone: after a power loss it is there whole, or as it was before.

    part: the name it has until then. safely: False where a power loss may take it. Raises
    DiskFullError and OutputNotWritableError.
    """
    part = part or path.with_name(f"{path.name}.part")
    try:
        with writing_errors(path):
            with open_private(part) as file:
                file.write(content)
                if safely:
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _words(error: OSError) -> str:
    av = sys.modules.get("av")  # where it was not imported none of its errors was raised
    is_of_av = av is not None and isinstance(error, av.FFmpegError)
    text = error.strerror if is_of_av else os.strerror(error.errno or 0)
    return str(text).lower()
