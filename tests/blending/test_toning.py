"""A swap gets no colour that a toned target has not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.photographs import astronaut, grace_hopper
from vidswap.blending.toning import COLOURED, TONED, tone_curve, toned_like


def crop(photograph: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(photograph[:256, 100:356])


def grey(picture: np.ndarray) -> np.ndarray:
    luma = np.rint(picture @ np.array([0.2126, 0.7152, 0.0722]))
    return np.repeat(luma[..., None], 3, axis=2).astype(np.uint8)


def test_in_a_grey_picture_a_swap_is_exactly_grey() -> None:
    target, swapped = grey(crop(astronaut())), crop(grace_hopper())
    answer = toned_like(target, swapped)
    np.testing.assert_array_equal(answer[..., 0], answer[..., 1])
    np.testing.assert_array_equal(answer[..., 0], answer[..., 2])
    np.testing.assert_allclose(answer[..., 0], grey(swapped)[..., 0], atol=1)


@pytest.mark.parametrize("tint", [(1.0, 0.85, 0.6), (0.8, 0.9, 1.0)])
def test_in_a_tinted_picture_a_swap_has_the_tint_at_every_brightness(
    tint: tuple[float, float, float],
) -> None:
    def tinted(picture: np.ndarray) -> np.ndarray:
        return np.rint(grey(picture) * np.array(tint)).astype(np.uint8)

    target, swapped = tinted(crop(astronaut())), crop(grace_hopper())
    assert tone_curve(target)[1] < TONED
    answer = toned_like(target, swapped).astype(float)
    bright = (answer[..., 0] > 60) & (answer.max(axis=2) < 255)  # neither rounded nor clipped
    ratios = answer[bright] / answer[bright].max(axis=1, keepdims=True)
    wanted = np.array(tint) / max(tint)
    np.testing.assert_allclose(ratios.mean(axis=0), wanted, atol=0.02)
    assert ratios.std(axis=0).max() < 0.03


def sepia(picture: np.ndarray) -> np.ndarray:
    """As a colour matrix makes it, whose sums clip at white."""
    matrix = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]]
    return np.clip(np.rint(picture @ np.array(matrix).T), 0, 255).astype(np.uint8)


def two_tones(picture: np.ndarray) -> np.ndarray:
    """Blue shadows, which turn to orange at half the brightness."""
    share = grey(picture)[..., :1] / 255.0
    low, middle, high = (np.array(c) for c in ((0, 10, 60), (200, 120, 60), (255, 240, 200)))
    rising = low + 2 * share * (middle - low)
    falling = middle + (2 * share - 1) * (high - middle)
    return np.rint(np.where(share < 0.5, rising, falling)).astype(np.uint8)


@pytest.mark.parametrize("tone", [sepia, two_tones])
def test_a_tone_that_clips_or_turns_is_kept(tone: Callable[[np.ndarray], np.ndarray]) -> None:
    target, swapped = tone(crop(astronaut())), crop(grace_hopper())
    assert tone_curve(target)[1] < TONED
    answer = toned_like(target, swapped)
    assert tone_curve(answer)[1] < TONED
    weights = np.array([0.2126, 0.7152, 0.0722])
    lumas = (np.rint(p.reshape(-1, 3) @ weights).astype(int) for p in (target, answer))
    of_target, of_answer = lumas
    counts = np.maximum(np.bincount(of_target, minlength=256), 1)[:, None]
    sums = [np.bincount(of_target, target[..., n].ravel(), 256) for n in range(3)]
    colours = (np.stack(sums, axis=1) / counts)[of_answer]
    known = np.bincount(of_target, minlength=256)[of_answer] > 20
    assert np.abs(answer.reshape(-1, 3) - colours)[known].mean() < 5


@pytest.mark.parametrize("photograph", [astronaut, grace_hopper])
def test_a_picture_in_colour_changes_nothing(photograph: object) -> None:
    assert callable(photograph)
    target, swapped = crop(photograph()), crop(grace_hopper())
    assert tone_curve(target)[1] > COLOURED
    assert toned_like(target, swapped) is swapped


def test_noise_of_a_codec_in_grey_is_still_grey() -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.8, (256, 256, 3))
    target = np.clip(np.rint(grey(crop(astronaut())) + noise), 0, 255).astype(np.uint8)
    answer = toned_like(target, crop(grace_hopper())).astype(int)
    assert np.ptp(answer, axis=2).max() <= 1
