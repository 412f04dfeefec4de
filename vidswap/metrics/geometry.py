"""Pose and expression, measured on the 478-point mesh of target and swap.

The meshes are the project's own landmark net's, found again on the swap: it gave the boundary map
too, so it is no independent witness of what it cannot see. Landmarks are (478, 2) pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh
from vidswap.faces.align import similarity_transform, warp_points
from vidswap.faces.detection import Face, LandmarkFinder
from vidswap.faces.pose import (
    STABLE_POINTS,
    HeadPose,
    eye_opening,
    gaze,
    head_pose,
    mouth_opening,
)

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


def pose_distance(target: HeadPose, swap: HeadPose) -> float:
    """sqrt(dyaw^2 + dpitch^2 + droll^2) in degrees: AP-GAN's *pose* (IV.C), SwapInpaint's (IV.B).

    Lower is better. There the angles are HopeNet's; here they come from the rigid fit of the
    canonical mesh (`vidswap.faces.pose`), or from the net whose angles the caller gives.
    """
    difference = (target.yaw - swap.yaw, target.pitch - swap.pitch, target.roll - swap.roll)
    return float(np.linalg.norm(difference))


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


def gaze_distance(target: Array, swap: Array) -> float:
    """How far the irises are from the target's place in the eyes, in percent of an eye's width.

    100 |g(target) - g(swap)| with the offset g of `vidswap.faces.pose.gaze`; lower is better.
    """
    return float(100.0 * np.linalg.norm(np.subtract(gaze(target), gaze(swap))))


def meshes_in_one_region(
    before: NDArray[np.uint8], after: NDArray[np.uint8], face: Face, finder: LandmarkFinder
) -> tuple[Face | None, Face | None]:
    """The mesh before and after the swap, both looked for where `face` is; None where missing.

    A mesh moves a little with the region it is looked for in: up to half a degree. Looked for in
    one region, a face that was not changed differs by nothing. Frames are (H, W, 3) uint8 RGB.
    """
    return finder.landmarks(before, face), finder.landmarks(after, face)


def correlation(target: Array, swap: Array, least_deviation: float = 1e-6) -> float:
    """Pearson correlation of two curves (T,), in [-1, 1]; higher is better.

    NaN for fewer than three frames, or where a curve deviates from its mean by less than
    `least_deviation`: what does not move cannot be followed.
    """
    curves = np.stack([np.asarray(target, np.float64), np.asarray(swap, np.float64)], axis=1)
    if len(curves) < 3 or float(curves.std(axis=0).min()) < least_deviation:
        return float("nan")
    return float(pearson(curves))


def pearson(curves: Array) -> NDArray[np.float64]:
    """Pearson correlation (...) of pairs of curves (..., T, 2); NaN where one of them is even.

    Frames in which either is NaN are left out.
    """
    known = ~np.isnan(curves).any(axis=-1, keepdims=True)
    count = np.maximum(known.sum(axis=-2, keepdims=True), 1)
    filled = np.where(known, curves, 0.0)
    centred = np.where(known, filled - filled.sum(axis=-2, keepdims=True) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=-2)).prod(axis=-1)
    together = centred.prod(axis=-1).sum(axis=-1)
    usable = spread > 1e-12
    result: NDArray[np.float64] = np.where(usable, together / np.where(usable, spread, 1.0), np.nan)
    return result
