"""Which tracks are one person's: average linkage over their embeddings, under constraints.

Embeddings are compared by their directions, as vectors of length 1: that of dlib's says how clearly
a face is seen, not whose it is (B-cubed F1 on LFW albums 0.977, by their places 0.964).
Tracks that are seen in one frame are never one person: their distance is set so high that no
average with it can fall below the threshold. Tracks of which little was seen are left out at first
and go to the nearest person in the end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

# Mean distance of two clusters' tracks up to which they are one person's, as measured by
# `python -m pipelines.people_benchmark`.
ONE_PERSON = 0.38
LEAST_CERTAINTY = 0.8  # of a track that may begin a person
NEAREST = 0.48  # from a person's mean up to which a track of little certainty joins them
_NEVER = 1e12  # a distance; divided by 10^10 pairs of tracks it is still far above the threshold
_BLOCK = 1024  # rows of distances that are computed at a time


def cluster(
    embeddings: NDArray[np.float32],
    apart: Collection[tuple[int, int]] = (),
    threshold: float = ONE_PERSON,
) -> NDArray[np.int64]:
    """A number for each row's person, from 0 on; rows of a pair in `apart` never get the same.

    embeddings: (N, 128). Takes 16 bytes per pair of rows at its peak.
    """
    n = len(embeddings)
    if n < 2:
        return np.zeros(n, np.int64)
    from scipy.cluster.hierarchy import fcluster, linkage  # slow to load, needed by few clips

    distances = _condensed(directions(embeddings))
    if apart:
        pairs = np.array([(min(pair), max(pair)) for pair in apart], np.int64)
        i, j = pairs[:, 0], pairs[:, 1]
        distances[n * i - i * (i + 1) // 2 + j - i - 1] = _NEVER
    tree = linkage(distances, "average")
    labels: NDArray[np.int64] = fcluster(tree, threshold, "distance").astype(np.int64) - 1
    return labels


def people_of(
    embeddings: NDArray[np.float32],
    certainties: NDArray[np.floating],
    apart: Collection[tuple[int, int]] = (),
    threshold: float = ONE_PERSON,
) -> NDArray[np.int64]:
    """As `cluster`, with the `certainty` (N,) of each row: doubtful ones join at the end."""
    embeddings = directions(embeddings)
    sure = np.flatnonzero(certainties >= LEAST_CERTAINTY)
    if not len(sure):
        return cluster(embeddings, apart, threshold)
    place = {int(row): n for n, row in enumerate(sure)}
    within = [(place[a], place[b]) for a, b in apart if a in place and b in place]
    labels = np.full(len(embeddings), -1, np.int64)
    labels[sure] = cluster(embeddings[sure], within, threshold)
    means = _means(embeddings[sure], labels[sure], certainties[sure])
    rivals: dict[int, set[int]] = {}
    for a, b in apart:
        rivals.setdefault(a, set()).add(b)
        rivals.setdefault(b, set()).add(a)
    doubtful = np.flatnonzero(labels < 0)
    for row in sorted(doubtful, key=lambda row: -certainties[row]):
        distances = np.linalg.norm(means - embeddings[row], axis=1)
        taken = {int(labels[other]) for other in rivals.get(int(row), ()) if labels[other] >= 0}
        distances[[label for label in taken if label < len(means)]] = np.inf
        nearest = int(np.argmin(distances))
        if distances[nearest] <= NEAREST:
            labels[row] = nearest
    left = np.flatnonzero(labels < 0)
    if len(left):
        place = {int(row): n for n, row in enumerate(left)}
        within = [(place[a], place[b]) for a, b in apart if a in place and b in place]
        labels[left] = len(means) + cluster(embeddings[left], within, threshold)
    return labels


def directions(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """The rows (N, 128) as vectors of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray(embeddings / np.maximum(lengths, 1e-6), np.float32)


def b_cubed(labels: Sequence[int], truth: Sequence[object]) -> tuple[float, float, float]:
    """B-cubed precision, recall and F1 of a clustering (Bagga and Baldwin, 1998).

    The mean over items of the share of its cluster that is its own person's, and of the share of
    its person's items that its cluster has.
    """
    found = np.unique(np.asarray(labels), return_inverse=True)[1]
    right = np.unique([str(name) for name in truth], return_inverse=True)[1]
    table = np.zeros((found.max() + 1, right.max() + 1))
    np.add.at(table, (found, right), 1.0)
    both = table[found, right]
    precision = float((both / table.sum(axis=1)[found]).mean())
    recall = float((both / table.sum(axis=0)[right]).mean())
    return precision, recall, 2 * precision * recall / (precision + recall)


def _means(
    embeddings: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    totals = np.zeros((int(labels.max()) + 1, embeddings.shape[1]))
    np.add.at(totals, labels, embeddings * weights[:, None])
    return directions(totals).astype(np.float64)


def _condensed(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distances of all pairs (i < j), in the order that scipy has them, a block at a time."""
    n = len(rows)
    squared = (rows**2).sum(axis=1)
    distances = np.empty(n * (n - 1) // 2)
    at = 0
    for first in range(0, n, _BLOCK):
        block = rows[first : first + _BLOCK]
        products = block @ rows[first:].T
        apart = np.maximum(squared[first : first + len(block), None] + squared[None, first:]
                           - 2 * products, 0.0)  # fmt: skip
        for k, row in enumerate(np.sqrt(apart)):
            part = row[k + 1 :]
            distances[at : at + len(part)] = part
            at += len(part)
    return distances
