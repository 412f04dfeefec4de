"""A swap is no sharper than its target: out of focus in a blurred frame, and sharp in the next."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces.quality import sharpness

Picture = NDArray[np.uint8]

# Sharpness (`vidswap.faces.quality`) below which a frame counts as blurred: of portraits 98 % are
# above 0.24, and a Gaussian of 3.5 pixels in the crop comes to 0.15.
BLURRED = 0.2
WIDEST, STEPS = 12.0, 5  # pixels of the crop; halvings that find the width


def focused_like(target: Picture, swapped: Picture) -> Picture:
    """`swapped` blurred to the sharpness of a blurred `target`, (256, 256, 3) uint8 RGB each.

    Itself where the target is sharp, or the swap no sharper than it.
    """
    wanted = sharpness(target)
    if wanted >= BLURRED or sharpness(swapped) <= wanted:
        return swapped
    least, most = 0.0, WIDEST
    for _ in range(STEPS):
        width = (least + most) / 2.0
        if sharpness(_blurred(swapped, width)) > wanted:
            least = width
        else:
            most = width
    return _blurred(swapped, most)


def _blurred(picture: Picture, width: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), width), np.uint8)
