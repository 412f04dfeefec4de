"""Eyes that look elsewhere than the source's, on a schematic mesh."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.blending.heads import turned_mesh
from vidswap.blending.gaze import with_averted_eyes
from vidswap.faces import mesh

SKIN, WHITE, NEW_SKIN = (200, 160, 140), (230, 225, 220), (120, 80, 60)
DARK, GREEN = (50, 35, 30), (45, 58, 54)


def looking(skin: tuple[int, int, int], iris: tuple[int, int, int], aside: float) -> np.ndarray:
    """A face of one colour with eyes that look `aside` pixels to the right."""
    landmarks = mesh_looking(aside)
    picture = np.full((256, 256, 3), skin, np.uint8)
    for lids, points in ((mesh.RIGHT_EYE, mesh.RIGHT_IRIS), (mesh.LEFT_EYE, mesh.LEFT_IRIS)):
        inside = np.zeros((256, 256), np.uint8)
        cv2.fillPoly(inside, [np.rint(landmarks[list(lids)]).astype(np.int32)], 1)
        eye = np.full_like(picture, WHITE)
        x, y = np.rint(landmarks[points[0]]).astype(int)
        cv2.circle(eye, (int(x), int(y)), 5, iris, -1)
        cv2.circle(eye, (int(x), int(y)), 1, (5, 5, 5), -1)
        picture[inside > 0] = eye[inside > 0]
    return picture


def mesh_looking(aside: float) -> np.ndarray:
    landmarks = turned_mesh().copy()
    for lids, iris in ((mesh.RIGHT_EYE, mesh.RIGHT_IRIS), (mesh.LEFT_EYE, mesh.LEFT_IRIS)):
        middle = landmarks[list(lids)].mean(axis=0) + np.float32([aside, 0.0])
        landmarks[iris[0]] = middle
        for point, (x, y) in zip(iris[1:], ((5, 0), (0, -5), (-5, 0), (0, 5)), strict=True):
            landmarks[point] = middle + np.float32([x, y])
    return landmarks


def composed(share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mixture, the answer it was made of, and the target's mesh, which looks to the right."""
    landmarks = mesh_looking(5.0)
    target, answer = looking(SKIN, DARK, 5.0), looking(NEW_SKIN, GREEN, 0.0)
    shown = np.dstack([looking(NEW_SKIN, GREEN, 5.0), np.full((256, 256), 255, np.uint8)])
    averted = np.full((128, 128), share, np.float32)
    return with_averted_eyes(answer, target, landmarks, shown, averted), answer, landmarks


def test_irises_are_where_the_target_looks_and_have_the_sources_colour() -> None:
    mixed, answer, landmarks = composed(1.0)
    for iris in (mesh.RIGHT_IRIS[0], mesh.LEFT_IRIS[0]):
        x, y = np.rint(landmarks[iris]).astype(int)
        assert mixed[y, x + 3].astype(int) == pytest.approx(GREEN, abs=10)
        assert mixed[y, x].mean() < 0.6 * np.mean(GREEN)  # the pupil stays dark
        assert mixed[y, x - 8].astype(int) == pytest.approx(WHITE, abs=15)
        assert answer[y, x - 8].mean() < 200
    np.testing.assert_array_equal(mixed[150:], answer[150:])
    assert tuple(mixed[60, 128]) == NEW_SKIN


def test_what_is_as_red_as_the_lids_is_not_taken_for_an_eyeball() -> None:
    landmarks = mesh_looking(5.0)
    skin, answer = np.full((256, 256, 3), SKIN, np.uint8), looking(NEW_SKIN, GREEN, 0.0)
    view, averted = np.zeros((256, 256, 4), np.uint8), np.ones((128, 128), np.float32)
    mixed = with_averted_eyes(answer, skin, landmarks, view, averted)
    x, y = np.rint(landmarks[list(mesh.RIGHT_EYE)].mean(axis=0)).astype(int)
    np.testing.assert_array_equal(mixed[y, x - 12 : x - 6], answer[y, x - 12 : x - 6])


def test_eyes_that_look_to_the_same_place_are_left() -> None:
    mixed, answer, _ = composed(0.0)
    np.testing.assert_array_equal(mixed, answer)


def test_eyes_beyond_the_crop_are_left() -> None:
    landmarks = mesh_looking(5.0) + np.float32([400.0, 0.0])
    answer = looking(NEW_SKIN, GREEN, 0.0)
    view = np.zeros((256, 256, 4), np.uint8)
    averted = np.ones((128, 128), np.float32)
    np.testing.assert_array_equal(
        with_averted_eyes(answer, answer, landmarks, view, averted), answer
    )
