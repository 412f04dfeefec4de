"""Decoded planes: to R'G'B' for the nets, and a changed box of R'G'B' back into them.

Chroma is repeated on the way out and averaged on the way back, so the two undo each other: a
sample whose pixels were not changed keeps the very value that was decoded.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation

from vidswap.media.colour import ColourTags, known_matrix, known_range, rgb_to_ycbcr
from vidswap.media.hdr import carried, hdr_signal, sdr_view
from vidswap.media.orientation import Box
from vidswap.media.plane_kernels import write_changed

# Repeats chroma samples and rounds exactly: at most one code from the H.273 equations, against
# 1 to 3 codes of darkening on swscale's quick path.
_EXACT = Interpolation.POINT | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_AVERAGING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

# Packed formats: byte offset of R, G and B in a pixel.
_PACKED = {
    "rgb24": (0, 1, 2),
    "bgr24": (2, 1, 0),
    "rgba": (0, 1, 2),
    "bgra": (2, 1, 0),
    "argb": (1, 2, 3),
    "abgr": (3, 2, 1),
    "rgb0": (0, 1, 2),
    "bgr0": (2, 1, 0),
    "0rgb": (1, 2, 3),
    "0bgr": (3, 2, 1),
}
_GREY = re.compile(r"gray(?:(\d+)le)?")
_PLANAR = re.compile(r"yuv[aj]?(4\d\d)p(?:(\d+)le)?")
_PLANAR_RGB = re.compile(r"gbra?p(?:(\d+)le)?")
_SEMI_PLANAR = {"nv12": ("420", 0, 1), "nv21": ("420", 1, 0), "nv16": ("422", 0, 1)}
# Pixels a chroma sample spans, across and down.
_SUBSAMPLING = {"444": (1, 1), "440": (1, 2), "422": (2, 1), "420": (2, 2), "411": (4, 1)}


# What to convert formats to that boxes cannot be written to.
_STAND_INS = {
    "p010le": "yuv420p10le",
    "p210le": "yuv422p10le",
    "p410le": "yuv444p10le",
    "p012le": "yuv420p12le",
    "p212le": "yuv422p12le",
    "p412le": "yuv444p12le",
    "p016le": "yuv420p16le",
    "p216le": "yuv422p16le",
    "p416le": "yuv444p16le",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
}


@dataclass(frozen=True)
class _Layout:
    """Where a planar format keeps its samples."""

    bits: int
    span: tuple[int, int]  # pixels a chroma sample covers, across and down
    places: tuple[tuple[int, int, int], ...]  # of each component: plane, offset, step in samples
    is_rgb: bool = False


def _layout(pixel_format: str) -> _Layout | None:
    """Layout of a planar format that boxes can be written to, else None."""
    if grey := _GREY.fullmatch(pixel_format):
        return _Layout(int(grey[1] or 8), (1, 1), ((0, 0, 1),))
    if planar := _PLANAR.fullmatch(pixel_format):
        places = ((0, 0, 1), (1, 0, 1), (2, 0, 1))
        return _Layout(int(planar[2] or 8), _SUBSAMPLING[planar[1]], places)
    if rgb := _PLANAR_RGB.fullmatch(pixel_format):
        return _Layout(int(rgb[1] or 8), (1, 1), ((2, 0, 1), (0, 0, 1), (1, 0, 1)), is_rgb=True)
    if pixel_format in _SEMI_PLANAR:
        sampling, cb, cr = _SEMI_PLANAR[pixel_format]
        return _Layout(8, _SUBSAMPLING[sampling], ((0, 0, 1), (1, cb, 2), (1, cr, 2)))
    return None


@cache
def chroma_span(pixel_format: str) -> tuple[int, int]:
    """Pixels that share a chroma sample, across and down; (1, 1) for R'G'B' and grey."""
    known = av.VideoFormat(pixel_format, 16, 16)
    return 16 // known.chroma_width(16), 16 // known.chroma_height(16)


def writable_format(coded: av.VideoFrame) -> str:
    """The frame's own pixel format if boxes can be written to it, else one to convert it to."""
    name = coded.format.name
    if name in _PACKED or _layout(name):
        return name
    if coded.format.components[0].bits > 8:
        return _STAND_INS.get(name, "gbrp16le" if coded.format.is_rgb else "yuv444p16le")
    return _STAND_INS.get(name, "rgb24" if coded.format.is_rgb else "yuv444p")


def rows_of(coded: av.VideoFrame, index: int) -> npt.NDArray[np.uint8]:
    """Writable view of the bytes of plane `index`, shape (rows, bytes in a line, padding too).

    The first row is the top one, also where the decoder stores the picture bottom-up.
    """
    plane = coded.planes[index]
    buffer: Any = plane  # a buffer, which its stub does not say
    rows: npt.NDArray[np.uint8] = np.frombuffer(buffer, np.uint8)
    rows = rows.reshape(plane.height, abs(plane.line_size))
    return rows if plane.line_size > 0 else rows[::-1]


