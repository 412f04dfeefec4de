from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.photographs import astronaut, grace_hopper
from vidswap.faces import mesh
from vidswap.faces.align import warp_points
from vidswap.faces.pose import (
    canonical_mesh,
    eye_opening,
    eye_openings,
    gaze,
    head_pose,
    mouth_opening,
)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """A turn to the picture's right, then up, then clockwise; x right, y down, z away."""
    turn = cv2.Rodrigues(np.array([0.0, -np.radians(yaw), 0.0]))[0]
    raise_ = cv2.Rodrigues(np.array([-np.radians(pitch), 0.0, 0.0]))[0]
    tilt = cv2.Rodrigues(np.array([0.0, 0.0, np.radians(roll)]))[0]
    return tilt @ raise_ @ turn


def seen(yaw=0.0, pitch=0.0, roll=0.0, distance=np.inf) -> np.ndarray:
    """The canonical mesh turned and photographed from `distance` (eye distances), in pixels."""
    points = canonical_mesh() @ rotation(yaw, pitch, roll).T
    return 200 + 90 * points[:, :2] / (1 + points[:, 2:] / distance)


@pytest.mark.parametrize("yaw", [-40, 0, 25])
@pytest.mark.parametrize("pitch", [-30, 0, 40])
@pytest.mark.parametrize("roll", [-60, 0, 35])
def test_pose_of_a_turned_mesh_is_the_turn(yaw, pitch, roll):
    pose = head_pose(seen(yaw, pitch, roll))
    np.testing.assert_allclose([pose.yaw, pose.pitch, pose.roll], [yaw, pitch, roll], atol=0.01)


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (40, 0), (-30, 20), (0, -40)])
def test_pose_holds_up_in_perspective_and_noise(yaw, pitch):
    points = seen(yaw, pitch, 10, distance=10.0)
    points += np.random.default_rng(0).normal(0, 0.5, points.shape)
    pose = head_pose(points)
    np.testing.assert_allclose([pose.yaw, pose.pitch, pose.roll], [yaw, pitch, 10], atol=2.0)


def test_signs_of_the_pose_are_those_of_the_picture():
    assert head_pose(seen(yaw=20)).yaw > 15
    nose, cheeks = seen(yaw=20)[1], seen(yaw=20)[[234, 454]].mean(axis=0)
    assert nose[0] > cheeks[0], "positive yaw: the nose is right of the middle of the face"
    assert seen(pitch=20)[1, 1] < seen()[1, 1], "positive pitch: the nose goes up"
    eyes = seen(roll=20)[[33, 263]]
    assert eyes[1, 1] > eyes[0, 1], "positive roll: the picture's right eye goes down"


def test_pose_ignores_expression():
    still, talking = seen(yaw=15), seen(yaw=15)
    talking[list(mesh.INNER_LIPS + mesh.OUTER_LIPS)] += (0, 12)
    talking[list(mesh.RIGHT_EYE[1:8])] += (0, 5)
    assert head_pose(talking) == head_pose(still)


@pytest.mark.parametrize("picture", [astronaut, grace_hopper], ids=["collins", "hopper"])
def test_portraits_look_about_into_the_camera_and_tilt_with_the_picture(picture, detector, finder):
    rgb = picture()
    pose = head_pose(finder.landmarks(rgb, detector.detect(rgb)[0]).landmarks)
    assert abs(pose.yaw) < 15 and abs(pose.pitch) < 15 and abs(pose.roll) < 8
    middle = (rgb.shape[1] / 2, rgb.shape[0] / 2)
    tilted = cv2.warpAffine(rgb, cv2.getRotationMatrix2D(middle, -15, 1.0), rgb.shape[1::-1])
    again = head_pose(finder.landmarks(tilted, detector.detect(tilted)[0]).landmarks)
    assert again.roll - pose.roll == pytest.approx(15, abs=1.5)
    assert again.yaw == pytest.approx(pose.yaw, abs=3)


def test_the_mirrored_portrait_looks_the_other_way(detector, finder):
    rgb = astronaut()
    mirrored = np.ascontiguousarray(rgb[:, ::-1])
    pose = head_pose(finder.landmarks(rgb, detector.detect(rgb)[0]).landmarks)
    other = head_pose(finder.landmarks(mirrored, detector.detect(mirrored)[0]).landmarks)
    assert other.yaw == pytest.approx(-pose.yaw, abs=2.5)
    assert other.pitch == pytest.approx(pose.pitch, abs=2.5)


def test_eye_opening_is_the_lid_gap_of_each_eye():
    points = seen()
    upper, lower = list(mesh.RIGHT_EYE[1:8]), list(mesh.RIGHT_EYE[9:][::-1])
    points[upper] = points[lower]
    right, left = eye_openings(points)
    assert right == pytest.approx(0.0, abs=1e-6)
    assert left == pytest.approx(eye_openings(seen())[1])
    assert 0.2 < left < 0.4
    assert eye_opening(points) == pytest.approx(left / 2)


def test_openings_do_not_depend_on_size_place_or_tilt():
    points = seen()
    moved = warp_points(np.array([[1.2, -0.7, 40], [0.7, 1.2, -9]]), points)
    assert eye_opening(moved) == pytest.approx(eye_opening(points))
    assert mouth_opening(moved) == pytest.approx(mouth_opening(points))
    assert gaze(moved) == pytest.approx(gaze(points))


def test_mouth_opening_grows_with_the_gap_between_the_lips():
    closed, open_ = seen(), seen()
    upper, lower = list(mesh.INNER_LIPS[11:]), list(mesh.INNER_LIPS[1:10][::-1])
    closed[lower] = closed[upper]
    open_[lower] = closed[upper] + (0, 18)
    assert mouth_opening(closed) == pytest.approx(0.0, abs=1e-6)
    height = np.linalg.norm(closed[152] - closed[168])
    assert mouth_opening(open_) == pytest.approx(18 / height, rel=1e-6)


def test_gaze_is_the_irises_offset_in_eye_widths():
    points = seen()
    x, y = gaze(points)
    width = np.linalg.norm(points[33] - points[133])
    points[list(mesh.RIGHT_IRIS + mesh.LEFT_IRIS)] += (0.2 * width, -0.1 * width)
    assert gaze(points) == pytest.approx((x + 0.2, y - 0.1), abs=1e-3)


def test_the_canonical_mesh_is_upright_and_symmetrical():
    points = canonical_mesh()
    assert points.shape == (mesh.N_LANDMARKS, 3)
    np.testing.assert_allclose(points[[33, 263]], [[-0.5, 0, 0], [0.5, 0, 0]], atol=1e-6)
    for one, other in ((61, 291), (234, 454), (468, 473), (159, 386)):
        np.testing.assert_allclose(points[one] * (-1, 1, 1), points[other], atol=1e-6)
    assert points[152, 1] > points[1, 1] > 0 > points[10, 1]
    assert points[1, 2] == pytest.approx(points[:, 2].min(), abs=0.03)
