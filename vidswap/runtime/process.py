"""How a process starts: its environment, threads, console and Ctrl-C; imports nothing heavy."""

from __future__ import annotations

import gc
import os
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130  # exit code, as shells report SIGINT

# What a user has set stays. All must be set before the library in question is loaded.
# Two thread pools share few cores: a pool that spins while it waits starves the other.
_POOLS = {"OMP_WAIT_POLICY": "PASSIVE"}
_THREADS = {
    **_POOLS,
    # The stages are threads already; a pool inside each call would only contend with them.
    "OPENCV_FOR_THREADS_NUM": "1",
}
# What an Apple GPU lacks the CPU then computes, with a warning.
_DEVICES = {"PYTORCH_ENABLE_MPS_FALLBACK": "1"}
_QUIET = {
    "SVT_LOG": "1",  # errors only; SVT-AV1 writes to stderr by itself
}
# Numbers of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_MALLOC = {_M_MMAP_THRESHOLD: 2**30, _M_TRIM_THRESHOLD: 2**31 - 1, _M_ARENA_MAX: 1}
_RETRY_SECONDS = 0.05
_HAS_TIMER = hasattr(signal, "setitimer")  # not on Windows


def configure_process() -> None:
    """Set up threads, native logs and the console; call it before torch and OpenCV are imported."""
    _set_defaults(_THREADS)
    if sys.platform == "darwin":
        _set_defaults(_DEVICES)
    quiet_native_logs()
    _give_numba_as_many_threads()
    _give_numba_a_cache()
    _keep_freed_memory()
    hold_opencv_to_one_thread()
    _escape_what_the_console_cannot_print()


def hold_opencv_to_one_thread() -> None:
    """Where OpenCV has been imported already, and it is too late for its variable."""
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)


@contextmanager
def variables_set(values: Mapping[str, str]) -> Iterator[None]:
    """Within the block environment variables have these values; then those of before."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def configure_imported() -> None:
    """What a program that imports vidswap is given of it: pools that do not spin while they wait.

    Where torch has been imported already it is too late; then the program must do it.
    """
    if "torch" not in sys.modules:
        _set_defaults(_POOLS)


def quiet_native_logs() -> None:
    """Keep quiet the libraries that write to stderr by themselves."""
    _set_defaults(_QUIET)


@contextmanager
def collection_put_off() -> Iterator[None]:
    """Within the block no garbage is collected, and what it leaves is not looked at later either.

    For imports: of the millions of objects that they make none is garbage, and looking for some
    takes a seventh of their time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Within the block no library changes how the threads of this process are scheduled.

    SVT-AV1, opened by root, gives its threads and the one that opens it real-time priority (FIFO,
    99). They keep everything else from running, and one that spins while it waits for another waits
    for ever.
    """
    if not hasattr(os, "sched_getscheduler"):  # not on macOS and Windows
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in _own_threads():
            with suppress(OSError):  # it has ended meanwhile
                if os.sched_getscheduler(thread) != before[0]:
                    os.sched_setscheduler(thread, *before)


def _own_threads() -> list[int]:
    """The system's numbers of this process's threads."""
    tasks = Path("/proc/self/task")
    return [int(task.name) for task in tasks.iterdir()] if tasks.is_dir() else [0]


@contextmanager
def raising_on_interrupt() -> Iterator[None]:
    """Within the block SIGINT raises KeyboardInterrupt, but not amid an import: it waits for its
    end. Raised there it comes out as an ImportError, or leaves half a module behind.
    """
    if not _takes_interrupts():
        yield
        return
    before = signal.signal(signal.SIGINT, _raise_interrupt)
    try:
        yield
    finally:
        if _HAS_TIMER:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGINT, before)


def leave_on_interrupt() -> None:
    """From now on SIGINT ends the process with one line: no work has begun that must be undone."""
    if _takes_interrupts():
        signal.signal(signal.SIGINT, _leave)


def _takes_interrupts() -> bool:
    """Whether SIGINT arrives here: not in a thread, nor where it is ignored, as under nohup."""
    here = threading.current_thread() is threading.main_thread()
    return here and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    os.write(2, b"vidswap: interrupted; nothing was written\n")
    os._exit(INTERRUPTED)


def _raise_interrupt(_number: int, frame: FrameType | None) -> None:
    if _HAS_TIMER and _is_importing(frame):
        signal.signal(signal.SIGALRM, _interrupt_again)
        signal.setitimer(signal.ITIMER_REAL, _RETRY_SECONDS)
        return
    raise KeyboardInterrupt


def _interrupt_again(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)  # to whoever handles it now


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _set_defaults(values: dict[str, str]) -> None:
    for name, value in values.items():
        os.environ.setdefault(name, value)


def _give_numba_as_many_threads() -> None:
    """Let numba use as many threads as OpenMP, of which `torchrun` gives each process one.

    By itself it takes every core in every process, and they wait for each other at each kernel:
    two processes on two cores then train less than half of the images.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal():
        os.environ.setdefault("NUMBA_NUM_THREADS", threads)


def _give_numba_a_cache() -> None:
    """Where neither the package nor the user's cache can be written: a private temporary folder.

    As when root installed it and a user without a home runs it; every run would compile anew.
    """
    if "NUMBA_CACHE_DIR" in os.environ or any(map(_is_writable, numba_cache_folders())):
        return
    if not hasattr(os, "getuid"):  # on Windows, where temporary folders are the user's own
        return
    with suppress(OSError):  # then the kernels do without
        folder = Path(tempfile.gettempdir()) / f"vidswap-numba-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        # What lies in it is run: it must be nobody else's.
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if own and not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            os.environ["NUMBA_CACHE_DIR"] = str(folder)


def numba_cache_folders() -> tuple[Path, Path]:
    """Where numba keeps compiled kernels by itself: beside their module, or in the user's cache."""
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(__file__).resolve().parents[1] / "models" / "__pycache__", Path(user) / "numba"


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made itself if need be."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder.is_absolute() and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _keep_freed_memory() -> None:
    """Have glibc reuse memory that was freed, where it would give it back to the system at once.

    Frames and the nets' maps are megabytes each and live for milliseconds. By default each is
    mapped anew and its pages zeroed, a twenty-fifth of a swap's processor time. One heap for all
    threads, since what one stage allocates another frees: a sixth less memory at the peak. What was
    set by `GLIBC_TUNABLES` or `MALLOC_*` stays.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    if not sys.platform.startswith("linux"):
        return
    import ctypes  # only now: Ctrl-C may already end the process

    with suppress(OSError, AttributeError):  # another C library, as musl's
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC.items():
            mallopt(parameter, value)


def _escape_what_the_console_cannot_print() -> None:
    """A file's name in another script than the console's is no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
