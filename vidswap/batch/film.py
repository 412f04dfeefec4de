"""One clip by several worker processes: its ranges are handed out as they are found."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory
from typing import Any

from vidswap import errors
from vidswap.batch.run import BatchOptions
from vidswap.batch.worker_process import (
    Done,
    Failed,
    MakeRunner,
    Progressed,
    Report,
    Runner,
    Task,
    WorkerProcess,
    failure,
)
from vidswap.errors import VidswapError, WorkerKilledError
from vidswap.swap.ranges import RangeProgress, RangeResult, RangeWork

_TICK = 0.1  # seconds between two looks for ranges that were found
_ATTEMPTS = 3  # at a range whose worker was killed


@contextmanager
def range_swaps() -> Iterator[Runner]:
    """What a worker process does with ranges; nets and source stay from range to range."""
    from vidswap.swap.job import read_source
    from vidswap.swap.ranges import swap_range
    from vidswap.swap.worker import Worker

    with Worker() as worker:
        sources: dict[Any, Any] = {}

        def run(work: RangeWork, report: Report) -> dict[str, Any]:
            request = work.request
            nets = worker.nets(request.options)
            key = (request.sources, request.options)
            if key not in sources:
                sources.clear()
                sources[key] = read_source(nets, request.sources, request.options)
            progress = lambda frames: report(frames, work.range.frames)  # noqa: E731
            return {"result": swap_range(work, nets, sources[key], progress)}

        yield run


@dataclass
class _Slot:
    number: int
    worker: WorkerProcess | None = None
    at: RangeWork | None = None


class RangeWorkers:
    """Swaps ranges by worker processes, which end with the last of them.

    Call it with the ranges of a clip; it is a `vidswap.swap.ranges.RangeSwapper`. A worker that
    dies is replaced, and its range goes on from its last segment.
    """

    def __init__(
        self, jobs: int, gpus: tuple[int, ...] = (), make_runner: MakeRunner = range_swaps
    ) -> None:
        self._options = BatchOptions(jobs=jobs, gpus=gpus)
        self._make_runner = make_runner

    def __call__(self, works: Iterator[RangeWork]) -> Iterator[RangeProgress | RangeResult]:
        """What is told of the ranges, in any order. Raises what swapping one of them raises."""
        with TemporaryDirectory(prefix="vidswap-ranges-") as logs, FoundRanges(works) as found:
            pool = _Pool(self._options, found, Path(logs), self._make_runner)
            try:
                yield from pool.events()
            finally:
                pool.close()


class FoundRanges:
    """The ranges found so far, by a thread that goes through the clip."""

    def __init__(self, works: Iterator[RangeWork]) -> None:
        self._queue: Queue[RangeWork | BaseException | None] = Queue()
        self._works, self._stopped = works, threading.Event()
        self._thread = threading.Thread(target=self._look, name="vidswap-ranges", daemon=True)
        self.is_through = False
        self.waiting: deque[RangeWork] = deque()

    def __enter__(self) -> FoundRanges:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def look(self) -> None:
        """Take what was found since. Raises what going through the clip raised."""
        with suppress(Empty):
            while True:
                item = self._queue.get_nowait()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    self.is_through = True
                else:
                    self.waiting.append(item)

    def _look(self) -> None:
        end: BaseException | None = None
        try:
            for work in self._works:
                self._queue.put(work)
                if self._stopped.is_set():
                    return
        except BaseException as error:  # for whoever looks
            end = error
        self._queue.put(end)


class _Pool:
    def __init__(
        self, options: BatchOptions, found: FoundRanges, logs: Path, make_runner: MakeRunner
    ) -> None:
        self._options, self._found, self._logs = options, found, logs
        self._make_runner = make_runner
        self._slots = [_Slot(number) for number in range(options.workers)]
        self._deaths: dict[int, int] = {}

    def events(self) -> Iterator[RangeProgress | RangeResult]:
        while True:
            self._found.look()
            for slot in self._slots:
                if slot.at is None and self._found.waiting:
                    self._begin(slot, self._found.waiting.popleft())
            busy = [slot for slot in self._slots if slot.at is not None]
            if not busy and self._found.is_through and not self._found.waiting:
                return
            handles: list[Any] = [slot.worker.connection for slot in busy if slot.worker]
            handles += [slot.worker.sentinel for slot in busy if slot.worker]
            wait(handles, _TICK)
            for slot in busy:
                yield from self._hear(slot)

    def close(self) -> None:
        """End all workers at once: what is safe stays safe."""
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.kill()

    def _begin(self, slot: _Slot, work: RangeWork) -> None:
        if slot.worker is None:
            # The threads of torch are those of a run by one worker, so that the result is.
            environment = self._options.environment(slot.number)
            environment.pop("OMP_NUM_THREADS", None)
            slot.worker = WorkerProcess(self._make_runner, environment)
        slot.at = work
        log = self._logs / f"worker-{slot.number}.log"
        with suppress(OSError):  # it has ended, as is found next
            slot.worker.give(Task(str(work.range.number), self._shared(work), log))

    def _shared(self, work: RangeWork) -> RangeWork:
        """The work with this worker's share of the memory, where it is limited."""
        limits = replace(
            self._options,
            max_memory=work.request.options.max_memory, max_vram=work.request.options.max_vram,
        )  # fmt: skip
        return replace(work, request=limits.with_share(work.request))

    def _hear(self, slot: _Slot) -> Iterator[RangeProgress | RangeResult]:
        ended = slot.worker is not None and slot.worker.has_ended
        for message in slot.worker.messages() if slot.worker else ():
            if isinstance(message, Progressed):
                yield RangeProgress(int(message.job_id), message.frames)
            elif isinstance(message, Done):
                slot.at = None
                yield message.answer["result"]
            else:
                raise error_of(message)
        if ended and slot.at is not None and slot.worker is not None:
            number = slot.at.range.number
            self._deaths[number] = self._deaths.get(number, 0) + 1
            if self._deaths[number] >= _ATTEMPTS:
                death = WorkerKilledError(f"{slot.worker.how_it_ended()}, {_ATTEMPTS} times")
                raise error_of(failure(str(number), death))
            slot.worker.kill()
            self._found.waiting.appendleft(slot.at)
            slot.worker = slot.at = None


def error_of(answer: Failed) -> VidswapError:
    """The error that a worker's answer tells of; one of another kind for a fault of its own."""
    kind = getattr(errors, answer.kind, None)
    if isinstance(kind, type) and issubclass(kind, VidswapError):
        return kind(answer.message)
    return VidswapError(f"a worker failed: {answer.message}; --jobs 1 shows where (--debug)")
