"""Grain of the target on the swap, measured by what is finer than a pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vidswap.blending.grain import with_grain
from vidswap.blending.paste import Patch

CLEAN = np.tile(np.linspace(120, 160, 300).astype(np.uint8)[:, None, None], (1, 280, 3))


def noisy(deviation: float, width: float = 0.0, colour: bool = True) -> np.ndarray:
    noise = np.random.default_rng(3).normal(size=(*CLEAN.shape[:2], 3 if colour else 1))
    if width > 0:
        noise = cv2.GaussianBlur(noise, (0, 0), width).reshape(noise.shape)
        noise /= noise.std()
    return np.clip(np.rint(CLEAN + deviation * noise), 0, 255).astype(np.uint8)


LEFT, RIGHT = 40, 240  # of the patch, in the frame


def patch(frame: np.ndarray = CLEAN, weight: float = 1.0) -> Patch:
    rgb = frame[:, LEFT:RIGHT].copy()
    box = (LEFT, 0, LEFT + rgb.shape[1], len(rgb))
    return Patch(box, rgb, np.full(rgb.shape[:2], weight, np.float32))


def residual(picture: np.ndarray) -> np.ndarray:
    pixels = picture.astype(np.float64)
    return (pixels - cv2.GaussianBlur(pixels, (0, 0), 1.0))[8:-8, 8:-8]


@pytest.mark.parametrize(
    ("deviation", "width", "colour"), [(6, 0, True), (12, 0.8, False), (8, 1.2, True)]
)
def test_a_clean_swap_gets_the_targets_grain(deviation: float, width: float, colour: bool) -> None:
    target = noisy(deviation, width, colour)
    grainy = with_grain(patch(), target, 7)
    wanted, found = residual(target[:, LEFT:RIGHT]), residual(grainy)
    assert found.std() == pytest.approx(wanted.std(), rel=0.15)
    # Grey grain stays grey, coloured grain coloured, and grains are as wide.
    grey = [r.mean(axis=2).std() / r.std() for r in (wanted, found)]
    assert grey[1] == pytest.approx(grey[0], abs=0.05)
    alike = [np.corrcoef(r[:, 1:].ravel(), r[:, :-1].ravel())[0, 1] for r in (wanted, found)]
    assert alike[1] == pytest.approx(alike[0], abs=0.12)


def test_a_swap_as_noisy_as_the_target_and_one_in_a_clean_picture_stay_as_they_are() -> None:
    own = patch(noisy(6))
    assert with_grain(own, noisy(6), 0) is own.rgb
    clean = patch()
    assert with_grain(clean, noisy(0.5), 0) is clean.rgb


def test_the_same_moment_has_the_same_grain_and_another_another() -> None:
    target = noisy(8)
    first, again, later = (with_grain(patch(), target, moment) for moment in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - later).mean() > 3


def test_nothing_is_added_where_nothing_was_replaced() -> None:
    shown = patch()
    shown.weight[:, :100] = 0.0
    grainy = with_grain(shown, noisy(8), 0)
    np.testing.assert_array_equal(grainy[:, :100], shown.rgb[:, :100])
    assert (grainy[:, 110:] != shown.rgb[:, 110:]).mean() > 0.5


def test_pores_and_lashes_are_no_noise() -> None:
    target = noisy(8)
    target[:, :LEFT], target[:, RIGHT:] = CLEAN[:, :LEFT], CLEAN[:, RIGHT:]  # none beside the face
    shown = patch()
    assert with_grain(shown, target, 0) is shown.rgb


@pytest.mark.parametrize("side", [np.s_[:, :LEFT], np.s_[:, RIGHT:]])
def test_a_pattern_on_one_side_does_not_make_noise_of_pores(side: tuple[slice, slice]) -> None:
    target = noisy(1)
    target[:, LEFT:RIGHT] = noisy(4)[:, LEFT:RIGHT]
    target[side] = noisy(8)[side]
    shown = patch()
    assert with_grain(shown, target, 0) is shown.rgb


@pytest.mark.parametrize("level", [0, 255])
def test_a_black_or_white_side_does_not_hide_the_noise(level: int) -> None:
    target = noisy(8)
    target[:, :LEFT] = level
    grainy = with_grain(patch(), target, 0)
    assert residual(grainy).std() == pytest.approx(residual(target[:, LEFT:RIGHT]).std(), rel=0.15)


def test_a_face_of_a_few_pixels_and_one_that_nothing_replaces_are_left() -> None:
    for frame, weight in ((noisy(8)[:12, :52], 1.0), (noisy(8), 0.0)):
        small = patch(frame, weight)
        assert with_grain(small, frame, 0) is small.rgb
