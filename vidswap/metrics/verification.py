"""Face verification: are two pictures of one person? Accuracy, TPR at FPR and ROC.

ID-GAN (Table III) and the cascaded GAN (Table 2) measure with it how well faces are still
recognised after they were altered. Pairs come as in Labeled Faces in the Wild (Huang et al., 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import DatasetError, InputNotFoundError
from vidswap.metrics.identity import paired_cosines

Array = NDArray[np.floating]

FOLDS = 10


@dataclass(frozen=True)
class Pair:
    """Two pictures, as paths below LFW's folder (`Name/Name_0001.jpg`), and if of one person."""

    first: str
    second: str
    same: bool


@dataclass(frozen=True, eq=False)
class Verification:
    """How well scores separate pairs of one person from pairs of two; in [0, 1], higher is better.

    accuracy: mean over the folds, each with the threshold that is best on the others; `deviation`
    over the folds. tpr_at: share of the same-person pairs accepted at the largest threshold's
    false positive rate that does not exceed the one named. auc: area under the ROC. correct: (N,)
    which pairs the thresholds of `accuracy` sorted right.
    """

    accuracy: float
    deviation: float
    auc: float
    tpr_at: dict[float, float]
    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]
    correct: NDArray[np.bool_]


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file in LFW's format, in order.

    A first line with one or two numbers is passed over; then `name i j`, two pictures of a person,
    or `name i other j`, of two. Raises InputNotFoundError, DatasetError.
    """
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file of pairs; LFW's is pairs.txt")
    pairs = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words or (number == 1 and all(word.isdigit() for word in words)):
            continue
        try:
            pairs.append(_pair(words))
        except ValueError as error:
            raise DatasetError(
                f"{path}, line {number}: {line!r} is no pair; allowed: 'NAME I J' for one person, "
                "'NAME I OTHER J' for two"
            ) from error
    if not pairs:
        raise DatasetError(f"{path} holds no pairs; give a file in LFW's format")
    return pairs


def verify_pairs(
    first: Array, second: Array, same: NDArray[np.bool_], folds: int = FOLDS
) -> Verification:
    """`verification` by the cosines of embeddings (N, D) of each pair's two pictures."""
    return verification(paired_cosines(first, second), same, folds)


def verification(
    scores: Array,
    same: NDArray[np.bool_],
    folds: int = FOLDS,
    rates: tuple[float, ...] = (0.01, 0.001),
) -> Verification:
    """Judge scores (N,), higher for one person, of pairs that are (N,) of one person or not.

    Folds are runs of N / folds pairs in the order given, as LFW's protocol has them. Raises
    ValueError unless there are pairs of both kinds.
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    if same.all() or not same.any():
        raise ValueError("pairs of one person and of two are needed")
    fpr, tpr, _ = roc_curve(scores, same)
    parts = np.array_split(np.arange(len(scores)), min(folds, len(scores)))
    correct = np.zeros(len(scores), bool)
    for part in parts:
        others = np.setdiff1d(np.arange(len(scores)), part)
        threshold = best_threshold(scores[others], same[others])
        correct[part] = (scores[part] >= threshold) == same[part]
    shares = [float(correct[part].mean()) for part in parts]
    return Verification(
        accuracy=float(np.mean(shares)),
        deviation=float(np.std(shares)),
        auc=float(np.trapezoid(tpr, fpr)),
        tpr_at={rate: tpr_at_fpr(fpr, tpr, rate) for rate in rates},
        fpr=fpr,
        tpr=tpr,
        correct=correct,
    )


def roc_curve(
    scores: Array, same: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates and the thresholds (K,) each, from no pair accepted to all.

    A pair is accepted whose score is at least the threshold; equal scores are accepted together.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, truth = np.asarray(scores, np.float64)[order], same[order]
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    hits, alarms = np.cumsum(truth)[last], np.cumsum(~truth)[last]
    tpr = np.concatenate([[0.0], hits / max(1, int(truth.sum()))])
    fpr = np.concatenate([[0.0], alarms / max(1, int((~truth).sum()))])
    return fpr, tpr, np.concatenate([[np.inf], ranked[last]])


def tpr_at_fpr(fpr: Array, tpr: Array, rate: float) -> float:
    """The largest true positive rate whose false positive rate is at most `rate`."""
    return float(tpr[fpr <= rate + 1e-12].max())


def best_threshold(scores: Array, same: NDArray[np.bool_]) -> float:
    """The threshold that sorts most pairs right; half way between the scores on its two sides."""
    fpr, tpr, thresholds = roc_curve(scores, same)
    n_same = int(same.sum())
    right = tpr * n_same + (1.0 - fpr) * (len(same) - n_same)
    best = int(right.argmax())
    if best == 0:
        return float(np.nextafter(scores.max(), np.inf))
    below = thresholds[best + 1] if best + 1 < len(thresholds) else thresholds[best]
    return float((thresholds[best] + below) / 2.0)


def _pair(words: list[str]) -> Pair:
    if len(words) == 3:
        name, i, j = words
        return Pair(_picture(name, i), _picture(name, j), True)
    name, i, other, j = words
    return Pair(_picture(name, i), _picture(other, j), False)


def _picture(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"
