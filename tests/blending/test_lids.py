"""Lids of shut eyes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.blending.heads import turned_mesh
from vidswap.blending.lids import with_shut_lids
from vidswap.faces import mesh
from vidswap.faces.pose import eye_openings

TARGET_SKIN, NEW_SKIN, GREY = (200, 160, 140), (120, 80, 60), (90, 100, 120)


def shut(landmarks: np.ndarray, *eyes: tuple[int, ...]) -> np.ndarray:
    """The mesh with all lids of these eyes on the line between their corners."""
    points = landmarks.copy()
    for lids in eyes:
        start, end = points[lids[0]], points[lids[8]]
        along = (end - start) / np.linalg.norm(end - start)
        for lid in lids:
            points[lid] = start + ((points[lid] - start) @ along) * along
    return points


def flat(
    colour: tuple[int, int, int], landmarks: np.ndarray, lid: tuple[int, int, int]
) -> np.ndarray:
    """A face of one colour whose lids have another, with a dark line of lashes."""
    picture = np.full((256, 256, 3), colour, np.uint8)
    for lids in (mesh.RIGHT_EYE, mesh.LEFT_EYE):
        middle = landmarks[[lids[0], lids[8]]].mean(axis=0)
        x, y = np.rint(middle).astype(int)
        cv2.ellipse(picture, (int(x), int(y)), (9, 4), 0, 0, 360, lid, -1)
        picture[y, x - 9 : x + 10] = np.array(colour) // 4
    return picture


def middles(landmarks: np.ndarray) -> list[tuple[int, int]]:
    return [
        tuple(np.rint(landmarks[[lids[0], lids[8]]].mean(axis=0)).astype(int))
        for lids in (mesh.RIGHT_EYE, mesh.LEFT_EYE)
    ]


def test_a_shut_eye_has_the_targets_lid_in_the_new_tone_and_an_open_one_is_left() -> None:
    landmarks = shut(turned_mesh(), mesh.RIGHT_EYE)
    openings = eye_openings(landmarks)
    assert openings[0] < 0.1 < 0.2 < openings[1]
    target = flat(TARGET_SKIN, landmarks, TARGET_SKIN)
    answer = flat(NEW_SKIN, landmarks, GREY)
    mixed = with_shut_lids(answer, target, landmarks)
    (x, y), (open_x, open_y) = middles(landmarks)
    assert mixed[y - 3, x].astype(int) == pytest.approx(NEW_SKIN, abs=14)  # not grey
    assert mixed[y, x].astype(int) == pytest.approx(np.array(NEW_SKIN) // 4, abs=14)  # lashes
    near = np.s_[open_y - 6 : open_y + 7, open_x - 12 : open_x + 13]
    np.testing.assert_array_equal(mixed[near], answer[near])
    np.testing.assert_array_equal(mixed[150:], answer[150:])


def test_the_crease_and_lashes_of_open_eyes_do_not_frame_a_shut_lid() -> None:
    landmarks = shut(turned_mesh(), mesh.RIGHT_EYE)
    target, answer = (flat(skin, landmarks, skin) for skin in (TARGET_SKIN, NEW_SKIN))
    (x, y), _ = middles(landmarks)
    width = np.linalg.norm(landmarks[mesh.RIGHT_EYE[0]] - landmarks[mesh.RIGHT_EYE[8]])
    axes = (round(0.55 * width), round(0.3 * width))
    cv2.ellipse(answer, (int(x), int(y)), axes, 0, 180, 360, (30, 20, 15), 2)
    mixed = with_shut_lids(answer, target, landmarks)
    above = np.s_[y - axes[1] - 1 : y - axes[1] + 2, x - 4 : x + 5]
    assert answer[above].mean() < 50
    assert mixed[above].mean() > 0.7 * np.mean(NEW_SKIN)


def test_open_eyes_are_the_generators() -> None:
    answer = flat(NEW_SKIN, turned_mesh(), GREY)
    target = flat(TARGET_SKIN, turned_mesh(), TARGET_SKIN)
    assert with_shut_lids(answer, target, turned_mesh()) is answer
