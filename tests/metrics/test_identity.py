import math

import numpy as np
import pytest

from vidswap.metrics.identity import cosine, nearer_to_source, paired_cosines, retrieval_ranks


def at(*degrees: float) -> np.ndarray:
    """Vectors (N, 2) at these angles, each of another length."""
    lengths = np.arange(1, len(degrees) + 1)[:, None]
    radians = np.radians(degrees)
    return lengths * np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_cosine_is_that_of_the_angle() -> None:
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, math.sqrt(3)])) == pytest.approx(0.5)
    expected = [math.cos(math.radians(a)) for a in (60, 90, 0)]
    assert paired_cosines(at(0, 10, 33), at(60, 100, 33)) == pytest.approx(expected)


def test_a_swap_is_nearer_to_the_source_from_half_way_on() -> None:
    swaps, sources, targets = at(0, 20, 40, 44, 46, 90), at(*[90] * 6), at(*[0] * 6)
    assert nearer_to_source(swaps, sources, targets).tolist() == [False] * 4 + [True] * 2


def test_an_unchanged_target_is_never_nearer_and_a_copied_source_always() -> None:
    sources, targets = at(80, 10, 200), at(20, 50, 180)
    assert not nearer_to_source(targets, sources, targets).any()
    assert nearer_to_source(sources, sources, targets).all()


def test_a_picture_finds_itself_first_among_others() -> None:
    gallery = at(0, 30, 60, 90, 120)
    assert retrieval_ranks(gallery, gallery, np.arange(5)).tolist() == [0] * 5


def test_the_rank_counts_those_who_are_nearer() -> None:
    gallery = at(0, 30, 60, 90)
    # From 5 degrees the order is 0, 30, 60, 90.
    swaps = at(5, 5, 5, 5)
    assert retrieval_ranks(swaps, gallery, np.arange(4)).tolist() == [0, 1, 2, 3]


def test_a_tie_counts_against_the_swap() -> None:
    gallery = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    assert retrieval_ranks(np.array([[1.0, 0.0]]), gallery, np.array([0])).tolist() == [1]


def test_chance_finds_one_in_as_many_as_there_are() -> None:
    random = np.random.default_rng(0)
    gallery, swaps = random.normal(size=(50, 40)), random.normal(size=(4000, 40))
    ranks = retrieval_ranks(swaps, gallery, random.integers(0, 50, 4000))
    assert (ranks < 1).mean() == pytest.approx(1 / 50, abs=0.01)
    assert (ranks < 5).mean() == pytest.approx(5 / 50, abs=0.02)
