"""Curves over time as paths of an SVG that stretches to the width it is given.

All paths are in a box of `WIDTH` by `HEIGHT`, y downwards; what must not be stretched, such as
letters and dots, is placed by per cent of the box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vidswap.metrics.record import Curve, Figure
from vidswap.report.words import decimals_for, number_text, plain_number, unit_text

WIDTH, HEIGHT = 1000.0, 100.0
MOST_POINTS = 800  # of a curve on a page; a longer one keeps each span's lowest and highest
MOST_TICKS = 8
_STEPS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600)
_LIMIT_REACH = 1.0  # a limit at most this many ranges away is drawn

Values = Sequence[float | None]


@dataclass(frozen=True)
class TimeAxis:
    """From `first` to `last` second, as a part of the width."""

    first: float
    last: float

    @classmethod
    def over(cls, curves: Sequence[Curve]) -> TimeAxis:
        """The axis that all curves share."""
        ends = [
            s for curve in curves if curve.seconds for s in (curve.seconds[0], curve.seconds[-1])
        ]
        return cls(min(ends, default=0.0), max(ends, default=0.0))

    def percent(self, seconds: float) -> float:
        """Where a time lies, 0 to 100; the middle where there is but one."""
        if self.last <= self.first:
            return 50.0
        return 100.0 * (seconds - self.first) / (self.last - self.first)

    def ticks(self) -> list[tuple[float, str]]:
        """Round times: place in per cent, and the number, of seconds or "1:02"."""
        length = self.last - self.first
        if length <= 0:
            return [(50.0, seconds_text(self.first).removesuffix(" s"))]
        step = next((s for s in _STEPS if length / s < MOST_TICKS), length / MOST_TICKS)
        number = math.ceil(self.first / step - 1e-6)
        ticks = []
        while number * step <= self.last + 1e-6 * length:
            text = seconds_text(number * step, step).removesuffix(" s")
            ticks.append((self.percent(number * step), text))
            number += 1
        return ticks


@dataclass(frozen=True)
class Line:
    """One line of a panel. kind: its number in a comparison, "swap" or "target"."""

    kind: str
    label: str
    path: str


@dataclass(frozen=True)
class Panel:
    """A curve ready to be drawn. worst: place (per cent from left, from top), value and time of the
    worst sample. samples: seconds and values for the pointer. flat: the one value that the
    curve has throughout."""

    name: str
    title: str
    unit: str
    lines: tuple[Line, ...]
    low: str
    high: str
    limit_top: float | None
    limit: str
    worst: tuple[float, float, str, float] | None
    spoken: str
    flat: str = ""
    samples: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Range:
    low: float
    high: float

    def y(self, value: float) -> float:
        return HEIGHT * (self.high - value) / (self.high - self.low)


def panel_of(
    curves: Sequence[Curve | None],
    axis: TimeAxis,
    figure: Figure | None = None,
    labels: Sequence[str] = ("swap",),
) -> Panel:
    """One curve with the target's own, or the same curve of several swaps, named by `labels`.

    curves: None for a swap without it; at least one is there.
    figure: the figure that sums it up; its limit is drawn where it is near enough to see.
    """
    first = next(curve for curve in curves if curve is not None)
    several = len(curves) > 1
    drawn: list[tuple[str, str, Curve, Values]] = [
        (str(i + 1) if several else "swap", label, curve, curve.values)
        for i, (curve, label) in enumerate(zip(curves, labels, strict=True))
        if curve is not None
    ]
    if first.second:
        drawn.append(("target", "target", first, first.second))
    known = [v for *_, values in drawn for v in values if v is not None and math.isfinite(v)]
    limit = figure.limit if figure is not None and figure.better != "neither" else None
    span, reached = _range_of(known, first, limit)
    kept = [_kept(values, len(curve.seconds)) for *_, curve, values in drawn]
    unit = unit_text(first.unit)
    factor = 1.0 if unit or not first.unit else 100.0
    decimals = decimals_for(factor * span.low, factor * span.high)
    return Panel(
        name=first.name,
        title=first.title,
        unit=unit,
        lines=tuple(
            Line(kind, label, path_of(curve.seconds, values, indices, axis, span))
            for (kind, label, curve, values), indices in zip(drawn, kept, strict=True)
        ),
        low=number_text(span.low, first.unit, 0 if span.low == 0 else decimals),
        high=number_text(span.high, first.unit, decimals),
        limit_top=span.y(limit) if limit is not None and reached else None,
        limit=plain_number(limit, first.unit) if limit is not None else "",
        worst=None if several else _worst(first, axis, span),
        spoken=_spoken(drawn, first),
        flat=number_text(known[0], first.unit) if known and min(known) == max(known) else "",
        samples={
            "unit": first.unit,
            "lines": [
                {"label": label, **_samples(curve.seconds, values, indices)}
                for (_, label, curve, values), indices in zip(drawn, kept, strict=True)
            ],
        },
    )


def path_of(
    seconds: Sequence[float], values: Values, indices: Sequence[int], axis: TimeAxis, span: _Range
) -> str:
    """The path through the samples of `indices`; it breaks where a value is missing."""
    parts, pen_down = [], False
    for i in indices:
        value = values[i]
        if value is None or not math.isfinite(value):
            pen_down = False
            continue
        x, y = WIDTH * axis.percent(seconds[i]) / 100.0, span.y(value)
        # A line of no length still shows its round ends: a sample alone is a dot.
        parts.append(f"{'L' if pen_down else 'M'}{x:.1f} {y:.2f}{'' if pen_down else 'h0'}")
        pen_down = True
    return "".join(parts)


def seconds_text(seconds: float, step: float = 0.01) -> str:
    """A time as finely as `step` needs: "2.5 s", from a minute on "1:02"."""
    decimals = 2 if step < 0.1 else 1 if step < 1 else 0
    if abs(seconds) < 60:
        return f"{seconds:.{decimals}f} s"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f}:{rest:0{2 if decimals == 0 else 3 + decimals}.{decimals}f}"


def _range_of(known: Sequence[float], curve: Curve, limit: float | None) -> tuple[_Range, bool]:
    """The values that the box spans, and whether the limit lies within."""
    if not known:
        return _Range(0.0, 1.0), False
    low, high = min(known), max(known)
    if curve.unit == "share" and low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    elif curve.better == "lower" and low >= 0.0:
        low = 0.0  # how large a fault is should be seen against none
    width = high - low
    reached = (
        limit is not None and low - _LIMIT_REACH * width <= limit <= high + _LIMIT_REACH * width
    )
    if reached and limit is not None:
        low, high = min(low, limit), max(high, limit)
    if low == high:
        low, high = low - max(1e-6, 0.05 * abs(low)), high + max(1e-6, 0.05 * abs(high))
    return _Range(low, high), reached


def _kept(values: Values, count: int) -> list[int]:
    """The samples to draw: all, or each span's lowest and highest, and one where it has a gap."""
    if count <= MOST_POINTS:
        return list(range(count))
    n_spans = MOST_POINTS // 3
    kept: set[int] = {0, count - 1}
    for n in range(n_spans):
        indices = range(n * count // n_spans, (n + 1) * count // n_spans)
        known = [(v, i) for i in indices if (v := values[i]) is not None and math.isfinite(v)]
        if known:
            kept |= {min(known)[1], max(known)[1]}
        if len(known) < len(indices):
            kept.add(next(i for i in indices if values[i] is None))
    return sorted(kept)


def _worst(curve: Curve, axis: TimeAxis, span: _Range) -> tuple[float, float, str, float] | None:
    """The worst sample: by direction, or where swap and target are farthest apart."""
    known = [(v, i) for i, v in enumerate(curve.values) if v is not None and math.isfinite(v)]
    if not known or (not curve.second and min(known)[0] == max(known)[0]):
        return None
    if curve.better == "lower":
        _, at = max(known, key=lambda item: item[0])
    elif curve.better == "higher":
        _, at = min(known, key=lambda item: item[0])
    else:
        apart = [
            (abs(v - other), i)
            for v, i in known
            if curve.second and (other := curve.second[i]) is not None
        ]
        if not apart:
            return None
        _, at = max(apart, key=lambda item: item[0])
    value = curve.values[at]
    assert value is not None
    left, top = axis.percent(curve.seconds[at]), 100.0 * span.y(value) / HEIGHT
    return left, top, number_text(value, curve.unit), curve.seconds[at]


def _samples(
    seconds: Sequence[float], values: Values, indices: Sequence[int]
) -> dict[str, list[float | None]]:
    def rounded(value: float | None) -> float | None:
        return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None

    return {
        "t": [round(seconds[i], 3) for i in indices],
        "v": [rounded(values[i]) for i in indices],
    }


def _spoken(drawn: Sequence[tuple[str, str, Curve, Values]], first: Curve) -> str:
    """What the picture shows, for screen readers."""
    parts = []
    for _, label, curve, values in drawn:
        known = [(v, i) for i, v in enumerate(values) if v is not None and math.isfinite(v)]
        if not known:
            parts.append(f"{label}: no value")
            continue
        (low, at_low), (high, at_high) = min(known), max(known)
        parts.append(
            f"{label} from {number_text(low, first.unit)} at {seconds_text(curve.seconds[at_low])} "
            f"to {number_text(high, first.unit)} at {seconds_text(curve.seconds[at_high])}"
        )
    unit = unit_text(first.unit)
    return f"{first.title}{f', in {unit}' if unit else ''}, over time: {'; '.join(parts)}"
