"""Blend two pictures band by band of frequency: Burt and Adelson's Laplacian pyramid, 1983."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
LEVELS = 5


def pyramid_blend(
    front: Picture, behind: Picture, weight: NDArray[np.floating], levels: int = LEVELS
) -> Picture:
    """`front` over `behind`, (H, W, 3) uint8 each, by a weight (H, W) in [0, 1].

    Coarse bands are mixed over a wide seam and fine ones over a narrow one, so that the edge of the
    weight shows neither as a line nor as a double picture.
    """
    if front.shape != behind.shape or weight.shape != front.shape[:2]:
        raise ValueError(
            f"pictures and weight of one size are needed: {front.shape}, {behind.shape}, "
            f"{weight.shape}"
        )
    levels = min(levels, max(0, int(np.log2(min(weight.shape))) - 2))
    weights = [np.asarray(weight, np.float32)]
    for _ in range(levels):
        weights.append(np.asarray(cv2.pyrDown(weights[-1]), np.float32))
    bands = [
        w[..., None] * one + (1.0 - w[..., None]) * other
        for w, one, other in zip(
            weights, _laplacian(front, levels), _laplacian(behind, levels), strict=True
        )
    ]
    mixed = bands.pop()
    while bands:
        band = bands.pop()
        mixed = cv2.pyrUp(mixed, dstsize=(band.shape[1], band.shape[0])) + band
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _laplacian(picture: Picture, levels: int) -> list[NDArray[np.float32]]:
    """The bands of a picture, finest first; the last is what is left of it."""
    bands, current = [], picture.astype(np.float32)
    for _ in range(levels):
        smaller = np.asarray(cv2.pyrDown(current), np.float32)
        larger = cv2.pyrUp(smaller, dstsize=(current.shape[1], current.shape[0]))
        bands.append(np.asarray(current - larger, np.float32))
        current = smaller
    return [*bands, current]
