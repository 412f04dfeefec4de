"""Evaluate a checkpoint: held-out faces and clips, measured by a judge net, against an older one.

The report is a dictionary, written as `evaluation.json`; `vidswap.evaluation.table` prints it and
`vidswap.evaluation.gate` compares two. docs/evaluation.md says what each measure is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.blending.paste import MaskName
from vidswap.choices import DEFAULT_K_SHOT, DEFAULT_SHAPE
from vidswap.errors import BadOptionError
from vidswap.evaluation.clips import clips_sha256, evaluate_clips, find_clips, mean_quality
from vidswap.evaluation.gate import check_comparable, read_report
from vidswap.evaluation.held_out import (
    HeldOutFaces,
    measure_held_out,
    measure_identity,
    read_held_out,
    swap_held_out,
)
from vidswap.evaluation.judge import Judge, load_judge, second_judge
from vidswap.evaluation.pairs import N_PAIRS
from vidswap.media.output import writing_errors
from vidswap.media.picture import write_picture
from vidswap.metrics.report_metrics import FID_NET, FLOW_NET
from vidswap.metrics.summaries import mean_of_known
from vidswap.metrics.swap_quality import SwapQuality
from vidswap.nets import DeviceName, Nets, PrecisionName, load_nets
from vidswap.people.source import SourceReader
from vidswap.swap.job import marks_of
from vidswap.swap.options import SwapOptions
from vidswap.version import __version__

Picture = NDArray[np.uint8]
Report = dict[str, Any]

REPORT_FILE = "evaluation.json"
HELD_OUT_SHEET = "held-out.png"
CLIPS_SHEET = "clips.png"
SHEET_PAIRS, SHEET_COLUMNS = 40, 4
_SHEET_SEED = 0


@dataclass(frozen=True)
class EvaluationOptions:
    """What to evaluate; `faces`, `clips` or both."""

    output: Path
    faces: Path | None = None
    clips: Path | None = None
    judge: Path | None = None
    second_judge: Path | None = None  # default: the packaged recogniser, if there is one
    checkpoint: Path | None = None
    against: Path | None = None
    pairs: int = N_PAIRS
    every: int = 5  # identity and geometry are measured on every n-th frame of a clip
    max_frames: int = 120  # of each clip
    only: str = "*"  # pattern of clip names
    k_shot: int = DEFAULT_K_SHOT
    mask: MaskName = "face"
    shape: float = DEFAULT_SHAPE
    device: DeviceName = "auto"
    precision: PrecisionName = "auto"

    def __post_init__(self) -> None:
        if self.faces is None and self.clips is None:
            raise BadOptionError("nothing to evaluate: give --faces, --clips or both")
        for name, value, least in (
            ("pairs", self.pairs, 2),
            ("every", self.every, 1),
            ("max-frames", self.max_frames, 2),
            ("k-shot", self.k_shot, 1),
        ):
            if value < least:
                raise BadOptionError(f"--{name} {value}; it must be {least} or more")
        if self.against is not None and self.against.resolve() == self.report_path.resolve():
            raise BadOptionError(f"{self.against} would be overwritten; give another --output")

    @property
    def swap(self) -> SwapOptions:
        """How every clip is swapped."""
        return SwapOptions(k_shot=self.k_shot, mask=self.mask, shape=self.shape)

    @property
    def report_path(self) -> Path:
        return self.output / REPORT_FILE


def evaluate(options: EvaluationOptions, show: Callable[[str], None] | None = None) -> Report:
    """Measure a checkpoint, write the report and the picture sheets, and return the report.

    `show` receives a line per step. Raises a VidswapError; bad input is refused before any work.
    """
    show = show or (lambda _: None)
    old = read_report(options.against) if options.against else None
    judge, second = load_judge(options.judge), second_judge(options.second_judge)
    clips = find_clips(options.clips, options.only) if options.clips else None
    faces = read_held_out(options.faces, options.pairs) if options.faces else None
    report: Report = {
        "version": __version__,
        "judge": judge.stated,
        "judge_sha256": judge.sha256,
        "feature_net": FID_NET,
        "flow_net": FLOW_NET,
        "mask": options.mask,
    }
    if faces is not None:
        report["held_out"] = {"faces_sha256": faces.sha256, "fixed_pairs": faces.fixed}
    if clips is not None:
        report["clips"] = {
            "clips_sha256": clips_sha256(clips),
            "every": options.every,
            "max_frames": options.max_frames,
            "k_shot": options.k_shot,
        }
    if old is not None:
        check_comparable(old, report, str(options.against))
    with writing_errors(options.output):
        options.output.mkdir(parents=True, exist_ok=True)
    with closing(
        load_nets(options.checkpoint, device=options.device, precision=options.precision)
    ) as nets:
        report |= {
            "checkpoint": nets.generator.path.name,
            "checkpoint_sha256": nets.generator.sha256,
            "images_trained": nets.generator.images_trained,
            "device": str(nets.device),
            "precision": str(nets.dtype).removeprefix("torch."),
        }
        marks = marks_of(options.swap, nets)
        if faces is not None:
            show(f"{len(faces.sources)} held-out pairs")
            part, sheet = _held_out(faces, nets, judge, second, options.swap)
            report["held_out"] |= part
            write_picture(options.output / HELD_OUT_SHEET, sheet, marks, overwrite=True)
        if clips is not None:
            part, sheet = _clips(clips, nets, judge, options, show)
            report["clips"] |= part
            write_picture(options.output / CLIPS_SHEET, sheet, marks, overwrite=True)
    write_report(options.report_path, report)
    return report


def _held_out(
    faces: HeldOutFaces, nets: Nets, judge: Judge, second: Judge | None, swap: SwapOptions
) -> tuple[Report, Picture]:
    """The report's part on held-out faces: measures, and each pair's own values; and the sheet.

    What the second judge says stands apart, where no gate looks.
    """
    swaps, seconds = swap_held_out(faces, nets, swap.mask, shape=swap.shape)
    reader = SourceReader.of(nets)
    quality, each, kinds = measure_held_out(faces, swaps, judge, reader, seconds)
    triples = list(zip(faces.sources, faces.targets, swaps, strict=True))
    part = {"measures": asdict(quality), "each": each, "kinds": kinds}
    if second is not None:
        part["second"] = _by_second(measure_identity(faces, swaps, second), second)
    return part, held_out_sheet(triples)


def _by_second(each: dict[str, NDArray[np.float64]], judge: Judge) -> Report:
    """What a second judge says of whose face it is: means, and each pair's own values."""
    return {
        "judge": judge.stated,
        "judge_sha256": judge.sha256,
        "measures": {name: mean_of_known(values) for name, values in each.items()},
        "each": {name: [float(v) for v in values] for name, values in each.items()},
    }


