"""Everybody whom a cast swaps, measured in one pass, each against a source of their own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidswap.errors import BadOptionError, CastError
from vidswap.faces.tracking import TrackedFace
from vidswap.metrics.record import Report
from vidswap.people.plan import CastPlan, PersonPlan
from vidswap.report.faces import Followed
from vidswap.report.frames import FramePair, PairedClips
from vidswap.report.measure import (
    ClipPair,
    MeasuredPerson,
    Progress,
    ReportOptions,
    flow_ended,
    is_unchanged,
    load_report_nets,
    measure_faces,
    source_view,
)
from vidswap.report.nets import ReportNets
from vidswap.report.rows import SourceView
from vidswap.report.tables import SCHEMA, to_csv, to_json
from vidswap.report.verdict import verdict_as_text, verdict_of
from vidswap.report.words import counted, file_name
from vidswap.runtime.stage_clock import StageClock

Sources = tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class PersonReport:
    """A person of a cast with one of their sources, and how well that swap went.

    person: an id of the cast. name: the plan's, or "". sources: whose face they got.
    """

    person: str
    name: str
    sources: Sources
    report: Report

    @property
    def title(self) -> str:
        """Who it is, in a word or two."""
        return f"{self.person} ({self.name})" if self.name else self.person

    @property
    def source_names(self) -> str:
        """The sources' names, without their folders."""
        return ", ".join(file_name(str(path)) for path in self.sources)

    @property
    def label(self) -> str:
        """Who got whose face."""
        return f"{self.title} with {self.source_names}"


@dataclass(frozen=True, eq=False)
class CastReport:
    """The reports of everybody who was to be swapped, and warnings about all of them.

    A person with several sources is there once with each.
    """

    target: str
    swapped: str
    folder: str
    people: tuple[PersonReport, ...]
    warnings: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """How many swaps keep their limits, in words."""
        states = [verdict_of(person.report).state for person in self.people]
        good, bad = states.count("pass"), states.count("fail")
        unknown = len(states) - good - bad
        words = f"{counted(len(states), 'swap')} measured: {good} within all limits, {bad} not"
        return f"{words}, {unknown} not judged" if unknown else words

    @property
    def state(self) -> str:
        """The worst of all: "fail", "unknown" or "pass"."""
        states = {verdict_of(person.report).state for person in self.people}
        return next((state for state in ("fail", "unknown", "pass") if state in states), "unknown")


def measure_cast(
    target: Path,
    swapped: Path,
    plan: CastPlan,
    options: ReportOptions | None = None,
    progress: Progress | None = None,
    nets: ReportNets | None = None,
) -> CastReport:
    """Measure everybody of `swapped` whom the plan gives another's face, in the range measured.

    Who a face is, is known by its place at its time, as in the swap. `nets` as in `measure_clip`.
    Raises CastError where the plan gives nobody a source, and what `measure_clip` raises.
    """
    options, clock = options or ReportOptions(), StageClock()
    with ExitStack() as stack:
        pair = stack.enter_context(ClipPair(target, swapped, options, clock))
        swaps = swaps_of(plan, pair.start, options.end)
        if not swaps:
            raise CastError(f"{plan.folder}: nobody has a source then, so there is no swap to "
                            "measure")  # fmt: skip
        if nets is None:
            nets = stack.enter_context(closing(load_report_nets(options)))
        with clock("source"):
            views = {sources: _view(sources, options, nets) for _, sources in swaps}
        choice = CastFaces(plan, swaps, pair.clips)
        watch, measured = measure_faces(
            pair, choice, [views[sources][0] for _, sources in swaps], nets, progress
        )
    notes = [note for _, notes in views.values() for note in notes]
    people = []
    for (person, sources), found, followed in zip(swaps, measured, watch.followed, strict=True):
        report = pair.report(found, sources, nets)
        report = replace(report, warnings=tuple(_warnings(found, followed)))
        name = plan.people.get(person, PersonPlan(person)).name
        people.append(PersonReport(person, name, sources, report))
    return CastReport(
        str(target), str(swapped), str(plan.folder), tuple(people), (*pair.clips.warnings, *notes)
    )


