"""Faults drawn onto a photograph, with a known answer each."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from tests.photographs import astronaut
from vidswap.metrics.faults import (
    CONTOUR_POINTS,
    FaceRegions,
    colour_shift,
    face_regions,
    flicker,
    seam,
    sharpness_ratio,
    swap_strength,
    swapped_frames,
)

SIZE = 256
CENTRE, AXES = np.array([128.0, 130.0]), np.array([60.0, 78.0])


def ellipse(scale: float = 1.0, n: int = 36) -> np.ndarray:
    angles = np.arange(n) * 2 * np.pi / n
    return CENTRE + scale * AXES * np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.fixture(scope="module")
def regions() -> FaceRegions:
    return face_regions(ellipse())


def portrait() -> np.ndarray:
    """The photograph's contrast halved, so that brighter and darker both fit in."""
    crop = cv2.resize(astronaut()[0:256, 96:352], (SIZE, SIZE))
    return (crop // 2 + 60).astype(np.uint8)


def inside(scale: float = 1.0, feather: float = 0.0) -> np.ndarray:
    """Weight (SIZE, SIZE, 1): one in the ellipse, blurred by `feather` pixels."""
    mask = np.zeros((SIZE, SIZE), np.float32)
    cv2.fillPoly(mask, [np.rint(ellipse(scale, 200) * 16).astype(np.int32)], 1.0, 8, 4)
    return (cv2.GaussianBlur(mask, (0, 0), feather) if feather else mask)[:, :, None]


def pasted(level: float, scale: float = 1.0, feather: float = 0.0) -> np.ndarray:
    """The portrait, its face brighter by `level` grey levels."""
    changed = portrait() + level * inside(scale, feather)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def test_the_regions_lie_within_and_around_the_outline(regions: FaceRegions) -> None:
    y, x = np.mgrid[:SIZE, :SIZE]
    radius = np.hypot((x - CENTRE[0]) / AXES[0], (y - CENTRE[1]) / AXES[1])
    assert (radius[regions.face > 0] < 0.97).all() and (radius[regions.ring > 0] > 1.15).all()
    assert not (regions.face * regions.ring).any() and (regions.outside >= regions.ring).all()
    expected = math.pi * (AXES[0] - 6) * (AXES[1] - 6)
    assert regions.face.sum() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("order", [1, -1])
def test_normals_point_outwards_whichever_way_the_outline_runs(order: int) -> None:
    found = face_regions(ellipse()[::order])
    outwards = ((found.contour - CENTRE) * found.normals).sum(axis=1)
    assert found.contour.shape == (CONTOUR_POINTS, 2) and (outwards > 50).all()
    assert np.linalg.norm(found.normals, axis=1) == pytest.approx(1)


def test_an_unchanged_face_has_no_fault(regions: FaceRegions) -> None:
    crop = portrait()
    assert seam(crop, crop, regions) == 0 and colour_shift(crop, crop, regions) == 0
    assert swap_strength(crop, crop, regions) == 0
    assert sharpness_ratio(crop, crop, regions) == 1


@pytest.mark.parametrize("level", [5.0, 20.0, -12.0])
def test_a_sharp_edge_is_a_seam_of_its_height(regions: FaceRegions, level: float) -> None:
    for scale in (1.0, 1.1):
        assert seam(portrait(), pasted(level, scale), regions) == pytest.approx(abs(level), rel=0.1)


def test_the_wider_a_paste_fades_out_the_smaller_is_its_seam(regions: FaceRegions) -> None:
    seams = [seam(portrait(), pasted(20, 1.05, feather), regions) for feather in (0, 3, 6, 12)]
    assert seams == sorted(seams, reverse=True) and seams[-1] < 4


def test_noise_all_over_and_an_even_change_are_no_seam(regions: FaceRegions) -> None:
    noise = np.random.default_rng(0).normal(0, 8, (SIZE, SIZE, 3))
    noisy = np.clip(portrait() + noise, 0, 255).astype(np.uint8)
    assert seam(portrait(), noisy, regions) < 1.0
    assert seam(portrait(), portrait() + np.uint8(20), regions) == pytest.approx(0, abs=1e-3)


def test_a_step_in_lab_is_a_shift_of_its_length(regions: FaceRegions) -> None:
    color = pytest.importorskip("skimage.color")
    target = np.full((SIZE, SIZE, 3), 128, np.uint8)
    swap = np.where(inside(1.1) > 0, np.array([150, 120, 128]), target).astype(np.uint8)
    labs = color.rgb2lab(np.array([[[128, 128, 128], [150, 120, 128]]], np.uint8))[0]
    expected = np.linalg.norm(labs[1] - labs[0])
    assert expected > 10
    assert colour_shift(target, swap, regions) == pytest.approx(expected, rel=0.001)


def test_a_change_of_the_whole_picture_is_no_shift(regions: FaceRegions) -> None:
    even = np.full((SIZE, SIZE, 3), 128, np.uint8)
    assert colour_shift(even, even + np.uint8(25), regions) == pytest.approx(0, abs=1e-4)


def test_the_further_the_colour_is_off_the_larger_is_the_shift(regions: FaceRegions) -> None:
    shifts = [colour_shift(portrait(), pasted(level), regions) for level in (0, 4, 12, 30)]
    assert shifts == sorted(shifts) and shifts[0] == 0 and shifts[-1] > 8


def test_a_face_without_surroundings_in_the_crop_has_no_shift() -> None:
    filling = face_regions(ellipse(5.0))
    assert math.isnan(colour_shift(portrait(), pasted(10), filling))


def grating(radians: float) -> np.ndarray:
    wave = 128 + 80 * np.sin(radians * np.arange(SIZE))
    return np.repeat(np.tile(np.rint(wave), (SIZE, 1))[:, :, None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("blur", [1.0, 2.0, 3.0])
def test_a_blurred_grating_loses_what_a_gaussian_takes(regions: FaceRegions, blur: float) -> None:
    lines = grating(0.4)
    blurred = cv2.GaussianBlur(lines, (0, 0), blur)
    expected = math.exp(-(blur**2) * 0.4**2 / 2)
    assert sharpness_ratio(lines, blurred, regions) == pytest.approx(expected, rel=0.03)


def test_the_more_a_face_is_blurred_the_lower_is_its_sharpness(regions: FaceRegions) -> None:
    blurred = [cv2.GaussianBlur(portrait(), (0, 0), s) for s in (0.7, 1.5, 4)]
    ratios = [sharpness_ratio(portrait(), b, regions) for b in blurred]
    assert ratios == sorted(ratios, reverse=True) and ratios[-1] < 0.5
    even = np.full((SIZE, SIZE, 3), 90, np.uint8)
    assert math.isnan(sharpness_ratio(even, portrait(), regions))


def test_the_strength_is_the_change_of_the_face_alone(regions: FaceRegions) -> None:
    assert swap_strength(portrait(), pasted(9, 1.05), regions) == pytest.approx(9, abs=0.05)
    assert swap_strength(portrait(), portrait() + np.uint8(9), regions) == pytest.approx(
        0, abs=1e-3
    )


def test_frames_changed_by_much_less_than_usual_were_left_out() -> None:
    strength = np.array([10.0, 9, 0.4, 11, np.nan, 10, 2.0, 12])
    expected = [True, True, False, True, False, True, False, True]
    assert swapped_frames(strength) is not None
    assert swapped_frames(strength).tolist() == expected  # type: ignore[union-attr]


def test_a_clip_that_was_changed_nowhere_has_no_swapped_frames() -> None:
    assert swapped_frames(np.full(20, 0.3)) is None
    assert swapped_frames(np.full(3, np.nan)) is None and swapped_frames(np.array([])) is None


def test_flicker_counts_changes_a_second() -> None:
    seconds = np.arange(26) / 25
    always, every_other = np.ones(26, bool), np.arange(26) % 2 == 0
    assert flicker(always, seconds) == 0 and flicker(~always, seconds) == 0
    assert flicker(every_other, seconds) == pytest.approx(25)
    one_gap = always.copy()
    one_gap[7:9] = False
    assert flicker(one_gap, seconds) == pytest.approx(2)
    assert math.isnan(flicker(always[:1], seconds[:1]))
