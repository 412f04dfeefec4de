"""How much of a target's picture must come back: eq. 7's lambda_1 as a map."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh
from vidswap.training.pair_batch import PairConfig

LEAST_EYE_HEIGHT = 0.44  # of the eye's width that keeps counting as the eye when it is shut


def keep_map(
    landmarks: NDArray[np.float32], same_person: bool, config: PairConfig
) -> NDArray[np.float32]:
    """Eq. 7's lambda_1 as a map (S, S): one for the same person, lower inside another's face."""
    size = config.size
    if same_person:
        return np.ones((size, size), np.float32)
    # Drawn at 128: the map is smooth.
    points = np.rint((landmarks + 0.5) / 2.0 * 16.0 - 8.0).astype(np.int32)
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


def draw_eyes(picture: Any, points: NDArray[np.int32], value: float) -> None:
    """Fill the place of both eyes, open or shut, of a mesh in sixteenths of a pixel."""
    for right, left in (mesh.RIGHT_EYE_CORNERS, mesh.LEFT_EYE_CORNERS):
        across = points[left] - points[right]
        axes = np.array([0.5, LEAST_EYE_HEIGHT / 2.0]) * np.linalg.norm(across)
        angle = float(np.degrees(np.arctan2(across[1], across[0])))
        centre = (points[right] + points[left]) // 2
        cv2.ellipse(
            picture, centre.tolist(), np.rint(axes).astype(int).tolist(), angle, 0, 360, value, -1,
            cv2.LINE_8, 4,
        )  # fmt: skip
