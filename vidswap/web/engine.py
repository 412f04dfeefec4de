"""A process of its own that does what the server asks for, one command after another.

It is spawned, keeps nets and open files from command to command, and ends with the server. What a
damaged file or a driver does to it the server outlives.
"""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from vidswap import errors
from vidswap.errors import JobCancelledError, OutOfMemoryError, VidswapError, WorkerKilledError
from vidswap.runtime.orphans import end_with
from vidswap.runtime.process import configure_process

logger = logging.getLogger(__name__)

Listen = Callable[[dict[str, Any]], None]
Commands = dict[str, Callable[..., Any]]
MakeCommands = Callable[[Listen, Callable[[], bool]], Commands]
"""From what a command says meanwhile and whether it was cancelled to the commands by name."""

_POLL = 1.0  # seconds between two looks for the parent
CANCEL_SECONDS = 15.0  # after which a command that was cancelled is ended with its process
_CANCEL = "cancel"


class Engine:
    """The server's handle; `call` may be used by one thread at a time, others wait.

    make_commands: a function of a module, which the process imports.
    """

    def __init__(self, name: str, make_commands: MakeCommands) -> None:
        self.name, self._make_commands = name, make_commands
        self._turn, self._sending = threading.Lock(), threading.Lock()
        self._process: Any = None
        self._connection: Connection | None = None
        self._cancelled_at: float | None = None
        self._closed = False
        self.busy_with: str | None = None

    def call(self, command: str, *arguments: Any, listen: Listen | None = None) -> Any:
        """What a command returns; `listen` is told what it says meanwhile.

        Raises the VidswapError that it raises, WorkerKilledError where its process ends.
        """
        with self._turn:
            if self._closed:
                raise JobCancelledError("the server has been closed")
            self._cancelled_at = None
            self.busy_with = command
            try:
                return self._answer(command, arguments, listen or (lambda said: None))
            finally:
                self.busy_with = None

    def cancel(self) -> None:
        """Let the command that is being done end early; what it has put in safety stays."""
        self._cancelled_at = time.monotonic()
        with self._sending, suppress(OSError, AttributeError):
            if self._connection is not None:
                self._connection.send(_CANCEL)

    @property
    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End the process at once, also amid a command."""
        self._closed = True
        process = self._process
        if process is not None:
            with suppress(OSError, ValueError):
                process.kill()
        with self._turn:  # the command that it was at finds its end
            self._kill()

    def _answer(self, command: str, arguments: tuple[Any, ...], listen: Listen) -> Any:
        connection = self._started()
        try:
            with self._sending:
                connection.send((command, arguments))
            while True:
                wait([connection, self._process.sentinel], _POLL)
                while connection.poll():
                    kind, said = connection.recv()
                    if kind == "said":
                        listen(said)
                    elif kind == "done":
                        return said
                    else:
                        raise error_of(**said)
                self._check_end(connection)
        except (EOFError, OSError) as error:
            raise self._ended() from error

    def _check_end(self, connection: Connection) -> None:
        late = self._cancelled_at and time.monotonic() - self._cancelled_at > CANCEL_SECONDS
        if late:
            self._kill()
            raise JobCancelledError("cancelled; what was in safety is kept")
        if not self._process.is_alive() and not connection.poll():
            raise self._ended()

    def _ended(self) -> VidswapError:
        process = self._process
        self._kill()
        if self._closed:
            return JobCancelledError("the server has been closed")
        code = process.exitcode if process is not None else None
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            why = "; the system does so when memory runs out" if name == "SIGKILL" else ""
            return WorkerKilledError(f"the {self.name} process was killed by {name}{why}")
        return WorkerKilledError(f"the {self.name} process left with exit code {code}; try again")

    def _started(self) -> Connection:
        if self._process is not None and self._process.is_alive() and self._connection:
            return self._connection
        self._kill()
        context = multiprocessing.get_context("spawn")
        connection, theirs = context.Pipe()
        self._connection = connection
        self._process = context.Process(
            target=serve, args=(theirs, self._make_commands, os.getpid()), daemon=True
        )
        self._process.start()
        theirs.close()
        return connection

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(OSError, ValueError):
                self._process.kill()
            self._process.join(10)
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def error_of(kind: str, message: str) -> VidswapError:
    """The error that a process told of."""
    found = getattr(errors, kind, None)
    is_ours = isinstance(found, type) and issubclass(found, VidswapError)
    return found(message) if is_ours and found is not None else VidswapError(message)


def serve(connection: Connection, make_commands: MakeCommands, parent: int) -> None:
    """The process's own main function: take commands until the parent's end."""
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server says when it is over
    os.dup2(2, 1)
    configure_process()
    faulthandler.enable()

    def say(said: dict[str, Any]) -> None:
        connection.send(("said", said))

    def is_cancelled() -> bool:
        """While a command is done nothing else is sent than that it be cancelled."""
        return connection.poll() and connection.recv() == _CANCEL

    commands = make_commands(say, is_cancelled)
    while True:
        try:
            given = connection.recv()
        except (EOFError, OSError):
            return
        if given == _CANCEL:  # it came when the command was done
            continue
        name, arguments = given
        with suppress(OSError):
            connection.send(_done(commands[name], arguments))


def _done(command: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "done", command(*arguments)
    except VidswapError as error:
        kind = next(
            k.__name__ for k in type(error).__mro__ if getattr(errors, k.__name__, None) is k
        )
        return "failed", {"kind": kind, "message": " ".join(str(error).split())}
    except MemoryError:
        name = OutOfMemoryError.__name__
        return "failed", {"kind": name, "message": "not enough memory; close other programs"}
    except Exception as error:  # a fault of ours: the next command is none the worse for it
        logger.error("%s: %s", type(error).__name__, error, exc_info=error)
        words = " ".join(f"{type(error).__name__}: {error}".split())
        return "failed", {"kind": "VidswapError", "message": f"a fault of vidswap's own: {words}"}
