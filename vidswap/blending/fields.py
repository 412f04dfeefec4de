"""Smooth fields that bring the points of one mesh onto those of another."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh

Picture = NDArray[np.uint8]  # (256, 256, 3) RGB
Points = NDArray[np.float32]  # (N, 2) in pixels of the crop
Floats = NDArray[np.float32]
SIZE = 256
_WIDE = (4.0, 0.05)  # how much wider than the near one the far kernel is, and its weight
_EXACT = 2.5  # pixels, the width of the correction at points that have to be met
# Lids and lips lie closer to each other than a smooth field tells apart, and open and shut.
EXACT_POINTS = np.zeros(mesh.N_LANDMARKS, np.bool_)
EXACT_POINTS[[*mesh.RIGHT_EYE, *mesh.LEFT_EYE, *mesh.OUTER_LIPS, *mesh.INNER_LIPS]] = True


def displacement(
    at: Points,
    to: Points,
    exact: NDArray[np.bool_] | None = None,
    width: float = 6.0,
    rounds: int = 2,
) -> Floats:
    """A smooth field (256, 256, 2), x then y, that is about `to - at` at the points `at`.

    The Gaussian mean (Nadaraya and Watson) of the differences, `width` pixels wide near the points
    and wider where there are none, as on cheeks of a mesh of contours; zero far from all points.
    What it misses at the points marked `exact` is added in so many rounds, `_EXACT` pixels wide.
    """
    half = SIZE // 2  # the field is smooth
    differences = to - at
    sums = _scattered(at, differences, half)
    wider, share = _WIDE
    near = np.asarray(cv2.GaussianBlur(sums, (0, 0), width / 2.0), np.float32)
    far = cv2.resize(sums, (SIZE // 8, SIZE // 8), interpolation=cv2.INTER_AREA)
    far = cv2.GaussianBlur(far, (0, 0), wider * width / 8.0)
    sums = near + share * cv2.resize(far, (half, half), interpolation=cv2.INTER_LINEAR)
    smooth = _means(sums, 4e-6)  # four pixels have become one
    if exact is not None and exact.any():
        points, wanted = at[exact], differences[exact]
        x, y = ((points - 0.5) / 2.0).T[:, None].astype(np.float32)
        for _ in range(rounds):
            found = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
            sums = _scattered(points, wanted - found, half)
            sums = np.asarray(cv2.GaussianBlur(sums, (0, 0), _EXACT / 2.0), np.float32)
            smooth += _means(sums, 2e-3)
    return np.asarray(cv2.resize(smooth, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.float32)


def displaced(picture: Picture, field: Floats, corner: tuple[int, int] = (0, 0)) -> Picture:
    """What a field (h, w, 2) takes from a picture, for the part of it that begins at `corner`, x
    then y: every pixel from so far beside it.
    """
    height, width = field.shape[:2]
    left, top = corner
    columns = np.arange(left, left + width, dtype=np.float32)
    rows = np.arange(top, top + height, dtype=np.float32)[:, None]
    x, y = columns + field[..., 0], rows + field[..., 1]
    taken = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(taken, np.uint8)


def _means(sums: Floats, least: float) -> Floats:
    """Means (H, W, 2) of sums of x, of y and of weights (H, W, 3); zero far from all weights."""
    weights = sums[..., 2] + np.float32(least)
    return np.asarray(cv2.merge((sums[..., 0] / weights, sums[..., 1] / weights)), np.float32)


def _scattered(at: Points, values: Points, half: int) -> Floats:
    """Sums (half, half, 3) at half the crop's size: the values of points, and their number."""
    rows, columns = np.clip(np.rint((at - 0.5) / 2.0).astype(int), 0, half - 1)[:, ::-1].T
    sums = np.zeros((half, half, 3), np.float32)
    np.add.at(sums, (rows, columns), np.column_stack([values, np.ones(len(at))]).astype(np.float32))
    return sums
