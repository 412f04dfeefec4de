"""A HEIC as phones write it: a grid of tiles (ISO/IEC 23008-12), put together from whole HEICs."""

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

TILE = 64


def grid_heic(pixels: np.ndarray, heif: Any, *, quarter_turns: int = 0) -> bytes:
    """Pixels (H, W, 3) uint8 in tiles of TILE by TILE; turns are counter-clockwise, when shown."""
    height, width = pixels.shape[:2]
    rows, columns = -(-height // TILE), -(-width // TILE)
    padded = np.pad(
        pixels, ((0, rows * TILE - height), (0, columns * TILE - width), (0, 0)), mode="edge"
    )
    coded = []
    for row in range(rows):
        for column in range(columns):
            tile = padded[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            file = io.BytesIO()
            heif.from_pillow(Image.fromarray(np.ascontiguousarray(tile))).save(file, quality=95)
            coded.append(_item(file.getvalue()))
    assert len({config for config, _ in coded}) == 1
    tiles = [data for _, data in coded]
    grid_id = len(tiles) + 1
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    entries = [(n + 1, b"hvc1") for n in range(len(tiles))] + [(grid_id, b"grid")]
    infos = [_full(b"infe", 2, struct.pack(">HH", n, 0) + kind + b"\0", int(n < grid_id))
             for n, kind in entries]  # fmt: skip
    refs = struct.pack(">HH", grid_id, len(tiles)) + b"".join(
        struct.pack(">H", n + 1) for n in range(len(tiles))
    )
    properties = coded[0][0] + _full(b"ispe", 0, struct.pack(">II", TILE, TILE))
    properties += _full(b"ispe", 0, struct.pack(">II", width, height))
    properties += _box(b"irot", bytes([quarter_turns]))
    of_tile, of_grid = b"\x02\x81\x02", b"\x02\x03\x84"
    linked = b"".join(
        struct.pack(">H", n) + (of_grid if n == grid_id else of_tile) for n, _ in entries
    )
    lead = (
        _full(b"hdlr", 0, bytes(4) + b"pict" + bytes(13))
        + _full(b"pitm", 0, struct.pack(">H", grid_id))
        + _full(b"iinf", 0, struct.pack(">H", len(infos)) + b"".join(infos))
        + _full(b"iref", 0, _box(b"dimg", refs))
        + _box(
            b"iprp",
            _box(b"ipco", properties) + _full(b"ipma", 0, struct.pack(">I", len(entries)) + linked),
        )
    )
    head = _box(b"ftyp", b"heic\0\0\0\0mif1heic")
    place = len(_meta(lead, [(n, 0, 0) for n, _ in entries])) + len(head) + 8
    extents = []
    for number, content in zip((n for n, _ in entries), [*tiles, grid], strict=True):
        extents.append((number, place, len(content)))
        place += len(content)
    return head + _meta(lead, extents) + _box(b"mdat", b"".join([*tiles, grid]))


def _meta(lead: bytes, extents: list[tuple[int, int, int]]) -> bytes:
    placed = b"".join(struct.pack(">HHHII", n, 0, 1, at, size) for n, at, size in extents)
    return _full(
        b"meta", 0, lead + _full(b"iloc", 0, struct.pack(">BBH", 0x44, 0, len(extents)) + placed)
    )


def _item(content: bytes) -> tuple[bytes, bytes]:
    """The decoder's configuration and the coded picture of a HEIC of one item."""
    found = dict(_boxes(content))
    inside = dict(_boxes(found[b"meta"], 4))
    config = dict(_boxes(dict(_boxes(inside[b"iprp"]))[b"ipco"]))[b"hvcC"]
    return _box(b"hvcC", config), found[b"mdat"]


def _boxes(content: bytes, place: int = 0) -> Iterator[tuple[bytes, bytes]]:
    while place + 8 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        yield content[place + 4 : place + 8], content[place + 8 : place + size]
        place += size


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def _full(kind: bytes, version: int, content: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags) + content)
