"""Steadying: shimmer falls, motion is not held back, and what is new is not mixed with the past."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vidswap.blending.temporal_smoothing import SmoothedFace


def texture(seed: int = 0) -> np.ndarray:
    """A smooth random picture (256, 256, 3), whose motion optical flow can follow."""
    noise = np.random.default_rng(seed).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    return np.clip(cv2.resize(noise, (256, 256), interpolation=cv2.INTER_CUBIC), 20, 200).astype(
        np.uint8
    )


def shifted(picture: np.ndarray, x: float) -> np.ndarray:
    matrix = np.array([[1.0, 0.0, x], [0.0, 1.0, 0.0]])
    return cv2.warpAffine(picture, matrix, (256, 256), borderMode=cv2.BORDER_REFLECT_101)


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    inner = slice(40, 216)
    return float(np.abs(a[inner, inner].astype(float) - b[inner, inner]).mean())


def test_shimmer_of_the_generator_falls_on_a_face_that_does_not_move() -> None:
    random, crop, steady = np.random.default_rng(1), texture(), SmoothedFace(0.75)
    clean = crop.astype(np.float32) + 30
    noisy = [np.clip(clean + random.normal(0, 6, clean.shape), 0, 255) for _ in range(12)]
    raw = [picture.astype(np.uint8) for picture in noisy]
    out = [steady(i, crop, picture) for i, picture in enumerate(raw)]
    assert mean_difference(out[-1], out[-2]) < 0.4 * mean_difference(raw[-1], raw[-2])
    assert mean_difference(out[-1], clean) < 0.5 * mean_difference(raw[-1], clean)


def test_a_change_that_moves_with_the_face_is_not_held_back() -> None:
    crop, steady = texture(), SmoothedFace(0.75)
    change = cv2.GaussianBlur(texture(5), (0, 0), 4).astype(np.int16) - 110
    swapped = np.clip(crop + change, 0, 255).astype(np.uint8)
    for i in range(8):
        out = steady(i, shifted(crop, 3.0 * i), shifted(swapped, 3.0 * i))
    lag = mean_difference(shifted(swapped, 21.0), shifted(swapped, 18.0))
    assert mean_difference(out, shifted(swapped, 21.0)) < 0.25 * lag


@pytest.mark.parametrize("step", [(0.5, 0.5), (1.3, 0.6)])
def test_fine_features_of_the_swap_are_kept_and_those_of_the_target_do_not_come_back(
    step: tuple[float, float],
) -> None:
    steady = SmoothedFace(0.85)
    pictures = [130.0 + 12.0 * pores(seed) + 20.0 * pores(seed + 2, 6.0) for seed in (0, 1)]
    for i in range(16):
        matrix = np.array([[1.0, 0.0, -60.0 - step[0] * i], [0.0, 1.0, -60.0 - step[1] * i]])
        target, swapped = (
            cv2.warpAffine(picture, matrix, (256, 256), flags=cv2.INTER_CUBIC).astype(np.uint8)
            for picture in pictures
        )
        out = steady(i, target, swapped)
    shares = np.linalg.lstsq(
        np.stack([fine_part(swapped), fine_part(target)], axis=1), fine_part(out)
    )[0]
    assert shares[0] > 0.92  # of the swap's pores
    assert abs(shares[1]) < 0.08  # of the target's


def pores(seed: int, width: float = 1.0) -> np.ndarray:
    """A random picture (400, 400, 3), of mean zero and deviation one, with spots so wide."""
    noise = np.random.default_rng(seed).normal(size=(400, 400, 3)).astype(np.float32)
    spots = cv2.GaussianBlur(noise, (0, 0), width)
    return spots / spots.std()


def fine_part(picture: np.ndarray) -> np.ndarray:
    grey = picture.mean(axis=2).astype(np.float32)
    return (grey - cv2.GaussianBlur(grey, (0, 0), 2.0))[40:-40, 40:-40].ravel()


def test_where_the_target_shows_something_new_the_new_swap_stands_alone() -> None:
    steady, before, after = SmoothedFace(0.9), texture(0), texture(1)
    steady(0, before, np.clip(before.astype(int) + 50, 0, 255).astype(np.uint8))
    np.testing.assert_allclose(steady(1, after, after), after, atol=6)
    assert mean_difference(steady(2, after, after), after) < 1.0


@pytest.mark.parametrize("index", [5, 0])
def test_frames_that_do_not_follow_start_anew(index: int) -> None:
    crop, steady = texture(), SmoothedFace(0.9)
    steady(1, crop, np.full_like(crop, 255))
    np.testing.assert_array_equal(steady(index, crop, crop), crop)


def test_no_share_of_the_past_changes_nothing() -> None:
    crop, steady = texture(), SmoothedFace(0.0)
    for i in range(3):
        swapped = texture(i + 2)
        np.testing.assert_array_equal(steady(i, crop, swapped), swapped)