def copy_of(coded: av.VideoFrame, *, pixel_format: str, width: int, height: int) -> av.VideoFrame:
    """A frame of its own memory with the same samples from the top left corner, and same tags.

    `pixel_format` is the frame's own or one of the same layout (`yuvj420p` for `yuv420p`).
    """
    copy = av.VideoFrame(width, height, pixel_format)
    for index in range(len(coded.planes)):
        source, target = rows_of(coded, index), rows_of(copy, index)
        rows = min(source.shape[0], target.shape[0])
        line = min(source.shape[1], target.shape[1])
        target[:rows, :line] = source[:rows, :line]
    copy_tags(coded, copy)
    return copy


def writable_copy(coded: av.VideoFrame) -> av.VideoFrame:
    """A frame of its own memory that is like `coded` in everything.

    ffmpeg's `copy` filter carries over what PyAV cannot set: field order, where the chroma samples
    lie, and side data (captions, light levels).
    """
    graph = av.filter.Graph()
    time_base = coded.time_base or Fraction(1, 25)
    source = graph.add_buffer(
        width=coded.width, height=coded.height, format=coded.format, time_base=time_base
    )
    copy, sink = graph.add("copy"), graph.add("buffersink")
    source.link_to(copy)
    copy.link_to(sink)
    graph.configure()
    source.push(coded)
    result = sink.pull()
    assert isinstance(result, av.VideoFrame)
    copy_tags(coded, result)
    return result


def copy_tags(source: av.VideoFrame, target: av.VideoFrame) -> None:
    """Carry times and colour tags over."""
    target.pts = source.pts
    if source.time_base is not None:
        target.time_base = source.time_base
    target.duration = source.duration
    ColourTags.of(source).tag(target)


def to_rgb(coded: av.VideoFrame, viewer_height: int) -> npt.NDArray[np.uint8]:
    """R'G'B' of a decoded frame in coded orientation, shape (H, W, 3), [0, 255].

    PQ and HLG are given as `hdr.sdr_view` shows them. `viewer_height` (rows as a viewer sees them)
    chooses the matrix of an untagged frame.
    """
    width, height = coded.width, coded.height
    if _is_hdr(coded):
        lines = rows_of(converted(coded, "rgb48le", viewer_height), 0).view("<u2")
        signal = lines[:height, : width * 3].reshape(height, width, 3)
        return sdr_view(signal, ColourTags.of(coded))
    rgb = rows_of(converted(coded, "rgb24", viewer_height), 0)
    return rgb[:height, : width * 3].reshape(height, width, 3)


