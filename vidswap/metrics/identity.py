"""Whose face it is: cosines of a judge net's embeddings, and retrieval among many people.

Embeddings are (N, D), of any length. The net that gives them must be named beside every number,
with whether it took part in training: forty gradient steps against one net move its own cosine
from nothing to 0.99 and another net's hardly at all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def cosine(a: Array, b: Array) -> float:
    """Cosine similarity a.b / (|a| |b|) of two vectors (D,), in [-1, 1]; higher is more alike."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def paired_cosines(a: Array, b: Array) -> NDArray[np.float64]:
    """Cosines (N,) of row i of `a` with row i of `b`, both (N, D), in [-1, 1]."""
    products: NDArray[np.float64] = (_unit(a) * _unit(b)).sum(axis=1)
    return products


def nearer_to_source(swaps: Array, sources: Array, targets: Array) -> NDArray[np.bool_]:
    """Which swaps (N,) are nearer to their source than to their target, by cosine.

    The mean is a share in [0, 1], higher is better; an unchanged target gives 0. All three are
    (N, D).
    """
    nearer: NDArray[np.bool_] = paired_cosines(swaps, sources) > paired_cosines(swaps, targets)
    return nearer


def retrieval_ranks(swaps: Array, gallery: Array, wanted: NDArray[np.integer]) -> NDArray[np.intp]:
    """At which place (N,), from 0, each swap's source comes in a gallery ordered by cosine.

    `swaps` (N, D), `gallery` (M, D), `wanted` (N,) the source's row in the gallery. A tie counts
    against the swap. The share of ranks below k is top-k retrieval, the paper's *id* (IV.C, with
    faces of FaceForensics++ as its gallery) at k = 1; in [0, 1], higher is better, chance is k / M.
    """
    cosines = _unit(swaps) @ _unit(gallery).T
    own = cosines[np.arange(len(swaps)), wanted]
    rivals: NDArray[np.intp] = (cosines >= own[:, None]).sum(axis=1) - 1
    return rivals


def retrieved(swap: Array, own: Array, rivals: Array) -> bool:
    """Whether the face nearest to `swap` (D,) is one of its source's `own` (K, D), not a rival.

    By cosine among `own` and `rivals` (M, D), the target's own frame among them: AP-GAN's *id*
    (IV.C) for one generated face. A tie counts against the swap. The share over frames is the
    retrieval; an unchanged target, which finds itself, gives 0.
    """
    unit = _unit(np.asarray(swap)[None])[0]
    return bool((_unit(own) @ unit).max() > (_unit(rivals) @ unit).max())


def identity_discrepancy(swap: Array, source: Array) -> float:
    """1 - cosine of two vectors (D,), in [0, 2]; lower is better, 0 for the same picture.

    AP-GAN's *ID* (Table VII) goes back to InterFaceGAN and is printed without equation in both.
    """
    return 1.0 - cosine(swap, source)


def match_score(swap: Array, source: Array) -> float:
    """Pearson's correlation of two feature vectors (D,), in [-1, 1]; higher is better.

    Cov(F_o, F_h) / (sigma_o sigma_h): one summand of the mean match score, cascaded GAN, eq. 7 and
    AP-GAN, Table VI. NaN for a vector of equal numbers.
    """
    a, b = (np.asarray(v, np.float64) - np.mean(v, dtype=np.float64) for v in (swap, source))
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length > 0 else float("nan")


def _unit(rows: Array) -> NDArray[np.float64]:
    rows = np.asarray(rows, np.float64)
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit
