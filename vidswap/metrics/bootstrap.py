"""Confidence intervals of numbers measured on frames, which resemble their neighbours.

Moving-block bootstrap: Kuensch, "The jackknife and the bootstrap for general stationary
observations", Annals of Statistics, 1989.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Statistic = Callable[[Rows], Rows]  # (..., T, K) to (...)

RESAMPLES = 1000
LEVEL = 0.95
LEAST_FRAMES = 8  # below it an interval would say more than the frames do
SEED = 0
_NUMBERS_AT_ONCE = 2_000_000  # bounds the memory of a round


def block_interval(
    rows: Rows,
    statistic: Statistic,
    block: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> tuple[float, float] | None:
    """The percentile interval of a statistic of frames (T, K), drawn again in runs of `block`.

    Each resample joins T / block runs of `block` neighbouring frames, any of them, and is cut to T.
    `statistic` takes (..., T, K) to (...). A block longer than a quarter of the clip is shortened
    to that. None for fewer than `LEAST_FRAMES` frames, or where half the resamples have no value.
    """
    count = len(rows)
    if count < LEAST_FRAMES:
        return None
    block = max(1, min(block, count // 4))
    random = np.random.default_rng(seed)
    n_blocks = -(-count // block)
    values = []
    at_once = max(1, _NUMBERS_AT_ONCE // rows.size)
    for first in range(0, resamples, at_once):
        n = min(at_once, resamples - first)
        starts = random.integers(0, count - block + 1, (n, n_blocks))
        indices = (starts[:, :, None] + np.arange(block)).reshape(n, -1)[:, :count]
        values.append(statistic(rows[indices]))
    drawn = np.concatenate(values)
    known = drawn[np.isfinite(drawn)]
    if len(known) < resamples / 2:
        return None
    tail = 100.0 * (1.0 - level) / 2.0
    low, high = np.percentile(known, [tail, 100.0 - tail])
    return float(low), float(high)
