"""Steadying a swap over time: what the generator changes moves with the target's own motion.

A generator that sees one frame at a time answers small changes of light, noise and alignment with
small changes of skin and brows of its own, which eq. 15 measures and the eye sees as shimmer. Here
the change R = Y - F_t of a frame is mixed with that of the frame before, carried along the
target's optical flow; where the flow does not explain the target (a blink, a hand), the new one
stands alone.

What is carried is carried on again from frame to frame. Each time it must keep what is fine: a
change that fades is the target's own lashes and pores in place of the source's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.choices import DEFAULT_TEMPORAL_SMOOTHING

UNEXPLAINED = 9.0  # grey values that the warped target may be off, as a deviation

Picture = NDArray[np.uint8]
Change = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SmoothedMoment:
    """What the next frame of a track is smoothed with: its last frame's F_t and change."""

    index: int
    crop: Picture
    change: Change


class SmoothedFace:
    """The changes of one track, in order of frames; `share` in [0, 1) is the past's part.

    `last` is all that it remembers.
    """

    def __init__(
        self, share: float = DEFAULT_TEMPORAL_SMOOTHING, last: SmoothedMoment | None = None
    ) -> None:
        self.share = share
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self.last = last

    def __call__(self, index: int, crop: Picture, swapped: Picture) -> Picture:
        """Y of frame `index`, smoothed: `crop` F_t and `swapped` Y are (256, 256, 3) uint8.

        Frames that do not follow on each other start anew.
        """
        if swapped.shape != crop.shape:
            swapped = np.asarray(cv2.resize(swapped, crop.shape[1::-1]), np.uint8)
        change = swapped.astype(np.float32) - crop
        last = self.last
        if last is not None and last.index == index - 1 and self.share > 0:
            carried, trust = self._carried(crop, last)
            change += (self.share * trust)[:, :, None] * (carried - change)
            swapped = np.rint(np.clip(crop + change, 0, 255)).astype(np.uint8)
        self.last = SmoothedMoment(index, crop, change)
        return swapped

    def _carried(self, crop: Picture, last: SmoothedMoment) -> tuple[Change, NDArray[np.float32]]:
        """The last change at the places where this crop's pixels came from, and the trust in it."""
        grey = [cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (crop, last.crop)]
        flow = self._flow.calc(grey[0], grey[1], None)
        height, width = crop.shape[:2]
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        x, y = x + flow[:, :, 0], y + flow[:, :, 1]
        carried = cv2.remap(last.change, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        before = cv2.remap(last.crop, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        red, green, blue = cv2.split(cv2.absdiff(crop, before))
        most = cv2.max(cv2.max(red, green), blue).astype(np.float32)
        off = cv2.GaussianBlur(most, (0, 0), 2.0)
        trust: NDArray[np.float32] = np.exp(-0.5 * (off / UNEXPLAINED) ** 2).astype(np.float32)
        return np.asarray(carried, np.float32), trust
