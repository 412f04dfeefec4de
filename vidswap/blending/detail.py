"""Skin, brows and lashes finer than the generator's crop, from the source's own photographs.

The generator answers at 256 pixels. On a face that fills more of the frame, what is finer is
missing, and the swap is soft in a sharp picture. The photographs show it: their finest band, beyond
what 256 pixels hold, is warped as the photographs are, and added with the strength that the same
band has in the target, so that the swap is as sharp as what is around it, and no sharper.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces.align import CROP_SIZE, align_face

Floats = NDArray[np.float32]

FINE = 2 * CROP_SIZE  # pixels of a side of a fine crop
LEAST_ENLARGED = 1.25  # frame pixels a pixel of the crop, below which there is nothing finer
STEPS = 8.0  # of the band in a level of brightness, in sixteen bits
MOST_GAIN = 1.25  # how much stronger than in its photograph the band may get
LEAST_STRENGTH = 0.15  # levels: what compression leaves of nothing


def fine_crop(rgb: NDArray[np.uint8], affine: NDArray[np.floating]) -> NDArray[np.uint8] | None:
    """The aligned face in grey (512, 512) uint8, None where the frame shows nothing finer.

    `affine` (2, 3) takes frame pixels to those of the 256-pixel crop.
    """
    enlarged = 1.0 / float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    if enlarged < LEAST_ENLARGED:
        return None
    grey = cv2.cvtColor(align_face(rgb, affine, FINE), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, np.uint8)


def finest_band(fine: NDArray[np.uint8]) -> NDArray[np.int16]:
    """What a fine crop (512, 512) shows beyond one of 256 pixels, in eighths of a level."""
    crop = cv2.resize(fine, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(crop.astype(np.float32), (FINE, FINE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.rint(STEPS * (fine.astype(np.float32) - coarse)), np.int16)


def warped_band(band: NDArray[np.int16], field: Floats) -> Floats:
    """A finest band taken along a displacement of the crop (256, 256, 2), in levels (512, 512)."""
    wide = cv2.resize(field, (FINE, FINE), interpolation=cv2.INTER_LINEAR)
    columns, rows = _places()
    warped = cv2.remap(
        band, columns + 2.0 * wide[..., 0], rows + 2.0 * wide[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )  # fmt: skip
    return np.asarray(warped, np.float32) / np.float32(STEPS)


def strength(band: NDArray[np.floating], weight: Floats) -> float:
    """How strong a band (512, 512) is where a weight (N, N) counts: the median of its size, so
    that edges of brows, lids and glasses do not decide.
    """
    inside = cv2.resize(weight, (FINE, FINE), interpolation=cv2.INTER_LINEAR) > 0.5
    return float(np.median(np.abs(band[inside]))) if inside.any() else 0.0


def gain_to(target: float, source: float) -> float:
    """The factor that gives a band of one `strength` another, limited."""
    wanted = max(0.0, target - LEAST_STRENGTH)
    return float(min(MOST_GAIN, wanted / max(source - LEAST_STRENGTH, 2.0 * LEAST_STRENGTH)))


def with_detail(picture: NDArray[np.uint8], detail: Floats) -> NDArray[np.uint8]:
    """A crop (256, 256, 3) as a fine one (512, 512, 3), with a band (512, 512) on it, in levels."""
    fine = cv2.resize(picture, (FINE, FINE), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    fine += detail[..., None]
    return np.clip(np.rint(fine), 0, 255).astype(np.uint8)


@cache
def _places() -> tuple[Floats, Floats]:
    rows, columns = np.mgrid[:FINE, :FINE].astype(np.float32)
    return columns, rows
