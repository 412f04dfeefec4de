"""The swapped face takes on the colour of the skin it lies in.

A generator answers with the source's complexion; beside the target's own neck, ears and brow that
reads as make-up, or as another light. As in Reinhard et al., *Color transfer between images*
(2001), the mean of the face is moved towards that of the target's in CIELAB; its spread, which
carries relief and features, is left alone.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.choices import DEFAULT_COLOUR_MATCH as DEFAULT_COLOUR_MATCH

Picture = NDArray[np.uint8]


def matched_colour(
    target: Picture, swapped: Picture, weight: NDArray[np.floating], share: float
) -> Picture:
    """`swapped` (S, S, 3) uint8 RGB with its mean colour moved towards that of `target`.

    The means are those of the pixels by `weight` (S, S), the part that will be blended in; `share`
    in [0, 1] is how far they are moved, and 0 gives `swapped` back.
    """
    if share == 0.0 or not weight.any():
        return swapped
    # Every second pixel of every second row has the same mean, in a quarter of the time.
    means = [_mean_lab(picture[::2, ::2], weight[::2, ::2]) for picture in (target, swapped)]
    moved = _to_lab(swapped)
    moved += (share * (means[0] - means[1])).astype(np.float32)
    rgb = cv2.cvtColor(moved, cv2.COLOR_LAB2RGB)
    pixels: Picture = np.asarray(cv2.convertScaleAbs(rgb, alpha=255.0), np.uint8)
    return pixels


def _to_lab(picture: Picture) -> NDArray[np.float32]:
    lab = cv2.cvtColor(picture.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2LAB)
    return np.asarray(lab, np.float32)


def _mean_lab(picture: Picture, weight: NDArray[np.floating]) -> NDArray[np.float64]:
    lab = _to_lab(picture)
    mean: NDArray[np.float64] = np.tensordot(weight, lab, 2) / max(float(weight.sum()), 1e-6)
    return mean
