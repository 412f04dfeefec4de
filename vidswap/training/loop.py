"""The loop of every training run: batches in order, log, sheets, states, and the end."""

from __future__ import annotations

import itertools
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import DiskFullError, MissingLibraryError, OutputExistsError, VidswapError
from vidswap.training.distributed import any_process, n_processes, rank
from vidswap.training.guarded_trainer import GuardedTrainer
from vidswap.training.records import RunFolder
from vidswap.training.workers import default_workers, drawn_by_workers, workers_with_room

logger = logging.getLogger(__name__)

SAVE_MINUTES = 8.0  # between two writes of the state

BatchT_co = TypeVar("BatchT_co", covariant=True)
BatchT = TypeVar("BatchT")


class Sampler(Protocol[BatchT_co]):
    """Draws batches by number: the same number is always the same batch."""

    def batch(self, number: int) -> BatchT_co:
        """Batch `number` of the run."""


@dataclass(frozen=True)
class TrainResult:
    """What a run has seen in all, and how often a value was not finite."""

    images: int
    steps: int
    steps_back: int
    seconds: float


@dataclass(frozen=True)
class Pace:
    """When a run ends, in minutes or images seen, and the steps between logs and sheets.

    workers: processes that draw batches, 0 for threads of this one; None: `default_workers`.
    """

    minutes: float = float("inf")
    images: int | None = None
    workers: int | None = None
    log_steps: int = 50
    sheet_steps: int = 500


def state_to_resume(folder: RunFolder, resume: bool) -> dict[str, Any] | None:
    """The state of a run folder, None in a new one.

    Raises OutputExistsError when there is one and `resume` is not set, CheckpointError.
    """
    state = folder.read_state()
    if state is not None and not resume:
        raise OutputExistsError(
            f"{folder.path}: holds a run of {state['images']} images; give --resume to go on with "
            "it, or another folder"
        )
    return state


class TrainingLoop:
    """Steps a trainer through the batches of a sampler until the end or a signal, then saves.

    `sheet` draws what the run has come to, (H, W, 3) uint8 RGB; `show` gets each line of the log.
    """

    def __init__(
        self,
        trainer: GuardedTrainer[Any],
        sampler: Sampler[Any],
        folder: RunFolder,
        pace: Pace,
        sheet: Callable[[], NDArray[np.uint8]],
        show: Callable[[dict[str, float]], None] | None = None,
    ) -> None:
        self.trainer, self.sampler, self.folder, self.pace = trainer, sampler, folder, pace
        self.sheet, self.show = sheet, show
        self.sums: dict[str, list[float]] = {}

    def go(self) -> TrainResult:
        """Train to the end."""
        trainer, pace = self.trainer, self.pace
        first = trainer.steps * n_processes() + rank()
        start = saved = lapped = time.monotonic()
        lap_images = trainer.images
        failure = None
        with _stop_on_signal() as stop_requested, closing(self._batches(first)) as batches:
            while True:
                try:
                    batch = next(batches)
                except VidswapError as error:
                    failure = error
                ended = time.monotonic() - start > 60 * pace.minutes or stop_requested()
                ended = ended or (pace.images is not None and trainer.images >= pace.images)
                if any_process(ended or failure is not None):
                    break
                self._add(trainer.step(batch))
                if trainer.steps % pace.log_steps == 0:
                    now = time.monotonic()
                    self._write_log((trainer.images - lap_images) / (now - lapped))
                    lapped, lap_images = now, trainer.images
                if trainer.steps % pace.sheet_steps == 0 and rank() == 0:
                    self._write_pictures()
                if time.monotonic() - saved > 60 * SAVE_MINUTES:
                    self._save(last=False)
                    saved = time.monotonic()
        if failure is None or trainer.steps:  # else there is nothing to keep
            self._save(last=True)
        if failure is not None and not ended:
            raise failure
        seconds = time.monotonic() - start
        return TrainResult(trainer.images, trainer.steps, trainer.steps_back, seconds)

    def _batches(self, first: int) -> Generator[Any, None, None]:
        """The batches of this process."""
        device, stride = self.trainer.device, n_processes()
        workers = self.pace.workers
        workers = default_workers(device) if workers is None else workers
        if workers:
            workers = workers_with_room(self.sampler, first, workers)
        if not workers:
            return prefetched(self.sampler, first, stride)
        return drawn_by_workers(self.sampler, first, stride, workers, device.type == "cuda")

    def _add(self, losses: dict[str, float] | None) -> None:
        for name, value in (losses or {}).items():
            self.sums.setdefault(name, []).append(value)

    def _write_log(self, rate: float) -> None:
        means = {name: round(float(np.mean(values)), 5) for name, values in self.sums.items()}
        self.sums = {}
        if rank() == 0:
            line = {
                "images": self.trainer.images,
                "images_per_second": round(rate, 2),
                "steps_back": self.trainer.steps_back,
                **means,
            }
            self.folder.log(line)
            if self.show is not None:
                self.show(line)

    def _write_pictures(self) -> None:
        self.folder.write_sheet(self.sheet(), self.trainer.images)
        try:
            self.folder.write_curves()
        except MissingLibraryError as error:
            # The log has the numbers; a run is not ended for want of a plot.
            logger.warning("%s", error)

    def _save(self, last: bool) -> None:
        if rank() != 0:
            return
        try:
            self.folder.save_state(self.trainer)
        except DiskFullError as error:
            # There may be room again by the next time; minutes of training are not thrown away.
            if last:
                raise
            logger.warning("%s", error)


def prefetched(
    sampler: Sampler[BatchT], first: int = 0, stride: int = 1, threads: int = 2
) -> Generator[BatchT, None, None]:
    """Batches number `first`, `first + stride`, ... in order, drawn ahead of the training step."""
    numbers = itertools.count(first, stride)
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(sampler.batch, next(numbers)) for _ in range(2 * threads))
        try:
            while True:
                batch = ahead.popleft().result()
                ahead.append(pool.submit(sampler.batch, next(numbers)))
                yield batch
        finally:
            for waiting in ahead:
                waiting.cancel()


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or Ctrl-C has come; the loop then saves and leaves."""
    requested = False

    def request(_number: int, _frame: FrameType | None) -> None:
        nonlocal requested
        requested = True

    before = {n: signal.signal(n, request) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
