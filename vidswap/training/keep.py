"""How much of a target's picture must come back: eq. 7's lambda_1 as a map."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.mask import sixteenths
from vidswap.blending.warping import draw_eyes
from vidswap.faces import mesh
from vidswap.training.pair_batch import PairConfig


def keep_map(
    landmarks: NDArray[np.float32], same_person: bool, config: PairConfig
) -> NDArray[np.float32]:
    """Eq. 7's lambda_1 as a map (S, S): one for the same person, lower inside another's face."""
    size = config.size
    if same_person:
        return np.ones((size, size), np.float32)
    # Drawn at 128: the map is smooth.
    points = sixteenths(landmarks, 128)
    keep: Any = np.full((128, 128), config.keep_outside, np.float32)
    oval = points[list(mesh.FACE_OVAL)]
    cv2.fillPoly(keep, [oval], config.keep_face, cv2.LINE_8, 4)
    keep = cv2.GaussianBlur(keep, (0, 0), 3.0)
    features = np.zeros((128, 128), np.uint8)
    for contour in (mesh.RIGHT_EYE, mesh.LEFT_EYE, mesh.INNER_LIPS):
        cv2.fillPoly(features, [points[list(contour)]], 255, cv2.LINE_8, 4)
    draw_eyes(features, points, 255)
    # The lids and the rim of the lips as well: a wink is in the lids.
    features = cv2.dilate(features, np.ones((5, 5), np.uint8)).astype(np.uint8)
    keep[features > 0] = config.keep_features
    if size != 128:
        keep = cv2.resize(keep, (size, size), interpolation=cv2.INTER_LINEAR)
    smooth: NDArray[np.float32] = keep
    return smooth
