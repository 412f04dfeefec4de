"""Smoothing of landmarks over time: a still face must not shimmer, a moving one must not lag.

The tracker answers a few frames late, so the filter may look both ways. It averages over the
neighbouring frames, weighing each by how little the face differs there (a bilateral filter in
time): a still face is averaged over the whole window, a fast one is left as it was found, and no
frame is ever late. The rigid motion of the head and the shape in the head's own frame are weighed
apart, and the shape by feature, so that a blink on a moving head, or speech on a still one, is
kept. `docs/smoothing.md` has the measurements behind the constants.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh
from vidswap.faces.align import similarity_transform, warp_points

FloatArray = NDArray[np.float64]

# Points that expression moves little: eye corners, bridge and wings of the nose, temples, forehead.
RIGID_POINTS = np.array(
    [33, 133, 263, 362, 168, 6, 197, 195, 5, 4, 1, 98, 327, 127, 356, 234, 454, 10, 109, 338]
)
_EYES = (*mesh.RIGHT_EYE, *mesh.RIGHT_IRIS, *mesh.LEFT_EYE, *mesh.LEFT_IRIS)
_MOUTH = (*mesh.OUTER_LIPS, *mesh.INNER_LIPS)


@dataclass(frozen=True)
class Smoothing:
    """Widths of the filter: `seconds` in time, the others in face sizes (see `face_size`).

    `motion` is how far a head may have moved, `shape` how far a feature may have changed, for a
    neighbouring frame to still count as the same.
    """

    seconds: float = 0.08
    motion: float = 0.01
    shape: float = 0.01

    @property
    def window(self) -> float:
        """Seconds before and after a frame beyond which nothing counts."""
        return 2.5 * self.seconds


def face_size(landmarks: NDArray[np.floating]) -> float:
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
    here = np.asarray(landmarks[centre], np.float64)
    if len(landmarks) == 1:
        return here.astype(np.float32)
    size = face_size(here)
    nearness = np.exp(-0.5 * ((seconds - seconds[centre]) / smoothing.seconds) ** 2)
    affines, shapes = _register(landmarks, here)

    moved = np.stack([warp_points(affine, here[RIGID_POINTS]) for affine in affines])
    distance = _rms(moved - here[RIGID_POINTS]) / size
    rigid = _weighted_mean(affines, nearness * _likeness(distance, smoothing.motion))

    shape = _smooth_shape(shapes, centre, nearness, smoothing.shape * size)
    return warp_points(rigid, shape).astype(np.float32)


def _register(landmarks: NDArray[np.floating], here: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rigid motion from `here` to every frame (T, 2, 3), and every mesh with that motion undone."""
    affines, shapes = [], []
    for there in np.asarray(landmarks, np.float64):
        affines.append(similarity_transform(here[RIGID_POINTS], there[RIGID_POINTS]))
        shapes.append(
            warp_points(similarity_transform(there[RIGID_POINTS], here[RIGID_POINTS]), there)
        )
    return np.stack(affines), np.stack(shapes)


def _smooth_shape(
    shapes: FloatArray, centre: int, nearness: FloatArray, width: float
) -> FloatArray:
    smoothed = np.empty_like(shapes[centre])
    rest = np.setdiff1d(np.arange(mesh.N_LANDMARKS), (*_EYES, *_MOUTH))
    for feature in (np.array(_EYES), np.array(_MOUTH), rest):
        parts = shapes[:, feature]
        distance = _rms(parts - parts[centre])
        smoothed[feature] = _weighted_mean(parts, nearness * _likeness(distance, width))
    return smoothed


def _likeness(distance: FloatArray, width: float) -> FloatArray:
    weights: FloatArray = np.exp(-0.5 * (distance / width) ** 2)
    return weights


def _rms(differences: FloatArray) -> FloatArray:
    """Root mean square length, per row, of differences (T, N, 2)."""
    lengths: FloatArray = np.sqrt((differences**2).sum(axis=2).mean(axis=1))
    return lengths


def _weighted_mean(rows: FloatArray, weights: FloatArray) -> FloatArray:
    mean: FloatArray = np.tensordot(weights / weights.sum(), rows, axes=1)
    return mean
