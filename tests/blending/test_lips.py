"""Lips of one face on another that parts them differently far."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.blending.heads import turned_mesh
from vidswap.blending.fields import displaced, displacement
from vidswap.blending.lips import part_lips
from vidswap.faces import mesh

# Outer and inner edge, from the right corner to the left one.
UPPER = ((61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
         (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308))  # fmt: skip
LOWER = ((61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
         (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308))  # fmt: skip
THICK, MIDDLE = 9.0, 172.5  # pixels: of a lip, and the row of the mouth


def mouth(opened: float) -> np.ndarray:
    """A mesh (478, 2) whose lips are so many pixels apart in the middle."""
    points = turned_mesh()
    start, end = points[61, 0], points[291, 0]
    for (outer, inner), sign in ((UPPER, -1.0), (LOWER, 1.0)):
        for line, thick in ((inner, 0.0), (outer, THICK)):
            arch = np.sin(np.pi * (points[list(line), 0] - start) / (end - start))
            points[list(line), 1] = MIDDLE + sign * (opened / 2.0 + thick) * arch
    return points


def painted(points: np.ndarray) -> np.ndarray:
    """A red upper lip, white teeth and a blue lower lip."""
    crop = np.full((256, 256, 3), 128, np.uint8)
    teeth = np.rint(points[list(mesh.INNER_LIPS)]).astype(np.int32)
    cv2.fillPoly(crop, [teeth], (250, 250, 250))
    for (outer, inner), colour in ((UPPER, (250, 40, 40)), (LOWER, (40, 40, 250))):
        lip = points[[*outer, *inner[::-1]]]
        cv2.fillPoly(crop, [np.rint(lip).astype(np.int32)], colour)
    return crop


def warped(opened: float, onto: float) -> np.ndarray:
    """A painted mouth on one that is opened so far."""
    source, target = mouth(opened), mouth(onto)
    field = displacement(target, source, np.isin(np.arange(478), mesh.OUTER_LIPS), rounds=1)
    part_lips(field, target, source)
    return displaced(painted(source), field)


def white(picture: np.ndarray) -> np.ndarray:
    return picture.min(axis=2) > 170


@pytest.mark.parametrize("opened", [8.0, 14.0])
def test_a_smile_on_a_shut_mouth_shows_no_teeth(opened: float) -> None:
    assert white(warped(opened, opened)).sum() > 150
    assert white(warped(opened, 0.0)).sum() <= 5
    assert white(warped(opened, 1.0)).sum() <= 5


@pytest.mark.parametrize(("opened", "onto"), [(14.0, 0.0), (14.0, 4.0), (9.0, 12.0), (12.0, 12.0)])
def test_lips_and_teeth_lie_where_the_targets_are(opened: float, onto: float) -> None:
    columns = [one[:, 128].astype(int) for one in (warped(opened, onto), painted(mouth(onto)))]
    for is_it in (
        lambda column: column[:, 0] - column[:, 2] > 100,  # the upper lip
        lambda column: column[:, 2] - column[:, 0] > 100,
        lambda column: column.min(axis=1) > 170,
    ):
        found, wanted = (np.flatnonzero(is_it(column)) for column in columns)
        assert len(found) == pytest.approx(len(wanted), abs=2)
        if len(wanted):
            assert found.mean() == pytest.approx(wanted.mean(), abs=1.0)


def test_nothing_but_the_lips_is_changed() -> None:
    source, target = mouth(14.0), mouth(0.0)
    field = displacement(target, source, np.isin(np.arange(478), mesh.OUTER_LIPS), rounds=1)
    before = field.copy()
    part_lips(field, target, source)
    lips = np.zeros((256, 256), np.uint8)
    cv2.fillPoly(lips, [np.rint(target[list(mesh.OUTER_LIPS)]).astype(np.int32)], 1)
    around = cv2.dilate(lips, np.ones((5, 5), np.uint8)) == 0
    assert (field[around] == before[around]).all()
    assert np.abs(field - before).max() > 3.0


def test_a_mouth_beyond_the_crop_is_left() -> None:
    source, target = mouth(14.0), mouth(0.0) + np.float32([300.0, 0.0])
    field = np.zeros((256, 256, 2), np.float32)
    part_lips(field, target, source)
    assert not field.any()
