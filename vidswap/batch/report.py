"""One page over all jobs of a manifest: the verdict of each, worst first, with links."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vidswap.batch.status import JobStatus, counts_of, status_of, summary
from vidswap.errors import BadOptionError, OutputNotWritableError, VidswapError
from vidswap.media.output import writing_errors
from vidswap.metrics.measure import keeps
from vidswap.metrics.record import Report
from vidswap.metrics.registry import metric_names
from vidswap.report.cast import CastReport, measure_cast
from vidswap.report.cast_page import write_cast_page
from vidswap.report.html import render, write_text
from vidswap.report.measure import ReportOptions, load_report_nets, measure_clip
from vidswap.report.nets import ReportNets
from vidswap.report.page import write_page
from vidswap.report.tables import parse_limit, plain
from vidswap.report.verdict import broken_limits, verdict_of
from vidswap.runtime.inputs import read_bounded
from vidswap.runtime.text import escaped
from vidswap.swap.cast import plan_of
from vidswap.swap.request import SwapRequest
from vidswap.version import __version__

Progress = Callable[[float, int], None]  # jobs measured, jobs to measure

VERDICT = "verdict"  # of --fail-on: every limit of the verdict
_LARGEST = 2**22  # bytes of what was measured before
_ORDER = {"failed": 0, "cancelled": 1, "fail": 2, "unmeasured": 3, "unknown": 4, "pass": 5}
_LAST = 6  # what is not finished


@dataclass(frozen=True)
class Measured:
    """A swap's quality. state: of the verdict. used: the largest share of a limit's allowance.
    figures: by name, None without a value. broken: the verdict's limits, in words.
    """

    state: str
    headline: str
    sentence: str
    used: float
    figures: Mapping[str, float | None]
    broken: tuple[str, ...]


@dataclass(frozen=True)
class ReportRow:
    """A job on the page. page: of its own report, relative to the page. problem: why there is none.
    broken: the limits of --fail-on that it breaks.
    """

    job: JobStatus
    measured: Measured | None = None
    page: str = ""
    problem: str = ""
    broken: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """One word for order and colour."""
        if self.measured is not None:
            return self.measured.state
        return "unmeasured" if self.job.state == "done" else self.job.state

    def order(self) -> tuple[float, float, int]:
        """Worst first."""
        used = -self.measured.used if self.measured is not None else 0.0
        return _ORDER.get(self.state, _LAST), used, self.job.record.line


@dataclass(frozen=True)
class BatchReport:
    """All rows, worst first. broken: what --fail-on finds, a line each."""

    manifest: str
    page: Path
    rows: tuple[ReportRow, ...]
    broken: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        return {
            "manifest": self.manifest,
            "page": str(self.page),
            "counts": counts_of([row.job for row in self.rows]),
            "broken": list(self.broken),
            "jobs": [_as_dict(row) for row in self.rows],
        }


def report_batch(
    manifest: Path,
    page: Path,
    fail_on: Sequence[str] = (),
    progress: Progress = lambda done, total: None,
    options: ReportOptions | None = None,
) -> BatchReport:
    """Measure every finished job and write the page, with a folder of pages beside it.

    An output that is as it was when it was measured is not measured again. With --fail-on a job
    that has no result breaks it too. Raises ManifestError, BadOptionError, OutputNotWritableError.
    """
    for expression in fail_on:
        if expression != VERDICT:
            parse_limit(expression, metric_names())
    if page.suffix.lower() not in (".html", ".htm"):
        raise BadOptionError(f"-o {page}; name a page that ends in .html")
    if not page.parent.is_dir():
        raise OutputNotWritableError(f"no such folder: {page.parent}; make it or name another")
    folder = page.with_name(f"{page.stem}_files")
    jobs = status_of(manifest)
    rows = list(_rows(jobs, folder, fail_on, progress, options or ReportOptions()))
    rows.sort(key=ReportRow.order)
    broken = tuple(f"line {r.job.record.line}: {words}" for r in rows for words in r.broken)
    found = BatchReport(str(manifest), page, tuple(rows), broken)
    write_text(page_html(found), page)
    return found


def _rows(
    jobs: Sequence[JobStatus],
    folder: Path,
    fail_on: Sequence[str],
    progress: Progress,
    options: ReportOptions,
) -> Iterator[ReportRow]:
    total = sum(job.state == "done" for job in jobs)
    done = 0
    with ExitStack() as stack:
        nets: list[ReportNets] = []

        def loaded() -> ReportNets:
            if not nets:
                nets.append(stack.enter_context(closing(load_report_nets(options))))
            return nets[0]

        for job in jobs:
            if job.state != "done":
                words = (f"no result: {job.state}",) if fail_on else ()
                yield ReportRow(job, broken=words)
                continue
            yield _row(job, folder, fail_on, options, loaded)
            done += 1
            progress(done, total)


def _row(
    job: JobStatus,
    folder: Path,
    fail_on: Sequence[str],
    options: ReportOptions,
    loaded: Callable[[], ReportNets],
) -> ReportRow:
    record = job.record
    kept, own = folder / f"{record.id}.json", folder / f"{record.id}.html"
    sha256 = str(record.result.get("file", {}).get("sha256", ""))
    measured = _kept(kept, sha256) if own.exists() else None
    if measured is None:
        try:
            measured, write = _measure(record.swap(), loaded())
        except VidswapError as error:
            words = (f"not measured: {error}",) if fail_on else ()
            return ReportRow(job, problem=str(error), broken=words)
        with writing_errors(folder):
            folder.mkdir(exist_ok=True)
        write(own)
        write_text(_as_kept(measured, sha256), kept)
    link = f"{quote(folder.name)}/{quote(own.name)}"
    return ReportRow(job, measured, link, broken=tuple(_broken(measured, fail_on)))


def _measure(request: SwapRequest, nets: ReportNets) -> tuple[Measured, Callable[[Path], None]]:
    """How good a swap is, and what writes its page."""
    options = ReportOptions.of_swap(request.options)
    target, output, sources = request.target, request.output, request.sources
    plan = plan_of(target, sources, request.options)
    if plan is not None:
        cast = measure_cast(target, output, plan, options, nets=nets)
        return _measured_cast(cast), partial(write_cast_page, cast)
    report = measure_clip(target, output, sources, options, nets=nets)
    return _measured(report), partial(write_page, report)


def _measured_cast(cast: CastReport) -> Measured:
    """A cast is as good as its worst person, in each figure."""
    own = [_measured(person.report) for person in cast.people]
    figures = {}
    for figure in cast.people[0].report.figures:
        values = [measured.figures[figure.name] for measured in own]
        known = [value for value in values if value is not None]
        worst = min if figure.better == "higher" else max
        figures[figure.name] = worst(known) if len(known) == len(values) else None
    told = [(person.label, found) for person, found in zip(cast.people, own, strict=True)]
    return Measured(
        cast.state, cast.sentence,
        "; ".join(f"{label}: {found.headline}" for label, found in told) + ".",
        max(found.used for found in own), figures,
        tuple(f"{label}: {words}" for label, found in told for words in found.broken),
    )  # fmt: skip


def _measured(report: Report) -> Measured:
    verdict = verdict_of(report)
    used = [check.used for check in verdict.checks if check.used is not None]
    return Measured(
        verdict.state, verdict.headline, verdict.sentence,
        min(max(used, default=0.0), 1e9),
        {figure.name: plain(figure.value) for figure in report.figures},
        tuple(broken_limits(report)),
    )  # fmt: skip


def _broken(measured: Measured, fail_on: Sequence[str]) -> Iterator[str]:
    if VERDICT in fail_on:
        yield from measured.broken
    for expression in fail_on:
        if expression == VERDICT:
            continue
        name, sign, limit = parse_limit(expression, metric_names())
        value = measured.figures.get(name)
        if value is None or not keeps(value, limit, "higher" if sign == ">=" else "lower"):
            yield f"{name} {sign} {limit:g} is broken: {'no value' if value is None else value}"


def _as_kept(measured: Measured, sha256: str) -> str:
    content = {"version": __version__, "output": sha256} | vars(measured)
    return json.dumps(content | {"broken": list(measured.broken)}, allow_nan=False, indent=1)


def _kept(path: Path, sha256: str) -> Measured | None:
    """What was measured before of the same output; None for anything else."""
    try:
        given = json.loads(read_bounded(path, _LARGEST))
        if given["version"] != __version__ or not sha256 or given["output"] != sha256:
            return None
        figures = {str(k): None if v is None else float(v) for k, v in given["figures"].items()}
        found = Measured(
            str(given["state"]), str(given["headline"]), str(given["sentence"]),
            float(given["used"]), figures, tuple(str(words) for words in given["broken"]),
        )  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return found if found.state in _ORDER and math.isfinite(found.used) else None


def page_html(report: BatchReport) -> str:
    """The page as text."""
    jobs = [row.job for row in report.rows]
    rows = [_page_row(row) for row in report.rows]
    bad = sum(row.state == "fail" for row in report.rows)
    good = sum(row.state == "pass" for row in report.rows)
    state = "fail" if bad or counts_of(jobs)["failed"] else "pass" if good else "unknown"
    context = {"name": Path(report.manifest).name, "rows": rows, "summary": summary(jobs),
               "bad": bad, "good": good, "state": state, "broken": report.broken,
               "samples": {}}  # fmt: skip
    return render("report_batch.html.j2", context)


def _page_row(row: ReportRow) -> dict[str, Any]:
    record, measured = row.job.record, row.measured
    error = record.error
    words = row.problem
    if measured is not None:
        words = f"{measured.headline}. {measured.sentence}".strip()
    elif error is not None:
        words = f"exit code {error.exit_code}: {error.message}"
    return {
        "line": record.line,
        "state": row.state,
        "colour": {"pass": "pass", "fail": "fail", "failed": "fail"}.get(row.state, "unknown"),
        "output": record.output,
        "page": row.page,
        "words": words,
        "frames": record.frames or "",
        "broken": row.broken,
    }


def report_as_text(report: BatchReport) -> str:
    """The worst in lines for a terminal, and what --fail-on finds."""
    states = [row.state for row in report.rows]
    lines = [
        f"{report.page}: {summary([row.job for row in report.rows])}; {states.count('pass')} keep "
        f"their limits, {states.count('fail')} do not"
    ]
    for row in report.rows:
        if row.state in ("fail", "failed", "unmeasured"):
            text = _page_row(row)
            lines.append(f"  line {text['line']}: {text['output']}: {text['words']}")
    lines += [f"broken: {words}" for words in report.broken]
    return "\n".join(map(escaped, lines))


def _as_dict(row: ReportRow) -> dict[str, Any]:
    measured = None
    if row.measured is not None:
        measured = vars(row.measured) | {"broken": list(row.measured.broken)}
    return {
        "id": row.job.record.id,
        "line": row.job.record.line,
        "state": row.job.state,
        "verdict": measured,
        "problem": row.problem,
        "page": row.page,
        "broken": list(row.broken),
    }
