"""DPX pictures (SMPTE ST 268-1), whose headers stay as they are: time code, film and user data.

Read are one element of R'G'B', with alpha or not, or grey, uncoded: 8 and 16 bits, and 10 and 12
bits filled to words. Written are samples in place; a new file has 10 bits, or 16 where there are
more.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidswap.errors import NotAVideoError
from vidswap.media.colour_space import ColourSpace, Pixels, named_space
from vidswap.media.still import Samples, Still

MAGICS = (b"SDPX", b"XPDS")
_HEADER = 2048
_COMPONENTS = {50: "RGB", 51: "RGBA", 52: "ABGR", 6: "Y"}
_LINEAR, _PRINTING_DENSITY = 2, 1
_LOG = 3
_MOST_PIXELS = 2**28
_CREATOR = slice(160, 260)
_RATES = (1940, 1724)  # of the television and the film header


@dataclass(frozen=True)
class _Layout:
    """Where a file keeps its samples. order: byte order, "<" or ">"; line: bytes of one."""

    order: str
    width: int
    height: int
    components: str
    bits: int
    packing: int
    offset: int
    line: int


@dataclass(frozen=True, eq=False)
class DpxPicture:
    """A DPX file: its samples, and all its bytes. is_log: it says that it is of film densities."""

    still: Still
    content: bytes
    is_log: bool
    _layout: _Layout
    suffix: str = ".dpx"

    @classmethod
    def read(cls, path: Path, colour_space: str | None = None) -> DpxPicture:
        """That of a file; by default in sRGB, or linear where the header says so.

        Raises NotAVideoError.
        """
        content = path.read_bytes()
        layout = _layout(path, content)
        transfer = content[801]
        samples = _unpacked(content, layout)
        alpha = samples["A"] if "A" in layout.components else None
        names = "YYY" if layout.components == "Y" else "RGB"
        rgb = np.stack([samples[name] for name in names], axis=2)
        space = named_space(colour_space or ("linear" if transfer == _LINEAR else "srgb"))
        is_log = transfer in (_PRINTING_DENSITY, _LOG) and colour_space is None
        return cls(Still.of(rgb, layout.bits, space, alpha), content, is_log, layout)

    @property
    def creator(self) -> str:
        """Who made the file, in its own words."""
        return self.content[_CREATOR].split(b"\0")[0].decode("ascii", "replace")

    @property
    def frame_rate(self) -> float | None:
        """Frames a second, by the header."""
        for place in _RATES:
            (rate,) = struct.unpack_from(f"{self._layout.order}f", self.content, place)
            if 1.0 <= rate <= 1000.0:
                return float(rate)
        return None

    def encoded(self, view: Pixels, metadata: dict[str, str]) -> bytes:
        """As `SequencePicture` has it; the header's creator field tells what metadata do."""
        content = bytearray(self.content)
        _put(content, self._layout, self.still.with_view(view), self.still.changed(view))
        _mark(content, metadata)
        return bytes(content)


def encoded_dpx(
    codes: npt.NDArray[np.float32], bits: int, space: ColourSpace, metadata: dict[str, str]
) -> bytes:
    """A new file of codes (H, W, 3), big-endian, of 10 or 16 bits."""
    height, width = codes.shape[:2]
    line = width * (4 if bits == 10 else 6)
    layout = _Layout(">", width, height, "RGB", bits, 1 if bits == 10 else 0, _HEADER, line)
    content = bytearray(_HEADER + line * height)
    content[:16] = b"SDPX" + struct.pack(">I", _HEADER) + b"V2.0\0\0\0\0"
    struct.pack_into(">IIIII", content, 16, len(content), 1, 1664, 384, 0)
    struct.pack_into(">I", content, 660, 0xFFFFFFFF)  # not encrypted
    struct.pack_into(">HHII", content, 768, 0, 1, width, height)
    most = 2**bits - 1
    transfer = _LINEAR if space.is_linear else 4 if space.carries_all else 0
    struct.pack_into(">IIfIf", content, 780, 0, 0, 0.0, most, 1.0)
    struct.pack_into(
        ">BBBBHHIII", content, 800, 50, transfer, 0, bits, layout.packing, 0, _HEADER, 0, 0
    )
    samples = np.rint(np.clip(codes, 0.0, 1.0) * most).astype(np.uint16)
    _put(content, layout, samples, np.ones((height, width), np.bool_))
    _mark(content, metadata)
    return bytes(content)


