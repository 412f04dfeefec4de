"""Smoothing of landmarks over time: a still face must not shimmer, a moving one must not lag.

The tracker answers a few frames late, so the filter may look both ways. It averages over the
neighbouring frames, weighing each by how little the face differs there (a bilateral filter in
time): a still face is averaged over the whole window, a fast one is left as it was found, and
nothing ever comes late. The rigid motion of the head and the shape in the head's own frame are
weighed apart, and the shape by feature, so that a blink on a moving head, or speech on a still
one, is kept. `docs/smoothing.md` has the measurements behind the constants, and what the one-euro
filter makes of the same sequences.

Points are complex numbers in here, x + iy: a similarity is then `turn * point + shift`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

# Points that expression moves little: eye corners, bridge and wings of the nose, temples, forehead.
RIGID_POINTS = np.array(
    [33, 133, 263, 362, 168, 6, 197, 195, 5, 4, 1, 98, 327, 127, 356, 234, 454, 10, 109, 338]
)
_EYES = np.array((*mesh.RIGHT_EYE, *mesh.RIGHT_IRIS, *mesh.LEFT_EYE, *mesh.LEFT_IRIS))
_MOUTH = np.array((*mesh.OUTER_LIPS, *mesh.INNER_LIPS))
_REST = np.setdiff1d(np.arange(mesh.N_LANDMARKS), (*_EYES, *_MOUTH))


@dataclass(frozen=True)
class Smoothing:
    """Widths of the filter: `seconds` in time, the others in face sizes (see `mesh_diagonal`).

    `motion` is how far a head may have moved, and `shape` how far a feature may have changed, for
    a neighbouring frame to still count as the same.
    """

    seconds: float = 0.1
    motion: float = 0.004
    shape: float = 0.0025

    @property
    def window(self) -> float:
        """Seconds before and after a frame beyond which nothing counts."""
        return 2.5 * self.seconds


def mesh_diagonal(landmarks: NDArray[np.floating]) -> float:
    """The diagonal of the box around all landmarks (N, 2), in their unit; more than zero."""
    return max(float(np.hypot(*np.ptp(landmarks, axis=0))), 1e-6)


def smooth_landmarks(
    landmarks: NDArray[np.floating],
    seconds: NDArray[np.floating],
    centre: int,
    smoothing: Smoothing,
) -> NDArray[np.float32]:
    """The smoothed mesh (478, 2) of one frame from those of the frames around it.

    `landmarks` (T, 478, 2) are one face's meshes at the times `seconds` (T,), which need not be
    evenly spaced; `centre` is the row to smooth. Pixels in, pixels out.
    """
    points = np.asarray(landmarks[..., 0] + 1j * landmarks[..., 1], np.complex128)
    here = points[centre]
    size = mesh_diagonal(landmarks[centre])
    nearness = np.exp(-0.5 * ((seconds - seconds[centre]) / smoothing.seconds) ** 2)

    anchors = here[RIGID_POINTS]
    turn, shift = _rigid_motion(anchors, points[:, RIGID_POINTS])
    moved = turn * anchors + shift - anchors
    weights = nearness * _likeness(moved, smoothing.motion * size)
    mean_turn, mean_shift = _weighted_mean(turn, weights), _weighted_mean(shift, weights)

    shapes = (points - shift) / turn
    smoothed = np.empty_like(here)
    for feature in (_EYES, _MOUTH, _REST):
        change = shapes[:, feature] - here[feature]
        weights = nearness * _likeness(change, smoothing.shape * size)
        smoothed[feature] = _weighted_mean(shapes[:, feature], weights)
    smoothed = mean_turn * smoothed + mean_shift
    return np.stack([smoothed.real, smoothed.imag], axis=1).astype(np.float32)


def _rigid_motion(anchors: ComplexArray, moved: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
    """Least-squares similarities, turn and shift (T, 1), of points (N,) to each row of (T, N)."""
    mean, moved_mean = anchors.mean(), moved.mean(axis=1, keepdims=True)
    p = anchors - mean
    products = ((moved - moved_mean) * p.conj()).sum(axis=1, keepdims=True)
    turn = products / max(float((np.abs(p) ** 2).sum()), 1e-12)
    return turn, moved_mean - turn * mean


def _likeness(difference: ComplexArray, width: float) -> FloatArray:
    """One for rows (T, N) that do not differ, falling to zero a few widths off."""
    mean_square = (difference.real**2 + difference.imag**2).mean(axis=1)
    return np.asarray(np.exp(-0.5 * mean_square / width**2), np.float64)


def _weighted_mean(rows: ComplexArray, weights: FloatArray) -> ComplexArray:
    return np.asarray((weights[:, None] * rows).sum(axis=0) / weights.sum(), np.complex128)
