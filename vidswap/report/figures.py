"""From a clip's curves to its figures, each with its interval or the reason why it has no value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidswap.metrics.bootstrap import block_interval
from vidswap.metrics.faults import flicker, swapped_frames
from vidswap.metrics.measure import Direction
from vidswap.metrics.record import Curve, Figure
from vidswap.metrics.registry import Metric
from vidswap.metrics.summaries import followed
from vidswap.report.rows import Columns

BLOCK_SECONDS = 1.0  # within which frames resemble each other

_NEED_SOURCE = ("identity_retrieval", "cosine_to_source", "identity_discrepancy", "match_score")
# Curves that are no metric: name, title, unit, which way is better, and the target's own curve.
_MORE_CURVES: tuple[tuple[str, str, str, Direction, bool], ...] = (
    ("yaw", "Head turned", "degrees", "neither", True),
    ("pitch", "Head raised", "degrees", "neither", True),
    ("roll", "Head tilted", "degrees", "neither", True),
    ("eye_opening", "Eyes open", "eye widths", "neither", True),
    ("mouth_opening", "Mouth open", "face heights", "neither", True),
    ("gaze_right", "Gaze to the right", "eye widths", "neither", True),
    ("gaze_down", "Gaze downwards", "eye widths", "neither", True),
    ("swap_strength", "Change of the face", "grey levels", "neither", False),
)


@dataclass(frozen=True)
class ClipFacts:
    """What is known of the whole clip: values that no curve has, by metric, and its frame rate."""

    values: Mapping[str, float]
    rate: float
    has_source: bool


def add_derived(columns: Columns) -> dict[str, float]:
    """Add the curve of unswapped frames; the values that follow from it."""
    with_face = columns.get("has_face") > 0
    strength, seconds = columns.get("swap_strength")[with_face], columns.get("seconds")[with_face]
    swapped = swapped_frames(strength)
    if len(strength) == 0:
        return {}
    if swapped is None:
        return {"flicker": 0.0} if len(strength) > 1 else {}
    left = np.full(columns.count, np.nan)
    left[with_face] = ~swapped
    columns.put("unswapped_frames", left)
    rate = flicker(swapped, seconds)
    return {} if np.isnan(rate) else {"flicker": rate}


def figures_of(
    metrics: Sequence[Metric], columns: Columns, facts: ClipFacts, nets: Mapping[str, str]
) -> tuple[Figure, ...]:
    """A figure for every metric, in the order of the registry."""
    figures = []
    for metric in metrics:
        value, interval = _value(metric, columns, facts)
        figures.append(
            Figure(
                name=metric.name,
                title=metric.title,
                value=value,
                unit=metric.unit,
                better=metric.better,
                source=metric.source,
                net=nets.get(metric.net, ""),
                absent="" if value is not None else _why(metric, columns, facts),
                interval=interval,
                limit=metric.limit,
            )
        )
    return tuple(figures)


def curves_of(metrics: Sequence[Metric], columns: Columns) -> tuple[Curve, ...]:
    """The curves that have a value somewhere: the metrics' own, then angles, openings and gaze."""
    described: list[tuple[str, str, str, Direction, bool]] = [
        (m.name, m.title, m.unit, m.better, f"{m.name}_target" in columns)
        for m in metrics
        if m.columns == (m.name,)
    ]
    seconds = tuple(columns.get("seconds").tolist())
    curves = []
    for name, title, unit, better, compared in (*described, *_MORE_CURVES):
        values = columns.get(name)
        if not np.isnan(values).all():
            second = _plain(columns.get(f"{name}_target")) if compared else ()
            curves.append(Curve(name, title, unit, better, seconds, _plain(values), second))
    return tuple(curves)


def _value(
    metric: Metric, columns: Columns, facts: ClipFacts
) -> tuple[float | None, tuple[float, float] | None]:
    """A metric's value and interval; None where it has none."""
    if not metric.columns:
        value = facts.values.get(metric.name)
        return value, None
    rows = _rows(metric, columns)
    if len(rows) == 0:
        return None, None
    value = float(metric.summary(rows))
    if not np.isfinite(value):
        return None, None
    block = max(1, round(BLOCK_SECONDS * facts.rate))
    return value, block_interval(rows, metric.summary, block)


def _rows(metric: Metric, columns: Columns) -> NDArray[np.float64]:
    """The frames (T, K) in which all of a metric's columns have a value."""
    rows = np.stack([columns.get(name) for name in metric.columns], axis=1)
    known: NDArray[np.float64] = rows[~np.isnan(rows).any(axis=1)]
    return known


def _why(metric: Metric, columns: Columns, facts: ClipFacts) -> str:
    """Why a metric has no value."""
    if metric.absent:
        return metric.absent
    if metric.name in _NEED_SOURCE and not facts.has_source:
        return "no source was given"
    n = int((columns.get("has_face") > 0).sum())
    if n == 0:
        return "no face was found in the target"
    if n < metric.least:
        return f"it needs {metric.least} frames with a face, there are {n}"
    if metric.summary is followed and len(_rows(metric, columns)) >= metric.least:
        return "the target hardly moves there, so nothing can be followed"
    if metric.name == "unswapped_frames":
        return "no face of the clip was changed"
    if metric.net == "mesh" and np.nansum(columns.get("face_lost")) > 0:
        return "no face was found in the swap where the target shows one"
    if metric.name == "flow_warp_ratio":
        return "the target does not change at all, so there is nothing to compare with"
    return "it could not be measured in any frame"


def _plain(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in values)
