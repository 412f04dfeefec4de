"""Many shots of a source fused on a face: which are shown where, and in what light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.blending.heads import head, turned_mesh
from vidswap.blending.reference import (
    BEST_SHOTS,
    WEIGHT_MEMORY,
    FusedReference,
    ReferenceShot,
    fused_shots,
    mirror_image,
    reference_shots,
    shot_weights,
    with_reference,
)
from vidswap.blending.warping import FaceCrop
from vidswap.faces import mesh
from vidswap.faces.pose import head_pose, mirrored_points

SKIN = (170, 130, 110)


def shots(*yaws: float) -> list[ReferenceShot]:
    return [ReferenceShot.of(head(SKIN, yaw, seed=i)) for i, yaw in enumerate(yaws)]


def test_the_shot_nearest_in_pose_weighs_most() -> None:
    weights = shot_weights(shots(-25.0, 0.0, 25.0), head(SKIN, 20.0))
    assert weights.sum() == pytest.approx(1.0)
    assert weights.argmax() == 2
    assert weights[2] > 3 * weights[1] > 9 * weights[0]


def test_an_open_mouth_a_covered_face_and_a_blurred_one_weigh_less() -> None:
    plain, *_ = given = shots(0.0, 0.0, 0.0, 0.0)
    given[1] = replace(plain, mouth=0.2)
    hidden = np.ones((128, 128), np.float32)
    hidden[60:] = 0.0
    given[2] = ReferenceShot.of(replace(plain.shot, visibility=hidden))
    flat = np.full((256, 256, 3), SKIN, np.uint8)
    given[3] = ReferenceShot.of(replace(plain.shot, crop=flat))
    weights = shot_weights(given, head(SKIN))
    assert (weights[1:] < 0.3 * weights[0]).all()


def test_weights_change_slowly_and_start_anew_after_a_gap() -> None:
    given = shots(-20.0, 20.0)
    track = FusedReference(given)
    track(0, head(SKIN, -20.0))
    assert track.last is not None
    before = track.last.weights[0]
    track(1, head(SKIN, 20.0))
    assert track.last.weights[0] > WEIGHT_MEMORY * before - 1e-6
    track(7, head(SKIN, 20.0))
    assert track.last.weights[0] < 0.2


def test_a_track_that_is_resumed_shows_what_it_would_have_shown() -> None:
    given = shots(-15.0, 5.0, 25.0)
    targets = [head((120, 110, 100), yaw) for yaw in (-10.0, -5.0, 0.0, 8.0)]
    whole = FusedReference(given)
    views = [whole(i, target) for i, target in enumerate(targets)]
    first = FusedReference(given)
    for i in (0, 1):
        first(i, targets[i])
    second = FusedReference(given, first.last)
    for i in (2, 3):
        np.testing.assert_array_equal(second(i, targets[i]), views[i])


def test_only_the_best_few_are_warped_and_shared_by_weight() -> None:
    colours = [(200, 60, 60), (60, 200, 60), *[(60, 60, 200)] * BEST_SHOTS]
    given = [ReferenceShot.of(head(colour)) for colour in colours]
    weights = np.array([0.45, 0.45, *[0.1 / BEST_SHOTS] * BEST_SHOTS])
    grey = head((128, 128, 128))
    mixed, part, *_ = fused_shots(given, weights, grey)
    middle = mixed[140:160, 110:146].mean(axis=(0, 1))
    assert part[70:80, 55:73].min() > 0.95
    alone, *_ = fused_shots(given[:2], np.array([0.5, 0.5]), grey)
    np.testing.assert_allclose(middle, alone[140:160, 110:146].mean(axis=(0, 1)), atol=2.0)


def test_the_view_takes_on_the_target_s_light() -> None:
    lit = head(SKIN)
    ramp = np.linspace(0.55, 1.45, 256)[None, :, None]
    target = replace(lit, crop=np.clip(lit.crop * ramp, 0, 255).astype(np.uint8))
    view = FusedReference([ReferenceShot.single(head(SKIN, seed=9))])(0, target)
    left, right = view[120:170, 85:105, :3].mean(), view[120:170, 150:170, :3].mean()
    wanted = target.crop[120:170, 150:170].mean() / target.crop[120:170, 85:105].mean()
    assert right / left == pytest.approx(wanted, rel=0.15)


def test_the_mirrored_shot_stands_in_for_the_side_that_none_shows() -> None:
    given = reference_shots([head(SKIN, 25.0)])
    assert [round(shot.pose[0]) for shot in given] == [25, -25]
    weights = shot_weights(given, head(SKIN, -25.0))
    assert weights[1] > weights[0]
    assert len(reference_shots([head(SKIN, 0.0)])) == 1


def test_a_mirror_image_has_the_mesh_of_the_face_in_the_mirror() -> None:
    pairs = mirrored_points()
    np.testing.assert_array_equal(pairs[pairs], np.arange(478))
    assert pairs[mesh.RIGHT_EYE_CORNERS[0]] == mesh.LEFT_EYE_CORNERS[0]
    shot = head(SKIN, 18.0)
    mirrored = mirror_image(shot)
    assert head_pose(mirrored.landmarks).yaw == pytest.approx(-18.0, abs=1.0)
    np.testing.assert_array_equal(mirrored.crop, shot.crop[:, ::-1])


def test_a_green_wall_within_the_rim_of_a_mesh_is_not_shown_as_cheek() -> None:
    shot = head(SKIN)
    crop = shot.crop.copy()
    left = shot.landmarks[:, 0].min()
    crop[:, : int(left) + 7] = (20, 200, 40)  # the mesh reaches seven pixels into the wall
    view = FusedReference([ReferenceShot.single(replace(shot, crop=crop))])(0, head(SKIN, seed=5))
    shown = view[..., 3] > 60
    green = view[..., 1].astype(int) - view[..., 0] > 40
    assert shown[100:170, 100:150].all()
    assert not (shown & green).any()


def test_a_photograph_of_another_pose_altogether_shows_nothing() -> None:
    away = FaceCrop(head(SKIN).crop, turned_mesh() + 60.0, np.ones((128, 128), np.float32))
    view = FusedReference([ReferenceShot.single(away)])(0, head(SKIN))
    assert not view[..., 3].any()


def test_the_reference_is_laid_over_by_mask_and_weight() -> None:
    picture = np.full((256, 256, 3), 100, np.uint8)
    view = np.full((256, 256, 4), 200, np.uint8)
    view[..., 3] = 0
    view[:128, :, 3] = 255
    mixed = with_reference(picture, view, 0.6)
    np.testing.assert_array_equal(mixed[:128], 160)
    np.testing.assert_array_equal(mixed[128:], 100)
    np.testing.assert_array_equal(with_reference(picture, view, 0.0), picture)
