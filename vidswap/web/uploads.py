"""Files that are dropped on the page: bounded, under names that are made safe."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

from vidswap.errors import BadOptionError, DiskFullError
from vidswap.media.output import writing_errors
from vidswap.runtime.private import make_private_folder, open_private
from vidswap.runtime.sizes import format_size

ROOM_LEFT = 2**28  # bytes of the disk that an upload leaves free
_UNSAFE = re.compile(r"[^\w.()+ -]")
_LONGEST = 120  # characters of a name


class TooLargeError(BadOptionError):
    """An upload of more bytes than are taken."""


def safe_name(name: str) -> str:
    """A file's name that names no other folder, hides nothing and prints on one line."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    cleaned = _UNSAFE.sub("_", last).strip(" .")
    stem, dot, suffix = cleaned.rpartition(".")
    if not dot:
        stem, suffix = cleaned, ""
    stem = stem.lstrip("-.")[: _LONGEST - 1 - len(suffix[:16])] or "upload"
    return f"{stem}{dot}{suffix[:16]}"


async def receive(
    parts: AsyncIterator[bytes], name: str, length: int | None, folder: Path, limit: int
) -> Path:
    """Write an upload into a folder of its own within `folder`, whole or not at all.

    length: as its sender states it. Raises TooLargeError, DiskFullError, OutputNotWritableError.
    """
    _check_size(length or 0, limit)
    if length is not None and shutil.disk_usage(folder).free < length + ROOM_LEFT:
        raise DiskFullError(f"no room for {format_size(length)} in {folder}; free some")
    own = folder / secrets.token_hex(6)
    with writing_errors(own):
        make_private_folder(own)
    path, received = own / safe_name(name), 0
    part = own / ".part"
    try:
        with writing_errors(path), open_private(part) as file:
            async for content in parts:
                received += len(content)
                _check_size(received, limit)
                file.write(content)
        if received == 0:
            raise BadOptionError(f"{path.name} is empty (0 bytes); choose another file")
        if length is not None and received != length:
            raise BadOptionError(f"{path.name} did not arrive whole; drop it again")
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        os.rmdir(own)  # noqa: PTH106
        raise
    return path


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLargeError(
            f"a file of more than {format_size(limit)} is not taken; name it by its path, which "
            "copies nothing, or allow more with --max-upload"
        )
