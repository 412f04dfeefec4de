from __future__ import annotations

import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

from tests.faces.scenes import backdrop, place
from tests.photographs import astronaut, grace_hopper
from vidswap.faces import mesh
from vidswap.faces.align import invert_affine, warp_points
from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector
from vidswap.faces.detection import Detection, Face, box_overlap
from vidswap.faces.smoothing import mesh_diagonal

# Read off the photographs by eye, in pixels: pupils, nose tip, mouth corners.
COLLINS = {468: (205, 102), 473: (250, 104), 1: (226, 129), 61: (203, 143), 291: (245, 144)}
HOPPER = {468: (222, 190), 473: (304, 189), 1: (264, 240), 61: (230, 281), 291: (304, 283)}


def find_all(rgb, detector, finder) -> list[Face]:
    found = [finder.landmarks(rgb, detection) for detection in detector.detect(rgb)]
    return [face for face in found if face is not None]


def find(rgb, detector, finder) -> Face:
    (face,) = find_all(rgb, detector, finder)
    return face


@pytest.mark.parametrize(
    ("picture", "known"), [(astronaut, COLLINS), (grace_hopper, HOPPER)], ids=["collins", "hopper"]
)
def test_landmarks_are_where_a_person_sees_them(picture, known, detector, finder):
    face = find(picture(), detector, finder)
    for index, point in known.items():
        assert np.linalg.norm(face.landmarks[index] - point) < 0.035 * mesh_diagonal(face.landmarks)


@pytest.mark.parametrize("picture", [astronaut, grace_hopper], ids=["collins", "hopper"])
@pytest.mark.parametrize(
    ("degrees", "zoom", "shift"), [(0, 1.0, (13.4, -7.7)), (15, 1.0, (0, 0)), (-20, 1.4, (5, 9))]
)
def test_landmarks_move_with_the_picture(picture, degrees, zoom, shift, detector, finder):
    rgb = picture()
    face = find(rgb, detector, finder)
    centre = face.landmarks.mean(axis=0)
    affine = cv2.getRotationMatrix2D([float(v) for v in centre], degrees, zoom)
    affine[:, 2] += shift
    moved = cv2.warpAffine(rgb, affine, rgb.shape[1::-1], flags=cv2.INTER_CUBIC)
    back = warp_points(invert_affine(affine), find(moved, detector, finder).landmarks)
    error = np.linalg.norm(back - face.landmarks, axis=1) / mesh_diagonal(face.landmarks)
    assert np.median(error) < 0.008
    assert error.max() < 0.04


def test_landmarks_of_the_mirrored_picture_are_the_mirrored_landmarks(detector, finder):
    rgb = astronaut()
    face = find(rgb, detector, finder)
    mirrored = find(np.ascontiguousarray(rgb[:, ::-1]), detector, finder)
    x = rgb.shape[1] - 1 - mirrored.landmarks[list(mesh.LEFT_EYE), 0]
    assert np.abs(x - face.landmarks[list(mesh.RIGHT_EYE), 0]).mean() < 0.012 * mesh_diagonal(
        face.landmarks
    )


def test_the_nose_is_nearer_than_the_ears(detector, finder):
    face = find(astronaut(), detector, finder)
    assert face.landmarks_z is not None
    assert face.landmarks_z[1] < face.landmarks_z[[234, 454]].min() - 0.2 * mesh_diagonal(
        face.landmarks
    )


@pytest.mark.parametrize("scale", [0.55, 1.0, 2.3])
def test_small_and_large_faces_of_a_wide_frame_are_found(scale, detector, finder):
    rgb = place(backdrop(), "collins", 700, 270, scale)
    face = find(rgb, detector, finder)
    assert np.linalg.norm(face.landmarks.mean(axis=0) - (700, 270)) < 30 * scale


def test_a_face_of_a_thirtieth_of_the_frames_width_is_found(detector, finder):
    rgb = cv2.resize(place(backdrop(), "hopper", 250, 300), (1920, 1080))
    canvas = np.full((2160, 3840, 3), 90, np.uint8)
    canvas[600:1680, 400:2320] = rgb
    face = find(canvas, detector, finder)
    assert np.linalg.norm(face.landmarks.mean(axis=0) - (400 + 500, 600 + 600)) < 60


