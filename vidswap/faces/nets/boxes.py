"""From BlazeFace's raw values to faces: anchors, decoding, weighted non-maximum suppression.

Bazarevsky et al. 2019 (arXiv:1907.05047), section 3; constants are those of the MediaPipe project.
Coordinates are shares of the net's input, from its corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

N_KEYPOINTS = 6
SAME_FACE_OVERLAP = 0.3  # intersection over union above which two boxes are averaged
MAX_LOGIT = 100.0


@dataclass(frozen=True, eq=False)
class ScoredBox:
    """`corners` (2, 2) and `keypoints` (6, 2), x then y, float32; `score` in [0, 1]."""

    corners: Array
    keypoints: Array
    score: float


def anchor_centres(cells: Sequence[tuple[int, int]]) -> Array:
    """Centres (N, 2) of the anchors, for grids of (cells per side, anchors per cell)."""
    grids = []
    for side, per_cell in cells:
        centres = (np.arange(side, dtype=np.float32) + 0.5) / side
        y, x = np.meshgrid(centres, centres, indexing="ij")
        grids.append(np.repeat(np.stack([x, y], axis=2).reshape(-1, 2), per_cell, axis=0))
    return np.concatenate(grids).astype(np.float32)


def decode(
    boxes: Array, logits: Array, centres: Array, size: int, min_score: float
) -> list[ScoredBox]:
    """The faces scored `min_score` or better, doubles averaged, the best first.

    `boxes` (N, 16) hold centre, width and height, then the keypoints, in pixels of an input of side
    `size`, relative to the anchor's centre; `logits` (N,).
    """
    clipped = np.clip(logits, -MAX_LOGIT, MAX_LOGIT).astype(np.float64)
    scores = (1.0 / (1.0 + np.exp(-clipped))).astype(np.float32)
    likely = np.flatnonzero(scores >= min_score)
    likely = likely[np.argsort(-scores[likely], kind="stable")]
    points = boxes[likely].reshape(-1, 8, 2) / np.float32(size)
    centre = points[:, 0] + centres[likely]
    half = points[:, 1] / 2
    valid = (half >= 0).all(axis=1)
    places = np.concatenate(
        [
            np.stack([centre - half, centre + half], axis=1),
            points[:, 2:] + centres[likely][:, None],
        ],
        axis=1,
    )
    return _without_doubles(places[valid], scores[likely][valid])


def _without_doubles(places: Array, scores: Array) -> list[ScoredBox]:
    """Boxes that overlap the best one become one, the mean of all weighted by their scores.

    `places` (N, 8, 2): two corners and six keypoints. `scores` (N,), the best first.
    """
    found = []
    while len(scores):
        doubles = _overlaps(places[:, :2], places[0, :2]) > SAME_FACE_OVERLAP
        if doubles.any():
            place = np.average(places[doubles], axis=0, weights=scores[doubles])
        else:  # a box without an area overlaps not even itself
            place, doubles[0] = places[0], True
        place = place.astype(np.float32)
        found.append(ScoredBox(place[:2], place[2:], float(scores[0])))
        places, scores = places[~doubles], scores[~doubles]
    return found


def _overlaps(boxes: Array, box: Array) -> Array:
    """Intersection over union of boxes (N, 2, 2) with one (2, 2)."""
    low, high = np.maximum(boxes[:, 0], box[0]), np.minimum(boxes[:, 1], box[1])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    union = np.prod(boxes[:, 1] - boxes[:, 0], axis=1) + np.prod(box[1] - box[0]) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))
