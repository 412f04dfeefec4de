"""Skin, brows and lashes finer than the generator's crop, from the source's own photographs.

The generator answers at 256 pixels. On a face that fills more of the frame, what is finer is
missing, and the swap is soft in a sharp picture. The photographs show it: their finest band, beyond
what 256 pixels hold, is warped as the photographs are, and added with the strength that the same
band has in the target, so that the swap is as sharp as what is around it, and no sharper.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces.align import CROP_SIZE, align_face
from vidswap.runtime.kernels import compiled

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
    warped = np.empty((FINE, FINE), np.float32)
    _warp_band(band, np.ascontiguousarray(field), np.float32(1.0 / STEPS), warped)
    return warped


@compiled
def _warp_band(band: NDArray[np.int16], field: Floats, level: np.float32, out: Floats) -> None:
    """`warped_band` in one pass; `warped_band_reference` is the same by OpenCV."""
    fine, coarse = out.shape[0], field.shape[0]
    near, far = np.float32(0.75), np.float32(0.25)
    moves = np.empty((coarse, 2), np.float32)
    for row in range(fine):
        # Half a pixel of the field lies between two of the band, on either side.
        upper = row // 2
        lower = min(max(upper + 2 * (row % 2) - 1, 0), coarse - 1)
        for i in range(coarse):
            moves[i, 0] = near * field[upper, i, 0] + far * field[lower, i, 0]
            moves[i, 1] = near * field[upper, i, 1] + far * field[lower, i, 1]
        for column in range(fine):
            i = column // 2
            j = min(max(i + 2 * (column % 2) - 1, 0), coarse - 1)
            x = np.float32(column) + np.float32(2.0) * (near * moves[i, 0] + far * moves[j, 0])
            y = np.float32(row) + np.float32(2.0) * (near * moves[i, 1] + far * moves[j, 1])
            left, top = int(np.floor(x)), int(np.floor(y))
            p, q = x - np.float32(left), y - np.float32(top)
            if left == fine - 1 and p == 0.0:
                left, p = left - 1, np.float32(1.0)
            if top == fine - 1 and q == 0.0:
                top, q = top - 1, np.float32(1.0)
            if left < 0 or top < 0 or left >= fine - 1 or top >= fine - 1:
                out[row, column] = 0.0
                continue
            a, b = np.float32(band[top, left]), np.float32(band[top, left + 1])
            c, d = np.float32(band[top + 1, left]), np.float32(band[top + 1, left + 1])
            above, below = a + p * (b - a), c + p * (d - c)
            out[row, column] = level * (above + q * (below - above))


def warped_band_reference(band: NDArray[np.int16], field: Floats) -> Floats:
    """`warped_band` by OpenCV, which samples between 32 places of a pixel and rounds to steps."""
    wide = cv2.resize(field, (FINE, FINE), interpolation=cv2.INTER_LINEAR)
    rows, columns = np.mgrid[:FINE, :FINE].astype(np.float32)
    warped = cv2.remap(
        band, columns + 2.0 * wide[..., 0], rows + 2.0 * wide[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )  # fmt: skip
    return np.asarray(warped, np.float32) / np.float32(STEPS)


def strength(band: NDArray[Any], weight: Floats) -> float:
    """How strong a band (512, 512) is where a weight (N, N) counts: the median of its size, so
    that edges of brows, lids and glasses do not decide. Told from every second pixel and row.
    """
    half = (FINE // 2, FINE // 2)
    inside = cv2.resize(weight, half, interpolation=cv2.INTER_LINEAR) > 0.5
    return float(np.median(np.abs(band[::2, ::2][inside]))) if inside.any() else 0.0


def gain_to(target: float, source: float) -> float:
    """The factor that gives a band of one `strength` another, limited."""
    wanted = max(0.0, target - LEAST_STRENGTH)
    return float(min(MOST_GAIN, wanted / max(source - LEAST_STRENGTH, 2.0 * LEAST_STRENGTH)))


def with_detail(picture: NDArray[np.uint8], detail: Floats) -> NDArray[np.uint8]:
    """A crop (256, 256, 3) as a fine one (512, 512, 3), with a band (512, 512) on it, in levels."""
    fine = np.asarray(cv2.resize(picture, (FINE, FINE), interpolation=cv2.INTER_CUBIC), np.uint8)
    _add_detail(fine, detail)
    return fine


@compiled
def _add_detail(fine: NDArray[np.uint8], detail: Floats) -> None:
    """Add a band to all three channels in place, rounded to nearest even and within 0 to 255."""
    height, width, channels = fine.shape
    for row in range(height):
        for column in range(width):
            band = detail[row, column]
            for channel in range(channels):
                value = np.rint(np.float32(fine[row, column, channel]) + band)
                value = min(max(value, np.float32(0.0)), np.float32(255.0))
                fine[row, column, channel] = np.uint8(value)
