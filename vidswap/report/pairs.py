"""How well people are still recognised in pictures: verification over a file of pairs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import DatasetError, InputNotFoundError, NoFaceInSourceError
from vidswap.metrics.verification import Verification, read_pairs, verify_pairs
from vidswap.report.nets import ReportNets

Progress = Callable[[int, int], None]  # pictures read, and how many there are


@dataclass(frozen=True, eq=False)
class PairsResult:
    """Verification over the pairs whose pictures both show a face.

    left_out: how many pairs do not. judge: the net, in words.
    """

    verification: Verification
    pairs: int
    left_out: int
    judge: str

    def to_dict(self) -> dict[str, Any]:
        found = self.verification
        return {
            "pairs": self.pairs,
            "left_out": self.left_out,
            "judge": self.judge,
            "accuracy": found.accuracy,
            "accuracy_deviation": found.deviation,
            "auc": found.auc,
            "tpr_at_fpr": {str(rate): value for rate, value in found.tpr_at.items()},
            "roc": {"fpr": found.fpr.tolist(), "tpr": found.tpr.tolist()},
        }


def verify_folder(
    pairs_file: Path,
    folder: Path,
    nets: ReportNets,
    altered: Path | None = None,
    progress: Progress | None = None,
) -> PairsResult:
    """Verify the pairs of a file in LFW's format, whose pictures lie in `folder` as LFW's do.

    With `altered` the first picture of each pair is taken from there: how well the people are
    still recognised in pictures that were changed (ID-GAN, Table III; cascaded GAN, Table 2).
    Raises InputNotFoundError, DatasetError.
    """
    pairs = read_pairs(pairs_file)
    first = [(altered or folder) / pair.first for pair in pairs]
    second = [folder / pair.second for pair in pairs]
    pictures = dict.fromkeys([*first, *second])
    for path in pictures:
        if not path.is_file():
            raise InputNotFoundError(f"{path}: no such picture, which {pairs_file} names")
    known: dict[Path, NDArray[np.float32]] = {}
    for number, path in enumerate(pictures, 1):
        with suppress(NoFaceInSourceError):  # its pairs are counted as left out
            known[path] = nets.embed(list(nets.reader.read([path], choose="largest").crops[:1]))[0]
        if progress is not None:
            progress(number, len(pictures))
    usable = [i for i in range(len(pairs)) if first[i] in known and second[i] in known]
    same = np.array([pairs[i].same for i in usable], bool)
    if same.all() or not same.any():
        raise DatasetError(
            f"{pairs_file}: {len(usable)} of {len(pairs)} pairs can be used, all of one kind; "
            "give pairs of one person and pairs of two"
        )
    found = verify_pairs(
        np.stack([known[first[i]] for i in usable]),
        np.stack([known[second[i]] for i in usable]),
        same,
    )
    return PairsResult(found, len(usable), len(pairs) - len(usable), nets.names["identity"])


def result_as_text(result: PairsResult) -> str:
    """The figures, one per line."""
    found = result.verification
    lines = [
        f"{result.pairs} pairs, {result.left_out} left out without a face; judge: {result.judge}",
        f"verification accuracy  {found.accuracy:.4f} (deviation over the folds "
        f"{found.deviation:.4f})",
        f"area under the ROC     {found.auc:.4f}",
    ]
    lines += [f"TPR at FPR {rate:<10g}  {value:.4f}" for rate, value in found.tpr_at.items()]
    return "\n".join(lines)
