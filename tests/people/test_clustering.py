"""Tracks of one person come together, and those seen together never do."""

from __future__ import annotations

import numpy as np
import pytest

from vidswap.people.clustering import b_cubed, cluster, people_of


def tracks_of(people: int, each: int, spread: float = 0.012, seed: int = 1) -> tuple:
    """Embeddings about centres 0.85 apart, as of different people, and whose they are."""
    dice = np.random.default_rng(seed)
    centres = dice.normal(size=(people, 128))
    centres *= 0.6 / np.linalg.norm(centres, axis=1, keepdims=True)
    names = np.repeat(np.arange(people), each)
    rows = centres[names] + spread * dice.normal(size=(len(names), 128))
    return rows.astype(np.float32), names


def test_every_person_gets_one_number() -> None:
    rows, names = tracks_of(12, 9)
    assert b_cubed(cluster(rows), names) == (1.0, 1.0, 1.0)


def test_tracks_that_are_seen_together_are_never_one_person() -> None:
    rows, _ = tracks_of(1, 8)
    apart = {(0, 1), (2, 3), (4, 5), (6, 7)}
    labels = cluster(rows, apart)
    assert all(labels[a] != labels[b] for a, b in apart)
    assert len(set(labels)) <= 3  # a person and her twin, and one that fits neither
    assert len(set(cluster(rows))) == 1


def test_the_distances_are_those_of_scipy() -> None:
    from scipy.spatial.distance import pdist

    from vidswap.people.clustering import _condensed

    rows, _ = tracks_of(5, 500)
    np.testing.assert_allclose(_condensed(rows), pdist(rows), atol=2e-3)
    longer = rows * np.linspace(1.0, 3.0, len(rows), dtype=np.float32)[:, None]
    np.testing.assert_array_equal(cluster(longer[::50]), cluster(rows[::50]))


def test_a_doubtful_track_joins_the_nearest_person_but_begins_none() -> None:
    rows, _ = tracks_of(2, 5)
    dice = np.random.default_rng(3)
    blurred = rows[0] + 0.02 * dice.normal(size=128)
    stranger = 2.0 * rows[0] - rows[9] + 0.05 * dice.normal(size=128)
    rows = np.vstack([rows, blurred, stranger]).astype(np.float32)
    certainty = np.array([3.0] * 10 + [0.2, 0.2])
    labels = people_of(rows, certainty)
    assert labels[10] == labels[0]
    assert labels[11] not in labels[:11]
    # The same blurred face beside its person is somebody else.
    assert people_of(rows, certainty, {(0, 10)})[10] != labels[0]


def test_nobody_and_one_track_are_clusters_too() -> None:
    assert len(cluster(np.zeros((0, 128), np.float32))) == 0
    assert list(people_of(np.zeros((1, 128), np.float32), np.zeros(1))) == [0]


@pytest.mark.parametrize(
    ("labels", "truth", "expected"),
    [
        ([0, 0, 1, 1], "aabb", (1.0, 1.0, 1.0)),
        ([0, 0, 0, 0], "aabb", (0.5, 1.0, 2 / 3)),
        ([0, 1, 2, 3], "aabb", (1.0, 0.5, 2 / 3)),
    ],
)
def test_b_cubed_is_as_defined(labels: list[int], truth: str, expected: tuple) -> None:
    assert b_cubed(labels, list(truth)) == pytest.approx(expected)
