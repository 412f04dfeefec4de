"""The jobs of a manifest on a Ray cluster: where workers run and what machines die is Ray's matter.

Workers are actors, which keep their nets. What goes through Ray's object store are requests and
results; files are read and written by the workers, on a shared disk or in a store. An actor whose
machine dies is begun anew by Ray elsewhere, and so is its job.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidswap.batch.ledger import Assignment, Ledger
from vidswap.batch.manifest import read_manifest
from vidswap.batch.run import (
    BatchOptions,
    BatchResult,
    Events,
    Notify,
    result_of,
    terminable,
)
from vidswap.batch.state import ClaimLostError, StateFolder, state_folder_of
from vidswap.batch.storage import Storage, StoredFiles, with_storage
from vidswap.batch.swapping import swaps
from vidswap.batch.worker_process import (
    Answer,
    Done,
    Failed,
    MakeRunner,
    Message,
    Progressed,
    Task,
    done,
    failure,
)
from vidswap.errors import (
    BadOptionError,
    JobTimeoutError,
    MissingLibraryError,
    VidswapError,
    WorkerKilledError,
)

LOCAL, AUTO = "local", "auto"

_TICK = 0.5  # seconds between two looks at answers, clocks and claims
_BOARD_SECONDS = 5.0  # for which progress is waited for
_PATIENCE = 60.0  # seconds for which a cluster without room for one worker is waited for


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """A Ray cluster and what a worker takes of it. Raises BadOptionError.

    address: as `ray.init` has it; "auto": the one this computer belongs to; "local": one of this
    computer alone. cpus, gpus: of each worker; a part of a GPU is shared with as many workers, and
    so is --max-vram. storage: where the files lie, None for paths that all machines see.
    """

    address: str = AUTO
    cpus: float = 1.0
    gpus: float = 0.0
    storage: Storage | None = None

    def __post_init__(self) -> None:
        if not self.cpus > 0:
            raise BadOptionError(f"--worker-cpus {self.cpus:g}; it must be above 0")
        if self.gpus < 0 or (self.gpus > 1 and self.gpus % 1):
            raise BadOptionError(
                f"--worker-gpus {self.gpus:g}; it must be a part of one, or a whole number"
            )


def run_batch_on_ray(
    manifest: Path,
    ray_options: RayOptions,
    options: BatchOptions | None = None,
    notify: Notify = lambda event: None,
    make_runner: MakeRunner = swaps,
) -> BatchResult:
    """As `run.run_batch`, by workers on a Ray cluster; the state lies beside the manifest here.

    `options.jobs` is the number of workers, None for as many as the cluster holds. Raises
    MissingLibraryError without Ray, BadOptionError where no cluster answers or holds a worker.
    """
    options, storage = options or BatchOptions(), ray_options.storage
    files = None
    if storage is not None:
        files, make_runner = StoredFiles(storage), with_storage(make_runner, storage)
    jobs = options.of_shard(read_manifest(manifest))
    ledger = Ledger(StateFolder(state_folder_of(manifest)), jobs, options.retries, files)
    ledger.queue()
    with terminable(), cluster(ray_options), ExitStack() as stack:
        workers = RayWorkers(make_runner, ray_options, options.jobs, options.retries)
        stack.callback(workers.close)
        run = _RayRun(ledger, options, ray_options, workers, notify)
        try:
            run.go()
        except BaseException as error:
            run.stop()
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(run.events.told()) from None
            raise
    return result_of(ledger, run.events.skipped)


@contextmanager
def cluster(options: RayOptions) -> Iterator[None]:
    """Be connected to the cluster, as one is or for the time of the block."""
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    address = None if options.address == LOCAL else options.address
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        words = " ".join(str(error).split())[:200]
        raise BadOptionError(
            f"--ray {options.address}: {words}; give the address of a cluster, or local"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingLibraryError("--ray needs Ray: pip install 'vidswap[ray]'") from error
    return ray


class _Board:
    """How far the jobs are: told by workers, read by the run."""

    def __init__(self) -> None:
        self._progress: dict[str, tuple[int, int]] = {}

    def note(self, job_id: str, frames: int, expected: int) -> None:
        self._progress[job_id] = (frames, expected)

    def taken(self) -> dict[str, tuple[int, int]]:
        """What was told since the last time."""
        found, self._progress = self._progress, {}
        return found


class _Actor:
    """A worker: does one task after the other."""

    def __init__(self, make_runner: MakeRunner) -> None:
        from vidswap.runtime.process import configure_process

        configure_process()
        self._stack = ExitStack()
        self._run = self._stack.enter_context(make_runner())

    def do(self, task: Task, board: Any) -> Answer:
        def send(message: Progressed) -> None:
            board.note.remote(message.job_id, message.frames, message.expected)

        send(Progressed(task.job_id, 0, 0))  # it has begun
        return done(task, self._run, send)


class RayWorkers:
    """A pool of actors; each is at one task at a time.

    retries: how often Ray begins a task anew whose actor has died.
    """

    def __init__(
        self, make_runner: MakeRunner, options: RayOptions, number: int | None, retries: int
    ) -> None:
        self._ray = _ray()
        self._options = options
        self.number = number or self._room()
        self._board = self._ray.remote(_Board).options(num_cpus=0, max_restarts=-1).remote()
        self._make = self._ray.remote(_Actor).options(
            num_cpus=options.cpus, num_gpus=options.gpus, max_restarts=-1,
            max_task_retries=retries,
        )  # fmt: skip
        self._make_runner = make_runner
        self._idle: list[Any] = []
        self._at: dict[Any, tuple[str, Any]] = {}  # by the reference of an answer: job and actor

    @property
    def free(self) -> int:
        """How many more tasks can be given."""
        return self.number - len(self._at)

    def give(self, task: Task) -> None:
        """Let a free worker do a task."""
        actor = self._idle.pop() if self._idle else self._make.remote(self._make_runner)
        self._at[actor.do.remote(task, self._board)] = (task.job_id, actor)

    def messages(self, timeout: float = _TICK) -> list[Message]:
        """What is told within a time: progress and answers."""
        ray, found = self._ray, list[Message]()
        if self._at:
            ready, _ = ray.wait(list(self._at), num_returns=1, timeout=timeout)
        else:
            ready = []
            time.sleep(timeout)
        for reference in ready:
            job_id, actor = self._at.pop(reference)
            try:
                found.append(ray.get(reference))
                self._idle.append(actor)
            except ray.exceptions.RayError as error:
                words = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                found.append(failure(job_id, WorkerKilledError(words)))
                with suppress(Exception):
                    ray.kill(actor)
        progress = self._progress() if self._at else {}
        busy = {job_id for job_id, _ in self._at.values()}
        told = [Progressed(j, *frames) for j, frames in progress.items() if j in busy]
        return [*told, *found]

    def _progress(self) -> dict[str, tuple[int, int]]:
        try:
            found: dict[str, tuple[int, int]] = self._ray.get(
                self._board.taken.remote(), timeout=_BOARD_SECONDS
            )
        except self._ray.exceptions.RayError:  # its machine has died, and it begins anew elsewhere
            return {}
        return found

    def end(self, job_id: str) -> None:
        """End the worker that is at a task at once."""
        for reference, (at, actor) in list(self._at.items()):
            if at == job_id:
                self._ray.kill(actor)
                del self._at[reference]

    def rest(self) -> None:
        """Let idle workers go: one that has lost its machine may be waiting for their place."""
        for actor in self._idle:
            self._ray.kill(actor)
        self._idle = []

    def close(self) -> None:
        """End all workers."""
        with suppress(Exception):  # the cluster itself may be gone
            for _, actor in self._at.values():
                self._ray.kill(actor)
            self.rest()
            self._ray.kill(self._board)
        self._at = {}

    def _room(self) -> int:
        """How many workers the cluster holds. Raises BadOptionError for none."""
        end = time.monotonic() + _PATIENCE
        while True:
            has = self._ray.cluster_resources()
            room = has.get("CPU", 0.0) / self._options.cpus
            if self._options.gpus:
                room = min(room, has.get("GPU", 0.0) / self._options.gpus)
            if room >= 1:
                return int(room + 1e-6)
            if time.monotonic() > end:
                raise BadOptionError(
                    f"the Ray cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} "
                    f"GPUs, too few for one worker of {self._options.cpus:g} and "
                    f"{self._options.gpus:g}; see --worker-cpus and --worker-gpus"
                )
            time.sleep(1.0)


class _RayRun:
    """The jobs of a ledger, given to workers on a cluster."""

    def __init__(
        self,
        ledger: Ledger,
        options: BatchOptions,
        ray_options: RayOptions,
        workers: RayWorkers,
        notify: Notify,
    ) -> None:
        self.events = Events(ledger, notify)
        self._ledger, self._workers = ledger, workers
        self._ray_options = ray_options
        self._options = replace(options, jobs=workers.number, gpus=())
        self._at: dict[str, Assignment] = {}
        self._failed = False

    def go(self) -> None:
        """Until every job is finished."""
        self.events.skip_settled()
        while True:
            self._give_out()
            if not self._at and (self._is_stopping() or self._ledger.is_over(self._options.wait)):
                return
            for message in self._workers.messages():
                self._take(message)
            for assignment in list(self._at.values()):
                self._check(assignment)

    def stop(self) -> None:
        """Put back what is under way."""
        for assignment in self._at.values():
            with suppress(VidswapError):
                self._ledger.put_back(assignment)
        self._at = {}
        self._workers.close()

    def _is_stopping(self) -> bool:
        return self._failed and not self._options.keep_going

    def _give_out(self) -> None:
        while self._workers.free and not self._is_stopping():
            assignment = self._ledger.next_job()
            if assignment is None:
                if self._at:
                    self._workers.rest()
                return
            self._at[assignment.id] = assignment
            log = None
            if self._ray_options.storage is None:
                log = self._ledger.folder.log_of(assignment.id).absolute()
            self.events.tell("began", assignment.record, under_way=self._records())
            self._workers.give(Task(assignment.id, self._shared(assignment.request), log))

    def _shared(self, request: Any) -> Any:
        """The request within a worker's share of the memory: --max-vram is that of a whole GPU."""
        options = self._options
        if options.max_vram is not None and 0 < self._ray_options.gpus < 1:
            share = round(options.max_vram * self._ray_options.gpus)
            options = replace(options, max_vram=share * options.workers)
        elif options.max_vram is not None:
            options = replace(options, max_vram=options.max_vram * options.workers)
        return options.with_share(request)

    def _take(self, message: Message) -> None:
        assignment = self._at.get(message.job_id)
        if assignment is None:
            return
        try:
            if isinstance(message, Progressed):
                self._ledger.progress(assignment, message.frames, message.expected)
                if message.expected:
                    self.events.tell("progress", assignment.record, under_way=self._records())
            else:
                del self._at[message.job_id]
                self._settle(assignment, message)
        except ClaimLostError:
            self._drop(assignment)

    def _settle(self, assignment: Assignment, answer: Done | Failed) -> None:
        if self.events.settle(assignment, answer, self._records()) == "failed":
            self._failed = True
            if self._is_stopping():
                self.stop()

    def _check(self, assignment: Assignment) -> None:
        limit = self._options.timeout
        if limit and assignment.has_begun and time.monotonic() - assignment.began > limit:
            self._workers.end(assignment.id)
            self._take(failure(assignment.id, JobTimeoutError(f"not done after {limit:g} s")))
        elif self._ledger.folder.is_cancelled(assignment.id):
            self._workers.end(assignment.id)
            del self._at[assignment.id]
            self.events.cancel(assignment, self._records())
        elif not assignment.claim.beat():
            self._drop(assignment)

    def _drop(self, assignment: Assignment) -> None:
        self._workers.end(assignment.id)
        self._at.pop(assignment.id, None)
        self.events.tell("lost", assignment.record, under_way=self._records())

    def _records(self) -> list[Any]:
        return [assignment.record for assignment in self._at.values()]
