"""Matching all against all: rates and intervals of scores whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from vidswap.metrics.matching import all_pairs, interval_of, rates_at, wilson_interval


def people_in_a_plane(n: int, spread: float, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Three pictures of each of n people: a direction of their own, and noise."""
    random = np.random.default_rng(seed)
    own = np.repeat(random.normal(size=(n, 16)), 3, axis=0)
    return own + spread * random.normal(size=own.shape), [f"p{i // 3}" for i in range(3 * n)]


def test_every_pair_is_counted_once_and_scored_by_correlation() -> None:
    embeddings, people = people_in_a_plane(4, 1.0)
    pairs = all_pairs(embeddings, people)
    assert len(pairs.scores) == 12 * 11 // 2 and pairs.same.sum() == 4 * 3
    assert pairs.scores[0] == pytest.approx(np.corrcoef(embeddings[0], embeddings[1])[0, 1])


def test_the_rate_is_the_share_of_pairs_above_the_false_alarms_that_are_allowed() -> None:
    embeddings, people = people_in_a_plane(20, 1.2)
    pairs = all_pairs(embeddings, people)
    others = np.sort(pairs.scores[~pairs.same])[::-1]
    allowed = int(0.01 * len(others))
    expected = (pairs.scores[pairs.same] > others[allowed]).mean()
    assert 0.1 < expected < 0.95
    assert rates_at(pairs, 0.01, resamples=0)[0] == pytest.approx(expected)


def test_people_told_apart_without_fail_have_no_interval() -> None:
    pairs = all_pairs(*people_in_a_plane(10, 1e-6))
    found = interval_of(rates_at(pairs, resamples=50))
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_the_interval_narrows_with_the_root_of_the_number_of_people() -> None:
    widths = []
    for n in (15, 60):
        found = interval_of(rates_at(all_pairs(*people_in_a_plane(n, 1.2)), resamples=200))
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] / widths[0] == pytest.approx(0.5, abs=0.25)


def test_the_same_net_twice_differs_by_nothing_in_every_resample() -> None:
    pairs = all_pairs(*people_in_a_plane(12, 1.2))
    gain = interval_of(rates_at(pairs, resamples=50) - rates_at(pairs, resamples=50))
    assert (gain.value, gain.low, gain.high) == (0.0, 0.0, 0.0)


def test_wilsons_interval_of_shares_whose_interval_is_known() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: method 3.
    for hits, count, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
                                   (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):  # fmt: skip
        found = wilson_interval(hits, count)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    with pytest.raises(ValueError, match="21 of 20"):
        wilson_interval(21, 20)


def test_pictures_of_one_person_or_of_strangers_alone_have_no_rate() -> None:
    for names in (["a", "a"], ["a", "b"]):
        with pytest.raises(ValueError, match="of one person and of two"):
            all_pairs(np.eye(2, 3), names)
