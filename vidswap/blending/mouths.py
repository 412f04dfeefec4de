"""What is between parted lips: the target's own teeth and tongue.

They say what is said, and little about who says it; a generator paints teeth softly, and grey what
is dark behind them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.fields import Floats, Picture, Points
from vidswap.blending.mask import sixteenths
from vidswap.blending.slits import part_of_outline
from vidswap.faces import mesh
from vidswap.faces.pose import lip_gap

LEAST_GAP = 1.0  # pixels of the crop between the lips, below which nothing shows
SOFT, LIP_SOFT = 1.0, 0.7  # pixels, deviations of the edges at the lips' outlines, and at their red
RED = (0.55, 0.85)  # of the lips' redness, up to which it is no lip, and from which on it is one
LEAST_RED = 8.0  # levels that the red of lips is above their mean colour at least
DARK = (0.6, 0.75)  # of the lips' brightness: what is darker lies behind them, however red


def with_own_mouth(picture: Picture, target: Picture, landmarks: Points) -> Picture:
    """A picture (256, 256, 3) with what `target` shows between its lips.

    `landmarks` (478, 2) are the target's. The picture itself where its mouth is shut.
    """
    part = part_of_outline(landmarks[list(mesh.OUTER_LIPS)], 2)
    if part is None or lip_gap(landmarks) < LEAST_GAP:
        return picture
    corner = (part[1].start, part[0].start)
    wanted, own = target[part].astype(np.float32), picture[part].astype(np.float32)
    lips = np.zeros(wanted.shape[:2], np.float32)
    between = np.zeros_like(lips)
    for mask, outline, value in (
        (lips, mesh.OUTER_LIPS, 1.0), (lips, mesh.INNER_LIPS, 0.0), (between, mesh.INNER_LIPS, 1.0),
    ):  # fmt: skip
        points = sixteenths(landmarks[list(outline)] - corner)
        cv2.fillPoly(mask, [points], value, cv2.LINE_8, 4)
    if not lips.any():
        return picture
    inside = cv2.GaussianBlur(cv2.erode(between, np.ones((3, 3), np.uint8)), (0, 0), SOFT)
    shown = cv2.GaussianBlur(inside * _no_lip(wanted, lips > 0.0), (0, 0), LIP_SOFT)[..., None]
    mixed = picture.copy()
    mixed[part] = np.rint(own + shown * (wanted - own)).astype(np.uint8)
    return mixed


def _no_lip(part: Floats, lips: NDArray[np.bool_]) -> Floats:
    """Where a part (h, w, 3) with a mouth shows no lip, 0 to 1: a mesh is a few pixels off."""
    brightness = part.mean(axis=2)
    redness = part[..., 0] - brightness
    red = max(float(np.median(redness[lips])), LEAST_RED)
    bright = max(float(np.median(brightness[lips])), 1.0)
    pale, dark = (
        np.clip((most - values) / (most - least), 0.0, 1.0)
        for values, (least, most) in ((redness / red, RED), (brightness / bright, DARK))
    )
    return np.asarray(np.maximum(pale, dark), np.float32)
