"""Stages that overlap: each iterator runs in a thread of its own behind a bounded queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.1


class Overlapped(Generic[T]):
    """Iterate over `items` while a background thread stays at most `depth` items ahead.

    Order is kept. An exception upstream is raised here, at its place in the order. `close()` stops
    the thread, and with it the stages further upstream. Use as a context manager.
    """

    def __init__(self, items: Iterable[T], depth: int, name: str) -> None:
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._items = items
        self._thread = threading.Thread(target=self._run, name=f"vidswap-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        end: BaseException = StopIteration()
        try:
            for item in self._items:
                if not self._put(item, None):
                    break
        except BaseException as error:  # handed to the consumer, which raises it
            end = error
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
        self._put(None, end)

    def _put(self, item: T | None, end: BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put((item, end), timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[T]:
        while True:
            item, end = self._queue.get()
            if isinstance(end, StopIteration):
                return
            if end is not None:
                raise end
            assert item is not None
            yield item

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._stopped.set()
        self._thread.join()

    def __enter__(self) -> Overlapped[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
