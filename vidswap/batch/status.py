"""What is known of a manifest's jobs, and how to take them up again or give them up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from vidswap.batch.manifest import Job, read_manifest
from vidswap.batch.records import JobRecord
from vidswap.batch.state import StateFolder, counted, state_folder_of
from vidswap.errors import BadOptionError
from vidswap.runtime.text import escaped, shown

_WIDEST = 60  # characters of an output's path in the table
_MESSAGE = 100


@dataclass(frozen=True)
class JobStatus:
    """A job's record, and whether a run is at it: one that is "running" without it was broken off.

    log: the file with what its worker said.
    """

    record: JobRecord
    is_alive: bool
    log: Path

    @property
    def state(self) -> str:
        """As the record's, but "interrupted" where the run is gone."""
        running = self.record.state == "running"
        return "interrupted" if running and not self.is_alive else self.record.state

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        record = self.record
        if record.state == "done":
            return 1.0
        return min(1.0, record.frames / record.expected) if record.expected else 0.0

    def to_dict(self) -> dict[str, Any]:
        return self.record.to_dict() | {"state": self.state, "log": str(self.log)}


def status_of(manifest: Path) -> list[JobStatus]:
    """The jobs of a manifest, in its order. Raises ManifestError."""
    folder = StateFolder(state_folder_of(manifest))
    return statuses(folder, _records(folder, read_manifest(manifest)))


def status_in(folder: Path) -> list[JobStatus]:
    """The jobs that a state folder knows, without the manifest."""
    state = StateFolder(folder)
    return statuses(state, state.records())


def statuses(folder: StateFolder, records: Iterable[JobRecord]) -> list[JobStatus]:
    """Records with what their claims say."""
    return [
        JobStatus(
            record,
            record.state == "running" and folder.is_claimed(record.id),
            folder.log_of(record.id),
        )
        for record in records
    ]


def _records(folder: StateFolder, jobs: Iterable[Job]) -> list[JobRecord]:
    return [folder.read(job.id) or job.record() for job in jobs]


def counts_of(jobs: Sequence[JobStatus]) -> dict[str, int]:
    """How many jobs are in each state, and how many were interrupted."""
    counts = counted(job.record for job in jobs)
    interrupted = sum(job.state == "interrupted" for job in jobs)
    return counts | {"running": counts["running"] - interrupted, "interrupted": interrupted}


def status_as_text(jobs: Sequence[JobStatus]) -> str:
    """A table, and the sums."""
    head = ("line", "state", "frames", "time", "host", "output")
    rows = [head, *(_row(job) for job in jobs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    lines = []
    for job, row in zip((None, *jobs), rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
        if job is not None and job.record.error is not None:
            error = job.record.error
            lines.append(f"      {error.exit_code}: {escaped(error.message[:_MESSAGE])}")
    return "\n".join([*lines, "", summary(jobs)])


def summary(jobs: Sequence[JobStatus]) -> str:
    """The sums on a line."""
    parts = [f"{number} {state}" for state, number in counts_of(jobs).items() if number]
    return f"{len(jobs)} job{'s' * (len(jobs) != 1)}: {', '.join(parts)}"


def _row(job: JobStatus) -> tuple[str, ...]:
    record = job.record
    frames = f"{record.frames}/{record.expected}" if record.expected else ""
    output = record.output
    if len(output) > _WIDEST:
        output = f"...{output[3 - _WIDEST :]}"
    return str(record.line), job.state, frames, _took(job), record.host, escaped(output)


def _took(job: JobStatus) -> str:
    record = job.record
    if not record.started or record.state in ("queued", "cancelled"):
        return ""
    end = time.time() if job.state == "running" else record.updated
    return str(timedelta(seconds=round(max(0.0, end - record.started))))


def chosen(jobs: Sequence[JobStatus], names: Sequence[str]) -> list[JobStatus]:
    """The jobs with these ids or lines; all of them where none is named. Raises BadOptionError."""
    if not names:
        return list(jobs)
    known = {job.record.id: job for job in jobs} | {str(job.record.line): job for job in jobs}
    for name in names:
        if name not in known:
            raise BadOptionError(f"{shown(name)} is no job; give an id or a line of the manifest")
    ids = {known[name].record.id for name in names}
    return [job for job in jobs if job.record.id in ids]


def retry_jobs(manifest: Path, names: Sequence[str] = ()) -> list[JobRecord]:
    """Queue jobs anew that failed or were cancelled: all, or those named by id or line.

    Raises ManifestError, BadOptionError, OutputNotWritableError.
    """
    folder = StateFolder(state_folder_of(manifest))
    queued = []
    for job in chosen(status_of(manifest), names):
        if job.record.state not in ("failed", "cancelled"):
            continue
        claim = folder.claim(job.record.id)
        if claim is None:
            continue
        with closing(claim):
            record = folder.read(job.record.id)  # as it is now that nobody else writes it
            if record is not None and record.state in ("failed", "cancelled"):
                record = replace(record, attempts=0, error=None, frames=0, fresh=False)
                folder.forget_cancel(record.id)
                queued.append(claim.write(record, "queued"))
    return queued


def cancel_jobs(manifest: Path, names: Sequence[str] = ()) -> list[JobRecord]:
    """Give up jobs that are not finished: all, or those named by id or line.

    One that a run is at is ended by that run within seconds; its work is kept. Raises as
    `retry_jobs`.
    """
    folder = StateFolder(state_folder_of(manifest))
    folder.make()
    given_up = []
    for job in chosen(status_of(manifest), names):
        if job.record.is_finished:
            continue
        claim = folder.claim(job.record.id)
        if claim is None:
            folder.cancel(job.record.id)
            given_up.append(job.record)
            continue
        with closing(claim):
            record = folder.read(job.record.id) or job.record
            if not record.is_finished:
                given_up.append(claim.write(record, "cancelled"))
    return given_up
