"""When a new checkpoint counts as worse than an older one."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidswap.errors import BadOptionError, InputNotFoundError
from vidswap.metrics.measure import Change, Measure, change_of
from vidswap.metrics.registry import EVALUATION, SECTIONS, Section

Report = dict[str, Any]
Verdict = Change | Literal[""]

STANDARD_ERRORS = 2.0


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
        return self.verdict == "worse" and not self.measure.keeps_limit(self.new)


def compare(old: Report, new: Report) -> list[Comparison]:
    """Every measure of two comparable reports, section by section."""
    return [
        _compare(old[section], new[section], section, measure)
        for section in SECTIONS
        if section in new
        for measure in EVALUATION[section]
    ]


def _compare(old: Report, new: Report, section: Section, measure: Measure) -> Comparison:
    before, now = (number(part["measures"].get(measure.name)) for part in (old, new))
    return Comparison(section, measure, before, now, _verdict(old, new, measure, before, now))


def _verdict(old: Report, new: Report, measure: Measure, before: float, now: float) -> Verdict:
    """What became of a measure; empty where there is nothing to judge."""
    known = measure.name in old["measures"]  # not so where it is newer than the report
    if not known or measure.better == "neither" or (math.isnan(before) and math.isnan(now)):
        return ""
    # What could be measured before and cannot be now is worse, whatever it was.
    if math.isnan(now):
        return "worse"
    if math.isnan(before):
        return "better"
    noise = max(measure.tolerance, STANDARD_ERRORS * _standard_error(old, new, measure.name))
    change = now - before
    return change_of(change, change - noise, change + noise, measure.better)


def _standard_error(old: Report, new: Report, name: str) -> float:
    """The standard error of the mean difference; 0 without a value per pair or clip.

    The pairs are the same in both reports, so their differences scatter less than the pairs do.
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
                f"{name}: {what} differ ({before} there, {now} here); evaluate both with the same "
                "options"
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
        raise BadOptionError(
            f"{path}: not a report of `vidswap evaluate`; evaluate that checkpoint again"
        )
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