def _layout(path: Path, content: bytes) -> _Layout:
    """Raises NotAVideoError for what is none, is damaged, or is of a kind that is not read."""
    if content[:4] not in MAGICS or len(content) < _HEADER:
        raise NotAVideoError(f"{path} is not a DPX picture that can be read; it may be damaged")
    order = ">" if content[:4] == b"SDPX" else "<"
    elements, width, height = struct.unpack_from(f"{order}HII", content, 770)
    kind, _, _, bits, packing, coding, offset = struct.unpack_from(f"{order}BBBBHHI", content, 800)
    if offset == 0xFFFFFFFF:
        (offset,) = struct.unpack_from(f"{order}I", content, 4)
    components = _COMPONENTS.get(kind)
    is_filled = bits in (8, 16) or (bits in (10, 12) and packing in (1, 2))
    if elements != 1 or components is None or coding != 0 or not is_filled:
        raise NotAVideoError(
            f"{path} is a DPX of {elements} element(s) of kind {kind}, {bits} bits, packing "
            f"{packing}, coding {coding}; read are one of R'G'B' or grey, 8 or 16 bits, or 10 or "
            "12 filled to words"
        )
    if not (0 < width * height < _MOST_PIXELS) or max(width, height) > 2**20:
        raise NotAVideoError(f"{path} states {width}x{height} pixels; it may be damaged")
    n = len(components)
    words = -(-width * n // 3)
    line = {8: width * n, 10: words * 4, 12: width * n * 2, 16: width * n * 2}[bits]
    aligned = line + -line % 4
    room = len(content) - offset
    if room >= aligned * height:
        line = aligned
    if offset < 1356 or room < line * height:
        raise NotAVideoError(f"{path} is cut short: a DPX of {width}x{height} needs more")
    return _Layout(order, width, height, components, bits, packing, offset, line)


def _unpacked(content: bytes, layout: _Layout) -> dict[str, Samples]:
    """Samples (H, W) of each component."""
    lines = _lines(np.frombuffer(content, np.uint8), layout)
    n = len(layout.components)
    if layout.bits == 10:
        words = lines.view(f"{layout.order}u4")
        values = np.stack([(words >> shift) & 1023 for shift in _shifts(layout)], axis=2)
        flat: Samples = values.reshape(layout.height, -1)[:, : layout.width * n].astype(np.uint16)
    elif layout.bits == 8:
        flat = lines[:, : layout.width * n]
    else:
        flat = lines[:, : layout.width * n * 2].view(f"{layout.order}u2").astype(np.uint16)
        if layout.bits == 12:
            flat = flat >> 4 if layout.packing == 1 else flat & 4095
    return {name: flat[:, place::n] for place, name in enumerate(layout.components)}


def _put(content: bytearray, layout: _Layout, rgb: Samples, changed: npt.NDArray[np.bool_]) -> None:
    """Write the samples of changed pixels; all other bits stay."""
    lines = _lines(np.frombuffer(content, np.uint8), layout)
    n = len(layout.components)
    named = {"Y": rgb[..., 1], **{name: rgb[..., place] for place, name in enumerate("RGB")}}
    for place, name in enumerate(layout.components):
        if name == "A":
            continue
        values = named[name]
        if layout.bits == 10:
            _put_tenths(lines, layout, place, values, changed)
        elif layout.bits == 8:
            np.copyto(lines[:, place : layout.width * n : n], values, where=changed)
        else:
            words = lines[:, : layout.width * n * 2].view(f"{layout.order}u2")[:, place::n]
            shift = 4 if layout.bits == 12 and layout.packing == 1 else 0
            np.copyto(words, values.astype(np.uint16) << shift, where=changed, casting="unsafe")


def _put_tenths(
    lines: npt.NDArray[np.uint8],
    layout: _Layout,
    place: int,
    values: Samples,
    changed: npt.NDArray[np.bool_],
) -> None:
    """10-bit samples, three to a word of 32 bits."""
    words = lines.view(f"{layout.order}u4")
    datums = np.arange(layout.width) * len(layout.components) + place
    shifts = _shifts(layout)
    for third in range(3):
        own = np.flatnonzero(datums % 3 == third)
        if not own.size:
            continue
        columns, shift = datums[own] // 3, np.uint32(shifts[third])
        old = words[:, columns].astype(np.uint32)
        new = (old & ~(np.uint32(1023) << shift)) | (values[:, own].astype(np.uint32) << shift)
        words[:, columns] = np.where(changed[:, own], new, old)


def _lines(flat: npt.NDArray[np.uint8], layout: _Layout) -> npt.NDArray[Any]:
    used = flat[layout.offset : layout.offset + layout.line * layout.height]
    return used.reshape(layout.height, layout.line)


def _shifts(layout: _Layout) -> tuple[int, int, int]:
    return (22, 12, 2) if layout.packing == 1 else (20, 10, 0)


def _mark(content: bytearray, metadata: dict[str, str]) -> None:
    words = metadata.get("comment", "").encode("ascii", "replace")[:99]
    if words:
        content[_CREATOR] = words.ljust(100, b"\0")
