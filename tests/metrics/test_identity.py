import math

import numpy as np
import pytest

from vidswap.metrics.identity import (
    cosine,
    identity_discrepancy,
    match_score,
    nearer_to_source,
    paired_cosines,
    retrieval_ranks,
    retrieved,
)


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


def test_the_nearest_face_decides_whether_the_source_is_recognised() -> None:
    shots, own = at(80, 100), at(0)
    assert retrieved(at(50)[0], shots, own) and not retrieved(at(30)[0], shots, own)
    # Another person of the gallery, at 60 degrees, is nearer to 65 than the source at 80 is.
    assert retrieved(at(65)[0], shots, own)
    assert not retrieved(at(65)[0], shots, at(0, 60))


def test_an_unchanged_target_and_a_tie_are_not_recognised_as_the_source() -> None:
    assert not retrieved(at(20)[0], at(90), at(20))
    assert not retrieved(at(45)[0], at(90), at(0))


def test_the_discrepancy_is_what_the_cosine_lacks_to_one() -> None:
    degrees = (0, 30, 60, 180)
    expected = [1 - math.cos(math.radians(d)) for d in degrees]
    values = [identity_discrepancy(at(0)[0], at(d)[0]) for d in degrees]
    assert values == pytest.approx(expected) and values[0] == 0


def test_the_match_score_is_numpys_pearson_correlation() -> None:
    random = np.random.default_rng(3)
    a, b = random.normal(size=128), random.normal(size=128)
    assert match_score(a, a + 0.5 * b) == pytest.approx(np.corrcoef(a, a + 0.5 * b)[0, 1])
    assert match_score(a, a) == pytest.approx(1) and match_score(a, -2 * a + 1) == pytest.approx(-1)
    scores = [match_score(a + noise * b, a) for noise in (0.1, 0.5, 2.0)]
    assert scores == sorted(scores, reverse=True)
    assert math.isnan(match_score(a, np.ones(128)))
