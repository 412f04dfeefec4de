"""Sunglasses on a photograph of the source: their lenses are no part of the face.

What tells of things before a face (`vidswap.faces.occlusion`) finds rims, but of lenses only parts.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.warping import SIZE, FaceCrop
from vidswap.faces import mesh
from vidswap.faces.skin import reduced_lab

HALF = SIZE // 2
# Of the distance between the eyes, around each: rims and lenses are not further away.
REACH = 0.45
LENS = 0.6  # likewise, what a dark lens may cover
# Share of the former that is hidden: up to the first one nobody wears glasses, from the second on
# they do. Without glasses one face of a hundred has 0.15, with them half have a third.
RIMS = (0.15, 0.23)
# Likewise, from where on what is still seen are pieces of a lens.
PIECES = (0.52, 0.6)
# Lightness of the eye and its surroundings over that of the cheek, up to which a lens is dark, and
# from which on it is clear. Behind clear glasses the least of 61 faces is 0.6, behind sunglasses
# the most of 7 is 0.42.
DARK = (0.45, 0.55)
UP = (0.0, 1.0)
LIGHT_PART = 75  # percentile: skin or white, not lashes or iris
AROUND = (0.55, 0.4)  # of the eye's width: semi-axes of the eye and its surroundings
CHEEK, CHEEK_SIZE = 0.55, 3  # of the way from an eye to the mouth's corner below; pixels around it
_EYES = (
    (mesh.RIGHT_EYE_CORNERS, mesh.RIGHT_MOUTH_CORNER),
    (mesh.LEFT_EYE_CORNERS, mesh.LEFT_MOUTH_CORNER),
)


def without_dark_lenses(shot: FaceCrop) -> FaceCrop:
    """The shot with sunglasses taken for hidden as a whole; with clear glasses or none, itself."""
    if shot.visibility is None:
        return shot
    near = _near_eyes(shot)
    hidden = _hidden(shot, near)
    dark = np.interp(_lightness(shot), DARK, (1.0, 0.0))
    sure = float(max(np.interp(hidden, RIMS, UP) * dark, np.interp(hidden, PIECES, UP)))
    if sure == 0.0:
        return shot
    lenses = np.zeros((HALF, HALF), np.float32)
    for part, eye in zip(_near_eyes(shot, LENS), _around_eyes(shot), strict=True):
        found = np.argwhere(part & ((shot.visibility < 0.5) | eye))[:, ::-1]
        if len(found):
            cv2.fillConvexPoly(lenses, cv2.convexHull(found.astype(np.int32)), 1.0)
    lenses = np.asarray(cv2.GaussianBlur(lenses, (0, 0), 1.0), np.float32)
    seen = shot.visibility * (1.0 - np.float32(sure) * lenses)
    return replace(shot, visibility=np.asarray(seen, np.float32))


def behind_glasses(shot: FaceCrop) -> float:
    """How sure it is, 0 to 1, that the eyes of a shot are behind glasses."""
    if shot.visibility is None:
        return 0.0
    return float(np.interp(_hidden(shot, _near_eyes(shot)), RIMS, UP))


def _hidden(shot: FaceCrop, near: list[NDArray[np.bool_]]) -> float:
    """The mean share of what is `near` the eyes that is hidden."""
    assert shot.visibility is not None
    return float(np.mean([1.0 - shot.visibility[part].mean() for part in near if part.any()]))


def _middles(shot: FaceCrop) -> NDArray[np.float64]:
    """Of the right and the left eye, in pixels of the half (2, 2)."""
    corners = [shot.landmarks[list(pair)].mean(axis=0) for pair, _ in _EYES]
    return np.asarray((np.array(corners) - 0.5) / 2.0, np.float64)


def _near_eyes(shot: FaceCrop, reach: float = REACH) -> list[NDArray[np.bool_]]:
    """What is no further than `reach` from the right and the left eye (128, 128)."""
    right, left = middles = _middles(shot)
    radius = reach * float(np.linalg.norm(left - right))
    rows, columns = np.mgrid[:HALF, :HALF]
    return [np.hypot(columns - x, rows - y) < radius for x, y in middles]


def _around_eyes(shot: FaceCrop) -> list[NDArray[np.bool_]]:
    """Where the right and the left eye and their surroundings are (128, 128)."""
    rows, columns = np.mgrid[:HALF, :HALF]
    parts = []
    for (corners, _), (x, y) in zip(_EYES, _middles(shot), strict=True):
        width = float(np.linalg.norm(np.subtract(*shot.landmarks[list(corners)]))) / 2.0
        across, up = np.maximum(np.array(AROUND) * width, 1.0)
        parts.append(((columns - x) / across) ** 2 + ((rows - y) / up) ** 2 < 1.0)
    return parts


def _lightness(shot: FaceCrop) -> float:
    """How light it is around the darker eye, in parts of the cheek below it."""
    lightness = reduced_lab(shot.crop, HALF)[..., 0]
    rows, columns = np.mgrid[:HALF, :HALF]
    shares = [1.0]
    for (_, mouth), middle, around in zip(_EYES, _middles(shot), _around_eyes(shot), strict=True):
        below = middle + CHEEK * ((shot.landmarks[mouth] - 0.5) / 2.0 - middle)
        cheek = np.abs(np.dstack([columns, rows]) - below).max(axis=2) <= CHEEK_SIZE
        if around.any() and cheek.any():
            light = float(np.percentile(lightness[around], LIGHT_PART))
            shares.append(light / max(float(lightness[cheek].mean()), 1.0))
    return min(shares)
