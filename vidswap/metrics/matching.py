"""How surely a face net finds one person among many: all pictures against all, with intervals.

TPR at an FPR, as Table 2 of the cascaded context GAN has it. The pairs of a set of pictures are not
independent: those of one person share that person. So the people are drawn again, not the pairs
(bootstrap, Efron 1979), and two nets are compared on the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True)
class Interval:
    """A number and the ends of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class AllPairs:
    """Every pair of N pictures: its score, and the people (numbers) of its two pictures."""

    scores: NDArray[np.float64]
    first: NDArray[np.intp]
    second: NDArray[np.intp]

    @property
    def same(self) -> NDArray[np.bool_]:
        """Which pairs (K,) show one person."""
        same: NDArray[np.bool_] = self.first == self.second
        return same

    @property
    def n_people(self) -> int:
        """How many people there are."""
        return int(max(self.first.max(), self.second.max())) + 1


def all_pairs(embeddings: Array, people: Sequence[str]) -> AllPairs:
    """The pairs of pictures by Pearson's correlation of their embeddings (N, D).

    Raises ValueError unless there are pairs of one person and of two.
    """
    rows = np.asarray(embeddings, np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    _, numbers = np.unique(np.asarray(people), return_inverse=True)
    one, other = np.triu_indices(len(rows), k=1)
    pairs = AllPairs((rows @ rows.T)[one, other], numbers[one], numbers[other])
    if pairs.same.all() or not pairs.same.any():
        raise ValueError("pairs of one person and of two are needed")
    return pairs


def rates_at(
    pairs: AllPairs, rate: float = 0.01, resamples: int = RESAMPLES, seed: int = SEED
) -> NDArray[np.float64]:
    """TPR at an FPR of at most `rate`: of all pairs, then of each resample, (1 + resamples,).

    A person drawn k times counts k times, in pairs with others as often as both were drawn; two
    draws of one person make no pair. The draws depend on the seed and the number of people alone.
    A resample without pairs of one person is NaN.
    """
    order = np.argsort(-pairs.scores, kind="stable")
    first, second = pairs.first[order], pairs.second[order]
    scores, same = pairs.scores[order], pairs.same[order]
    last = np.append(np.diff(scores) != 0, True)  # equal scores are accepted together
    draws = people_drawn(pairs.n_people, resamples, seed)
    return np.array([_rate_at(drawn, first, second, same, last, rate) for drawn in draws])


def people_drawn(
    n: int, resamples: int = RESAMPLES, seed: int = SEED
) -> Iterator[NDArray[np.float64]]:
    """How often each of n people counts: once each, and then in every resample."""
    random = np.random.default_rng(seed)
    yield np.ones(n)
    for _ in range(resamples):
        yield np.bincount(random.integers(0, n, n), minlength=n).astype(np.float64)


def accuracies_over_people(
    correct: NDArray[np.bool_], first: NDArray[np.intp], second: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The share of pairs sorted right, of all people and of each resample, (1 + resamples,).

    correct (K,) are pairs of people numbered first and second (K,), of one person where these are
    equal. Both kinds count half, so that a resample is balanced as the pairs are; one without pairs
    of either kind is NaN.
    """
    same = first == second
    n = int(max(first.max(), second.max())) + 1
    shares = []
    for drawn in people_drawn(n):
        weights = np.where(same, drawn[first], drawn[first] * drawn[second])
        kinds = [weights[of].sum() for of in (same, ~same)]
        right = [(weights * correct)[of].sum() for of in (same, ~same)]
        both = [r / k for r, k in zip(right, kinds, strict=True)] if min(kinds) else [float("nan")]
        shares.append(float(np.mean(both)))
    return np.array(shares)


def _rate_at(
    drawn: NDArray[np.float64],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    same: NDArray[np.bool_],
    last: NDArray[np.bool_],
    rate: float,
) -> float:
    """The TPR of pairs in descending order, each person counted `drawn` times."""
    weights = drawn[first]
    hits = np.where(same, weights, 0.0).cumsum()
    alarms = np.where(same, 0.0, weights * drawn[second]).cumsum()
    if hits[-1] == 0.0 or alarms[-1] == 0.0:
        return float("nan")
    allowed = last & (alarms <= rate * alarms[-1] + 1e-9)
    return float(hits[allowed].max(initial=0.0) / hits[-1])


def interval_of(values: NDArray[np.float64], level: float = LEVEL) -> Interval:
    """The first of values over people drawn, or of a difference of two, and their percentiles."""
    drawn = values[1:][np.isfinite(values[1:])]
    if not len(drawn):
        return Interval(float(values[0]), float("nan"), float("nan"))
    tail = 100.0 * (1.0 - level) / 2.0
    low, high = np.percentile(drawn, [tail, 100.0 - tail])
    return Interval(float(values[0]), float(low), float(high))


def wilson_interval(hits: int, count: int, level: float = LEVEL) -> Interval:
    """A share of `count` independent trials with Wilson's interval (1927)."""
    if not 0 <= hits <= count or count < 1:
        raise ValueError(f"{hits} of {count} is no share")
    z = NormalDist().inv_cdf((1.0 + level) / 2.0)
    share = hits / count
    middle = (share + z**2 / (2 * count)) / (1.0 + z**2 / count)
    half = (
        z / (1.0 + z**2 / count) * math.sqrt(share * (1.0 - share) / count + z**2 / (4 * count**2))
    )
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))
