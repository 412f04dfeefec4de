"""A comparison of swaps as one HTML file, as plain values for JSON, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidswap.metrics.measure import Measure
from vidswap.metrics.record import Curve, Moment, Report
from vidswap.report.compare import Comparison, Difference, RankedSwap
from vidswap.report.html import curve_page, render, write_text
from vidswap.report.page import names_first, summary_text
from vidswap.report.pictures import film_strip
from vidswap.report.plots import Panel, TimeAxis, panel_of
from vidswap.report.tables import SCHEMA, plain, to_json
from vidswap.report.words import (
    SECTIONS,
    decimals_for,
    interval_text,
    number_text,
    section_of,
)
from vidswap.runtime.text import escaped

_TURNED = {"better": "worse", "worse": "better"}
_MARKS = {"better": "▲ better", "worse": "▼ worse", "within the noise": "≈ within the noise"}


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the comparison's page, which fetches nothing. Raises as `write_page` does."""
    write_text(comparison_html(comparison), path)


def comparison_html(comparison: Comparison) -> str:
    """The page as text."""
    panels, axis = _panels(comparison.swaps)
    curves = curve_page(axis, panels)
    worst: list[Moment] = []
    owners: list[RankedSwap] = []
    for swap in comparison.swaps:
        for moment in [m for m in swap.report.moments if m.kind == "worst"][:1]:
            worst.append(moment)
            owners.append(swap)
    strip = film_strip(worst)
    return render(
        "report_compare.html.j2",
        {
            "comparison": comparison,
            "swaps": [_swap_row(n, swap) for n, swap in enumerate(comparison.swaps, 1)],
            "sections": _sections(comparison),
            "curve_page": curves,
            "samples": curves.samples,
            "strip": strip,
            "stills": list(zip(strip.stills, owners, strict=True)),
            "warnings": [
                f"{swap.name}: {text}" for swap in comparison.swaps for text in swap.report.warnings
            ],
        },
    )


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    """The places, every report and every difference, in values that JSON can hold."""
    names = [swap.name for swap in comparison.swaps]
    return {
        "schema": SCHEMA,
        "target": comparison.target,
        "verdict": comparison.sentence,
        "swaps": [
            {"name": s.name, "place": s.place, "score": s.score, "report": to_json(s.report)}
            for s in comparison.swaps
        ],
        "differences": [
            {
                "figure": d.name,
                "first": names[d.first],
                "second": names[d.second],
                "value": plain(d.value),
                "interval": plain(d.interval),
                "frames": d.frames,
                "outcome": d.outcome,
                "reason": d.reason,
            }
            for d in comparison.differences
        ],
    }


def comparison_to_csv(comparison: Comparison) -> str:
    """A row per measure and swap: value, interval, and how it differs from the first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["figure", "swap", "place", "value", "low", "high", "first_less_this", "difference_low",
         "difference_high", "first_is"]
    )  # fmt: skip
    for measure in comparison.measures:
        for n, swap in enumerate(comparison.swaps):
            figure = swap.report.figure(measure.name)
            found = comparison.difference(measure.name, 0, n) if n else None
            cells = [figure.value, *(figure.interval or (None, None))]
            apart = [found.value, *(found.interval or (None, None))] if found else [None] * 3
            writer.writerow(
                [measure.name, swap.name, swap.place]
                + ["" if v is None else f"{v:.6g}" for v in (*cells, *apart)]
                + [found.outcome if found else ""]
            )
    return text.getvalue()


def _swap_row(number: int, swap: RankedSwap) -> dict[str, Any]:
    return {
        "number": number,
        "place": swap.place,
        "name": swap.name,
        "score": number_text(swap.score, decimals=2),
        "summary": summary_text(swap.report),
        "headline": swap.verdict.headline,
        "sentence": swap.verdict.sentence,
        "state": swap.verdict.state,
    }


def _sections(comparison: Comparison) -> list[tuple[str, list[dict[str, Any]]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for measure in comparison.measures:
        row = {
            "title": measure.title,
            "name": measure.name,
            "unit": measure.unit,
            "better": "to compare with" if measure.better == "neither" else measure.better,
            "ranked": measure.name in comparison.ranked,
            "cells": [_cell(comparison, measure, n) for n in range(len(comparison.swaps))],
        }
        rows.setdefault(section_of(measure.name), []).append(row)
    return [(section, rows[section]) for section in SECTIONS if section in rows]


def _cell(comparison: Comparison, measure: Measure, n: int) -> dict[str, str]:
    """A swap's value, and how it compares with the first."""
    figure = comparison.swaps[n].report.figure(measure.name)
    cell = {
        "value": number_text(figure.value, figure.unit),
        "interval": interval_text(figure),
        "absent": figure.absent if figure.value is None else "",
        "apart": "",
        "outcome": "",
        "mark": "",
    }
    if n == 0:
        return cell
    found = comparison.difference(measure.name, 0, n)
    turned = _TURNED.get(found.outcome, found.outcome)
    if found.outcome != "not compared":
        cell["apart"] = _apart_text(found, measure)
        cell |= {"outcome": turned, "mark": _MARKS[turned]}
    return cell


def _apart_text(found: Difference, measure: Measure) -> str:
    """This swap minus the first, with its interval."""
    if found.value is None:
        return ""
    value = 0.0 - found.value
    ends = (0.0 - found.interval[1], 0.0 - found.interval[0]) if found.interval is not None else ()
    factor = 100.0 if measure.unit == "share" else 1.0
    decimals = decimals_for(*(factor * v for v in (value, *ends)))
    texts = [_signed(v, measure.unit, decimals) for v in (value, *ends)]
    return texts[0] + (f" ({texts[1]} to {texts[2]})" if ends else "")


def _signed(value: float, unit: str, decimals: int) -> str:
    text = number_text(value, unit, decimals)
    has_digit = any(digit in text for digit in "123456789")
    return f"+{text}" if value > 0 and has_digit else text


def _panels(swaps: Sequence[RankedSwap]) -> tuple[list[tuple[Panel, bool]], TimeAxis]:
    """A panel per curve with a line per swap; times are the target's."""
    curves = [{c.name: _at_target_time(c, swap.report) for c in swap.report.curves}
              for swap in swaps]  # fmt: skip
    axis = TimeAxis.over([curve for own in curves for curve in own.values()])
    first = set().union(*(names_first(swap.report) for swap in swaps))
    figures = {f.name: f for swap in swaps for f in swap.report.figures}
    labels = [swap.name for swap in swaps]
    names = dict.fromkeys(name for own in curves for name in own)
    return [
        (
            panel_of([own.get(name) for own in curves], axis, figures.get(name), labels),
            name in first,
        )
        for name in names
    ], axis


def _at_target_time(curve: Curve, report: Report) -> Curve:
    start = report.settings.get("start")
    if not isinstance(start, int | float) or not start:
        return curve
    return replace(curve, seconds=tuple(s + start for s in curve.seconds))


def describe_comparison(comparison: Comparison) -> str:
    """The places in lines for a terminal."""
    lines = [
        f"{swap.place}. {swap.name}: score {number_text(swap.score, decimals=2)}; "
        f"{swap.verdict.headline}"
        for swap in comparison.swaps
    ]
    return "\n".join(map(escaped, [comparison.sentence, *lines]))
