"""A report as plain values for JSON, as CSV, and held against limits for use in scripts."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vidswap.errors import BadOptionError
from vidswap.metrics.measure import Direction, keeps
from vidswap.metrics.record import Figure, Report

# A report's form; it grows by one when a key changes its meaning or goes.
SCHEMA = 1
_LIMIT = re.compile(r"\s*([a-z_0-9]+)\s*(>=|<=)\s*(\S+)\s*", re.ASCII)


@dataclass(frozen=True)
class BrokenLimit:
    """A limit that a report does not keep: what was demanded, and what was measured.

    value: None where the figure has none; `absent` then says why.
    """

    name: str
    sign: str
    limit: float
    value: float | None
    absent: str = ""

    def __str__(self) -> str:
        found = f"{self.value:.6g}" if self.value is not None else f"no value: {self.absent}"
        return f"{self.name} {self.sign} {self.limit:g} is broken: {found}"


def to_json(report: Report) -> dict[str, Any]:
    """Everything but the pictures, in values that JSON can hold; numbers that are not finite are
    None. Moments are named by frame, time and reason."""
    return {
        "schema": SCHEMA,
        "target": report.target,
        "swapped": report.swapped,
        "source": report.source,
        "frames": report.frames,
        "frames_with_face": report.frames_with_face,
        "seconds": report.seconds,
        "size": list(report.size),
        "figures": {figure.name: _figure(figure) for figure in report.figures},
        "curves": {
            curve.name: {
                "title": curve.title,
                "unit": curve.unit,
                "better": curve.better,
                "seconds": list(curve.seconds),
                "values": plain(curve.values),
                **({"target": plain(curve.second)} if curve.second else {}),
            }
            for curve in report.curves
        },
        "moments": [
            {"frame": m.frame, "seconds": m.seconds, "kind": m.kind, "because": m.because}
            for m in report.moments
        ],
        "warnings": list(report.warnings),
        "settings": plain(report.settings),
        "provenance": plain(report.provenance),
    }


def to_csv(report: Report) -> str:
    """All curves, one row per frame: the time, then a column per curve.

    `NAME_target` is the target's own curve. A cell is empty where a frame has no value.
    """
    columns: dict[str, Sequence[float | None]] = {}
    for curve in report.curves:
        columns[curve.name] = curve.values
        if curve.second:
            columns[f"{curve.name}_target"] = curve.second
    seconds = report.curves[0].seconds if report.curves else ()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["seconds", *columns])
    for row, time in enumerate(seconds):
        writer.writerow([_cell(time), *(_cell(values[row]) for values in columns.values())])
    return text.getvalue()


def check_limits(report: Report, limits: Sequence[str]) -> list[BrokenLimit]:
    """Which of the limits, each "NAME>=VALUE" or "NAME<=VALUE", the report breaks.

    A figure without a value breaks every limit. Raises BadOptionError for anything else than such
    an expression, and for an unknown name, with the list of names.
    """
    figures = {figure.name: figure for figure in report.figures}
    broken = []
    for expression in limits:
        name, sign, limit = parse_limit(expression, list(figures))
        figure = figures[name]
        better: Direction = "higher" if sign == ">=" else "lower"
        if figure.value is None or not keeps(figure.value, limit, better):
            broken.append(BrokenLimit(name, sign, limit, figure.value, figure.absent))
    return broken


def parse_limit(expression: str, names: Sequence[str]) -> tuple[str, str, float]:
    """Name, sign and number of a limit. Raises BadOptionError."""
    allowed = f"allowed: NAME>=NUMBER or NAME<=NUMBER with one of the names {', '.join(names)}"
    match = _LIMIT.fullmatch(expression)
    if match is None:
        raise BadOptionError(f"limit {expression!r}; {allowed}")
    name, sign, number = match.groups()
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise BadOptionError(f"limit {expression!r}: {number!r} is no number; {allowed}")
    if name not in names:
        raise BadOptionError(f"limit {expression!r}: no figure is called {name!r}; {allowed}")
    return name, sign, limit


def plain(value: Any) -> Any:
    """A value as JSON holds it: mappings, lists, text, finite numbers; None for other numbers."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "title": figure.title,
        "value": plain(figure.value),
        "unit": figure.unit,
        "better": figure.better,
        "interval": plain(figure.interval),
        "limit": figure.limit,
        "passes": figure.passes,
        "net": figure.net,
        "source": figure.source,
        "absent": figure.absent,
    }


def _cell(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"
