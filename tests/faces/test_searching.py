"""Faces that a detector finds only in a padded or a turned picture."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from tests.faces.scenes import backdrop
from tests.photographs import astronaut
from vidswap.faces.detection import Detection, Face, FaceDetector, Image, LandmarkFinder
from vidswap.faces.pose import head_pose
from vidswap.nets import load_detector


@pytest.fixture(scope="module")
def nets() -> Iterator[tuple[FaceDetector, LandmarkFinder]]:
    detector, finder = load_detector("blazeface")
    yield detector, finder
    detector.close()
    finder.close()


def only_face(nets: tuple[FaceDetector, LandmarkFinder], rgb: Image) -> Face:
    detector, finder = nets
    faces = [finder.landmarks(rgb, detection) for detection in detector.detect(rgb)]
    (face,) = [face for face in faces if face is not None]
    return face


def test_a_face_that_is_upside_down_is_found_where_it_is(
    nets: tuple[FaceDetector, LandmarkFinder],
) -> None:
    upright, turned = astronaut(), np.ascontiguousarray(astronaut()[::-1, ::-1])
    wanted = only_face(nets, upright).landmarks
    found = only_face(nets, turned).landmarks
    last = np.array([upright.shape[1] - 1, upright.shape[0] - 1])
    np.testing.assert_allclose(last - found, wanted, atol=4.0)
    assert abs(abs(head_pose(found).roll) - 180.0) < 25.0


def test_a_close_up_from_the_eyes_to_the_mouth_is_found(
    nets: tuple[FaceDetector, LandmarkFinder],
) -> None:
    whole = only_face(nets, astronaut()).landmarks
    left, top = whole[[234, 10, 33]].min(axis=0) + np.array([8, 30])
    right, bottom = whole[[454, 17]].max(axis=0) + np.array([-8, 2])
    x0, y0, x1, y1 = (int(v) for v in (left, top, right, bottom))
    close = cv2.resize(np.ascontiguousarray(astronaut()[y0:y1, x0:x1]), None, fx=4, fy=4)
    found = only_face(nets, np.asarray(close, np.uint8)).landmarks / 4.0 + (x0, y0)
    eyes = [33, 133, 362, 263]
    assert np.abs(found[eyes] - whole[eyes]).mean() < 3.0


def test_where_there_is_nobody_nobody_is_found(
    nets: tuple[FaceDetector, LandmarkFinder],
) -> None:
    detector, finder = nets
    empty = backdrop()
    assert not [d for d in detector.detect(empty) if finder.landmarks(empty, d) is not None]


def test_a_picture_with_a_face_is_looked_at_once() -> None:
    from vidswap.faces.searching import SearchingDetector

    class Counting:
        def __init__(self) -> None:
            self.shapes: list[tuple[int, ...]] = []

        def detect(self, rgb: Image) -> list[Detection]:
            self.shapes.append(rgb.shape)
            box = np.array([1, 2, 3, 4], np.float32)
            return [Detection(box, box.reshape(2, 2), 0.9)] if len(self.shapes) == 1 else []

        def close(self) -> None:
            pass

    counting = Counting()
    picture = np.zeros((40, 60, 3), np.uint8)
    assert len(SearchingDetector(counting).detect(picture)) == 1
    assert counting.shapes == [(40, 60, 3)]
    assert SearchingDetector(counting).detect(picture) == []
    assert counting.shapes[1:] == [(40, 60, 3), (100, 120, 3), (40, 60, 3)]
