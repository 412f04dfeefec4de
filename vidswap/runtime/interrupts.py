"""Ctrl-C, put off while what has to be undone is not yet known to who undoes it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_put_off() -> Iterator[None]:
    """Within the block SIGINT waits; after it, it does what it would have done.

    A thread that was started and a folder that was made just before a KeyboardInterrupt would be
    left behind: they run into what is being taken down. Outside the main thread, which alone is
    interrupted, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: waiting.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting and callable(before):
        before(*waiting[0])
