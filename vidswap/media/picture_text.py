"""The text that a picture carries, read within bounds: it may be anyone's, and made to burst."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from vidswap.errors import NotAVideoError
from vidswap.media.picture_open import UNREADABLE, opened

EXIF_DESCRIPTION = 0x010E  # ImageDescription, the one text field JPEG, WebP and TIFF share

_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK_HEAD = struct.Struct(">I4s")  # length of what follows, kind
_LONGEST_KEY = 80  # bytes, as the format has it, and one more
_LONGEST = 2**20  # bytes of one text
_MOST = 2**24  # bytes of all texts
_MOST_CHUNKS = 1_000_000


def read_text(path: Path) -> dict[str, str]:
    """Texts by name: a PNG's chunks, or an EXIF description that is a JSON object.

    Each is cut at 1 MiB, all of them at 16 MiB. Empty where there is none that can be read.
    """
    with path.open("rb") as file:
        is_png = file.read(len(_PNG)) == _PNG
    if is_png:
        return dict(_png_texts(path))
    try:
        return text_object(_exif_description(path))
    except (*UNREADABLE, NotAVideoError):
        return {}


def text_object(text: str | bytes) -> dict[str, str]:
    """Texts by name, of a JSON object that may be anyone's; empty where it is none."""
    try:
        stored = json.loads(text[:_LONGEST])
    except UNREADABLE:
        return {}
    if not isinstance(stored, dict):
        return {}
    # What nests is no text; how deep it may be for `json` and `str` depends on the Python.
    return {str(k): _text(v) for k, v in stored.items() if not isinstance(v, dict | list)}


def _text(value: object) -> str:
    try:
        return str(value)[:_LONGEST]
    except ValueError:  # a number of too many digits
        return "unreadable"


def _exif_description(path: Path) -> str | bytes:
    with opened(path) as image:
        description = image.getexif().get(EXIF_DESCRIPTION, "")
    return description[:_LONGEST] if isinstance(description, str | bytes) else ""


def _png_texts(path: Path) -> Iterator[tuple[str, str]]:
    """Keyword and text of a PNG's text chunks, in the order of the file."""
    total, size = 0, path.stat().st_size
    with path.open("rb") as file:
        file.seek(len(_PNG))
        for _ in range(_MOST_CHUNKS):
            head = file.read(_CHUNK_HEAD.size)
            if len(head) < _CHUNK_HEAD.size:
                return
            length, kind = _CHUNK_HEAD.unpack(head)
            end = file.tell() + length + 4  # a checksum follows
            if kind in _READERS and end <= size:
                found = _READERS[kind](file.read(min(length, _LONGEST)))
                if found is not None:
                    yield found
                    total += len(found[1])
            if kind == b"IEND" or total > _MOST:
                return
            file.seek(end)


def _plain(content: bytes) -> tuple[str, str] | None:
    key, separator, text = content.partition(b"\0")
    return _named(key, text.decode("latin-1")) if separator else None


def _packed(content: bytes) -> tuple[str, str] | None:
    key, separator, rest = content.partition(b"\0")
    return _named(key, _unpacked(rest[1:]).decode("latin-1")) if separator else None


def _international(content: bytes) -> tuple[str, str] | None:
    key, separator, rest = content.partition(b"\0")
    parts = rest[2:].split(b"\0", 2)  # language, translated key, text
    if not separator or len(parts) < 3:
        return None
    text = _unpacked(parts[2]) if rest[0] else parts[2]
    return _named(key, text.decode("utf-8", "replace"))


def _named(key: bytes, text: str) -> tuple[str, str] | None:
    return (key.decode("latin-1"), text) if 0 < len(key) < _LONGEST_KEY else None


def _unpacked(content: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, _LONGEST)
    except zlib.error:
        return b""


_READERS = {b"tEXt": _plain, b"zTXt": _packed, b"iTXt": _international}