def sampled_rgb(coded: av.VideoFrame, viewer_height: int, step: int) -> npt.NDArray[np.uint8]:
    """Every `step`-th pixel of `to_rgb`, across and down, from `step // 2` on, and the same values.

    The other pixels are not converted where the format allows, which takes most of the time.
    """
    layout = _layout(coded.format.name)
    planar = _PLANAR.fullmatch(coded.format.name)
    if step == 1 or planar is None or layout is None or len(coded.planes) != 3:
        return to_rgb(coded, viewer_height)[step // 2 :: step, step // 2 :: step]
    across, down = (np.arange(step // 2, size, step) for size in (coded.width, coded.height))
    whole_chroma = coded.format.name.replace(planar[1], "444")
    small = av.VideoFrame(len(across), len(down), whole_chroma)
    depth = np.dtype(np.uint8 if layout.bits == 8 else "<u2")
    for index, span in enumerate(((1, 1), layout.span, layout.span)):
        samples = rows_of(coded, index)
        samples = samples[:, : samples.shape[1] // depth.itemsize * depth.itemsize].view(depth)
        taken = samples[(down // span[1])[:, None], across // span[0]]
        rows_of(small, index)[:, : len(across) * depth.itemsize] = taken.view(np.uint8)
    copy_tags(coded, small)
    return to_rgb(small, viewer_height)


def converted(
    coded: av.VideoFrame, pixel_format: str, viewer_height: int, wanted: ColourTags | None = None
) -> av.VideoFrame:
    """The frame in another pixel format: same matrix and range, except that R'G'B' is full range.

    `viewer_height` as in `to_rgb`. With `wanted` tags the samples get their matrix and range.
    """
    source_span, target_span = chroma_span(coded.format.name), chroma_span(pixel_format)
    span = (max(source_span[0], target_span[0]), max(source_span[1], target_span[1]))
    tags = ColourTags.of(coded)
    matrix = known_matrix(tags, viewer_height)
    result = _aligned(coded, span).reformat(
        format=pixel_format,
        src_colorspace=matrix,
        dst_colorspace=known_matrix(wanted or tags, viewer_height),
        src_color_range=known_range(tags, coded.format.name),
        dst_color_range=known_range(wanted or tags, pixel_format),
        interpolation=_EXACT if span == source_span else _AVERAGING,
        threads=1,
    )
    if (result.width, result.height) == (coded.width, coded.height):
        return result
    return copy_of(result, pixel_format=pixel_format, width=coded.width, height=coded.height)


def _aligned(coded: av.VideoFrame, span: tuple[int, int]) -> av.VideoFrame:
    """The frame with whole chroma blocks, its last column and row repeated to fill them.

    Where chroma is shared the planes are always copied, which leaves behind where the chroma
    samples lie: swscale's repetition would follow it and shift every second column. A size that
    is not whole would make it stretch the chroma planes.
    """
    if span == (1, 1):
        return coded
    width, height = coded.width, coded.height
    wide, high = width + -width % span[0], height + -height % span[1]
    aligned = copy_of(coded, pixel_format=coded.format.name, width=wide, height=high)
    if (wide, high) != (width, height):
        for index, plane in enumerate(coded.planes):
            rows = rows_of(aligned, index)
            sample = _sample_bytes(coded.format, index)
            end = plane.width * sample
            last = rows[:, end - sample : end]
            rows[:, end:] = np.tile(last, rows.shape[1] // sample + 1)[:, : rows.shape[1] - end]
            rows[plane.height :] = rows[plane.height - 1]
    return aligned


def _sample_bytes(pixel_format: av.VideoFormat, index: int) -> int:
    """Bytes from one sample of a plane to the next, all its components together."""
    parts = [part for part in pixel_format.components if part.plane == index]
    return sum(-(-part.bits // 8) for part in parts)


def write_boxes(
    coded: av.VideoFrame,
    boxes: Sequence[Box],
    before: npt.NDArray[np.uint8],
    after: npt.NDArray[np.uint8],
    viewer_height: int,
) -> av.VideoFrame:
    """A copy of `coded` in which the pixels of `boxes` that differ between two pictures are new.

    `before` and `after` are the whole frame's R'G'B' (H, W, 3) in coded orientation; `boxes` are in
    coded pixels and may overlap. Luma changes only where a pixel does, chroma only where one of the
    pixels it covers does. The frame is copied once; the rest of the work grows with the area of the
    boxes. A format without a writer is converted as a whole first (`writable_format`).
    """
    pixel_format = writable_format(coded)
    if pixel_format != coded.format.name:
        coded = converted(coded, pixel_format, viewer_height)
    target = writable_copy(coded)
    layout = _layout(pixel_format)
    affine = _affine(layout, coded, viewer_height) if layout else None
    for box in boxes:
        _write_box(coded, target, layout, affine, box, before, after)
    return target


def _write_box(
    coded: av.VideoFrame,
    target: av.VideoFrame,
    layout: _Layout | None,
    affine: npt.NDArray[np.float32] | None,
    box: Box,
    before: npt.NDArray[np.uint8],
    after: npt.NDArray[np.uint8],
) -> None:
    """Write one box of `after` into `target`; without a layout the format is packed."""
    across, down = layout.span if layout else (1, 1)
    left, top = box[0] - box[0] % across, box[1] - box[1] % down
    right = min(box[2] + -box[2] % across, coded.width)
    bottom = min(box[3] + -box[3] % down, coded.height)
    window = np.s_[top:bottom, left:right]
    old, new = before[window], after[window]
    hdr = _is_hdr(coded)
    if layout is not None and affine is not None and _fits_kernel(layout) and not hdr:
        first, second, third = (
            _samples(target, layout, place, (left, top), span, new.shape[:2])
            for place, span in zip(layout.places, ((1, 1), layout.span, layout.span), strict=True)
        )
        write_changed(old, new, affine, first, second, third, across, down)
        return
    # Three ORs: a reduction over an axis of length three takes ten times as long.
    differs = old != new
    changed = differs[..., 0] | differs[..., 1] | differs[..., 2]
    if layout is None or affine is None:
        _write_packed(target, (left, top), new, changed)
        return
    if hdr:
        codes = _hdr_codes(coded, layout, (left, top), old, new, affine)
    else:
        codes = np.asarray(cv2.transform(new.astype(np.float32), affine), dtype=np.float32)
    _write_components(target, layout, (left, top), codes, changed)


def _fits_kernel(layout: _Layout) -> bool:
    """Whether `write_changed` writes it: three components of 8 bits."""
    return layout.bits == 8 and len(layout.places) == 3


def _is_hdr(coded: av.VideoFrame) -> bool:
    """Whether a frame is shown by `sdr_view`; packed formats, which hold pictures, never are."""
    return ColourTags.of(coded).is_hdr and coded.format.name not in _PACKED


def _affine(layout: _Layout, coded: av.VideoFrame, viewer_height: int) -> npt.NDArray[np.float32]:
    """Affine map (3, 4) from R'G'B' in [0, 255] to the codes of a planar format."""
    if layout.is_rgb:
        return np.eye(3, 4, dtype=np.float32) * np.float32((2**layout.bits - 1) / 255.0)
    tags = ColourTags.of(coded)
    colour_range = known_range(tags, coded.format.name)
    return rgb_to_ycbcr(known_matrix(tags, viewer_height), colour_range, layout.bits)


def _hdr_codes(
    coded: av.VideoFrame,
    layout: _Layout,
    corner: tuple[int, int],
    old: npt.NDArray[np.uint8],
    new: npt.NDArray[np.uint8],
    affine: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Codes (H, W, 3) of a window whose view becomes `new`, with what the view `old` had lost."""
    tags = ColourTags.of(coded)
    shown, wanted = (cv2.transform(hdr_signal(v, tags) * 255.0, affine) for v in (old, new))
    lost = _codes_of(coded, layout, corner, (new.shape[0], new.shape[1])) - shown
    return np.asarray(wanted + carried(old, new) * lost, dtype=np.float32)


def _codes_of(
    coded: av.VideoFrame, layout: _Layout, corner: tuple[int, int], shape: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Decoded codes of a window on the chroma grid, chroma repeated, (H, W, 3); grey has no C."""
    codes = np.full((*shape, 3), 2.0 ** (layout.bits - 1), dtype=np.float32)
    for component, place in enumerate(layout.places):
        across, down = (1, 1) if component == 0 else layout.span
        samples = _samples(coded, layout, place, corner, (across, down), shape)
        repeated = samples.repeat(down, axis=0).repeat(across, axis=1)
        codes[..., component] = repeated[: shape[0], : shape[1]]
    return codes


def _samples(
    coded: av.VideoFrame,
    layout: _Layout,
    place: tuple[int, int, int],
    corner: tuple[int, int],
    span: tuple[int, int],
    shape: tuple[int, ...],
) -> npt.NDArray[Any]:
    """View of a component's samples in a window of `shape` pixels with its corner on the grid."""
    plane, offset, step = place
    lines = rows_of(coded, plane)
    lines = lines.view("<u2") if layout.bits > 8 else lines
    across, down = span
    first, top = corner[0] // across * step + offset, corner[1] // down
    height, width = -(-shape[0] // down), -(-shape[1] // across)
    samples: npt.NDArray[Any] = lines[top:, first::step][:height, :width]
    return samples


def _write_packed(
    target: av.VideoFrame,
    corner: tuple[int, int],
    rgb: npt.NDArray[np.uint8],
    changed: npt.NDArray[np.bool_],
) -> None:
    offsets = _PACKED[target.format.name]
    step = 3 if target.format.name in ("rgb24", "bgr24") else 4
    left, top = corner
    height, width = changed.shape
    lines = rows_of(target, 0)[top : top + height]
    for channel, offset in enumerate(offsets):
        first = left * step + offset
        samples = lines[:, first : first + width * step : step][:, :width]
        np.copyto(samples, rgb[..., channel], where=changed)


def _write_components(
    target: av.VideoFrame,
    layout: _Layout,
    corner: tuple[int, int],
    codes: npt.NDArray[np.float32],
    changed: npt.NDArray[np.bool_],
) -> None:
    """Write the components of a window whose corner lies on the chroma grid."""
    for component, place in enumerate(layout.places):
        span = (1, 1) if component == 0 else layout.span
        values, mask = codes[..., component], changed
        if span != (1, 1):
            values = _block_means(values, *span)
            mask = _block_means(changed.astype(np.float32), *span) > 0
        samples = _samples(target, layout, place, corner, span, changed.shape)
        rounded = np.clip(np.rint(values), 0, 2**layout.bits - 1).astype(samples.dtype)
        np.copyto(samples, rounded, where=mask)


def _block_means(
    values: npt.NDArray[np.float32], across: int, down: int
) -> npt.NDArray[np.float32]:
    """Means of blocks; a block cut by the right or bottom edge repeats its last column or row."""
    height, width = values.shape
    padded = cv2.copyMakeBorder(values, 0, -height % down, 0, -width % across, cv2.BORDER_REPLICATE)
    blocks = (padded.shape[1] // across, padded.shape[0] // down)
    return np.asarray(cv2.resize(padded, blocks, interpolation=cv2.INTER_AREA))
