"""Frechet distance of two sets of pictures, in the features of a net the caller names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of features (N, D) and (M, D).

    Means and unbiased covariances; Heusel et al., "GANs trained by a two time-scale update rule",
    2017, eq. 6, there with Inception-v3's 2048 features. At least 0, in the features' squared unit;
    lower is more alike. Only numbers of one net and one N may be compared: few pictures bias it
    upwards, by about D / N of the features' variance. Raises ValueError for fewer than two rows.

    With C_a = A'A and C_b = B'B the trace of (C_a C_b)^(1/2) is the sum of the singular values of
    A B', which needs no root of a matrix and is exact where N < D makes the covariances singular.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"two pictures of each kind at least, got {len(a)} and {len(b)}")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    root_a = (a - mean_a) / np.sqrt(len(a) - 1)
    root_b = (b - mean_b) / np.sqrt(len(b) - 1)
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + (root_a**2).sum() + (root_b**2).sum() - 2 * shared
    return max(0.0, float(distance))
