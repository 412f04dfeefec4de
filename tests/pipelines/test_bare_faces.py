import cv2
import numpy as np

from pipelines.fitting.bare_faces import BARE_AT_MOST, eyewear_score
from tests.photographs import grace_hopper
from tests.training.test_pairs import schematic_points
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector


def test_a_flat_face_is_bare_and_a_bar_over_its_nose_is_not() -> None:
    points = schematic_points()
    face = np.full((256, 256, 3), 150, np.uint8)
    assert eyewear_score(face, points) == 0
    half_bar = cv2.rectangle(face.copy(), (60, 96), (122, 100), (20, 20, 20), -1)
    assert eyewear_score(half_bar, points) <= BARE_AT_MOST
    bar = cv2.rectangle(face.copy(), (60, 96), (195, 100), (20, 20, 20), -1)
    assert eyewear_score(bar, points) > BARE_AT_MOST
    small = cv2.resize(bar, (128, 128), interpolation=cv2.INTER_AREA)
    assert eyewear_score(small, points / 2) > BARE_AT_MOST


def test_the_admirals_glasses_are_seen() -> None:
    picture = grace_hopper()
    detector, finder = BlazeFaceDetector(), AttentionMeshFinder()
    face = finder.landmarks(picture, detector.detect(picture)[0])
    assert face is not None
    affine = face_affine(face.landmarks)
    crop, points = align_face(picture, affine), warp_points(affine, face.landmarks)
    assert eyewear_score(crop, points) > BARE_AT_MOST
    detector.close()
    finder.close()
