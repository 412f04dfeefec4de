"""Holes to train on: blocks as ID-GAN has them, and every other kind that a user may ask for."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.choices import RegionName
from vidswap.inpainting.masks import (
    Mask,
    centre_square,
    irregular,
    random_block,
    region_mask,
)

REGIONS_DRAWN: tuple[RegionName, ...] = ("eyes", "glasses", "nose", "mouth", "lower-face", "face")
DISCOUNT = 0.99  # eq. 2


def drawn_hole(
    size: int, landmarks: NDArray[np.floating], random: np.random.Generator, blocks: float
) -> Mask:
    """A hole (size, size): with a chance of `blocks` a square of 48 of 128, else any other kind."""
    if random.random() < blocks:
        return random_block(size, random)
    kind = random.random()
    if kind < 0.45:
        return irregular(size, random)
    if kind < 0.9:
        mask = region_mask(landmarks, REGIONS_DRAWN[random.integers(len(REGIONS_DRAWN))], size)
        return mask if mask.any() and not mask.all() else random_block(size, random)
    return centre_square(size)


def discount(mask: Mask) -> NDArray[np.float32]:
    """W of eq. 2 (S, S): 0.99 to the distance from the nearest known pixel."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(DISCOUNT**distance, np.float32)


def window_in(mask: Mask, side: int, random: np.random.Generator) -> tuple[int, int]:
    """Top and left of a square of `side` within a mask's box, or around a smaller box."""
    starts = []
    for axis in (1, 0):
        covered = np.flatnonzero(mask.any(axis=axis))
        low, high = sorted((int(covered[0]), int(covered[-1]) + 1 - side))
        start = int(random.integers(low, high + 1))
        starts.append(min(max(start, 0), len(mask) - side))
    return starts[0], starts[1]
