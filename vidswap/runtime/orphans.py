"""A process that ends with the one that started it, however that ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

_POLL = 1.0  # seconds between two looks for the parent
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows ends a process at once for any


def end_with(parent: int) -> None:
    """From now on this process is killed within a second or so of its parent's end.

    `parent` is its number as the parent knew it, which may have ended meanwhile.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent and _starter_is_alive():
        time.sleep(_POLL)
    os.kill(os.getpid(), _KILL)


def _starter_is_alive() -> bool:
    """Of a process of `multiprocessing`; Windows goes on naming a parent that has ended."""
    starter = multiprocessing.parent_process()
    return starter is None or starter.is_alive()