def test_a_face_that_fills_the_picture_is_found(detector, finder):
    rgb = astronaut()
    close = cv2.resize(rgb[60:185, 165:285], (960, 1000), interpolation=cv2.INTER_CUBIC)
    face = find(close, detector, finder)
    expected = (np.array(COLLINS[1]) - (165, 60)) * 8
    assert np.linalg.norm(face.landmarks[1] - expected) < 40


def test_two_faces_are_found_once_each(detector, finder):
    rgb = place(place(backdrop(), "collins", 250, 270), "hopper", 700, 270)
    centres = [face.landmarks.mean(axis=0) for face in find_all(rgb, detector, finder)]
    left, right = sorted(float(x) for x, _ in centres)
    assert left == pytest.approx(250, abs=30)
    assert right == pytest.approx(700, abs=30)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_found_where_there_is_no_face(seed, detector, finder):
    rgb = backdrop(seed)
    box = np.array([300, 200, 400, 300], np.float32)
    eyes = np.array([[330, 240], [370, 240]], np.float32)
    assert find_all(rgb, detector, finder) == []
    assert finder.landmarks(rgb, Detection(box, eyes, 1.0)) is None


def test_a_face_that_left_its_place_is_reported_lost(detector, finder):
    face = find(place(backdrop(), "collins", 300, 270), detector, finder)
    assert finder.landmarks(backdrop(), face) is None
    assert finder.landmarks(place(backdrop(), "collins", 700, 270), face) is None


def test_answers_depend_on_the_arguments_alone(detector, finder):
    one, other = astronaut(), grace_hopper()
    first = find(one, detector, finder)
    find(other, detector, finder)
    again = find(one, detector, finder)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)
    assert first.score == again.score


def test_the_face_of_the_frame_before_serves_as_region(detector, finder):
    rgb = astronaut()
    face = find(rgb, detector, finder)
    followed = finder.landmarks(np.roll(rgb, (3, -5), axis=(0, 1)), face)
    assert followed is not None
    assert np.abs(followed.landmarks - face.landmarks - (-5, 3)).mean() < 0.5


@pytest.mark.parametrize("cut", [200, 225])
def test_a_face_half_out_of_the_frame_is_found_where_it_is(cut, detector, finder):
    whole = astronaut()
    (detection,) = detector.detect(whole)
    seen = finder.landmarks(whole, detection)
    rgb = np.ascontiguousarray(whole[:, cut:])
    shift = np.array([cut, 0], np.float32)
    region = Detection(
        detection.box - np.tile(shift, 2), detection.keypoints - shift, detection.score
    )
    face = finder.landmarks(rgb, region)
    assert face is not None and np.isfinite(face.landmarks).all()
    inside = seen.landmarks[:, 0] > cut + 10
    assert inside.sum() > 150
    distance = np.linalg.norm(face.landmarks + shift - seen.landmarks, axis=1)[inside]
    assert distance.mean() < 0.1 * mesh_diagonal(seen.landmarks)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 300, 3), (200, 3, 3), (31, 33, 3)])
def test_tiny_pictures_have_no_face(shape, detector):
    assert detector.detect(np.full(shape, 128, np.uint8)) == []


def test_the_nets_run_in_another_thread_than_the_one_that_loaded_them(detector, finder):
    found = []
    thread = threading.Thread(target=lambda: found.append(find(astronaut(), detector, finder)))
    thread.start()
    thread.join()
    assert len(found) == 1


def test_nothing_is_written_to_the_terminal():
    script = (
        "import numpy as np\n"
        "from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector\n"
        "d, f = BlazeFaceDetector(), AttentionMeshFinder()\n"
        "d.detect(np.zeros((90, 160, 3), np.uint8)); d.close(); f.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout + done.stderr == ""


def test_box_overlap_is_intersection_over_union():
    one = np.array([0.0, 0.0, 4.0, 4.0])
    assert box_overlap(one, np.array([2.0, 0.0, 6.0, 4.0])) == pytest.approx(8 / 24)
    assert box_overlap(one, np.array([5.0, 0.0, 6.0, 4.0])) == 0.0


def test_closed_nets_can_be_loaded_again():
    for _ in range(3):
        net, finder = BlazeFaceDetector(), AttentionMeshFinder()
        assert len(net.detect(astronaut())) == 1
        net.close()
        finder.close()
