import math

import numpy as np
import pytest

from vidswap.faces.detection import Face
from vidswap.faces.pose import canonical_mesh
from vidswap.metrics.swap_quality import (
    FrameEmbeddings,
    correlation,
    cosine,
    measure_frame,
    summarise,
)


def turned_face(yaw: float) -> Face:
    """The canonical mesh, turned and seen from the front at 100 pixels a unit."""
    mesh = canonical_mesh().astype(np.float64)
    angle = math.radians(yaw)
    x = mesh[:, 0] * math.cos(angle) + mesh[:, 2] * math.sin(angle)
    points = np.stack([x, mesh[:, 1]], axis=1)
    points = (points - points.min(axis=0)) / np.ptp(points[:, 1]) * 200.0
    return Face(points.astype(np.float32), None, 1.0)


def embeddings(swapped: np.ndarray) -> FrameEmbeddings:
    source, target = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    return FrameEmbeddings(source, target, target, swapped)


def test_cosine_is_that_of_the_angle() -> None:
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, math.sqrt(3)])) == pytest.approx(0.5)


def test_correlation_of_scaled_curves_is_one_and_of_a_still_one_undefined() -> None:
    curve = [0.1, 0.5, 0.3, 0.9]
    assert correlation([(v, 2 * v + 1) for v in curve]) == pytest.approx(1.0)
    assert correlation([(v, -v) for v in curve]) == pytest.approx(-1.0)
    assert math.isnan(correlation([(v, 0.2) for v in curve]))


def test_the_share_nearer_to_the_source_counts_frames() -> None:
    face = turned_face(0)
    like_source, like_target = np.array([0.9, 0.1, 0.0]), np.array([0.1, 0.9, 0.0])
    frames = [measure_frame(face, face, embeddings(e)) for e in [like_source] * 3 + [like_target]]
    quality = summarise(frames)
    assert quality.nearer_to_source == quality.nearer_than_frame == 0.75
    assert quality.frames == 4 and quality.pose_degrees == 0


def test_pose_is_the_mean_difference_of_three_angles() -> None:
    frame = measure_frame(turned_face(0), turned_face(15), embeddings(np.ones(3)))
    assert frame.pose_degrees == pytest.approx(15 / 3, abs=1.5)


def test_no_frames_is_an_error_not_a_zero() -> None:
    with pytest.raises(ValueError, match="no frame"):
        summarise([])
