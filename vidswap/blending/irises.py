"""The source's irises where the target looks.

Two faces whose eyes look to different places have irises that no smooth field of the lids brings
onto each other. Within the lids a field is therefore led by the iris: as a whole it goes to the
target's, the white on both sides of it is stretched or shortened, and the lids stay.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.mask import sixteenths
from vidswap.faces import mesh

Points = NDArray[np.float32]
SIZE = 256
_ALL_OF_IT = 1.15  # radii of the iris that go along whole
_SOFT = 0.7  # pixels, deviation of the edge at the lids
_EYES = (
    (mesh.RIGHT_EYE, mesh.RIGHT_EYE_CORNERS, mesh.RIGHT_IRIS),
    (mesh.LEFT_EYE, mesh.LEFT_EYE_CORNERS, mesh.LEFT_IRIS),
)


def lead_by_irises(field: NDArray[np.float32], at: Points, to: Points) -> None:
    """Change a field (256, 256, 2), x then y, in place: the irises of mesh `at` come from `to`'s.

    The field says for every pixel how far from it its colour is taken, as `warping.displacement`
    makes it for the rest of the face. Meshes (478, 2) in pixels of the crop.
    """
    for lids, corners, iris in _EYES:
        _lead(field, at, to, list(lids), corners, list(iris))


def _lead(
    field: NDArray[np.float32],
    at: Points,
    to: Points,
    lids: list[int],
    corners: tuple[int, int],
    iris: list[int],
) -> None:
    outline = at[lids]
    left, top = np.floor(outline.min(axis=0)).astype(int) - 3
    right, bottom = np.ceil(outline.max(axis=0)).astype(int) + 4
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, SIZE), min(bottom, SIZE)
    start, end = at[corners[0]], at[corners[1]]
    length = float(np.linalg.norm(end - start))
    if right - left < 4 or bottom - top < 4 or length < 4.0:
        return
    along = (end - start) / length
    centre = at[iris[0]]
    radius = _ALL_OF_IT * float(np.linalg.norm(at[iris[1:]] - centre, axis=1).mean())

    patch = field[top:bottom, left:right]
    columns, rows = np.meshgrid(
        np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)
    )
    x, y = (np.array([[value]], np.float32) for value in centre - (left, top))
    found = cv2.remap(patch, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0, 0]
    missing = to[iris[0]] - centre - found

    # 1 on the iris, to 0 at either corner.
    u = (columns - start[0]) * along[0] + (rows - start[1]) * along[1]
    middle = float((centre - start) @ along)
    before = u / max(middle - radius, 1.0)
    behind = (length - u) / max(length - middle - radius, 1.0)
    share = np.clip(np.minimum(before, behind), 0.0, 1.0)

    inside = np.zeros(patch.shape[:2], np.float32)
    cv2.fillPoly(inside, [sixteenths(outline - (left, top))], 1.0, cv2.LINE_AA, 4)
    # Across the lids it is the iris alone that moves, less where a lid is near.
    distance = cv2.distanceTransform((inside > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    opening = float(distance.max())
    deep = np.clip(distance / max(0.7 * opening, 1.0), 0.0, 1.0)
    lengthwise = float(missing @ along) * along
    crosswise = missing - lengthwise
    inside = np.asarray(cv2.GaussianBlur(inside, (0, 0), _SOFT), np.float32) * share
    patch += inside[..., None] * lengthwise.astype(np.float32)
    patch += (inside * deep)[..., None] * crosswise.astype(np.float32)
