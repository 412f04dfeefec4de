"""Several swaps of one target, side by side and ranked, with intervals of their differences.

Two swaps are compared on the frames that both have. The interval of a difference is by moving-block
bootstrap (Kuensch 1989, see `vidswap.metrics.bootstrap`); a resample takes the same frames of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import BadOptionError
from vidswap.metrics.bootstrap import block_interval
from vidswap.metrics.measure import Change, change_of
from vidswap.metrics.record import Report
from vidswap.metrics.registry import METRICS, Metric
from vidswap.report.figures import BLOCK_SECONDS
from vidswap.report.verdict import Verdict, noun_of, verdict_of
from vidswap.report.words import counted, file_name, joined, section_of

Rows = NDArray[np.float64]
Outcome = Literal["better", "worse", "within the noise", "not compared"]

MOST_SWAPS = 6  # that a page has colours for
_ALWAYS_RANKED = ("cosine_to_source",)  # it has no limit, but it is what a swap is for
_OUTCOMES: dict[Change, Outcome] = {
    "better": "better",
    "same": "within the noise",
    "worse": "worse",
}
_TURNED: dict[Outcome, Outcome] = {"better": "worse", "worse": "better"}
_POINTS: dict[Outcome, float] = {"better": 1.0, "worse": -1.0, "within the noise": 0.0}
_SAME_SCORE = 1e-9


@dataclass(frozen=True)
class Difference:
    """The first swap's measure minus the second's, over the `frames` that both have.

    first, second: places of the swaps in the comparison. outcome: of the first; "within the noise"
    where the interval holds 0. reason: why it was not compared.
    """

    name: str
    first: int
    second: int
    value: float | None
    interval: tuple[float, float] | None
    frames: int
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, eq=False)
class RankedSwap:
    """A swap in its place, from 1; equal scores share one. score: see `compare`."""

    name: str
    place: int
    score: float
    report: Report
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class Comparison:
    """Swaps of `target`, best first.

    measures: of the registry, those that some swap has a value for. ranked: the names of those that
    the places rest on. differences: of every pair, the better placed first.
    """

    target: str
    swaps: tuple[RankedSwap, ...]
    measures: tuple[Metric, ...]
    ranked: frozenset[str]
    differences: tuple[Difference, ...]
    sentence: str

    def difference(self, name: str, first: int, second: int) -> Difference:
        """How swap `first` differs from `second` in a measure. Raises KeyError."""
        for found in self.differences:
            if (found.name, found.first, found.second) == (name, first, second):
                return found
        raise KeyError((name, first, second))


def compare(reports: Sequence[Report]) -> Comparison:
    """Rank swaps of one target by a score from -1 to 1.

    In every measure that has a limit, and in the likeness to the source, a swap gets +1 for each
    swap it beats and -1 for each that beats it; 0 where the 95 % interval of the difference holds
    0. The score is the mean over the other swaps, over the measures of a section of the report,
    then over the sections: a section does not count more for having more measures.

    Raises BadOptionError for fewer than two reports, more than `MOST_SWAPS`, or several targets.
    """
    _check_comparable(reports)
    names = _names_of(reports)
    ranked = _ranked_names(reports)
    found = {
        (metric.name, i, j): _difference(metric, reports, i, j)
        for metric in METRICS
        for i in range(len(reports))
        for j in range(i + 1, len(reports))
    }
    scores = [_score(i, len(reports), found, ranked) for i in range(len(reports))]
    verdicts = [verdict_of(report) for report in reports]
    order = sorted(
        range(len(reports)),
        key=lambda i: (-round(scores[i], 9), len(verdicts[i].of("broken")), names[i]),
    )
    places = [1 + sum(s > scores[i] + _SAME_SCORE for s in scores) for i in range(len(reports))]
    swaps = tuple(
        RankedSwap(names[i], places[i], scores[i], reports[i], verdicts[i]) for i in order
    )
    measures = _measures_of(reports)
    differences = tuple(
        _seen_from(found, measure.name, order, a, b)
        for measure in measures
        for a in range(len(order))
        for b in range(a + 1, len(order))
    )
    return Comparison(
        file_name(reports[0].target), swaps, measures, ranked, differences,
        _sentence(swaps, [m for m in measures if m.name in ranked], differences),
    )  # fmt: skip


def difference_of(
    metric: Metric, one: Report, other: Report
) -> tuple[float | None, tuple[float, float] | None, int]:
    """A metric of `one` minus the same of `other`, its interval, and the number of frames.

    Over the frames that both have; None without a value.
    """
    times, first = frame_rows(one, metric.columns)
    other_times, second = frame_rows(other, metric.columns)
    _, at_first, at_second = np.intersect1d(times, other_times, return_indices=True)
    both = np.concatenate([first[at_first], second[at_second]], axis=1)
    both = both[~np.isnan(both).any(axis=1)]
    width = len(metric.columns)
    if len(both) < max(1, metric.least):
        return None, None, len(both)

    def difference(rows: Rows) -> Rows:
        return metric.summary(rows[..., :width]) - metric.summary(rows[..., width:])

    value = float(difference(both))
    if not np.isfinite(value):
        return None, None, len(both)
    step = float(np.median(np.diff(times))) / 1000.0 if len(times) > 1 else BLOCK_SECONDS
    block = max(1, round(BLOCK_SECONDS / step))
    return value, block_interval(both, difference, block), len(both)


def frame_rows(report: Report, columns: Sequence[str]) -> tuple[NDArray[np.int64], Rows]:
    """Times of the target in milliseconds (T,), and the columns (T, K), NaN where one is absent."""
    curves = {curve.name: curve for curve in report.curves}
    seconds = report.curves[0].seconds if report.curves else ()
    start = report.settings.get("start")
    begins = float(start) if isinstance(start, int | float) else 0.0
    times = np.rint(1000.0 * (np.array(seconds, np.float64) + begins)).astype(np.int64)
    rows = np.full((len(seconds), len(columns)), np.nan)
    for k, column in enumerate(columns):
        values: Sequence[float | None] = ()
        if column in curves:
            values = curves[column].values
        elif (owner := column.removesuffix("_target")) in curves and owner != column:
            values = curves[owner].second
        if values:
            rows[:, k] = [np.nan if value is None else value for value in values]
    return times, rows


def _check_comparable(reports: Sequence[Report]) -> None:
    if not 2 <= len(reports) <= MOST_SWAPS:
        raise BadOptionError(
            f"{counted(len(reports), 'swap')} to compare; give from 2 to {MOST_SWAPS}"
        )
    targets = sorted({report.target for report in reports})
    if len(targets) > 1:
        raise BadOptionError(
            f"swaps of different targets, {joined(targets)}; only swaps of one can be compared"
        )


def _names_of(reports: Sequence[Report]) -> list[str]:
    """Bare names of the clips; numbered where two share one."""
    bare = [file_name(report.swapped) for report in reports]
    return [
        f"{name} ({bare[: i + 1].count(name)})" if bare.count(name) > 1 else name
        for i, name in enumerate(bare)
    ]


def _ranked_names(reports: Sequence[Report]) -> frozenset[str]:
    limited = {f.name for r in reports for f in r.figures if f.limit is not None}
    return frozenset(
        metric.name
        for metric in METRICS
        if metric.columns
        and metric.better != "neither"
        and (metric.name in limited or metric.name in _ALWAYS_RANKED)
    )


def _measures_of(reports: Sequence[Report]) -> tuple[Metric, ...]:
    """The metrics that some report has a value for."""
    valued = {f.name for r in reports for f in r.figures if f.value is not None}
    return tuple(metric for metric in METRICS if metric.name in valued)


def _difference(metric: Metric, reports: Sequence[Report], i: int, j: int) -> Difference:
    def without(reason: str, frames: int = 0) -> Difference:
        return Difference(metric.name, i, j, None, None, frames, "not compared", reason)

    if not metric.columns or metric.better == "neither":
        return without("a number of the whole clip has no interval")
    nets = {figure.net for r in (reports[i], reports[j]) for figure in r.figures
            if figure.name == metric.name}  # fmt: skip
    if len(nets) > 1:
        return without(f"measured by different nets: {joined(sorted(nets))}")
    value, interval, frames = difference_of(metric, reports[i], reports[j])
    if value is None:
        return without("no value over the frames that both have", frames)
    low, high = interval or (0.0, 0.0)
    outcome = _OUTCOMES[change_of(value, low, high, metric.better)]
    return Difference(metric.name, i, j, value, interval, frames, outcome)


def _score(
    i: int, count: int, found: dict[tuple[str, int, int], Difference], ranked: frozenset[str]
) -> float:
    """The mean over the other swaps, over a section's measures, then over the sections."""
    sections: dict[str, list[float]] = {}
    for name in sorted(ranked):
        points = []
        for j in range(count):
            if j == i:
                continue
            outcome = found[name, min(i, j), max(i, j)].outcome
            if outcome != "not compared":
                points.append(_POINTS[outcome] if i < j else -_POINTS[outcome])
        if points:
            sections.setdefault(section_of(name), []).append(sum(points) / len(points))
    means = [sum(points) / len(points) for points in sections.values()]
    return sum(means) / len(means) if means else 0.0


