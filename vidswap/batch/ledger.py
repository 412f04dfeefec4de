"""Which job comes next, and what becomes of its record: alike for processes here and for Ray."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from vidswap.batch.facts import KnownHashes, has_output, is_same_file, is_unchanged
from vidswap.batch.manifest import Job
from vidswap.batch.records import JobError, JobRecord
from vidswap.batch.state import Claim, ClaimLostError, Owner, StateFolder
from vidswap.batch.worker_process import Done, Failed
from vidswap.swap.request import SwapRequest

_PROGRESS_SECONDS = 2.0  # between two records of progress
_PAUSE = 2.0  # seconds before a second attempt; doubles with each further one
_LONGEST_PAUSE = 60.0


@dataclass
class Assignment:
    """A job that this run has claimed and is at; `request` is its own, ready to be done.

    has_begun: whether its worker has said so; `began` is then the time of that.
    """

    job: Job
    claim: Claim
    record: JobRecord
    request: SwapRequest
    began: float
    noted: float = 0.0
    has_begun: bool = False

    @property
    def id(self) -> str:
        return self.job.id


class Files(Protocol):
    """Where a job's files lie, and what is known of them."""

    def is_unchanged(self, request: SwapRequest, facts: Mapping[str, Any]) -> bool:
        """Whether a result made from `facts` is what the request would give now."""

    def has_output(self, request: SwapRequest) -> bool:
        """Whether something lies under the output's name."""

    def is_output_of(self, request: SwapRequest, record: JobRecord) -> bool:
        """Whether it is what the record notes as its result."""


class LocalFiles:
    """Files on disks that all runs and workers see under the same paths."""

    def __init__(self) -> None:
        self._hashes = KnownHashes()

    def is_unchanged(self, request: SwapRequest, facts: Mapping[str, Any]) -> bool:
        return is_unchanged(request, facts, self._hashes)

    def has_output(self, request: SwapRequest) -> bool:
        return has_output(request.output)

    def is_output_of(self, request: SwapRequest, record: JobRecord) -> bool:
        return is_same_file(request.output, record.result.get("file"), self._hashes)


