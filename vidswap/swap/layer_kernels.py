"""Passes over the pixels of a layer, each in one loop without copies of the picture."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from vidswap.media.colour_space import Float

LARGEST_HALF = np.float32(65504.0)


@numba.njit(cache=True, nogil=True)
def look_up(
    samples: NDArray[np.uint16], table: NDArray[np.uint16], rgba: NDArray[np.uint16]
) -> None:
    """Bits of halves (H, W, 3 or 4) of integer samples (H, W, 3). The compiler knows no halves."""
    height, width, channels = samples.shape
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                rgba[y, x, c] = table[samples[y, x, c]]


@numba.njit(cache=True, nogil=True)
def moved_light(
    samples: NDArray[np.uint16],
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    step: int,
    table: Float,
    margin: int,
    target: Float,
    final: Float,
) -> None:
    """Light of samples, and of those moved by `step` for each code by which the view changes.

    table: light of samples from -margin to the greatest and margin, beyond which none is moved.
    """
    height, width, channels = samples.shape
    last = table.size - 1
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                old = np.int64(samples[y, x, c]) + margin
                change = np.int64(after[y, x, c]) - np.int64(before[y, x, c])
                new = old + np.int64(step) * change
                target[y, x, c] = table[old]
                final[y, x, c] = table[min(max(int(new), 0), last)]


@numba.njit(cache=True, nogil=True)
def lay_face(
    places: NDArray[np.float32],
    corner: tuple[int, int],
    light: Float,
    weight: Float,
    number: float,
    matte: Float,
    raw: Float,
    uv: Float,
    identity: Float,
) -> None:
    """Lay a face over the layers of its box (h, w).

    places: affine (2, 3) from pixels of the frame to places on the crop, [0, 1], downwards. corner:
    the frame's pixel (x, y) of the box's first. light (h, w, 3) of the crop, weight (h, w).
    """
    height, width = weight.shape
    for y in range(height):
        for x in range(width):
            own = weight[y, x]
            if own > 0.0:
                identity[y, x] = number
                matte[y, x] = 1.0 - (1.0 - matte[y, x]) * (1.0 - own)
            column, row = np.float32(corner[0] + x), np.float32(corner[1] + y)
            u = places[0, 0] * column + places[0, 1] * row + places[0, 2]
            v = np.float32(1.0) - (places[1, 0] * column + places[1, 1] * row + places[1, 2])
            if 0.0 <= u <= 1.0 and 0.0 <= v <= 1.0:
                for c in range(3):
                    raw[y, x, c] = light[y, x, c]
                raw[y, x, 3] = 1.0
                uv[y, x, 0], uv[y, x, 1] = u, v


@numba.njit(cache=True, nogil=True)
def difference(target: Float, final: Float, matte: Float, face: Float) -> None:
    """face (h, w, 4) = final - (1 - matte) target and the matte; 0 where light is not finite."""
    height, width = matte.shape
    for y in range(height):
        for x in range(width):
            through = np.float32(1.0) - matte[y, x]
            for c in range(3):
                behind, light = through * target[y, x, c], final[y, x, c]
                if np.isnan(behind):
                    behind = np.float32(0.0)
                behind = min(max(behind, -LARGEST_HALF), LARGEST_HALF)
                face[y, x, c] = light - behind if np.isfinite(light) else np.float32(0.0)
            face[y, x, 3] = matte[y, x]
