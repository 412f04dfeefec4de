"""Colour description of a frame, and the matrices between R'G'B' and Y'CbCr.

Source: ITU-T H.273 tables 2 to 4 and its equations for Y'CbCr; ITU-R BT.601, BT.709, BT.2020.
"""

from dataclasses import dataclass, replace

import av
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext

UNSPECIFIED = 2  # H.273's code for primaries, transfer and matrix
LIMITED_RANGE = 1
FULL_RANGE = 2
HD_HEIGHT = 720  # rows from which an untagged clip is taken for BT.709

BT709 = 1
BT601 = 5
BT2020 = 9
PQ = 16  # transfer codes of high dynamic range
HLG = 18

# H.273 matrix code -> (K_R, K_B).
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
# Codes that stand for the same coefficients, folded so that swscale knows them.
_SAME_MATRIX = {6: 5, 10: 9}
_RGB = ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8")


@dataclass(frozen=True)
class ColourTags:
    """H.273 codes as the file states them.

    `range` is 0 (not stated), 1 (limited) or 2 (full); `primaries`, `transfer` and `matrix` are
    H.273 codes with 2 for "not stated".
    """

    range: int = 0
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED

    @property
    def is_hdr(self) -> bool:
        """Whether the signal is PQ or HLG."""
        return self.transfer in (PQ, HLG)

    @classmethod
    def of(cls, coded: av.VideoFrame) -> "ColourTags":
        """The tags of a decoded frame."""
        return cls(
            int(coded.color_range),
            int(coded.color_primaries),
            int(coded.color_trc),
            int(coded.colorspace),
        )

    def tag(self, target: av.VideoFrame | VideoCodecContext) -> None:
        """State these tags on a frame, or on an encoder before it is opened."""
        target.color_range = self.range
        target.color_primaries = self.primaries
        target.color_trc = self.transfer
        target.colorspace = self.matrix


def known_matrix(tags: ColourTags, height: int) -> int:
    """Matrix code to convert with: the stated one, else BT.601 below 720 rows and BT.709 above.

    PQ and HLG without one are BT.2020. `height` is that of the picture as a viewer sees it.
    """
    code = _SAME_MATRIX.get(tags.matrix, tags.matrix)
    if code in _LUMA_WEIGHTS:
        return code
    if tags.is_hdr:
        return BT2020
    return BT709 if height >= HD_HEIGHT else BT601


def known_range(tags: ColourTags, pixel_format: str) -> int:
    """Range to convert with: the stated one, else the usual one of the pixel format.

    Grey formats and `yuvj` ones are full range whatever the tag says, as swscale has them.
    """
    if pixel_format.startswith(("yuvj", "gray", *_RGB)):
        return FULL_RANGE
    return FULL_RANGE if tags.range == FULL_RANGE else LIMITED_RANGE


def encoded_tags(
    tags: ColourTags, pixel_format: str, encoded_format: str, height: int
) -> ColourTags:
    """Tags for a clip of `pixel_format` that is encoded as `encoded_format`.

    What the clip states is kept; what only its pixel format said (`yuvj`: full range, R'G'B': no
    matrix) is stated where the new format does not say it.
    """
    if pixel_format.startswith("yuvj"):
        return replace(tags, range=FULL_RANGE)
    if pixel_format.startswith("gray") and encoded_format.startswith("gray") and not tags.range:
        return replace(tags, range=FULL_RANGE)  # decoders hand some grey clips out as yuv420p
    was_rgb = pixel_format.startswith(_RGB)
    if was_rgb and not encoded_format.startswith(_RGB):
        return replace(
            tags,
            matrix=known_matrix(tags, height),
            range=known_range(tags, encoded_format),
        )
    return tags


def rgb_to_ycbcr(matrix: int, colour_range: int, bits: int) -> npt.NDArray[np.float32]:
    """Affine map from R'G'B' in [0, 255] to Y'CbCr codes of `bits` bits, shape (3, 4).

    Rows are Y', Cb, Cr; the last column is the offset. H.273 equations 20 to 40.
    """
    k_r, k_b = _LUMA_WEIGHTS[matrix]
    luma = np.array([k_r, 1.0 - k_r - k_b, k_b])
    rows = np.stack(
        [
            luma,
            (np.array([0.0, 0.0, 1.0]) - luma) / (2.0 * (1.0 - k_b)),
            (np.array([1.0, 0.0, 0.0]) - luma) / (2.0 * (1.0 - k_r)),
        ]
    )
    if colour_range == FULL_RANGE:
        gains = np.full(3, 2.0**bits - 1.0)
        black = 0.0
    else:
        gains = np.array([219.0, 224.0, 224.0]) * 2.0 ** (bits - 8)
        black = 16.0 * 2.0 ** (bits - 8)
    middle = 2.0 ** (bits - 1)
    affine = np.empty((3, 4), dtype=np.float32)
    affine[:, :3] = rows * (gains / 255.0)[:, None]
    affine[:, 3] = (black, middle, middle)
    return affine
