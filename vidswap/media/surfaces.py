"""Frames as devices hand them out, laid out again as the software decoder lays them out.

Devices keep both chroma components in one plane, and samples of more than 8 bits at the upper end
of 16. Only the layout changes here: every sample keeps its value, and no range is converted.
"""

import re
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from vidswap.errors import CodecError
from vidswap.media.planes import copy_tags, rows_of

_CHROMA_IN_ONE = re.compile(r"nv(12|16|24)|p([024])(?:10|12|16)le")
_PLANAR = re.compile(r"yuvj?(4\d\d)p(?:(\d+)(msb)?le)?")
_SAMPLINGS = {"12": "420", "16": "422", "24": "444", "0": "420", "2": "422", "4": "444"}
# NVDEC's format for 4:4:4 of 10 and 12 bits, which lie at its upper end.
_UPPER_END = "yuv444p16le"


def laid_out_as(coded: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
    """A frame with the samples, times, tags and side data of `coded`, in a planar format.

    coded: a frame copied from a device to main memory. pixel_format: planar Y'CbCr, as the
    software decoder gives for the same clip. Raises CodecError where the samples of `coded` do not
    have its sampling and bit depth, or lie in an order that is not known here.
    """
    if coded.format.name == pixel_format:
        return coded
    shift = _shift(coded.format.name, pixel_format)
    # Only `reformat` and filters carry side data, field order and chroma location over. The
    # samples that it makes are replaced: in several threads, from 16 bits to fewer, or to `yuvj`
    # they are not always the same.
    planar = coded.reformat(
        format=pixel_format,
        src_colorspace=1, dst_colorspace=1,
        src_color_range=1, dst_color_range=1,
        threads=1,
    )  # fmt: skip
    if planar is coded or planar.format.name != pixel_format:
        raise CodecError(f"{coded.format.name} cannot be laid out as {pixel_format} here")
    kind: Any = np.uint8 if planar.format.components[0].bits == 8 else "<u2"
    for component in range(3):
        height, width = planar.planes[component].height, planar.planes[component].width
        target = rows_of(planar, component).view(kind)[:height, :width]
        np.right_shift(_component(coded, component, kind)[:height, :width], shift, out=target)
    copy_tags(coded, planar)
    return planar


def _component(coded: av.VideoFrame, component: int, kind: Any) -> npt.NDArray[Any]:
    """View of the samples of Y', Cb or Cr, the padding at the ends of the lines too."""
    shared = len(coded.planes) == 2 and component > 0
    samples: npt.NDArray[Any] = rows_of(coded, 1 if shared else component).view(kind)
    return samples[:, component - 1 :: 2] if shared else samples


def _shift(surface: str, pixel_format: str) -> int:
    """By how many bits the samples of a surface lie above those of a planar format.

    Raises CodecError where one cannot be made of the other without loss.
    """
    wanted = _PLANAR.fullmatch(pixel_format)
    shared, planar = _CHROMA_IN_ONE.fullmatch(surface), _PLANAR.fullmatch(surface)
    found = shared or planar
    if wanted and not wanted[3] and found:
        sampling = _SAMPLINGS[shared[1] or shared[2]] if shared else found[1]
        bits, depth = int(wanted[2] or 8), av.VideoFormat(surface).components[0].bits
        upper = depth > 8 and bool(shared or found[3] or surface == _UPPER_END)
        fits = depth == bits or (depth == 16 and upper and bits > 8)
        if sampling == wanted[1] and fits:
            return 16 - bits if upper else 0
    raise CodecError(
        f"the device hands frames out as {surface}, which cannot be laid out exactly as "
        f"{pixel_format} here"
    )
