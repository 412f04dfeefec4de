from __future__ import annotations

import numpy as np
import pytest

from tests.photographs import astronaut, grace_hopper
from vidswap.faces import mesh
from vidswap.faces.align import five_points, warp_points
from vidswap.faces.points68 import MESH_OF_68, mesh_from_68
from vidswap.faces.smoothing import mesh_diagonal


@pytest.fixture(params=[astronaut, grace_hopper], ids=["collins", "hopper"])
def landmarks(request, detector, finder):
    rgb = request.param()
    return finder.landmarks(rgb, detector.detect(rgb)[0]).landmarks


def test_the_68_points_are_hit_exactly(landmarks):
    fitted, _ = mesh_from_68(landmarks[MESH_OF_68])
    np.testing.assert_allclose(fitted[MESH_OF_68], landmarks[MESH_OF_68], atol=0.01)


def test_the_points_between_come_near_the_real_mesh(landmarks):
    fitted, _ = mesh_from_68(landmarks[MESH_OF_68])
    error = np.linalg.norm(fitted - landmarks, axis=1)[:468] / mesh_diagonal(landmarks)
    assert error.mean() < 0.012
    for contour in (mesh.RIGHT_EYE, mesh.LEFT_EYE, mesh.OUTER_LIPS, mesh.INNER_LIPS):
        assert error[list(contour)].max() < 0.02


def test_alignment_from_68_points_is_that_of_the_mesh(landmarks):
    fitted, _ = mesh_from_68(landmarks[MESH_OF_68])
    distance = np.linalg.norm(five_points(fitted) - five_points(landmarks), axis=1)
    assert distance.max() < 0.02 * mesh_diagonal(landmarks)


def test_irises_are_in_the_middle_of_the_eyes(landmarks):
    points = landmarks[MESH_OF_68]
    fitted, _ = mesh_from_68(points)
    for iris, eye in ((mesh.RIGHT_IRIS, points[36:42]), (mesh.LEFT_IRIS, points[42:48])):
        np.testing.assert_allclose(fitted[iris[0]], eye.mean(axis=0), atol=0.01)
        radius = np.linalg.norm(fitted[list(iris[1:])] - fitted[iris[0]], axis=1)
        assert 0.1 < radius.mean() / np.linalg.norm(eye[0] - eye[3]) < 0.35


def test_the_mesh_moves_with_the_points(landmarks):
    points = landmarks[MESH_OF_68].astype(np.float64)
    affine = np.array([[1.3, -0.6, 50.0], [0.6, 1.3, -20.0]])
    one, _ = mesh_from_68(warp_points(affine, points))
    other = warp_points(affine, mesh_from_68(points)[0])
    np.testing.assert_allclose(one, other, atol=0.05)


def test_depth_has_the_nose_in_front_and_the_ears_behind(landmarks):
    _, depth = mesh_from_68(landmarks[MESH_OF_68])
    assert depth[1] < depth[168] < depth[[234, 454]].min()


def test_the_mapping_names_68_different_points_in_mirrored_pairs():
    assert len(set(MESH_OF_68.tolist())) == 68
    right, left = MESH_OF_68[36:42], MESH_OF_68[42:48]
    assert set(right.tolist()) < set(mesh.RIGHT_EYE)
    assert set(left.tolist()) < set(mesh.LEFT_EYE)
    assert set(MESH_OF_68[48:60].tolist()) < set(mesh.OUTER_LIPS)
    assert set(MESH_OF_68[60:].tolist()) < set(mesh.INNER_LIPS)
