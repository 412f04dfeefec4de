from __future__ import annotations

import math

import numpy as np
import pytest

from vidswap.metrics.bootstrap import block_interval
from vidswap.metrics.summaries import mean_of, ratio_of_sums

RANDOM = np.random.default_rng(0)


def column(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64)[:, None]


def test_independent_frames_give_the_interval_of_the_normal_distribution() -> None:
    values = RANDOM.normal(3.0, 2.0, 2000)
    low, high = block_interval(column(values), mean_of, 1)
    half = 1.96 * values.std() / math.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_frames_that_resemble_their_neighbours_have_a_wider_interval_with_blocks() -> None:
    # Every value 20 times: there are 100 independent ones, not 2000.
    values = np.repeat(RANDOM.normal(size=100), 20)
    single, blocks = (block_interval(column(values), mean_of, block) for block in (1, 40))
    expected = 2 * 1.96 * values.std() / math.sqrt(100)
    assert blocks[1] - blocks[0] == pytest.approx(expected, rel=0.25)
    assert blocks[1] - blocks[0] > 3 * (single[1] - single[0])


def test_about_95_of_100_intervals_hold_the_true_mean() -> None:
    held = 0
    for trial in range(200):
        values = np.random.default_rng(trial).normal(size=150)
        low, high = block_interval(column(values), mean_of, 5, resamples=200, seed=trial)
        held += low <= 0 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_the_same_frames_give_the_same_interval() -> None:
    rows = RANDOM.uniform(1, 2, (50, 4))
    first, second = (block_interval(rows, ratio_of_sums, 10) for _ in range(2))
    assert first == second and first[0] < float(ratio_of_sums(rows)) < first[1]


def test_frames_that_are_all_alike_have_an_interval_of_no_width() -> None:
    assert block_interval(column(np.full(30, 0.7)), mean_of, 5) == pytest.approx((0.7, 0.7))


def test_few_frames_have_no_interval_nor_has_a_number_that_is_not_defined() -> None:
    assert block_interval(column(np.arange(7)), mean_of, 1) is None
    assert block_interval(np.zeros((20, 4)), ratio_of_sums, 1) is None
