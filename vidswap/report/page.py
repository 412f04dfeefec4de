"""A report as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidswap.metrics.record import Figure, Report
from vidswap.metrics.registry import METRICS
from vidswap.report.html import curve_page, facts, render, write_text
from vidswap.report.pictures import film_strip
from vidswap.report.plots import Panel, TimeAxis, panel_of
from vidswap.report.tables import plain
from vidswap.report.verdict import Check, verdict_of
from vidswap.report.words import (
    SECTIONS,
    counted,
    file_name,
    interval_text,
    limit_text,
    number_text,
    section_of,
    unit_text,
)

_COLUMNS = {metric.name: metric.columns for metric in METRICS}
_ALWAYS_FIRST = ("cosine_to_source",)  # it has no limit, but it is what a swap is for
_BAR_END = 2.0  # limits; the bar's right end


def write_page(report: Report, path: Path) -> None:
    """Write the report's page to `path`, replacing what is there.

    It holds its pictures and its script and fetches nothing. Raises OutputNotWritableError and
    DiskFullError.
    """
    write_text(page_html(report), path)


def page_html(report: Report) -> str:
    """The page as text."""
    verdict, strip = verdict_of(report), film_strip(report.moments)
    curves = curve_page(*curves_on_page(report), strip.stills)
    return render(
        "report_page.html.j2",
        {
            "report": report,
            "target": file_name(report.target),
            "swapped": file_name(report.swapped),
            "source": _source_names(report),
            "summary": summary_text(report),
            "verdict": verdict,
            "checks": [_check_row(check) for check in verdict.checks],
            "warnings_counted": counted(len(report.warnings), "warning"),
            "strip": strip,
            "curve_page": curves,
            "samples": curves.samples,
            "sections": table_sections(report),
            "settings": facts(plain(report.settings)),
            "provenance": facts(plain(report.provenance)),
        },
    )


def summary_text(report: Report) -> str:
    """How much was measured, in a line."""
    width, height = report.size
    faces = "a face in all"
    if report.frames_with_face < report.frames:
        faces = f"a face in {report.frames_with_face:,}"
    if report.frames == 0:
        return "no frame was measured"
    size = f"{width} \N{MULTIPLICATION SIGN} {height}"
    return f"{counted(report.frames, 'frame')}, {report.seconds:.2f} s, {size}, {faces}"


def curves_on_page(report: Report) -> tuple[TimeAxis, list[tuple[Panel, bool]]]:
    """The axis, and a panel of every curve with whether the verdict rests on it."""
    axis = TimeAxis.over(report.curves)
    figures = {figure.name: figure for figure in report.figures}
    first = names_first(report)
    panels = [panel_of([c], axis, figures.get(c.name)) for c in report.curves]
    return axis, [(panel, panel.name in first) for panel in panels]


def names_first(report: Report) -> set[str]:
    """The curves of which figures with a limit are made."""
    names = set(_ALWAYS_FIRST)
    for figure in report.figures:
        if figure.limit is not None:
            names |= {c.removesuffix("_target") for c in _COLUMNS.get(figure.name, ())}
            names.add(figure.name)
    return names


def table_sections(report: Report) -> list[tuple[str, list[dict[str, str]]]]:
    """All figures under their headings, as the cells of a table."""
    rows: dict[str, list[dict[str, str]]] = {}
    for figure in report.figures:
        rows.setdefault(section_of(figure.name), []).append(_table_row(figure))
    return [(section, rows[section]) for section in SECTIONS if section in rows]


def _table_row(figure: Figure) -> dict[str, str]:
    absent = ""
    if figure.value is None:
        absent = figure.absent or "no reason was given"
    return {
        "name": figure.name,
        "title": figure.title,
        "value": number_text(figure.value, figure.unit),
        "interval": interval_text(figure),
        "absent": absent,
        "unit": figure.unit,
        "better": "to compare with" if figure.better == "neither" else figure.better,
        "limit": limit_text(figure),
        "mark": {True: "✓ kept", False: "✗ broken", None: ""}[figure.passes],
        "state": {True: "kept", False: "broken", None: ""}[figure.passes],
        "net": figure.net,
        "source": figure.source,
    }


def _check_row(check: Check) -> dict[str, Any]:
    figure = check.figure
    whisker = None
    if check.used_interval is not None:
        low, high = (_bar_percent(end) for end in check.used_interval)
        whisker = (low, round(high - low, 1))
    return {
        "state": check.state,
        "title": figure.title,
        "close": check.close,
        "value": number_text(figure.value, figure.unit),
        "unit": unit_text(figure.unit),
        "absent": figure.absent or "no value",
        "limit": limit_text(figure),
        "fill": _bar_percent(check.used) if check.used is not None else None,
        "whisker": whisker,
    }


def _bar_percent(used: float) -> float:
    return round(100.0 * min(used, _BAR_END) / _BAR_END, 1)


def _source_names(report: Report) -> str:
    if report.source is None:
        return ""
    return ", ".join(file_name(name) for name in report.source.split(", "))
