"""The environment a training process should start in; imported before torch and numba."""

from __future__ import annotations

import os
import platform
import sys

# glibc gives large blocks back at once, and the next step waits for the kernel to zero them again.
_ALLOCATOR = (
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:"
    "glibc.malloc.arena_max=1:glibc.malloc.top_pad=268435456"
)


def prepare_process() -> None:
    """Threads and memory as a training process wants them; may start this command again."""
    _give_numba_as_many_threads()
    _restart_with_fast_allocator()


def _give_numba_as_many_threads() -> None:
    """Let numba use as many threads as OpenMP, of which `torchrun` gives each process one.

    By itself it takes every core in every process, and they wait for each other at each kernel:
    two processes on two cores then do less than half of the images.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal():
        os.environ.setdefault("NUMBA_NUM_THREADS", threads)


def _restart_with_fast_allocator() -> None:
    """Start this command again with glibc told to keep freed memory: a fifth more images a second.

    glibc reads its settings before the program's first line. Does nothing elsewhere, or when the
    user has settings of his own.
    """
    if platform.libc_ver()[0] != "glibc" or "GLIBC_TUNABLES" in os.environ:
        return
    environment = {**os.environ, "GLIBC_TUNABLES": _ALLOCATOR}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
