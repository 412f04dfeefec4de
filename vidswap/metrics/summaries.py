"""From a curve to a number: all take frames (..., T, K) to (...), and leave NaN frames out.

The leading axes are those of a bootstrap; a result is NaN where no frame has a value.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vidswap.metrics.geometry import pearson

Rows = NDArray[np.float64]

# In eye widths or face heights; what moves less is the landmark net's noise.
LEAST_DEVIATION = 0.015


def mean_of_known(values: Iterable[float]) -> float:
    """The mean of the values that are not NaN; NaN where there is none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def means(rows: Rows) -> Rows:
    """The mean of every column: (..., T, K) to (..., K)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without any value
        return np.asarray(np.nanmean(rows, axis=-2), np.float64)


def mean_of(rows: Rows) -> Rows:
    """The mean of the one column."""
    return np.asarray(means(rows)[..., 0], np.float64)


def root_mean_square(rows: Rows) -> Rows:
    """The root of the mean square of the one column."""
    return np.sqrt(mean_of(rows**2))


def sum_of_means(rows: Rows) -> Rows:
    """The sum of the columns' means: eq. 15 of AP-GAN from eq. 14, short and long."""
    return np.asarray(means(rows).sum(axis=-1), np.float64)


def ratio_of_sums(rows: Rows) -> Rows:
    """The first half of the columns' means, summed, over the second half, summed; NaN over 0."""
    both = means(rows)
    half = both.shape[-1] // 2
    upper, lower = both[..., :half].sum(axis=-1), both[..., half:].sum(axis=-1)
    usable = lower > 0
    return np.asarray(np.where(usable, upper / np.where(usable, lower, 1.0), np.nan), np.float64)


def followed(rows: Rows) -> Rows:
    """Pearson's correlation of the two columns, target first.

    NaN where the target's deviates by less than `LEAST_DEVIATION`: what does not move cannot be
    followed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        deviation = np.nanstd(rows[..., 0], axis=-1)
    return np.asarray(np.where(deviation >= LEAST_DEVIATION, pearson(rows), np.nan), np.float64)
