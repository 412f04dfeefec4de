"""Do the jobs of a manifest in worker processes: `vidswap batch run`."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NoReturn

from vidswap.batch.ledger import Assignment, Ledger
from vidswap.batch.manifest import Job, read_manifest
from vidswap.batch.records import JobRecord
from vidswap.batch.state import ClaimLostError, StateFolder, counted, state_folder_of
from vidswap.batch.swapping import swaps
from vidswap.batch.worker_process import (
    Done,
    Failed,
    MakeRunner,
    Message,
    Progressed,
    Task,
    WorkerProcess,
    failure,
)
from vidswap.errors import BadOptionError, JobTimeoutError, VidswapError, WorkerKilledError
from vidswap.runtime.processor import usable_cores

EventName = Literal["began", "progress", "done", "again", "failed", "cancelled", "lost", "skipped"]
_TICK = 0.25  # seconds between two looks at clocks and claims
_START_SECONDS = 120.0  # that a worker process may take to start, beside a job's own time
_LOOK_AGAIN = 1.0  # seconds between two looks for jobs of other runs


@dataclass(frozen=True)
class Event:
    """What happened: to a job, whose record says more. took: seconds of the attempt."""

    name: EventName
    record: JobRecord | None = None
    took: float = 0.0
    finished: int = 0
    total: int = 0
    share: float = 0.0  # of the whole that is done, jobs under way included

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        plain: dict[str, Any] = {"event": self.name, "finished": self.finished, "jobs": self.total}
        record = self.record
        if record is None:
            return plain
        plain |= {"id": record.id, "line": record.line, "attempts": record.attempts}
        if self.name in ("progress", "done"):
            plain |= {"frames": record.frames, "expected": record.expected}
        if self.name != "progress":
            plain |= {"output": record.output}
        if self.name == "done":
            plain |= {"seconds": round(self.took, 3)}
        if record.error is not None:
            error = record.error
            plain |= {"exit_code": error.exit_code, "kind": error.kind, "message": error.message}
        return plain


Notify = Callable[[Event], None]
Feed = Callable[[], bool]  # gives the ledger more jobs; whether yet more may come


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How to run a manifest. Raises BadOptionError.

    - jobs: worker processes at a time; None: one per GPU named, else one
    - gpus: numbers of the GPUs, as CUDA counts them; workers take turns
    - shard: this run's part (I, N), I from 0 to below N: every N-th row
    - retries: further attempts at a job whose error is worth one
    - keep_going: after a failure go on with the other jobs
    - timeout: seconds that an attempt may take
    - max_memory, max_vram: bytes for all workers, and for those of each GPU
    - wait: at the end wait for jobs that other runs are at
    """

    jobs: int | None = None
    gpus: tuple[int, ...] = ()
    shard: tuple[int, int] = (0, 1)
    retries: int = 2
    keep_going: bool = True
    timeout: float | None = None
    max_memory: int | None = None
    max_vram: int | None = None
    wait: bool = True

    def __post_init__(self) -> None:
        part, parts = self.shard
        if self.jobs is not None and self.jobs < 1:
            raise BadOptionError(f"--jobs {self.jobs}; it must be 1 or more")
        if self.retries < 0:
            raise BadOptionError(f"--retries {self.retries}; it must be 0 or more")
        if self.timeout is not None and not self.timeout > 0:
            raise BadOptionError(f"--timeout-per-job {self.timeout}; it must be above 0 seconds")
        if not 0 <= part < parts:
            raise BadOptionError(
                f"--shard {part}/{parts}; the first of N shards is 0/N and the last (N-1)/N"
            )

    @property
    def workers(self) -> int:
        return self.jobs or max(1, len(self.gpus))

    def of_shard(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs of this run's shard."""
        part, parts = self.shard
        return list(jobs[part::parts])

    def environment(self, number: int) -> dict[str, str]:
        """What a worker's environment adds: its GPU, and its share of the processor cores."""
        added = {}
        if self.gpus:
            added["CUDA_VISIBLE_DEVICES"] = str(self.gpus[number % len(self.gpus)])
        if self.workers > 1 and "OMP_NUM_THREADS" not in os.environ:
            added["OMP_NUM_THREADS"] = str(max(1, usable_cores() // self.workers))
        return added

    def with_share(self, job: Any) -> Any:
        """A request held within one worker's share of the memory."""
        options = job.options
        per_gpu = -(-self.workers // max(1, len(self.gpus)))
        for name, limit, share in (
            ("max_memory", self.max_memory, self.workers), ("max_vram", self.max_vram, per_gpu),
        ):  # fmt: skip
            if limit is not None:
                own = getattr(options, name)
                part = limit // share
                options = replace(options, **{name: part if own is None else min(own, part)})
        return replace(job, options=options)


@dataclass(frozen=True)
class BatchResult:
    """What became of the jobs of a run: how many are in each state, and those that failed."""

    counts: Mapping[str, int]
    failed: tuple[JobRecord, ...]
    skipped: int

    @property
    def is_done(self) -> bool:
        return self.counts["done"] == sum(self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        return {"event": "end", **self.counts, "skipped": self.skipped}


class Events:
    """Tells of a run's jobs, and counts those that are finished."""

    def __init__(self, ledger: Ledger, notify: Notify) -> None:
        self._ledger, self._notify = ledger, notify
        self.skipped = 0

    @property
    def finished(self) -> int:
        """Jobs that are, by whatever run."""
        return self._ledger.finished

    def told(self) -> str:
        """What to say of a run that is interrupted."""
        return (
            f"{self.finished} of {len(self._ledger.jobs)} jobs are finished; rerun the same "
            "command to go on"
        )

    def skip_settled(self) -> None:
        """Leave out what need not be done."""
        self.skipped = self._ledger.pass_over_settled()
        if self.skipped:
            self.tell("skipped", None)

    def settle(
        self, at: Assignment, answer: Done | Failed, under_way: Sequence[JobRecord]
    ) -> EventName:
        """Note an answer: "done", "again" where another attempt follows, or "failed".

        Raises ClaimLostError.
        """
        took = time.monotonic() - at.began
        name: EventName = "done"
        if isinstance(answer, Done):
            record = self._ledger.done(at, answer)
        else:
            record = self._ledger.failed(at, answer)
            name = "again" if record.state == "queued" else "failed"
        self.tell(name, record, took, under_way)
        return name

    def cancel(self, at: Assignment, under_way: Sequence[JobRecord]) -> None:
        """Note that a job was given up."""
        self.tell("cancelled", self._ledger.cancelled(at), under_way=under_way)

    def tell(
        self,
        name: EventName,
        record: JobRecord | None,
        took: float = 0.0,
        under_way: Sequence[JobRecord] = (),
    ) -> None:
        """Tell of an event; `under_way` are the records of the jobs that are."""
        total = len(self._ledger.jobs)
        share = (self.finished + sum(map(_share, under_way))) / max(1, total)
        self._notify(Event(name, record, took, self.finished, total, share))


def run_batch(
    manifest: Path,
    options: BatchOptions | None = None,
    notify: Notify = lambda event: None,
    make_runner: MakeRunner = swaps,
) -> BatchResult:
    """Do the jobs of a manifest that are not done yet; their state lies beside it.

    Any number of runs, on any hosts that share the disk, may be at one manifest. `notify` is told
    what happens. `make_runner` is what a worker process does jobs with. After KeyboardInterrupt,
    which SIGTERM raises too, the same call goes on. Raises ManifestError, OutputNotWritableError,
    DiskFullError.
    """
    options = options or BatchOptions()
    jobs = options.of_shard(read_manifest(manifest))
    ledger = Ledger(StateFolder(state_folder_of(manifest)), jobs, options.retries)
    ledger.queue()
    return run_ledger(ledger, options, notify, make_runner)


def run_ledger(
    ledger: Ledger,
    options: BatchOptions,
    notify: Notify,
    make_runner: MakeRunner,
    feed: Feed = lambda: False,
) -> BatchResult:
    """As `run_batch`, of a ledger whose jobs are queued; `feed` may give it more while it runs."""
    run = _Run(ledger, options, notify, make_runner, feed)
    with terminable():
        try:
            run.go()
        except KeyboardInterrupt:
            run.stop()
            raise KeyboardInterrupt(run.events.told()) from None
        except BaseException:
            run.stop()
            raise
    return result_of(ledger, run.events.skipped)


def result_of(ledger: Ledger, skipped: int) -> BatchResult:
    """What the records say once a run ends."""
    records = ledger.of_this_run()
    failed = tuple(record for record in records if record.state == "failed")
    return BatchResult(counted(records), failed, skipped)


@dataclass
class _Slot:
    """A place for a worker process and what it is at."""

    number: int
    worker: WorkerProcess | None = None
    at: Assignment | None = None


class _Run:
    def __init__(
        self,
        ledger: Ledger,
        options: BatchOptions,
        notify: Notify,
        make_runner: MakeRunner,
        feed: Feed,
    ) -> None:
        self.ledger, self.options = ledger, options
        self._feed = feed
        self.events = Events(ledger, notify)
        self._make_runner = make_runner
        self._slots = [_Slot(number) for number in range(options.workers)]
        self._failed = False
        self._next_look = 0.0

    def go(self) -> None:
        """Until every job is finished, or all that is left is another run's and none waits."""
        self.events.skip_settled()
        while True:
            more = self._feed()
            self._give_out()
            busy = [slot for slot in self._slots if slot.at is not None]
            if not busy and (
                self._is_stopping() or (not more and self.ledger.is_over(self.options.wait))
            ):
                break
            handles: list[Any] = [s.worker.connection for s in busy if s.worker]
            handles += [s.worker.sentinel for s in busy if s.worker]
            if handles:
                wait(handles, _TICK)
            else:
                time.sleep(_TICK)
            for slot in busy:
                self._hear(slot)
                self._check(slot)
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.close()

    def stop(self) -> None:
        """End all workers at once; their jobs go back to be taken up again."""
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.kill()
            if slot.at is not None:
                with suppress(VidswapError):  # lost, or no space for its record: found next time
                    self.ledger.put_back(slot.at)
                slot.at = None

    def _is_stopping(self) -> bool:
        return self._failed and not self.options.keep_going

    def _give_out(self) -> None:
        """Let every idle worker have a job, where there is one."""
        idle = [slot for slot in self._slots if slot.at is None]
        if not idle or self._is_stopping() or time.monotonic() < self._next_look:
            return
        for slot in idle:
            assignment = self.ledger.next_job()
            if assignment is None:
                self._next_look = time.monotonic() + _LOOK_AGAIN
                return
            slot.at = assignment
            try:
                self._begin(slot, assignment)
            except ClaimLostError:
                self._drop(slot, assignment)

    def _begin(self, slot: _Slot, assignment: Assignment) -> None:
        if slot.worker is None or slot.worker.has_ended:
            environment = self.options.environment(slot.number)
            slot.worker = WorkerProcess(self._make_runner, environment)
        self.ledger.note_worker(assignment, slot.worker.pid)
        request = self.options.with_share(assignment.request)
        log = self.ledger.folder.log_of(assignment.id)
        self._tell("began", assignment.record)
        try:
            slot.worker.give(Task(assignment.id, request, log))
        except OSError:  # it ended meanwhile, as `_check` finds
            return

    def _hear(self, slot: _Slot) -> None:
        for message in slot.worker.messages() if slot.worker else ():
            if slot.at is not None and message.job_id == slot.at.id:
                self._take(slot, slot.at, message)

    def _take(self, slot: _Slot, at: Assignment, message: Message) -> None:
        try:
            if isinstance(message, Progressed):
                self.ledger.progress(at, message.frames, message.expected)
                if message.expected:
                    self._tell("progress", at.record)
                return
            slot.at = None
            self._settle(at, message)
        except ClaimLostError:
            self._drop(slot, at)

    def _settle(self, at: Assignment, answer: Done | Failed) -> None:
        if self.events.settle(at, answer, self._under_way()) == "failed":
            self._failed = True
            if self._is_stopping():
                self.stop()

    def _check(self, slot: _Slot) -> None:
        """End what has died, takes too long, was cancelled or belongs to another run now."""
        at, worker = slot.at, slot.worker
        if at is None or worker is None:
            return
        if worker.has_ended:
            self._hear(slot)  # it may have answered first
            if slot.at is None:
                return
            error = WorkerKilledError(f"{worker.how_it_ended()}; its log: {self._log(at)}")
            self._end(slot, at, failure(at.id, error))
        elif self._is_late(at):
            late = JobTimeoutError(
                f"not done after {self.options.timeout:g} s; allow more (--timeout-per-job): it "
                "goes on from its last segment"
            )
            self._end(slot, at, failure(at.id, late))
        elif self.ledger.folder.is_cancelled(at.id):
            self._release(slot)
            self.events.cancel(at, self._under_way())
        elif not at.claim.beat():
            self._drop(slot, at)

    def _is_late(self, at: Assignment) -> bool:
        """Whether an attempt takes too long, or its worker to start."""
        if self.options.timeout is None:
            return False
        allowed = self.options.timeout + (0.0 if at.has_begun else _START_SECONDS)
        return time.monotonic() - at.began > allowed

    def _end(self, slot: _Slot, at: Assignment, answer: Failed) -> None:
        self._release(slot)
        try:
            self._settle(at, answer)
        except ClaimLostError:
            self._tell("lost", at.record)

    def _drop(self, slot: _Slot, at: Assignment) -> None:
        """Leave a job to the run that took it over."""
        self._release(slot)
        self._tell("lost", at.record)

    def _release(self, slot: _Slot) -> None:
        if slot.worker is not None:
            slot.worker.kill()
        slot.worker = slot.at = None

    def _log(self, at: Assignment) -> Path:
        return self.ledger.folder.log_of(at.id)

    def _tell(self, name: EventName, record: JobRecord) -> None:
        self.events.tell(name, record, under_way=self._under_way())

    def _under_way(self) -> list[JobRecord]:
        return [slot.at.record for slot in self._slots if slot.at is not None]


def _share(record: JobRecord) -> float:
    return min(1.0, record.frames / record.expected) if record.expected else 0.0


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGTERM, as schedulers send it, is a KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
