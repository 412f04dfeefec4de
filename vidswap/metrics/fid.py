"""Frechet distance of two sets of pictures, in the features of a net the caller names."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of features (N, D) and (M, D).

    Means and unbiased covariances; Heusel et al., "GANs trained by a two time-scale update rule",
    2017, eq. 6, there with Inception-v3's 2048 features. At least 0, in the features' squared unit;
    lower is more alike. Only numbers of one net and one N may be compared: few pictures bias it
    upwards, by about D / N of the features' variance. Raises ValueError for fewer than two rows.
    """
    moments = []
    for rows in (a, b):
        moments.append(FeatureMoments(rows.shape[1]))
        moments[-1].add(rows)
    return frechet_of_moments(*moments)


@dataclass
class FeatureMoments:
    """Mean and covariance of features (N, D) that come a few at a time, and are not kept."""

    width: int
    count: int = 0
    mean: Matrix = field(init=False)
    scatter: Matrix = field(init=False)  # sum of (x - mean)(x - mean)', (D, D)

    def __post_init__(self) -> None:
        self.mean, self.scatter = np.zeros(self.width), np.zeros((self.width, self.width))

    def add(self, rows: NDArray[np.floating]) -> None:
        """Take in features (n, D): Chan, Golub and LeVeque, 1979, stable for any number."""
        rows = np.asarray(rows, np.float64)
        n, mean = len(rows), rows.mean(axis=0)
        step, total = mean - self.mean, self.count + n
        centred = rows - mean
        self.scatter += centred.T @ centred + np.outer(step, step) * (self.count * n / total)
        self.mean += step * (n / total)
        self.count = total

    @property
    def covariance(self) -> Matrix:
        """The unbiased covariance (D, D)."""
        return self.scatter / (self.count - 1)


def frechet_of_moments(a: FeatureMoments, b: FeatureMoments) -> float:
    """`frechet_distance` of features that were not kept.

    With C_a = RR, (C_a C_b)^(1/2) and (R C_b R)^(1/2) have the same trace. The eigenvalues of the
    second are real and at least 0, also where N < D makes the covariances singular.
    """
    if min(a.count, b.count) < 2:
        raise ValueError(f"two pictures of each kind at least, got {a.count} and {b.count}")
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b.covariance @ root), 0.0)).sum()
    distance = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance)
    return max(0.0, float(distance - 2 * shared))
