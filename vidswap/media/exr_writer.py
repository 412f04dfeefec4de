"""New OpenEXR pictures with named parts, in ZIP (OpenEXR file layout, version 2).

Written here because the library compresses at one level alone, which takes longer than a swap: with
isal's deflate the same files take a quarter of the time. Without it, zlib's quickest is used.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from vidswap.media.colour_space import Chromaticities

_MAGIC, _VERSION = 20000630, 2
_LONG_NAMES, _SEVERAL_PARTS = 0x400, 0x1000
_LONGEST_NAME = 31
_HALF, _FLOAT = 1, 2
_ZIP, _ROWS = 3, 16  # rows of a chunk of ZIP
_LEVEL_OF_ISAL, _LEVEL_OF_ZLIB = 2, 1

Values = npt.NDArray[np.float16] | npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ExrPart:
    """Channels (H, W) by name and where their upper left pixel lies in the picture (x, y).

    halves: written in 16 bits, those of float32 rounded to nearest and not beyond 65504. floats:
    float32, as they are. inset: further channels of a smaller box in this one, zero beyond it.
    """

    name: str
    halves: Mapping[str, Values]
    floats: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    corner: tuple[int, int] = (0, 0)
    inset: ExrPart | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        first = next(iter((*self.halves.values(), *self.floats.values())))
        return int(first.shape[0]), int(first.shape[1])


class _Channel(NamedTuple):
    name: str
    kind: int
    samples: npt.NDArray[Any]  # bits of halves or of floats, whole numbers
    rounds: bool  # floats that are to be halves
    left: int  # in the part's window
    top: int


def write_exr(
    path: Path,
    parts: Sequence[ExrPart],
    size: tuple[int, int],
    chromaticities: Chromaticities,
    metadata: Mapping[str, str],
) -> None:
    """Write a picture of a size (width, height); metadata go into the first part as attributes."""
    compress = _compressor()
    channels = [_channels(part) for part in parts]
    heads = []
    for number, part in enumerate(parts):
        texts = {**(metadata if number == 0 else {}), "name": part.name, "type": "scanlineimage"}
        heads.append(_header(part, channels[number], size, chromaticities, texts))
    flags = _SEVERAL_PARTS if len(parts) > 1 else 0
    names = [*metadata, *(channel.name for own in channels for channel in own)]
    if any(len(name.encode()) > _LONGEST_NAME for name in names):
        flags |= _LONG_NAMES
    head = struct.pack("<II", _MAGIC, _VERSION | flags) + b"".join(heads)
    head += b"\0" if len(parts) > 1 else b""
    chunks = []
    for number, part in enumerate(parts):
        prefix = struct.pack("<i", number) if len(parts) > 1 else b""
        for row, packed in _chunks(channels[number], part.shape, compress):
            chunks += [prefix + struct.pack("<ii", row + part.corner[1], len(packed)), packed]
    sizes = [len(head) + 8 * (len(chunks) // 2)]
    sizes += [
        len(place) + len(packed) for place, packed in zip(chunks[::2], chunks[1::2], strict=True)
    ]
    offsets = np.cumsum(sizes)[:-1].astype("<u8")
    with path.open("wb") as file:
        file.writelines([head, offsets.tobytes(), *chunks])


def half_bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of the nearest halves; beyond 65504 that, NaN stays NaN."""
    bits = np.empty(values.shape, np.uint16)
    _round(np.ascontiguousarray(values).view(np.uint32).ravel(), bits.reshape(-1))
    return bits


def _compressor() -> Callable[[npt.NDArray[np.uint8]], bytes]:
    try:
        isal = import_module("isal.isal_zlib")
    except ImportError:
        return lambda raw: zlib.compress(raw.data, _LEVEL_OF_ZLIB)
    return lambda raw: bytes(isal.compress(raw.data, _LEVEL_OF_ISAL))


def _channels(part: ExrPart) -> list[_Channel]:
    """Sorted by name, as their samples lie in the file."""
    found = []
    if part.inset is not None:
        dx, dy = (n - own for n, own in zip(part.inset.corner, part.corner, strict=True))
        for channel in _channels(part.inset):
            found.append(channel._replace(left=channel.left + dx, top=channel.top + dy))
    for name, values in part.halves.items():
        rounds = values.dtype == np.float32
        bits = values.view(np.uint32 if rounds else np.uint16)
        found.append(_Channel(name, _HALF, bits, rounds, 0, 0))
    for name, values in part.floats.items():
        found.append(_Channel(name, _FLOAT, values.view(np.uint32), False, 0, 0))
    return sorted(found, key=lambda channel: channel.name.encode())


