"""What photographs show finer than the generator's crop, as strong as the target has it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.blending.heads import head, turned_mesh
from vidswap.blending.detail import (
    FINE,
    LEAST_STRENGTH,
    MOST_GAIN,
    STEPS,
    fine_crop,
    finest_band,
    gain_to,
    strength,
    warped_band,
    warped_band_reference,
    with_detail,
)
from vidswap.blending.reference import (
    FINE_WEIGHT,
    FusedReference,
    ReferenceShot,
    mirror_image,
    with_reference,
)
from vidswap.blending.warping import FaceCrop

SKIN = (170, 130, 110)


def textured(deviation: float, seed: int = 0) -> np.ndarray:
    """A fine crop of skin with pores."""
    noise = np.random.default_rng(seed).normal(0.0, deviation, (FINE, FINE))
    return np.clip(np.rint(140.0 + noise), 0, 255).astype(np.uint8)


def face(deviation: float | None, seed: int = 0) -> FaceCrop:
    fine = None if deviation is None else textured(deviation, seed)
    return replace(head(SKIN, seed=seed), fine=fine)


@pytest.mark.parametrize(("enlarged", "is_fine"), [(0.8, False), (1.2, False), (1.5, True)])
def test_only_a_face_larger_than_the_crop_shows_more(enlarged: float, is_fine: bool) -> None:
    frame = np.full((600, 600, 3), 90, np.uint8)
    affine = np.array([[1.0 / enlarged, 0.0, -20.0], [0.0, 1.0 / enlarged, -20.0]])
    fine = fine_crop(frame, affine)
    assert (fine is not None) == is_fine
    assert fine is None or (fine.shape == (FINE, FINE) and (fine == 90).all())


def test_the_finest_band_is_what_the_crop_cannot_hold() -> None:
    x = np.arange(FINE)
    wide = 128.0 + 40.0 * np.sin(2.0 * np.pi * x / 64.0)
    narrow = 128.0 + 40.0 * np.sin(2.0 * np.pi * (x + 0.5) / 2.5)
    bands = [
        finest_band(np.tile(np.rint(row), (FINE, 1)).astype(np.uint8)) / STEPS
        for row in (wide, narrow)
    ]
    assert np.abs(bands[0]).max() < 3.0
    assert bands[1].std() > 0.8 * 40.0 / np.sqrt(2.0)


def test_a_band_moves_twice_as_many_pixels_as_the_crop() -> None:
    band = finest_band(textured(6.0))
    field = np.zeros((256, 256, 2), np.float32)
    assert warped_band(band, field) == pytest.approx(band / STEPS)
    field[..., 0] = 5.0
    assert warped_band(band, field)[:, :-10] == pytest.approx(band[:, 10:] / STEPS)


def test_a_band_never_gets_stronger_than_the_targets_nor_much_stronger_than_its_own() -> None:
    assert gain_to(0.0, 2.0) == 0.0
    assert gain_to(LEAST_STRENGTH, 2.0) == 0.0
    assert gain_to(1.0, 2.0) == pytest.approx(0.85 / 1.85)
    assert gain_to(9.0, 2.0) == MOST_GAIN


def test_without_a_band_a_crop_is_enlarged_as_it_is() -> None:
    crop = head(SKIN).crop
    plain = cv2.resize(crop, (FINE, FINE), interpolation=cv2.INTER_CUBIC).astype(int)
    same = with_detail(crop, np.zeros((FINE, FINE), np.float32))
    assert np.abs(same.astype(int) - plain).max() <= 1
    brighter = with_detail(crop, np.full((FINE, FINE), 7.0, np.float32)).astype(int)
    assert np.abs(brighter - plain - 7).max() <= 1


@pytest.mark.parametrize("deviation", [2.0, 4.0])
def test_the_detail_is_as_strong_as_the_targets(deviation: float) -> None:
    track = FusedReference([ReferenceShot.of(face(5.0, seed=1))])
    target = face(deviation, seed=2)
    track(0, target)
    assert track.detail is not None
    inside = np.zeros((128, 128), np.float32)
    inside[52:76, 40:88] = 1.0  # cheeks and nose
    assert target.band is not None
    wanted = strength(target.band / STEPS, inside)
    assert strength(track.detail, inside) == pytest.approx(wanted, rel=0.25)
    assert np.abs(track.detail[:20]).max() == 0.0  # beyond the face


def test_there_is_no_detail_in_a_soft_frame_nor_without_a_fine_shot() -> None:
    shot = ReferenceShot.of(face(5.0))
    soft = FusedReference([shot])
    soft(0, replace(face(None), fine=np.full((FINE, FINE), 140, np.uint8)))
    assert soft.detail is not None and np.abs(soft.detail).max() < 1e-6
    for shown, target in ((shot, face(None)), (ReferenceShot.of(face(None)), face(5.0))):
        track = FusedReference([shown])
        track(0, target)
        assert track.detail is None


def test_a_mirrored_shot_shows_its_detail_mirrored() -> None:
    shot = face(5.0)
    mirrored = mirror_image(shot).fine
    assert mirrored is not None and shot.fine is not None
    assert np.array_equal(mirrored, shot.fine[:, ::-1])


def test_the_photograph_decides_further_over_what_is_fine() -> None:
    y, x = np.mgrid[:256, :256]
    answer = np.full((256, 256, 3), 120, np.uint8)
    view = np.zeros((256, 256, 4), np.uint8)
    view[..., 3] = 255
    weight = 0.5
    for pattern, share in ((20 * ((x + y) % 2), FINE_WEIGHT * weight), (20 + 0 * x, weight)):
        view[..., :3] = (120 + pattern)[..., None]
        mixed = with_reference(answer, view, weight)[40:-40, 40:-40].astype(float)
        if np.ptp(pattern):
            assert np.ptp(mixed) == pytest.approx(20.0 * share, abs=1.0)
        else:
            assert mixed.mean() == pytest.approx(120.0 + 20.0 * share, abs=0.6)


def test_a_turned_head_keeps_its_detail_on_the_face() -> None:
    track = FusedReference([ReferenceShot.of(face(5.0))])
    target = replace(face(4.0, seed=3), landmarks=turned_mesh(20.0))
    track(0, target)
    assert track.detail is not None and np.abs(track.detail).max() > 3.0
    assert np.abs(track.detail[:, :40]).max() < 1e-6


def test_a_band_is_sampled_where_opencv_samples_it_but_for_its_rounding() -> None:
    band = finest_band(textured(6.0, seed=4))
    smooth = cv2.GaussianBlur(
        np.random.default_rng(5).normal(0.0, 60.0, (256, 256, 2)), (0, 0), 8.0
    ).astype(np.float32)
    ours, theirs = warped_band(band, smooth), warped_band_reference(band, smooth)
    assert np.abs(smooth).max() > 4.0
    # OpenCV rounds places to a 32nd of a pixel, and values to an eighth of a level.
    difference = np.abs(ours - theirs)[32:-32, 32:-32]
    assert difference.max() < 2.0 and difference.mean() < 0.1


def test_detail_is_added_as_numpy_rounds() -> None:
    random = np.random.default_rng(6)
    picture = random.integers(0, 256, (256, 256, 3), np.uint8)
    detail = random.normal(0.0, 30.0, (FINE, FINE)).astype(np.float32)
    enlarged = cv2.resize(picture, (FINE, FINE), interpolation=cv2.INTER_CUBIC)
    wanted = np.clip(np.rint(enlarged.astype(np.float32) + detail[..., None]), 0, 255)
    np.testing.assert_array_equal(with_detail(picture, detail), wanted.astype(np.uint8))
