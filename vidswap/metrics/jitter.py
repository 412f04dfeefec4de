"""How much a swapped face shakes on a target that does not."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh

Array = NDArray[np.floating]

# The variance of a second difference of white noise, in variances of the noise: 1 + 4 + 1.
_SECOND_DIFFERENCE_GAIN = 6.0


def landmark_jitter(before: Array, here: Array, after: Array, eye_distance: float) -> float:
    """Shaking of one frame's landmarks (N, 2), in percent of the eyes' distance; lower is better.

    The arguments are the offsets e_t = p_t(swap) - p_t(target) in three neighbouring frames:
    100 / d * sqrt(mean_i |e_(t+1) - 2 e_t + e_(t-1)|^2 / (2 * 6)), d the distance of the outer eye
    corners. Zero where the swap's landmarks move as the target's do, wherever they lie; s / d where
    noise of deviation s pixels, different in every frame, is added to x and y.
    """
    second = np.asarray(after, np.float64) - 2.0 * np.asarray(here, np.float64) + before
    power = (second**2).sum(axis=1).mean() / (2.0 * _SECOND_DIFFERENCE_GAIN)
    return float(100.0 * np.sqrt(power) / eye_distance)


class JitterMeter:
    """`landmark_jitter` of a clip's frames as they come, each one frame late."""

    def __init__(self) -> None:
        self._offsets: deque[tuple[Array, float]] = deque(maxlen=3)

    def add(self, target: Array | None, swap: Array | None) -> float:
        """The meshes (478, 2) of the next frame; the jitter of the frame before it.

        NaN where that frame or one of its neighbours shows no face.
        """
        if target is None or swap is None:
            self._offsets.clear()
            return float("nan")
        right, left = target[mesh.RIGHT_EYE[0]], target[mesh.LEFT_EYE[0]]
        distance = float(np.linalg.norm(np.asarray(left, np.float64) - right))
        self._offsets.append((np.asarray(swap, np.float64) - target, max(distance, 1e-6)))
        if len(self._offsets) < 3:
            return float("nan")
        (before, _), (here, eyes), (after, _) = self._offsets
        return landmark_jitter(before, here, after, eyes)
