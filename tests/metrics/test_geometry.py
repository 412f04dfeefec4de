import math

import numpy as np
import pytest

from vidswap.faces import mesh
from vidswap.faces.detection import Face
from vidswap.faces.pose import HeadPose, canonical_mesh, head_pose
from vidswap.metrics.geometry import (
    EXPRESSION_POINTS,
    correlation,
    expression_percent,
    gaze_distance,
    meshes_in_one_region,
    openings,
    pearson,
    pose_degrees,
    pose_distance,
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


def test_pose_distance_is_the_euclidean_length_of_three_angles() -> None:
    assert pose_distance(HeadPose(1, 2, 3), HeadPose(1, 2, 3)) == 0
    assert pose_distance(HeadPose(1, 2, 3), HeadPose(3, 4, 4)) == pytest.approx(3)


@pytest.mark.parametrize(("yaw", "roll"), [(10.0, 0.0), (0.0, 8.0), (-6.0, 8.0)])
def test_a_face_turned_by_known_angles_is_at_their_distance(yaw: float, roll: float) -> None:
    distance = pose_distance(head_pose(face()), head_pose(face(yaw, roll)))
    assert distance == pytest.approx(math.hypot(yaw, roll), abs=0.8)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.2])
def test_irises_moved_by_a_share_of_an_eye_are_at_that_distance(share: float) -> None:
    looking = face()
    for corners, iris in (
        (mesh.RIGHT_EYE_CORNERS, mesh.RIGHT_IRIS),
        (mesh.LEFT_EYE_CORNERS[::-1], mesh.LEFT_IRIS),
    ):
        looking[list(iris)] += share * (looking[corners[1]] - looking[corners[0]])
    assert gaze_distance(face(), looking) == pytest.approx(100 * share, abs=0.01)


def test_both_meshes_are_looked_for_in_the_region_of_the_same_face() -> None:
    asked = []

    class Finder:
        def landmarks(self, rgb: np.ndarray, region: Face) -> Face | None:
            asked.append((int(rgb[0, 0, 0]), region))
            return region if rgb[0, 0, 0] == 1 else None

        def close(self) -> None: ...

    here = Face(face().astype(np.float32), None, 1.0)
    frames = np.full((4, 4, 3), 1, np.uint8), np.full((4, 4, 3), 2, np.uint8)
    assert meshes_in_one_region(*frames, here, Finder()) == (here, None)
    assert asked == [(1, here), (2, here)]


def test_correlations_of_many_pairs_at_once_leave_missing_frames_out() -> None:
    random = np.random.default_rng(4)
    pairs = random.normal(size=(5, 30, 2))
    expected = [np.corrcoef(p[:, 0], p[:, 1])[0, 1] for p in pairs]
    assert pearson(pairs) == pytest.approx(expected)
    holes = np.insert(pairs[0], 7, [[np.nan, 3.0], [9.0, np.nan]], axis=0)
    assert float(pearson(holes)) == pytest.approx(expected[0])
