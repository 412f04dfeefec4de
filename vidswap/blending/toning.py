"""A swap stays within its target's colours: grey in a black-and-white film, sepia in sepia.

In a toned picture colour is a function of brightness. A face net knows no such pictures and answers
in full colour, with blue eyes and pink lips.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_STEP = 3  # every third pixel and row tell the tone as well
# Levels by which colours of the crop are off the curve (root of the mean square), up to which the
# picture is toned, and from which on it is in colour: 1,483 colour photographs are above 4.5.
TONED, COLOURED = 2.0, 4.0


def tone_curve(picture: Picture) -> tuple[NDArray[np.float32], float]:
    """The colour of a picture (S, S, 3) uint8 RGB as a function of its luma, and how far it is one.

    The curve (3, 3) has for each channel the quadratic of its difference to luma, in levels and
    luma in [0, 1]; the second is the root mean square of what it leaves, in levels.
    """
    pixels = picture[::_STEP, ::_STEP].reshape(-1, 3).astype(np.float32)
    luma = pixels @ _LUMA
    powers = np.vander(luma / 255.0, 3, increasing=True)
    differences = pixels - luma[:, None]
    normal = powers.T @ powers + 1e-3 * np.eye(3, dtype=np.float32)
    curve = np.linalg.solve(normal, powers.T @ differences)
    left = float(np.sqrt(((differences - powers @ curve) ** 2).sum(axis=1).mean()))
    return curve.T.astype(np.float32), left


def toned_like(target: Picture, swapped: Picture) -> Picture:
    """`swapped` in the tone of `target`, (S, S, 3) uint8 RGB; itself where that is in colour."""
    curve, left = tone_curve(target)
    share = float(np.clip((COLOURED - left) / (COLOURED - TONED), 0.0, 1.0))
    if share == 0.0:
        return swapped
    colours = swapped.astype(np.float32)
    luma = colours @ _LUMA
    x = luma / np.float32(255.0)
    offsets = [of_one[0] + x * (of_one[1] + x * of_one[2]) for of_one in curve]
    toned = luma[..., None] + np.stack(offsets, axis=-1)
    mixed = toned if share == 1.0 else colours + np.float32(share) * (toned - colours)
    pixels: Picture = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return pixels