def _view(
    sources: Sources, options: ReportOptions, nets: ReportNets
) -> tuple[SourceView | None, list[str]]:
    """One source that cannot be compared with leaves the others to be judged."""
    try:
        return source_view(sources, options, nets)
    except BadOptionError as error:
        return None, [f"likeness is not judged: {error}"]


def swaps_of(
    plan: CastPlan, start: float | None = None, end: float | None = None
) -> list[tuple[str, Sources]]:
    """Everybody who gets another's face from `start` to `end` (seconds), with each source they get.

    In the order of the cast, the most seen person first; None: from the beginning, or to the end.
    """
    first, last = start or 0.0, float("inf") if end is None else end
    found: dict[tuple[str, Sources], None] = {}
    for track in plan.tracks.tracks:
        if track.end < first or track.start >= last:
            continue
        times = {max(track.start, first)}
        for override in plan.overrides:
            times |= {t for t in (override.start, override.end) if first <= t < last}
        for seconds in sorted(t for t in times if track.start <= t <= track.end):
            decision = plan.decide(track.id, seconds)
            if decision.sources:
                found[(decision.person, decision.sources)] = None
    order = {person: n for n, person in enumerate(plan.tracks.people)}
    return sorted(found, key=lambda swap: order[swap[0]])


class CastFaces:
    """The faces that a plan gives another's, of each of `swaps`; times are the whole target's."""

    def __init__(
        self, plan: CastPlan, swaps: Sequence[tuple[str, Sources]], clips: PairedClips
    ) -> None:
        self._plan, self._clips = plan, clips
        self._place = {swap: n for n, swap in enumerate(swaps)}
        self.count = len(swaps)

    def of_frame(
        self, pair: FramePair, faces: Sequence[TrackedFace]
    ) -> Sequence[TrackedFace | None]:
        """The face of each swap in a frame, None for who is not there."""
        found: list[TrackedFace | None] = [None] * self.count
        seconds = pair.seconds + self._clips.begins
        tracks = self._plan.tracks.match(seconds, [face.face.box for face in faces])
        for face, track in zip(faces, tracks, strict=True):
            if track is None:
                continue
            decision = self._plan.decide(track, seconds)
            place = self._place.get((decision.person, decision.sources))
            if place is not None and found[place] is None:
                found[place] = face
        return found


def _warnings(measured: MeasuredPerson, followed: Followed) -> Iterator[str]:
    """What is to be said of one person's numbers."""
    columns = measured.meter.columns
    if not followed.tracks:
        yield "they are nowhere in what was measured"
    elif is_unchanged(columns):
        yield "their face never changes by more than a codec does: it was not swapped"
    yield from flow_ended(followed)


def cast_to_json(found: CastReport) -> dict[str, Any]:
    """Every person's report, in values that JSON can hold."""
    return {
        "schema": SCHEMA,
        "target": found.target,
        "swapped": found.swapped,
        "cast": found.folder,
        "verdict": found.sentence,
        "people": [
            {"person": p.person, "name": p.name, "sources": [str(s) for s in p.sources],
             "report": to_json(p.report)}
            for p in found.people
        ],
        "warnings": list(found.warnings),
    }  # fmt: skip


def cast_to_csv(found: CastReport) -> str:
    """All curves, one row per person and frame; a cell is empty where a frame has no value."""
    tables = [list(csv.reader(io.StringIO(to_csv(p.report)))) for p in found.people]
    columns = list(dict.fromkeys(name for table in tables for name in table[0]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["person", "sources", *columns])
    for person, (names, *rows) in zip(found.people, tables, strict=True):
        for row in rows:
            cells = dict(zip(names, row, strict=True))
            writer.writerow(
                [person.person, person.source_names, *(cells.get(name, "") for name in columns)]
            )
    return text.getvalue()


def describe_cast(found: CastReport) -> str:
    """Every person's verdict in lines for a terminal."""
    lines = [f"{found.sentence}."]
    for person in found.people:
        lines += ["", f"{person.label}:", verdict_as_text(person.report)]
    return "\n".join(lines)
