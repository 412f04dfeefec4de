"""Hides from a Python process what macOS or Windows lack, and then works in it.

`python -m tests.runtime.hidden_posix` imports every module of vidswap and prints a line for each
that fails; with arguments it is `vidswap` with these.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import sys
import traceback
from contextlib import suppress

# Packages load before anything is hidden: they have their own ways on each system.
PACKAGES = (
    "av", "c2pa", "click", "cryptography", "cv2", "ffmpeg", "imageio_ffmpeg", "jinja2", "numba",
    "numba.typed", "PIL.Image", "psutil", "safetensors.torch", "scipy.optimize", "subprocess",
    "tempfile", "tifffile", "tomlkit", "torch", "torch.distributed", "torch.utils.data", "tqdm",
    "asyncio", "concurrent.futures.process", "multiprocessing.pool",
)  # fmt: skip
OPTIONAL = ("starlette.applications", "uvicorn")
OPTIONAL_NAMES = tuple(name.partition(".")[0] for name in OPTIONAL)
MODULES = ("fcntl", "grp", "pwd", "resource", "syslog", "termios", "tty")
OF_OS = (
    "O_NOFOLLOW", "chown", "fchmod", "fchown", "fork", "getegid", "geteuid", "getgid", "getloadavg",
    "getpgid", "getpriority", "getuid", "initgroups", "killpg", "lchown", "mkfifo", "nice",
    "posix_fadvise", "posix_fallocate", "pread", "pwrite", "register_at_fork",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_setaffinity",
    "sched_setscheduler", "sendfile", "setpgid", "setsid", "sysconf", "uname", "wait4",
)  # fmt: skip
OF_SIGNAL = (
    "ITIMER_REAL", "SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT",
    "SIGSTOP", "SIGTSTP", "SIGUSR1", "SIGUSR2", "alarm", "pause", "pthread_sigmask", "setitimer",
)  # fmt: skip


def hide() -> None:
    """Take away the modules and names that only some systems have."""
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in ((os, OF_OS), (signal, OF_SIGNAL)):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)


def failures() -> list[str]:
    """Each module of vidswap whose import fails, with the error."""
    import vidswap

    found = []
    for module in pkgutil.walk_packages(vidswap.__path__, "vidswap."):
        try:
            importlib.import_module(module.name)
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and error.name in OPTIONAL_NAMES:
                continue  # not installed here
            where = traceback.extract_tb(error.__traceback__)[-1]
            found.append(f"{module.name}: {error!r} at {where.filename}:{where.lineno}")
    return found


def main(arguments: list[str]) -> None:
    if not arguments:
        for name in PACKAGES:
            importlib.import_module(name)
        for name in OPTIONAL:
            with suppress(ImportError):
                importlib.import_module(name)
    hide()
    if arguments:
        from vidswap.commands.main import main

        main(arguments, prog_name="vidswap")
    print(*failures(), sep="\n", end="")


if __name__ == "__main__":
    main(sys.argv[1:])