def _clips(
    paths: Sequence[Path],
    nets: Nets,
    judge: Judge,
    options: EvaluationOptions,
    show: Callable[[str], None],
) -> tuple[Report, Picture]:
    """The report's part on clips: means, and each clip's own values; and the sheet."""
    qualities: dict[str, SwapQuality] = {}
    rows = []
    pairs = evaluate_clips(paths, nets, judge, options.every, options.max_frames, options.swap)
    for name, quality, row in pairs:
        show(f"{name}: {quality.nearer_to_source:.0%} of frames nearer to the source")
        qualities[name] = quality
        rows.append(row)
    measured = {name: asdict(quality) for name, quality in qualities.items()}
    each = {
        name: [float(values[name]) for values in measured.values()]
        for name in next(iter(measured.values()))
    }
    part = {
        "measures": mean_quality(list(qualities.values())),
        "each": each,
        "names": list(measured),
    }
    return part, np.concatenate(rows, axis=0)


def held_out_sheet(triples: Sequence[tuple[Picture, Picture, Picture]]) -> Picture:
    """Forty pairs chosen at random, always the same: source, target and swap, side by side."""
    chosen = np.random.default_rng(_SHEET_SEED).permutation(len(triples))[:SHEET_PAIRS]
    cells = [np.concatenate(triples[i], axis=1) for i in chosen]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % SHEET_COLUMNS)
    rows = [
        np.concatenate(cells[i : i + SHEET_COLUMNS], axis=1)
        for i in range(0, len(cells), SHEET_COLUMNS)
    ]
    return np.concatenate(rows, axis=0)


def write_report(path: Path, report: Report) -> None:
    """Write a report as JSON; NaN becomes null."""
    with writing_errors(path):
        path.write_text(json.dumps(without_nan(report), indent=1) + "\n")


def without_nan(value: Any) -> Any:
    """`value` with every NaN in its lists and dictionaries replaced by None."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
