"""The report of a cast as one HTML file: everybody side by side, each with their own source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidswap.metrics.record import Curve, Figure
from vidswap.report.cast import CastReport, PersonReport
from vidswap.report.compare import MOST_SWAPS
from vidswap.report.html import curve_page, facts, render, write_text
from vidswap.report.page import names_first, summary_text
from vidswap.report.pictures import Still, film_strip
from vidswap.report.plots import Panel, TimeAxis, panel_of
from vidswap.report.tables import plain
from vidswap.report.verdict import verdict_of
from vidswap.report.words import (
    SECTIONS,
    counted,
    file_name,
    interval_text,
    limit_text,
    number_text,
    section_of,
)


def write_cast_page(found: CastReport, path: Path) -> None:
    """Write the page of a cast, which fetches nothing. Raises as `write_page` does."""
    write_text(cast_html(found), path)


def cast_html(found: CastReport) -> str:
    """The page as text."""
    people = found.people
    axis, panels = _panels(people[:MOST_SWAPS])
    curves = curve_page(axis, panels)
    strip = film_strip([moment for person in people for moment in person.report.moments])
    warnings = [*found.warnings, *(f"{p.title}: {w}" for p in people for w in p.report.warnings)]
    stills = iter(strip.stills)
    rows = []
    for number, person in enumerate(people, 1):
        own = [next(stills) for _ in person.report.moments]
        rows.append(_person_row(number, person, _relabelled(own)))
    return render(
        "report_cast.html.j2",
        {
            "target": file_name(found.target),
            "swapped": file_name(found.swapped),
            "sentence": found.sentence,
            "state": found.state,
            "people": rows,
            "undrawn": max(0, len(people) - MOST_SWAPS),
            "sections": _sections(people),
            "curve_page": curves,
            "samples": curves.samples,
            "strip": strip,
            "settings": facts(plain(people[0].report.settings)),
            "provenance": facts(plain(people[0].report.provenance)),
            "warnings": warnings,
            "warnings_counted": counted(len(warnings), "warning"),
        },
    )


def _person_row(number: int, person: PersonReport, stills: Sequence[Still]) -> dict[str, Any]:
    verdict = verdict_of(person.report)
    return {
        "number": number,
        "drawn": number <= MOST_SWAPS,
        "id": person.person,
        "name": person.name,
        "title": person.title,
        "label": person.label,
        "sources": person.source_names,
        "summary": summary_text(person.report),
        "headline": verdict.headline,
        "words": verdict.sentence,
        "state": verdict.state,
        "stills": stills,
    }


def _relabelled(stills: Sequence[Still]) -> list[Still]:
    """1, 2, ... for the worst of one person, and A, B, ... for the best."""
    worst = [still for still in stills if still.kind == "worst"]
    best = [still for still in stills if still.kind == "best"]
    return [
        *(replace(still, label=str(n)) for n, still in enumerate(worst, 1)),
        *(replace(still, label=chr(ord("A") + n % 26)) for n, still in enumerate(best)),
    ]


def _sections(people: Sequence[PersonReport]) -> list[tuple[str, list[dict[str, Any]]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for figure in people[0].report.figures:
        row = {
            "title": figure.title,
            "name": figure.name,
            "unit": figure.unit,
            "better": "to compare with" if figure.better == "neither" else figure.better,
            "limit": limit_text(figure),
            "cells": [_cell(person.report.figure(figure.name)) for person in people],
        }
        rows.setdefault(section_of(figure.name), []).append(row)
    return [(section, rows[section]) for section in SECTIONS if section in rows]


def _cell(figure: Figure) -> dict[str, str]:
    absent = "" if figure.value is not None else figure.absent or "no reason was given"
    return {
        "value": number_text(figure.value, figure.unit),
        "interval": interval_text(figure),
        "absent": absent,
        "mark": {True: "✓ kept", False: "✗ broken", None: ""}[figure.passes],
        "state": {True: "better", False: "worse", None: ""}[figure.passes],
    }


def _panels(people: Sequence[PersonReport]) -> tuple[TimeAxis, list[tuple[Panel, bool]]]:
    """A panel per curve with a line per person; a single person's with the target's own."""
    curves = [{c.name: _own(c, len(people)) for c in person.report.curves} for person in people]
    axis = TimeAxis.over([curve for own in curves for curve in own.values()])
    first = set().union(*(names_first(person.report) for person in people))
    figures = {f.name: f for person in people for f in person.report.figures}
    labels = [person.label for person in people]
    names = dict.fromkeys(name for own in curves for name in own)
    return axis, [
        (panel_of([own.get(name) for own in curves], axis, figures.get(name), labels),
         name in first)
        for name in names
    ]  # fmt: skip


def _own(curve: Curve, people: int) -> Curve:
    """Without the target's curve, which each person has their own of."""
    return replace(curve, second=()) if people > 1 else curve
