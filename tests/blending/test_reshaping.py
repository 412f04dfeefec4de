"""A person's proportions told from meshes, and a face that gets another's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.blending.heads import SCALE, head, turned_mesh
from vidswap.blending.reference import ReferenceShot
from vidswap.blending.reshaping import Reshaper, reshaped, source_proportions
from vidswap.blending.warping import FaceCrop
from vidswap.faces import mesh
from vidswap.faces.pose import eye_openings, lip_gap
from vidswap.faces.shape import LIDS_AND_LIPS, ShapeModel, without_pose

SKIN = (170, 130, 110)
MOUTH = [*mesh.OUTER_LIPS, *mesh.INNER_LIPS]
OUTLINE = list(mesh.FACE_OVAL)


@pytest.fixture(scope="module")
def model() -> ShapeModel:
    return ShapeModel.load()


def with_low_mouth(landmarks: np.ndarray, pixels: float = 8.0) -> np.ndarray:
    """A mesh that looks into the camera, its mouth further down."""
    moved = landmarks.copy()
    moved[MOUTH, 1] += pixels
    return moved


def shot(landmarks: np.ndarray) -> ReferenceShot:
    return ReferenceShot.of(replace(head(SKIN), landmarks=landmarks))


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (30.0, 0.0), (-20.0, 15.0)])
def test_the_mean_face_has_no_proportions_of_its_own_in_any_pose(
    yaw: float, pitch: float, model: ShapeModel
) -> None:
    beside = without_pose(turned_mesh(yaw, pitch), model.points)
    assert np.abs(beside).max() < 0.005  # of the distance of the outer eye corners


def test_turning_the_head_leaves_its_proportions(model: ShapeModel) -> None:
    difference = 1.5 * np.sqrt(np.diag(model.between)) * np.resize([1.0, -1.0], len(model.between))
    told = [
        model.coefficients(model.moved(turned_mesh(yaw, pitch), difference))
        for yaw, pitch in ((0.0, 0.0), (25.0, 0.0), (0.0, -15.0))
    ]
    least = min(np.corrcoef(told[0], other)[0, 1] for other in told[1:])
    assert least > 0.98


def test_one_mesh_tells_less_than_many(model: ShapeModel) -> None:
    seen = model.coefficients(with_low_mouth(turned_mesh()))
    sizes = [np.linalg.norm(model.proportions(seen, 1.0 / n)) for n in (1, 3, 10)]
    assert sizes[0] < sizes[1] < sizes[2] < np.linalg.norm(seen)


def test_an_open_mouth_is_an_expression_and_a_low_one_a_proportion(model: ShapeModel) -> None:
    speaking = turned_mesh()
    lower = [17, 14, 84, 314, 87, 317, 181, 405, 178, 402, 91, 321, 88, 318, 95, 324]
    speaking[lower, 1] += 12.0
    kept = [
        np.linalg.norm(model.proportions(seen, 1.0)) / np.linalg.norm(seen)
        for seen in map(model.coefficients, (speaking, with_low_mouth(turned_mesh(), 6.0)))
    ]
    assert kept[0] < 0.75 * kept[1]


def test_a_face_gets_the_sources_proportions_within_its_own_outline(model: ShapeModel) -> None:
    source = shot(with_low_mouth(turned_mesh()))
    target = head(SKIN)
    moved = Reshaper([source], 1.0)(0, target)
    down = moved.landmarks[MOUTH, 1] - target.landmarks[MOUTH, 1]
    assert down.min() > 1.0 and down.max() < 8.0
    assert np.abs((moved.landmarks - target.landmarks)[OUTLINE]).max() < 0.05
    half = Reshaper([source], 0.5)(0, target).landmarks[MOUTH, 1] - target.landmarks[MOUTH, 1]
    assert half == pytest.approx(down / 2.0, abs=0.01)
    wanted = source_proportions([source], model)
    assert np.linalg.norm(wanted) * SCALE > 5.0


def test_eyes_and_mouth_stay_as_far_open_as_they_are(model: ShapeModel) -> None:
    random = np.random.default_rng(0)
    target = turned_mesh(12.0)
    difference = random.normal(size=len(model.between)) * np.sqrt(np.diag(model.between))
    moved = model.moved(target, difference)
    assert np.abs(moved - target).max() > 1.0
    gaps = [points[LIDS_AND_LIPS[:, 1]] - points[LIDS_AND_LIPS[:, 0]] for points in (target, moved)]
    assert gaps[1] == pytest.approx(gaps[0], abs=1e-3)
    assert lip_gap(moved) == pytest.approx(lip_gap(target), abs=1e-3)
    assert eye_openings(moved) == pytest.approx(eye_openings(target), rel=0.2)


def test_the_own_face_stays_as_it_is() -> None:
    target = head(SKIN)
    moved = Reshaper([shot(target.landmarks)], 1.0)(0, target)
    assert np.abs(moved.landmarks - target.landmarks).max() < 0.05
    assert np.abs(moved.crop.astype(int) - target.crop).max() <= 2


def test_the_picture_and_what_lies_before_it_move_with_the_mesh() -> None:
    target = head(SKIN)
    x, y = np.rint(target.landmarks[17]).astype(int)  # under the lower lip
    crop, visibility = target.crop.copy(), np.ones((128, 128), np.float32)
    crop[y - 2 : y + 3, x - 2 : x + 3] = (0, 0, 255)
    visibility[(y - 4) // 2 : (y + 6) // 2, (x - 4) // 2 : (x + 6) // 2] = 0.0
    marked = replace(target, crop=crop, visibility=visibility)
    moved = Reshaper([shot(with_low_mouth(turned_mesh(), 14.0))], 1.0)(0, marked)
    to_x, to_y = np.rint(moved.landmarks[17]).astype(int)
    assert to_y > y + 2
    blue = moved.crop[..., 2].astype(int) - moved.crop[..., 0]
    at = np.argwhere(blue > 100).mean(axis=0)
    assert at == pytest.approx([to_y, to_x], abs=1.5)
    assert moved.visibility is not None
    hidden = np.argwhere(moved.visibility < 0.5).mean(axis=0)
    assert 2.0 * hidden + 0.5 == pytest.approx([to_y, to_x], abs=2.5)


def test_a_track_goes_on_from_what_it_remembers() -> None:
    source = shot(with_low_mouth(turned_mesh()))
    poses = (0.0, 5.0, 10.0, 15.0)
    whole = Reshaper([source], 1.0)
    wanted = [whole(i, head(SKIN, yaw)).landmarks for i, yaw in enumerate(poses)]
    first = Reshaper([source], 1.0)
    for i, yaw in enumerate(poses[:2]):
        first(i, head(SKIN, yaw))
    second = Reshaper([source], 1.0, first.last)
    again = [second(i, head(SKIN, yaw)).landmarks for i, yaw in enumerate(poses[2:], 2)]
    assert np.array_equal(again, wanted[2:])


def test_lips_and_lids_of_the_picture_part_as_far_as_the_meshes_do() -> None:
    shut = turned_mesh()
    crop = np.full((256, 256, 3), 150, np.uint8)
    marks = (([13, 0], (250, 0, 0)), ([14, 17], (0, 0, 250)), ([159], (0, 250, 0)))
    for points, colour in marks:
        column, row = np.rint(shut[points].mean(axis=0)).astype(int)
        crop[row - 1 : row + 2, column - 3 : column + 4] = colour
    wanted = shut.copy()
    wanted[[14, 17, 87, 317, 84, 314]] += np.float32([0.0, 9.0])
    wanted[[158, 159, 160]] -= np.float32([0.0, 4.0])
    moved = reshaped(FaceCrop(crop, shut), wanted)
    assert moved.landmarks is wanted
    for points, colour in marks:
        channel = int(np.argmax(colour))
        others = moved.crop[..., [c for c in range(3) if c != channel]].max(axis=2).astype(int)
        found = np.argwhere(moved.crop[..., channel].astype(int) - others > 60)
        assert found[:, 0].mean() == pytest.approx(wanted[points, 1].mean(), abs=1.2)