def _seen_from(
    found: dict[tuple[str, int, int], Difference], name: str, order: Sequence[int], a: int, b: int
) -> Difference:
    """The difference between the places a and b, the first minus the second."""
    i, j = order[a], order[b]
    at = found[name, min(i, j), max(i, j)]
    if i < j:
        return replace(at, first=a, second=b)
    return replace(
        at,
        first=a,
        second=b,
        value=0.0 - at.value if at.value is not None else None,
        interval=(0.0 - at.interval[1], 0.0 - at.interval[0]) if at.interval is not None else None,
        outcome=_TURNED.get(at.outcome, at.outcome),
    )


def _sentence(
    swaps: Sequence[RankedSwap], ranked: Sequence[Metric], differences: Sequence[Difference]
) -> str:
    """Who comes first and by what, against the next."""
    firsts = [swap.name for swap in swaps if swap.place == 1]
    if len(firsts) > 1:
        return f"No clear winner: {joined(firsts)} share the first place."
    titles = {metric.name: metric.title for metric in ranked}
    next_one = [d for d in differences if (d.first, d.second) == (0, 1) and d.name in titles]
    parts = []
    for outcome in ("better", "worse"):
        nouns = [noun_of(d.name, titles[d.name]) for d in next_one if d.outcome == outcome]
        if nouns:
            parts.append(f"clearly {outcome} in {joined(list(dict.fromkeys(nouns)))}")
    noise = sum(d.outcome == "within the noise" for d in next_one)
    if noise:
        parts.append(f"within the noise in {counted(noise, 'measure')}")
    return f"{swaps[0].name} comes first; against {swaps[1].name} it is {'; '.join(parts)}."
