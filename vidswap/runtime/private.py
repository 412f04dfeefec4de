"""Files and folders for their owner alone: they hold faces."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

try:
    import fcntl
except ImportError:  # no such locks there
    fcntl = None  # type: ignore[assignment]

HAS_LOCKS = fcntl is not None


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter; one that is there becomes such.

    Raises OSError, also where the name is that of a link, which may lead anywhere.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    path.mkdir(mode=0o700, exist_ok=True)
    with suppress(OSError):  # another owner's, or a file system without permissions
        path.chmod(0o700)


def open_private(path: Path, mode: Literal["wb", "ab"] = "wb") -> IO[bytes]:
    """Open a file for writing that only its owner may read. Raises OSError."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    file: IO[bytes] = open(path, mode, opener=opener)  # noqa: SIM115, the caller closes it
    with suppress(OSError):  # of an earlier version, which let others read
        path.chmod(0o600)
    return file


def lock(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed; whether nobody else had. True where there are no locks.

    The file must be open for writing.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
