"""The measures of an evaluation, their aims, and when a new checkpoint counts as worse."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidswap.errors import BadOptionError, InputNotFoundError

Report = dict[str, Any]
Section = Literal["held_out", "clips"]
Verdict = Literal["better", "same", "worse", ""]

SECTIONS: tuple[Section, ...] = ("held_out", "clips")
STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Measure:
    """One number of a report.

    `higher_is_better` is None where it only is there to compare with. A change within `tolerance`
    is none. A measure with an `aim` is part of the gate.
    """

    name: str
    label: str
    unit: Literal["share", "plain", "degrees", "percent", "seconds"]
    higher_is_better: bool | None
    tolerance: float = 0.0
    aim: float | None = None

    def meets_aim(self, value: float) -> bool:
        """Whether `value` is as good as the aim; True where there is no aim."""
        if self.aim is None:
            return True
        return value >= self.aim if self.higher_is_better else value <= self.aim


HELD_OUT_MEASURES = (
    Measure("nearer_to_source", "nearer to source than to target", "share", True, 0.01, 0.95),
    Measure("nearer_without_glasses", "... where neither wears glasses", "share", True, 0.01),
    Measure("retrieval_top1", "retrieval among all sources, top-1", "share", True, 0.01, 0.60),
    Measure("retrieval_top5", "retrieval among all sources, top-5", "share", True, 0.01),
    Measure("retrieval_with_targets", "... and all targets, top-1", "share", True, 0.01),
    Measure("retrieval_other_top1", "by another picture, top-1", "share", True, 0.02),
    Measure("retrieval_other_top5", "by another picture, top-5", "share", True, 0.02),
    Measure("judge_top1", "(that picture itself, unswapped)", "share", None),
    Measure("cosine_to_source", "cosine to source", "plain", True, 0.005),
    Measure("cosine_to_target", "cosine to target", "plain", False, 0.005),
    Measure("target_to_source", "(untouched target to source)", "plain", None),
    Measure("pose_degrees", "pose", "degrees", False, 0.1, 2.5),
    Measure("expression_percent", "expression, % of eye distance", "percent", False, 0.1),
    Measure("face_lost", "no face found again", "share", False, 0.005, 0.01),
    Measure("ssim", "SSIM to target", "plain", True, 0.005),
    Measure("ssim_outside", "SSIM to target outside the face", "plain", True, 0.002, 0.98),
    Measure("fid", "FID to targets (dlib's features)", "plain", False, 0.2),
    Measure("fid_of_sources", "(of the sources to the targets)", "plain", None),
    Measure("seconds_per_image", "generator, seconds an image", "seconds", None),
)
CLIP_MEASURES = (
    Measure("nearer_to_source", "nearer to source than to target", "share", True, 0.01, 0.95),
    Measure("nearer_than_frame", "... than to its own frame", "share", True, 0.01),
    Measure("cosine_to_source", "cosine to source", "plain", True, 0.005),
    Measure("cosine_to_target", "cosine to target", "plain", False, 0.005),
    Measure("target_to_source", "(untouched target to source)", "plain", None),
    Measure("pose_degrees", "pose", "degrees", False, 0.1, 2.5),
    Measure("expression_percent", "expression, % of eye distance", "percent", False, 0.1),
    Measure("eye_correlation", "eye opening, correlation", "plain", True, 0.01, 0.93),
    Measure("mouth_correlation", "mouth opening, correlation", "plain", True, 0.01, 0.93),
    Measure("ssim", "SSIM to target, aligned crop", "plain", True, 0.005),
    Measure("face_lost", "no face found again", "share", False, 0.005, 0.01),
    Measure("flow_warp_target", "(flow warp error of the target)", "plain", None),
    Measure("flow_warp_swap", "flow warp error of the swap", "plain", False, 0.001),
    Measure("flow_warp_ratio", "flow warp error, swap over target", "plain", False, 0.01, 1.15),
    Measure("endpoint_error", "flow endpoint error, pixels", "plain", False, 0.02),
)
MEASURES: dict[Section, tuple[Measure, ...]] = {
    "held_out": HELD_OUT_MEASURES,
    "clips": CLIP_MEASURES,
}


@dataclass(frozen=True)
class Comparison:
    """One measure in two reports; NaN where it is not defined."""

    section: Section
    measure: Measure
    old: float
    new: float
    verdict: Verdict

    @property
    def fails(self) -> bool:
        """Whether this alone closes the gate: worse than before, and short of the aim."""
        gated = self.measure.aim is not None
        return gated and self.verdict == "worse" and not self.measure.meets_aim(self.new)


def compare(old: Report, new: Report) -> list[Comparison]:
    """Every measure of two comparable reports, section by section."""
    return [
        _compare(old[section], new[section], section, measure)
        for section in SECTIONS
        if section in new
        for measure in MEASURES[section]
    ]


def _compare(old: Report, new: Report, section: Section, measure: Measure) -> Comparison:
    values = [number(part["measures"].get(measure.name)) for part in (old, new)]
    gain = values[1] - values[0]
    verdict: Verdict = ""
    known = measure.name in old["measures"]  # not so where it is newer than the report
    if known and measure.higher_is_better is not None and not all(map(math.isnan, values)):
        gain = gain if measure.higher_is_better else -gain
        noise = STANDARD_ERRORS * _standard_error(old, new, measure.name)
        least = max(measure.tolerance, noise)
        # What was measured before and cannot be now is worse, whatever it was.
        verdict = "worse" if gain < -least or math.isnan(values[1]) else "same"
        verdict = "better" if gain > least or math.isnan(values[0]) else verdict
    return Comparison(section, measure, values[0], values[1], verdict)


def _standard_error(old: Report, new: Report, name: str) -> float:
    """Of the mean difference of the same pairs or clips; 0 where they have no values of their own.

    The pairs are the same, so that their differences scatter far less than the pairs themselves.
    """
    each = [part.get("each", {}).get(name) for part in (old, new)]
    if each[0] is None or each[1] is None or len(each[0]) != len(each[1]):
        return 0.0
    before, after = (np.array([number(v) for v in values]) for values in each)
    difference = (after - before)[~np.isnan(after - before)]
    if len(difference) < 2:
        return 0.0
    return float(difference.std(ddof=1) / math.sqrt(len(difference)))


def check_comparable(old: Report, new: Report, name: str) -> None:
    """Raise BadOptionError unless judge, held-out pictures, clips and frames are the same.

    `new` needs no measures yet.
    """
    wanted = [("the judge", old["judge"], new["judge"])]
    wanted += [("the judge's weights", old["judge_sha256"], new["judge_sha256"])]
    for section, what, keys in (
        ("held_out", "the held-out pairs", ("faces_sha256",)),
        ("clips", "the clips or their frames", ("clips_sha256", "every", "max_frames", "k_shot")),
    ):
        parts = [
            [part[section].get(key) for key in keys] if section in part else "none"
            for part in (old, new)
        ]
        wanted.append((what, _short(parts[0]), _short(parts[1])))
    for what, before, now in wanted:
        if before != now:
            raise BadOptionError(
                f"{name}: {what} differ there ({before}) and here ({now}); evaluate both with the "
                "same options"
            )


def read_report(path: Path) -> Report:
    """An `evaluation.json`. Raises InputNotFoundError and BadOptionError."""
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; give --against an older evaluation.json")
    try:
        report = json.loads(path.read_text())
        complete = {"judge", "judge_sha256", "checkpoint_sha256"} <= report.keys() and all(
            "measures" in report[section] for section in SECTIONS if section in report
        )
    except (ValueError, AttributeError, TypeError, OSError):
        complete = False
    if not complete:
        raise BadOptionError(f"{path}: not a report of `vidswap evaluate`; evaluate that one again")
    checked: Report = report
    return checked


def _short(value: Any) -> str:
    """A setting for an error's line, digests cut."""
    if isinstance(value, list):
        return " ".join(_short(item) for item in value)
    return value[:12] if isinstance(value, str) else str(value)


def number(value: Any) -> float:
    """A report's value as a number: null is NaN."""
    return float("nan") if value is None else float(value)
