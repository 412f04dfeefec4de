"""Seconds spent in each stage of a job, of wall and of processor time, summed over threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class StageClock:
    """Adds up the time inside `with clock("stage")`, waiting for other stages not counted.

    Processor time is that of the stage's own thread; threads that it lets work, as torch does, are
    not counted.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._processor: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started, worked = time.monotonic(), time.thread_time()
        try:
            yield
        finally:
            elapsed, worked = time.monotonic() - started, time.thread_time() - worked
            with self._lock:
                self._seconds[stage] = self._seconds.get(stage, 0.0) + elapsed
                self._processor[stage] = self._processor.get(stage, 0.0) + worked

    def timed(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """The same items; the time each takes to arrive is the stage's."""
        iterator = iter(items)
        while True:
            with self(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, in the order the stages first ran."""
        with self._lock:
            return dict(self._seconds)

    def processor_seconds(self) -> dict[str, float]:
        """Seconds of processor time by stage, in the same order."""
        with self._lock:
            return dict(self._processor)