class Ledger:
    """Gives out the jobs of a manifest, or of a shard of it, and keeps their records.

    retries: further attempts at a job whose error is worth one.
    """

    def __init__(
        self,
        folder: StateFolder,
        jobs: Sequence[Job],
        retries: int = 0,
        files: Files | None = None,
    ) -> None:
        self.folder, self.jobs, self.retries = folder, list(jobs), retries
        self._owner, self._files = Owner.this_process(), files or LocalFiles()
        self._waiting = deque(self.jobs)
        self._not_before: dict[str, float] = {}
        self._over = set[str]()  # ids of jobs that are finished, by whatever run

    def queue(self) -> None:
        """Give every job that has none its record. Raises OutputNotWritableError."""
        self.folder.make()
        for job in self.jobs:
            self.folder.add(job.record())

    def take_up(self, job: Job) -> None:
        """Add a job whose target has just come, or come anew: a failure of before is forgotten."""
        self.jobs = [each for each in self.jobs if each.id != job.id] + [job]
        self._waiting = deque(each for each in self._waiting if each.id != job.id)
        self._waiting.append(job)
        self._over.discard(job.id)
        self.folder.add(job.record())
        record = self.folder.read(job.id)
        if record is not None and record.state in ("failed", "cancelled"):
            claim = self.folder.claim(job.id)
            if claim is not None:
                claim.write(replace(job.record(), fresh=record.fresh), "queued")
                claim.release()

    def next_job(self) -> Assignment | None:
        """Claim the next job that is to be done; None where there is none just now."""
        for _ in range(len(self._waiting)):
            job = self._waiting.popleft()
            if self._not_before.get(job.id, 0.0) > time.monotonic():
                self._waiting.append(job)
                continue
            if self.is_settled(job):
                self._over.add(job.id)
                continue
            claim = self.folder.claim(job.id)
            if claim is None:
                self._waiting.append(job)  # another run is at it, and may be gone later
                continue
            try:
                begun = self._begun(job, claim)
            except ClaimLostError:
                self._waiting.append(job)
                continue
            if begun is not None:
                return begun
            self._over.add(job.id)
        return None

    def pass_over_settled(self) -> int:
        """Leave out the jobs that need not be done; how many."""
        found = {job.id for job in self._waiting if self.is_settled(job)}
        self._waiting = deque(job for job in self._waiting if job.id not in found)
        self._over |= found
        return len(found)

    @property
    def finished(self) -> int:
        """How many jobs are done, have failed or were cancelled, by whatever run."""
        return len(self._over)

    @property
    def is_through(self) -> bool:
        """Whether no job is waiting for this run or for another to end."""
        return not self._waiting

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def waits_for_others_only(self) -> bool:
        """Whether all that is left is claimed by runs that are alive."""
        return all(self.folder.is_claimed(job.id) for job in self._waiting)

    def is_over(self, wait: bool) -> bool:
        """Whether a run may end: nothing is left, or only others' jobs and it does not `wait`."""
        return self.is_through or (not wait and self.waits_for_others_only())

    def is_settled(self, job: Job) -> bool:
        """Whether nothing is to be done for a job: it is done, has failed or was cancelled.

        What has changed since, settings, inputs, weights or a removed output, is to be done again.
        """
        record = self.folder.read(job.id)
        if record is None or not record.is_finished:
            return False
        if record.state == "done":
            unchanged = self._files.is_unchanged(job.request, record.facts)
            return unchanged and self._files.has_output(job.request)
        return record.request == job.request.to_json()

    def _begun(self, job: Job, claim: Claim) -> Assignment | None:
        record = self.folder.read(job.id) or job.record()
        if self.is_settled(job):  # by another run, just before the claim
            claim.release()
            return None
        now, text = time.time(), job.request.to_json()
        if record.is_finished or record.request != text:
            mine = record.state == "done" and self._files.is_output_of(job.request, record)
            record = replace(job.record(), fresh=mine)
        if self.folder.is_cancelled(job.id):
            claim.write(record, "cancelled")
            self.folder.forget_cancel(job.id)
            claim.release()
            return None
        # An attempt that was killed, or one before a change, has made what lies there now.
        is_there = self._files.has_output(job.request)
        ours = record.fresh and is_there
        request = job.request
        if ours:
            request = replace(request, options=replace(request.options, overwrite=True))
        goes_on = record.state == "running"  # whose run is gone; that was no failure of the job
        record = replace(
            record, line=job.line, request=text, started=now, host=self._owner.host,
            pid=self._owner.pid, worker=0, error=None, result={}, facts={},
            attempts=max(1, record.attempts) if goes_on else record.attempts + 1,
            fresh=record.fresh or not is_there,
        )  # fmt: skip
        record = claim.write(record, "running")
        return Assignment(job, claim, record, request, time.monotonic(), time.monotonic())

    def note_worker(self, assignment: Assignment, pid: int) -> None:
        """Name the process that does a job."""
        record = replace(assignment.record, worker=pid)
        assignment.record = assignment.claim.write(record, "running", safely=False)

    def progress(self, assignment: Assignment, frames: int, expected: int) -> None:
        """Note how far a job is, now and then."""
        if not assignment.has_begun:
            assignment.has_begun, assignment.began = True, time.monotonic()
            assignment.record = replace(assignment.record, started=time.time())
        if not expected:
            return
        assignment.record = replace(assignment.record, frames=frames, expected=expected)
        if time.monotonic() - assignment.noted >= _PROGRESS_SECONDS:
            assignment.noted = time.monotonic()
            assignment.record = assignment.claim.write(assignment.record, "running", safely=False)

    def done(self, assignment: Assignment, answer: Done) -> JobRecord:
        """Note a result."""
        result: dict[str, Any] = answer.answer.get("result", {})
        record = replace(
            assignment.record, result=result, facts=answer.answer.get("facts", {}),
            frames=int(result.get("frames", assignment.record.frames)), error=None,
        )  # fmt: skip
        record = replace(record, expected=record.frames)
        return self._finish(assignment, record, "done")

    def failed(self, assignment: Assignment, answer: Failed) -> JobRecord:
        """Note a failure: finally, or until another attempt where the error is worth one."""
        error = JobError(answer.exit_code, answer.kind, answer.message)
        record = replace(assignment.record, error=error)
        attempts = record.attempts
        if answer.worth_a_retry and attempts <= self.retries:
            pause = min(_LONGEST_PAUSE, _PAUSE * 2 ** (attempts - 1))
            self._not_before[assignment.id] = time.monotonic() + pause
            record = self._finish(assignment, record, "queued")
            self._waiting.append(assignment.job)
            return record
        return self._finish(assignment, record, "failed")

    def cancelled(self, assignment: Assignment) -> JobRecord:
        """Note that a job was given up."""
        self.folder.forget_cancel(assignment.id)
        return self._finish(assignment, assignment.record, "cancelled")

    def put_back(self, assignment: Assignment) -> None:
        """Let a job that was broken off be queued, as if this attempt had not been."""
        record = replace(assignment.record, attempts=max(0, assignment.record.attempts - 1))
        self._finish(assignment, record, "queued")

    def _finish(self, assignment: Assignment, record: JobRecord, state: Any) -> JobRecord:
        try:
            record = assignment.claim.write(record, state)
        finally:
            assignment.claim.release()
        assignment.record = record
        if record.is_finished:
            self._over.add(record.id)
        return record

    def of_this_run(self) -> list[JobRecord]:
        """The records of the jobs given to this ledger."""
        found = (self.folder.read(job.id) for job in self.jobs)
        return [record for record in found if record is not None]
