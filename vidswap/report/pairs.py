"""How well people are still recognised in pictures: verification over a file of pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.errors import BadOptionError, DatasetError, InputNotFoundError, NoFaceInSourceError
from vidswap.evaluation.inpainting import (
    Fill,
    HeldOutHoles,
    VerificationPair,
    by_model,
    by_opencv,
    measure_fillings,
)
from vidswap.inpainting.inpainter import Inpainter
from vidswap.inpainting.masks import random_block
from vidswap.metrics.verification import Verification, read_pairs, verify_pairs
from vidswap.models.checkpoint import load_generator
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


@dataclass(frozen=True, eq=False)
class OccludedRow:
    """One way to see the pictures: as they are, occluded, or filled by some method."""

    method: str
    psnr: float
    ssim: float
    accuracy: float
    regained: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; what is not finite is null."""
        values = {**vars(self)}
        return {
            name: None if isinstance(v, float) and not np.isfinite(v) else v
            for name, v in values.items()
        }


@dataclass(frozen=True, eq=False)
class _ReportJudge:
    """The report's face net as the tables of inpainting take it."""

    nets: ReportNets

    @property
    def stated(self) -> str:
        return self.nets.names["identity"]

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.concatenate([self.nets.embed([crop]) for crop in crops])


def verify_occluded(
    pairs_file: Path,
    folder: Path,
    nets: ReportNets,
    occlude: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> list[OccludedRow]:
    """Verify the pairs with a white square of `occlude` of 128 pixels on every aligned face.

    Rows as in ID-GAN's Tables II and III: the pictures as they are, occluded, filled by OpenCV's
    two methods, and by the model of `checkpoint`. Squares are drawn at random, the same at every
    call. Raises InputNotFoundError, DatasetError, CheckpointError; BadOptionError for a checkpoint
    that fills no faces, or for another one than takes the face alone.
    """
    fills: dict[str, Fill | None] = {
        "Telea": by_opencv(cv2.INPAINT_TELEA), "Navier-Stokes": by_opencv(cv2.INPAINT_NS),
    }  # fmt: skip
    if checkpoint is not None:
        model = load_generator(checkpoint).net
        if not isinstance(model, Inpainter) or model.needs_identity:
            raise BadOptionError(
                f"--inpaint {checkpoint} holds {model.name}; give a model that fills a face from "
                "itself, such as idgan"
            )
        fills[model.name] = by_model(model)
    pairs = read_pairs(pairs_file)
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))
    crops: dict[str, NDArray[np.uint8]] = {}
    for number, name in enumerate(names, 1):
        path = folder / name
        if not path.is_file():
            raise InputNotFoundError(f"{path}: no such picture, which {pairs_file} names")
        with suppress(NoFaceInSourceError):
            crops[name] = nets.reader.read([path], choose="largest").crops[0]
        if progress is not None:
            progress(number, len(names))
    numbers = {name: i for i, name in enumerate(crops)}
    usable = [
        VerificationPair(numbers[pair.first], numbers[pair.second], pair.same)
        for pair in pairs
        if pair.first in numbers and pair.second in numbers
    ]
    if len({pair.same for pair in usable}) < 2:
        raise DatasetError(
            f"{pairs_file}: {len(usable)} of {len(pairs)} pairs can be used, all of one kind; "
            "give pairs of one person and pairs of two"
        )
    random = np.random.default_rng(0)
    pictures = list(crops.values())
    masks = [random_block(len(picture), random, occlude / 128) for picture in pictures]
    judge = _ReportJudge(nets)
    rows = measure_fillings(HeldOutHoles(pictures, masks, usable), fills, [judge])
    return [
        OccludedRow(
            name, found.psnr, found.ssim, found.accuracy[judge.stated].accuracy,
            found.regained[judge.stated].value if found.regained else None,
        )
        for name, found in rows
    ]  # fmt: skip


def occluded_as_text(rows: Sequence[OccludedRow]) -> str:
    """The table, a line per method."""
    lines = [f"{'':14s}  {'PSNR':>6s}  {'SSIM':>6s}  accuracy  regained"]
    for row in rows:
        known = row.regained is not None and np.isfinite(row.regained)
        regained = f"{row.regained:8.0%}" if known else ""
        line = (
            f"{row.method:14s}  {row.psnr:6.2f}  {row.ssim:6.4f}  {row.accuracy:8.4f}  {regained}"
        )
        lines.append(line.rstrip())
    return "\n".join(lines)


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
