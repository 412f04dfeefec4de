"""Cover art in mp4 and mov files, which ffmpeg's muxer does not write."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

ARTWORK_TYPES = {"mjpeg": 13, "png": 14}  # QuickTime's well-known types of metadata values
_ARTWORK_KEY = b"com.apple.quicktime.artwork"


def add_artwork(path: Path, codec: str, picture: bytes) -> bool:
    """Put a cover into a closed mp4 or mov, under QuickTime's metadata key for it.

    Only a file whose index (`moov`) comes last, and has metadata by key, is changed: no coded
    sample moves. Gives whether it was. codec: "mjpeg" or "png". Raises OSError.

    QuickTime File Format, "Metadata"; ISO/IEC 14496-12, 4.2 (boxes).
    """
    with path.open("r+b") as file:
        kind, begin = _last_box(file)
        if kind != b"moov":
            return False
        file.seek(begin + 8)
        changed = _with_artwork(file.read(), ARTWORK_TYPES[codec], picture)
        if changed is None:
            return False
        file.seek(begin)
        file.write(_box(b"moov", changed))
    return True


def _last_box(file: BinaryIO) -> tuple[bytes, int]:
    """Kind of the last box of a file and where it begins; no kind where its size is not plain."""
    kind, begin, end = b"", 0, 0
    is_plain = False
    while head := file.read(16):
        if len(head) < 8:
            return b"", begin
        begin, (size, kind) = end, struct.unpack(">I4s", head[:8])
        is_plain = size >= 8
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:])
        if size < 8:
            return b"", begin
        end = file.seek(begin + size)
    return (kind if is_plain else b""), begin


def _with_artwork(moov: bytes, value_type: int, picture: bytes) -> bytes | None:
    """The content of a `moov` box with a picture in moov/udta/meta; None without one of keys."""
    udta = dict(_boxes(moov)).get(b"udta", b"")
    meta = dict(_boxes(udta)).get(b"meta", b"")
    within = dict(_boxes(meta[4:]))  # a version and flags come first, as in `keys`
    if b"keys" not in within or b"ilst" not in within:
        return None
    number = int.from_bytes(within[b"keys"][4:8]) + 1
    name = struct.pack(">I", 8 + len(_ARTWORK_KEY)) + b"mdta" + _ARTWORK_KEY
    value = _box(b"data", struct.pack(">II", value_type, 0) + picture)
    within[b"keys"] = bytes(4) + number.to_bytes(4) + within[b"keys"][8:] + name
    within[b"ilst"] += _box(number.to_bytes(4), value)
    meta = meta[:4] + b"".join(_box(*box) for box in within.items())
    udta = b"".join(_box(k, meta if k == b"meta" else content) for k, content in _boxes(udta))
    return b"".join(_box(k, udta if k == b"udta" else content) for k, content in _boxes(moov))


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box; what is no box, such as an end of zeros, is left out."""
    begin = 0
    while begin + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, begin)
        if not 8 <= size <= len(content) - begin:
            return
        yield kind, content[begin + 8 : begin + size]
        begin += size


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content