def _header(
    part: ExrPart,
    channels: Sequence[_Channel],
    size: tuple[int, int],
    chromaticities: Chromaticities,
    texts: Mapping[str, str],
) -> bytes:
    rows, columns = part.shape
    left, top = part.corner
    listed = b"".join(
        channel.name.encode() + b"\0" + struct.pack("<iB3xii", channel.kind, 0, 1, 1)
        for channel in channels
    )
    attributes: list[tuple[str, str, bytes]] = [
        ("channels", "chlist", listed + b"\0"),
        ("chromaticities", "chromaticities", struct.pack("<8f", *chromaticities)),
        ("chunkCount", "int", struct.pack("<i", -(-rows // _ROWS))),
        ("compression", "compression", bytes([_ZIP])),
        ("dataWindow", "box2i", struct.pack("<4i", left, top, left + columns - 1, top + rows - 1)),
        ("displayWindow", "box2i", struct.pack("<4i", 0, 0, size[0] - 1, size[1] - 1)),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1.0)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0.0, 0.0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1.0)),
    ]
    attributes += [(name, "string", text.encode()) for name, text in texts.items()]
    written = b""
    for name, kind, value in attributes:
        written += name.encode() + b"\0" + kind.encode() + b"\0"
        written += struct.pack("<i", len(value)) + value
    return written + b"\0"


def _chunks(
    channels: Sequence[_Channel],
    shape: tuple[int, int],
    compress: Callable[[npt.NDArray[np.uint8]], bytes],
) -> Iterator[tuple[int, bytes]]:
    """The first row and the packed samples of every chunk."""
    rows, columns = shape
    widths = [columns * (2 if channel.kind == _HALF else 4) for channel in channels]
    starts = np.cumsum([0, *widths])
    for row in range(0, rows, _ROWS):
        below = min(row + _ROWS, rows)
        step = int(starts[-1]) // 2
        split = np.zeros((2, (below - row) * step), np.uint8)
        for channel, (start, _) in zip(channels, pairwise(starts), strict=True):
            put = _put_rounded if channel.rounds else _put[channel.kind]
            own = channel.samples[max(0, row - channel.top) : max(0, below - channel.top)]
            place = int(start) // 2 + max(0, channel.top - row) * step
            put(own, split, place + channel.left * channel.kind, step)
        steps = _steps(split.reshape(-1))
        packed = compress(steps)
        # A chunk that is not smaller is stored as it is.
        yield row, packed if len(packed) < split.size else split.T.tobytes()


def _steps(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """From byte to byte, and 128, which ZIP stores."""
    steps = np.empty_like(values)
    steps[0] = values[0]
    np.subtract(values[1:], values[:-1], out=steps[1:])
    steps[1:] += np.uint8(128)
    return steps


@numba.njit(inline="always")
def _nearest(bits: Any) -> Any:
    """The bits of the half nearest to a float's, ties to even."""
    sign, size = (bits >> 16) & 0x8000, bits & 0x7FFFFFFF
    if size > 0x7F800000:
        return sign | 0x7E00
    if size >= 0x477FE000:  # 65504
        return sign | 0x7BFF
    if size >= 0x38800000:  # 2**-14, the least that is normal
        return sign | ((size + 0xFFF + ((size >> 13) & 1) - 0x38000000) >> 13)
    shift = 126 - (size >> 23)
    if shift > 24:
        return sign
    digits = (size & 0x7FFFFF) | 0x800000
    kept, rest, tie = digits >> shift, digits & ((1 << shift) - 1), 1 << (shift - 1)
    if rest > tie or (rest == tie and kept & 1):
        kept += 1
    return sign | kept


@numba.njit(cache=True, nogil=True)
def _round(values: npt.NDArray[np.uint32], bits: npt.NDArray[np.uint16]) -> None:
    for n in range(values.size):
        bits[n] = _nearest(np.int64(values[n]))


# These lay even bytes into the first row of `split` and odd ones into the second, as ZIP has them.


@numba.njit(cache=True, nogil=True)
def _put_halves(
    samples: npt.NDArray[np.uint16], split: npt.NDArray[np.uint8], start: int, step: int
) -> None:
    for y in range(samples.shape[0]):
        place = start + y * step
        for x in range(samples.shape[1]):
            split[0, place + x] = samples[y, x] & 0xFF
            split[1, place + x] = samples[y, x] >> 8


@numba.njit(cache=True, nogil=True)
def _put_rounded(
    samples: npt.NDArray[np.uint32], split: npt.NDArray[np.uint8], start: int, step: int
) -> None:
    for y in range(samples.shape[0]):
        place = start + y * step
        for x in range(samples.shape[1]):
            half = _nearest(np.int64(samples[y, x]))
            split[0, place + x] = half & 0xFF
            split[1, place + x] = half >> 8


@numba.njit(cache=True, nogil=True)
def _put_floats(
    samples: npt.NDArray[np.uint32], split: npt.NDArray[np.uint8], start: int, step: int
) -> None:
    for y in range(samples.shape[0]):
        place = start + y * step
        for x in range(samples.shape[1]):
            value = samples[y, x]
            split[0, place + 2 * x] = value & 0xFF
            split[1, place + 2 * x] = (value >> 8) & 0xFF
            split[0, place + 2 * x + 1] = (value >> 16) & 0xFF
            split[1, place + 2 * x + 1] = value >> 24


_put: dict[int, Callable[..., None]] = {_HALF: _put_halves, _FLOAT: _put_floats}
