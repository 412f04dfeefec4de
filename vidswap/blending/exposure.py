"""Dark faces are shown to the net in normal exposure, and its answer goes back to the dark.

A net that has seen daylight answers a dark face with glowing eyes and lips. The aligned face is
brightened by one factor before the net and darkened by the same one after it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

BRIGHT_SHARE = 95  # percentile of the face's brightness that is brought to ...
NORMAL = 150.0  # ... this level
DARK = 80.0  # level from which on a face is left as it is
MOST_GAIN = 8.0
UNSEEN = 6.0  # level below which nothing of a face can be seen: it is left alone
_FACE = slice(64, 208), slice(64, 192)  # rows and columns of the crop


def exposure_gain(crop: Picture) -> float:
    """The factor that brings an aligned face (256, 256, 3) to normal exposure.

    1 for one that is not dark, 0 for one so dark that nothing can be seen.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(crop[_FACE]), cv2.COLOR_RGB2GRAY)
    level = float(np.percentile(grey, BRIGHT_SHARE))
    if level >= DARK:
        return 1.0
    return 0.0 if level < UNSEEN else min(NORMAL / level, MOST_GAIN)


def exposed(picture: Picture, gain: float) -> Picture:
    """A picture (H, W, 3) uint8 times a factor; itself for 1."""
    if gain == 1.0:
        return picture
    return np.asarray(cv2.convertScaleAbs(picture, alpha=gain), np.uint8)
