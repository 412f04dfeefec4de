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
_KNOTS = 17  # of the curve, at equal steps of luma
_SMOOTH = 1e-3  # weight of the curve's bends over the pixels
# Levels by which colours of the crop are off the curve (root of the mean square), up to which the
# picture is toned, and from which on it is in colour: 692 colour photographs are above 5.8.
TONED, COLOURED = 3.0, 5.0


def tone_curve(picture: Picture) -> tuple[NDArray[np.float32], float]:
    """The colour of a picture (S, S, 3) uint8 RGB as a function of its luma, and how far it is one.

    The curve (17, 3) is each channel's difference to luma in levels, at equal steps of luma from 0
    to 255; the second is the root mean square of what it leaves, in levels. Tones that clip, and
    those of two colours, are no polynomial of luma, so it is a line from knot to knot.
    """
    pixels = picture[::_STEP, ::_STEP].reshape(-1, 3).astype(np.float32)
    luma = pixels @ _LUMA
    differences = pixels - luma[:, None]
    place, share = _places(luma)
    rows = np.arange(len(luma))
    weights = np.zeros((len(luma), _KNOTS), np.float32)
    weights[rows, place] = 1.0 - share
    weights[rows, place + 1] = share
    bends = np.diff(np.eye(_KNOTS, dtype=np.float32), 2, axis=0)
    normal = weights.T @ weights + 1e-3 * np.eye(_KNOTS, dtype=np.float32)
    normal += np.float32(_SMOOTH * len(luma)) * (bends.T @ bends)
    curve = np.linalg.solve(normal, weights.T @ differences).astype(np.float32)
    left = float(np.sqrt(((differences - weights @ curve) ** 2).sum(axis=1).mean()))
    return curve, left


def _places(luma: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The knot below each luma, and how far it is on the way to the next, 0 to 1."""
    at = luma * np.float32((_KNOTS - 1) / 255.0)
    place = np.clip(at.astype(np.intp), 0, _KNOTS - 2)
    return place, (at - place).astype(np.float32)


def toned_like(target: Picture, swapped: Picture) -> Picture:
    """`swapped` in the tone of `target`, (S, S, 3) uint8 RGB; itself where that is in colour."""
    curve, left = tone_curve(target)
    share = float(np.clip((COLOURED - left) / (COLOURED - TONED), 0.0, 1.0))
    if share == 0.0:
        return swapped
    colours = swapped.astype(np.float32)
    luma = colours @ _LUMA
    place, part = _places(luma)
    low = curve[place]
    toned = luma[..., None] + low + part[..., None] * (curve[place + 1] - low)
    mixed = toned if share == 1.0 else colours + np.float32(share) * (toned - colours)
    pixels: Picture = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return pixels
