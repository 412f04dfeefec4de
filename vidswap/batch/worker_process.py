"""A process that holds its nets and does job after job, and its handle in the run that starts it.

It is spawned, and ends with the run that started it, however that ends. What it or a library of its
says goes to the job's log.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from vidswap.errors import OutOfMemoryError, VidswapError
from vidswap.runtime.orphans import end_with
from vidswap.runtime.private import open_private
from vidswap.runtime.process import configure_process, variables_set

logger = logging.getLogger(__name__)

Report = Callable[[int, int], None]  # frames done, frames expected
Runner = Callable[[Any, Report], dict[str, Any]]
"""Does one piece of work, such as a SwapRequest; of a job it answers its record's `result` and
`facts`."""
MakeRunner = Callable[[], AbstractContextManager[Runner]]

PROGRESS_SECONDS = 0.5  # between two words of progress
_PR_SET_PDEATHSIG = 1
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class AsJson(Protocol):
    """What says in a line of JSON what is to be done."""

    def to_json(self) -> str: ...


@dataclass(frozen=True)
class Task:
    """Work for a worker, such as a SwapRequest; what it says is appended to `log`."""

    job_id: str
    work: AsJson
    log: Path | None


@dataclass(frozen=True)
class Progressed:
    """How far a task is; the first, of no frames, says that it has begun."""

    job_id: str
    frames: int
    expected: int


@dataclass(frozen=True)
class Done:
    job_id: str
    answer: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """exit_code, kind, message: as of `JobError`. worth_a_retry: as of `VidswapError`."""

    job_id: str
    exit_code: int
    kind: str
    message: str
    worth_a_retry: bool


Answer = Done | Failed
Message = Progressed | Answer


class WorkerProcess:
    """A worker as the run that starts it sees it.

    environment: variables that the process gets besides its parent's. make_runner: a function of a
    module, which the process imports.
    """

    def __init__(self, make_runner: MakeRunner, environment: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, make_runner, os.getpid()), daemon=True
        )
        with variables_set(environment):
            self._process.start()
        theirs.close()
        self.pid = self._process.pid or 0

    @property
    def sentinel(self) -> int:
        """What `multiprocessing.connection.wait` wakes up for when the process ends."""
        return self._process.sentinel

    def give(self, task: Task) -> None:
        """Let an idle worker do a job. Raises OSError where it is gone."""
        self.connection.send(task)

    def messages(self) -> Iterator[Message]:
        """What it has said since the last time; its end is no error here."""
        with suppress(EOFError, OSError):
            while self.connection.poll():
                yield self.connection.recv()

    @property
    def has_ended(self) -> bool:
        return not self._process.is_alive()

    def how_it_ended(self) -> str:
        """In words, once it has."""
        self._process.join(5)
        code = self._process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            why = "; the system does so when memory runs out" if name == "SIGKILL" else ""
            return f"its process was killed by {name}{why}"
        return f"its process left with exit code {code}"

    def kill(self) -> None:
        """End it at once; what a swap has put in safety stays."""
        with suppress(OSError, ValueError):
            self._process.kill()
        self._process.join(10)
        self.connection.close()

    def close(self) -> None:
        """Let an idle worker end by itself."""
        with suppress(OSError):
            self.connection.send(None)
        self._process.join(10)
        self.kill()


def serve(connection: Connection, make_runner: MakeRunner, parent: int) -> None:
    """The worker's own main function: take tasks until None or the parent's end."""
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says what becomes of the jobs
    os.dup2(2, 1)  # the parent's stdout is for results
    configure_process()
    faulthandler.enable()
    with make_runner() as run:
        while True:
            try:
                task = connection.recv()
            except (EOFError, OSError):
                return
            if task is None:
                return

            def send(message: Message) -> None:
                with suppress(OSError):
                    connection.send(message)

            send(Progressed(task.job_id, 0, 0))  # it has begun
            send(done(task, run, send))


def done(task: Task, run: Runner, send: Callable[[Progressed], None]) -> Answer:
    """Do a task; `send` is told of its progress now and then. What is said goes to its log."""
    with _logging_to(task.log) if task.log is not None else nullcontext():
        return _done(task, run, send)


def _done(task: Task, run: Runner, send: Callable[[Progressed], None]) -> Answer:
    last = 0.0

    def report(frames: int, expected: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_SECONDS:
            last = now
            send(Progressed(task.job_id, frames, expected))

    logger.info("begin %s", task.work.to_json())
    try:
        answer = Done(task.job_id, run(task.work, report))
    except VidswapError as error:
        logger.error("%s: %s", type(error).__name__, error, exc_info=error)
        return failure(task.job_id, error)
    except MemoryError as error:
        logger.error("out of memory", exc_info=error)
        return failure(task.job_id, OutOfMemoryError("not enough memory; give a job more of it"))
    except Exception as error:  # a fault of ours: the next job is none the worse for it
        logger.error("%s: %s", type(error).__name__, error, exc_info=error)
        words = " ".join(f"{type(error).__name__}: {error}".split())
        return Failed(task.job_id, 1, type(error).__name__, words, True)
    logger.info("done")
    return answer


def failure(job_id: str, error: VidswapError) -> Failed:
    """The answer that an error is."""
    words = " ".join(str(error).split())
    return Failed(job_id, error.exit_code, type(error).__name__, words, error.worth_a_retry)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """The package's log, from level info on, and all that is written to stderr."""
    with open_private(path, "ab") as file:
        before = os.dup(2)
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_LOG_FORMAT))
        package = logging.getLogger("vidswap")
        package.setLevel(logging.INFO)
        package.propagate = False
        package.addHandler(handler)
        try:
            yield
        finally:
            package.removeHandler(handler)
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)


def _end_with(parent: int) -> None:
    """End this process when its parent ends, also when that is killed."""
    with suppress(OSError, AttributeError, TypeError):  # Linux alone does it at once
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    end_with(parent)
