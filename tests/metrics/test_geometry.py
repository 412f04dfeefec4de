import math

import numpy as np
import pytest

from vidswap.faces import mesh
from vidswap.faces.pose import canonical_mesh
from vidswap.metrics.geometry import (
    EXPRESSION_POINTS,
    correlation,
    expression_percent,
    openings,
    pose_degrees,
)

LIPS = [*mesh.OUTER_LIPS, *mesh.INNER_LIPS]


def face(yaw: float = 0.0, roll: float = 0.0, scale: float = 100.0) -> np.ndarray:
    """The canonical mesh (478, 2), turned, at `scale` pixels between the outer eye corners."""
    points = canonical_mesh().astype(np.float64)
    y, r = math.radians(yaw), math.radians(roll)
    x = points[:, 0] * math.cos(y) + points[:, 2] * math.sin(y)
    turned = np.stack([x, points[:, 1]], axis=1)
    turn = np.array([[math.cos(r), math.sin(r)], [-math.sin(r), math.cos(r)]])
    return scale * turned @ turn + 200.0


@pytest.mark.parametrize(("yaw", "roll"), [(12.0, 0.0), (0.0, 9.0), (0.0, -6.0)])
def test_pose_is_the_mean_difference_of_three_angles(yaw: float, roll: float) -> None:
    assert pose_degrees(face(), face(yaw, roll)) == pytest.approx((abs(yaw + roll)) / 3, abs=0.7)
    assert pose_degrees(face(yaw, roll), face(yaw, roll)) == 0.0


def test_a_larger_turn_is_a_larger_difference() -> None:
    differences = [pose_degrees(face(), face(yaw)) for yaw in (2, 5, 10, 20)]
    assert differences == sorted(differences)


def test_the_same_expression_elsewhere_turned_and_larger_is_at_no_distance() -> None:
    assert expression_percent(face(), face(roll=25, scale=150) + 40) == pytest.approx(0, abs=1e-4)


def test_lips_moved_by_three_pixels_count_by_their_share_of_the_points() -> None:
    moved = face()
    moved[LIPS] += [0, 3]
    eye_distance = np.linalg.norm(face()[33] - face()[263])
    expected = 100 * 3 * len(LIPS) / len(EXPRESSION_POINTS) / eye_distance
    assert expression_percent(face(), moved) == pytest.approx(expected, rel=1e-6)


def test_expression_does_not_depend_on_the_size_of_the_picture() -> None:
    near, far = face(), face(scale=25)
    near_moved, far_moved = near.copy(), far.copy()
    near_moved[LIPS] += [0, 8]
    far_moved[LIPS] += [0, 2]
    assert expression_percent(near, near_moved) == pytest.approx(expression_percent(far, far_moved))


def test_an_open_mouth_is_seen_and_eyes_stay() -> None:
    opened = face()
    opened[[14, 87, 317]] += [0, 10]
    eyes, mouth = openings(face())
    eyes_open, mouth_open = openings(opened)
    assert mouth_open > mouth + 0.03 and eyes_open == eyes


def test_correlation_is_pearsons() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=40), random.normal(size=40)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert correlation(a, 3 * a + 1) == pytest.approx(1.0)
    assert correlation(a, -a) == pytest.approx(-1.0)


def test_what_does_not_move_has_no_correlation() -> None:
    moving = np.array([0.1, 0.5, 0.3, 0.9])
    assert math.isnan(correlation(np.full(4, 0.2), moving))
    assert math.isnan(correlation(moving, np.full(4, 0.2)))
    assert math.isnan(correlation(moving[:2], moving[:2]))
