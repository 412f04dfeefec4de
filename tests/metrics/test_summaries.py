from __future__ import annotations

import math

import numpy as np
import pytest

from vidswap.metrics.summaries import (
    followed,
    mean_of,
    ratio_of_sums,
    root_mean_square,
    sum_of_means,
)

NAN = float("nan")


def test_means_leave_missing_frames_out() -> None:
    assert mean_of(np.array([[1.0], [NAN], [4.0]])) == pytest.approx(2.5)
    assert math.isnan(mean_of(np.full((3, 1), NAN)))


def test_the_root_mean_square_is_larger_than_the_mean() -> None:
    assert root_mean_square(np.array([[3.0], [NAN], [4.0]])) == pytest.approx(math.sqrt(12.5))


def test_the_warp_error_is_the_sum_of_both_terms_and_the_ratio_that_of_two_clips() -> None:
    rows = np.array([[1.0, 2.0, 2.0, 1.0], [3.0, 6.0, 1.0, 4.0]])
    assert sum_of_means(rows[:, :2]) == pytest.approx(2 + 4)
    assert ratio_of_sums(rows) == pytest.approx(6 / 4)
    assert math.isnan(ratio_of_sums(np.zeros((3, 4))))


def test_many_resamples_are_summed_up_at_once() -> None:
    rows = np.random.default_rng(0).uniform(1, 2, (6, 20, 4))
    assert ratio_of_sums(rows) == pytest.approx([float(ratio_of_sums(r)) for r in rows])
    assert followed(rows[..., :2]) == pytest.approx([float(followed(r)) for r in rows[..., :2]])


def test_what_hardly_moves_cannot_be_followed() -> None:
    still = 0.3 + 0.005 * np.random.default_rng(1).normal(size=(30, 2))
    assert math.isnan(followed(still))
    moving = still + 0.1 * np.sin(np.arange(30))[:, None]
    assert followed(moving) == pytest.approx(np.corrcoef(*moving.T)[0, 1])
