"""Pose and expression, measured on the 478-point mesh of target and swap.

The meshes are the project's own landmark net's, found again on the swap: it gave the boundary map
too, so it is no independent witness of what it cannot see. Landmarks are (478, 2) pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh
from vidswap.faces.align import similarity_transform, warp_points
from vidswap.faces.pose import STABLE_POINTS, eye_opening, head_pose, mouth_opening

Array = NDArray[np.floating]

RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
EXPRESSION_POINTS = np.array(
    [
        *(*mesh.OUTER_LIPS, *mesh.INNER_LIPS),
        *(*mesh.RIGHT_EYE, *mesh.LEFT_EYE),
        *(*RIGHT_BROW, *LEFT_BROW),
    ]
)
_OUTER_EYE_CORNERS = (33, 263)


def pose_degrees(target: Array, swap: Array) -> float:
    """Mean absolute difference of yaw, pitch and roll in degrees; lower is better.

    The paper (IV.C) takes the Euclidean distance of the three, up to sqrt(3) times as much, with
    another pose net.
    """
    a, b = head_pose(target), head_pose(swap)
    return float(np.mean([abs(a.yaw - b.yaw), abs(a.pitch - b.pitch), abs(a.roll - b.roll)]))


def expression_percent(target: Array, swap: Array) -> float:
    """How far lips, lids and brows are from the target's, in percent of its inter-ocular distance.

    mean_i |S(swap_i) - target_i| / d * 100 over `EXPRESSION_POINTS`; S is the least-squares
    similarity that lays the points no expression moves over each other, d the distance of the outer
    eye corners. Lower is better, but two people with one expression are not at zero: the shape of
    lips and brows is identity too. The paper's *exp* is the distance of a 3D model's coefficients.
    """
    onto_target = similarity_transform(
        np.asarray(swap[STABLE_POINTS], np.float64), np.asarray(target[STABLE_POINTS], np.float64)
    )
    moved = warp_points(onto_target, swap[EXPRESSION_POINTS])
    distances = np.linalg.norm(moved - target[EXPRESSION_POINTS], axis=1)
    right, left = target[list(_OUTER_EYE_CORNERS)]
    return float(100.0 * distances.mean() / np.linalg.norm(right - left))


def openings(landmarks: Array) -> tuple[float, float]:
    """How far eyes and mouth are open, as in `vidswap.faces.pose`; a blink or a word in numbers."""
    return eye_opening(landmarks), mouth_opening(landmarks)


def correlation(target: Array, swap: Array, least_deviation: float = 1e-6) -> float:
    """Pearson correlation of two curves (T,), in [-1, 1]; higher is better.

    NaN for fewer than three frames, or where a curve deviates from its mean by less than
    `least_deviation`: what does not move cannot be followed.
    """
    curves = [np.asarray(target, np.float64), np.asarray(swap, np.float64)]
    if len(target) < 3 or min(float(curve.std()) for curve in curves) < least_deviation:
        return float("nan")
    a, b = (curve - curve.mean() for curve in curves)
    return float((a * b).mean() / (a.std() * b.std()))
