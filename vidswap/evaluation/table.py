"""An evaluation as text: one table, with the aims or an older report next to the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vidswap.evaluation.difficulty import MEASURES, rows_of
from vidswap.evaluation.gate import Comparison, number
from vidswap.metrics.measure import Measure, sign_of
from vidswap.metrics.registry import EVALUATION, SECTIONS, Section

Report = dict[str, Any]

_LABEL_WIDTH, _WIDTH = 38, 10
_TWO_DECIMALS = ("degrees", "% of eye distance", "% of eye width")
_TITLES: dict[Section, str] = {"held_out": "held-out pairs", "clips": "clips"}
# Columns of the table of clips: a short heading for a measure.
_CLIP_COLUMNS = {
    "nearer_to_source": "nearer",
    "nearer_than_frame": "own fr.",
    "cosine_to_source": "cos src",
    "cosine_to_target": "cos tgt",
    "target_to_source": "(before)",
    "pose_degrees": "pose",
    "expression_percent": "expr. %",
    "gaze_distance": "gaze %",
    "eye_correlation": "eyes r",
    "mouth_correlation": "mouth r",
    "ssim": "SSIM",
    "face_lost": "lost",
    "flow_warp_target": "fwe tgt",
    "flow_warp_swap": "fwe swap",
    "flow_warp_ratio": "ratio",
    "endpoint_error": "AEE px",
}
# Columns of the table of hard pairs.
_PAIR_COLUMNS = {name: _CLIP_COLUMNS.get(name, name) for name in MEASURES} | {
    "sharpness_ratio": "sharp",
    "blotches": "blotches",
}


def report_as_text(report: Report) -> str:
    """The whole report; aims next to the numbers."""
    lines = [_heading(report)]
    for section in (s for s in SECTIONS if s in report):
        part = report[section]
        lines += ["", _title(section, part).ljust(_LABEL_WIDTH) + "value".rjust(_WIDTH) + "  aim"]
        for measure in EVALUATION[section]:
            value = number(part["measures"].get(measure.name))
            shown = written(measure, value).rjust(_WIDTH)
            lines.append(measure.title.ljust(_LABEL_WIDTH) + shown + _aim(measure, value))
        if section == "clips":
            lines += ["", *_clip_lines(part)]
        if part.get("second"):
            lines += ["", *_judge_lines(report["judge"], part)]
        if part.get("kinds"):
            lines += ["", *_kind_lines(part)]
    return "\n".join(lines)


def comparison_as_text(old: Report, new: Report, comparisons: Sequence[Comparison]) -> str:
    """Both reports side by side, and what became of each measure."""
    lines = [f"old: {_heading(old)}", f"new: {_heading(new)}"]
    section = None
    for comparison in comparisons:
        measure = comparison.measure
        if comparison.section != section:
            section = comparison.section
            title = _title(section, new[section]).ljust(_LABEL_WIDTH)
            lines += ["", title + "old".rjust(_WIDTH) + "new".rjust(_WIDTH) + "  "]
        numbers = [written(measure, v).rjust(_WIDTH) for v in (comparison.old, comparison.new)]
        verdict = comparison.verdict.ljust(7)
        failed = "  GATE" if comparison.fails else ""
        aim = _aim(measure, comparison.new)
        line = measure.title.ljust(_LABEL_WIDTH) + "".join(numbers)
        lines.append(f"{line}  {verdict}{aim}{failed}".rstrip())
    return "\n".join(lines)


def gate_as_text(comparisons: Sequence[Comparison]) -> str:
    """One line: whether the new checkpoint passes, and if not, because of what."""
    failed = [f"{_TITLES[c.section]}: {c.measure.title}" for c in comparisons if c.fails]
    if not failed:
        return "the new checkpoint passes: no gated measure is worse and short of its aim"
    return f"the new checkpoint is worse, and short of the aim, in {'; '.join(failed)}"


def written(measure: Measure, value: float) -> str:
    """A value in its unit."""
    if math.isnan(value):
        return "-"
    if measure.unit == "share":
        return f"{100.0 * value:.1f} %"
    if measure.unit in _TWO_DECIMALS:
        return f"{value:.2f}"
    return f"{value:.3f}"


def _heading(report: Report) -> str:
    return (
        f"{report['checkpoint']} {report['checkpoint_sha256'][:12]}, "
        f"{report['images_trained']:,} images, {report['precision']} on {report['device']}; "
        f"judge {report['judge']}{_mask(report)}"
    )


def _mask(report: Report) -> str:
    """The mask, where it is not the usual one."""
    mask = report.get("mask", "face")
    return "" if mask == "face" else f", mask {mask}"


def _title(section: Section, part: Report) -> str:
    if section == "held_out":
        drawn = "" if part["fixed_pairs"] else ", drawn for this dataset"
        measures = part["measures"]
        bare = f" ({n} without glasses)" if (n := measures.get("without_glasses")) else ""
        return f"{measures['pairs']} held-out pairs{bare}{drawn}"
    return f"{len(part['names'])} clips, {part['max_frames']} frames, every {part['every']}."


def _aim(measure: Measure, value: float) -> str:
    if measure.limit is None:
        return ""
    met = "met" if measure.keeps_limit(value) else "missed"
    return f"  {sign_of(measure.better)} {written(measure, measure.limit)} {met}"


def _clip_lines(part: Report) -> list[str]:
    """A row for each clip, and the mean."""
    by_name = {measure.name: measure for measure in EVALUATION["clips"]}
    width = max(len(name) for name in [*part["names"], "mean"]) + 2
    lines = [" " * width + "".join(h.rjust(9) for h in _CLIP_COLUMNS.values())]
    for i, name in enumerate(part["names"]):
        cells = [written(by_name[c], number(part["each"][c][i])) for c in _CLIP_COLUMNS]
        lines.append(name.ljust(width) + "".join(cell.rjust(9) for cell in cells))
    cells = [written(by_name[c], number(part["measures"][c])) for c in _CLIP_COLUMNS]
    lines.append("mean".ljust(width) + "".join(cell.rjust(9) for cell in cells))
    return lines


def _judge_lines(judge: str, part: Report) -> list[str]:
    """What both judges say of whose face it is, a column each; the second is in no gate."""
    second = part["second"]
    lines = [f"judges: first {judge}, second {second['judge']}, which no gate looks at"]
    lines.append(" " * _LABEL_WIDTH + "first".rjust(_WIDTH) + "second".rjust(_WIDTH))
    for measure in EVALUATION["held_out"]:
        if measure.name in second["measures"]:
            values = [number(found["measures"].get(measure.name)) for found in (part, second)]
            shown = "".join(written(measure, value).rjust(_WIDTH) for value in values)
            lines.append(measure.title.ljust(_LABEL_WIDTH) + shown)
    return lines


def _kind_lines(part: Report) -> list[str]:
    """A row for each kind of hard pairs, and one for the others."""
    by_name = {measure.name: measure for measure in EVALUATION["held_out"]}
    rows = rows_of(part["kinds"], part["each"])
    width = max(map(len, rows)) + 2
    shown = [name for name in _PAIR_COLUMNS if name in part["each"]]
    heads = ["pairs", *(_PAIR_COLUMNS[name] for name in shown)]
    lines = [" " * width + "".join(h.rjust(9) for h in heads)]
    for name, row in rows.items():
        cells = [f"{row['pairs']:.0f}", *(written(by_name[c], row[c]) for c in shown)]
        lines.append(name.ljust(width) + "".join(cell.rjust(9) for cell in cells))
    return lines
