"""Dark and fogged faces are shown to the net in normal exposure, and its answer goes back.

A net that has seen daylight answers a dark face with glowing eyes and lips, and one behind fog or a
fade to white with dark ones. The aligned face is moved and stretched by two numbers before the
net, and back by the same ones after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

BRIGHT_SHARE = 95  # percentile of the face's brightness that is brought to ...
NORMAL = 150.0  # ... this level
DARK = 80.0  # level from which on a face is left as it is
MOST_GAIN = 8.0
UNSEEN = 6.0  # level below which nothing of a face can be seen: it is left alone
FOGGED, FOG = 90.0, 60.0  # contrast, 2nd to 98th percentile: from here on a little, and in full
LIFTED = 60.0  # level that the darkest of a fogged face are above
FOG_CONTRAST, FOG_BLACK = 130.0, 45.0  # that it is then shown with
LEAST_CONTRAST = 6.0  # below which nothing of a face can be seen either
_FACE = slice(64, 208), slice(64, 192)  # rows and columns of the crop


@dataclass(frozen=True)
class Exposure:
    """How a face is shown: (level - black) * gain; a gain of 0 stands for one that is not seen."""

    gain: float = 1.0
    black: float = 0.0

    @property
    def is_seen(self) -> bool:
        return self.gain > 0.0

    def shown(self, picture: Picture) -> Picture:
        """A picture (H, W, 3) uint8 as the net is shown it; itself where nothing changes."""
        return _scaled(picture, self.gain, -self.black * self.gain) if self.is_seen else picture

    def given_back(self, picture: Picture) -> Picture:
        """A picture of the net's as the target's camera would have recorded it."""
        return _scaled(picture, 1.0 / self.gain, self.black)


NORMAL_EXPOSURE = Exposure()


def exposure_of(crop: Picture) -> Exposure:
    """How an aligned face (256, 256, 3) is brought to normal exposure."""
    grey = cv2.cvtColor(np.ascontiguousarray(crop[_FACE]), cv2.COLOR_RGB2GRAY)
    darkest, level, brightest = np.percentile(grey, (2, BRIGHT_SHARE, 98)).tolist()
    if level < UNSEEN or (darkest > LIFTED and brightest - darkest < LEAST_CONTRAST):
        return Exposure(0.0)
    if level < DARK:
        return Exposure(min(NORMAL / level, MOST_GAIN))
    contrast = brightest - darkest
    if darkest <= LIFTED or contrast >= FOGGED:
        return NORMAL_EXPOSURE
    share = min(1.0, (FOGGED - contrast) / (FOGGED - FOG), (darkest - LIFTED) / 10.0)
    gain = 1.0 + share * (min(FOG_CONTRAST / contrast, MOST_GAIN) - 1.0)
    aim = darkest + share * (min(darkest, FOG_BLACK) - darkest)
    return Exposure(gain, darkest - aim / gain)


def _scaled(picture: Picture, gain: float, added: float) -> Picture:
    if gain == 1.0 and added == 0.0:
        return picture
    levels = np.clip(np.rint(np.arange(256) * gain + added), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, levels), np.uint8)
