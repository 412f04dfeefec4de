"""The environment a training process should start in; imported before torch and numba."""

from __future__ import annotations

import os
import platform
import sys

from vidswap.runtime.process import configure_process

# glibc gives large blocks back at once, and the next step waits for the kernel to zero them again.
_ALLOCATOR = (
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:"
    "glibc.malloc.arena_max=1:glibc.malloc.top_pad=268435456"
)


def prepare_process() -> None:
    """Threads and memory as a training process wants them; may start this command again."""
    configure_process()
    _restart_with_fast_allocator()


def _restart_with_fast_allocator() -> None:
    """Start this command again with glibc told to keep freed memory: a fifth more images a second.

    glibc reads its settings before the program's first line. Does nothing elsewhere, or when the
    user has settings of his own.
    """
    if platform.libc_ver()[0] != "glibc" or "GLIBC_TUNABLES" in os.environ:
        return
    environment = {**os.environ, "GLIBC_TUNABLES": _ALLOCATOR}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
