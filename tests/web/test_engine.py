"""The processes that the server works with: what they keep, how they fail, how they end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.web.engine_commands import commands
from vidswap.errors import (
    BadOptionError,
    JobCancelledError,
    OutputExistsError,
    VidswapError,
    WorkerKilledError,
)
from vidswap.web import engine as engine_module
from vidswap.web.engine import Engine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine("test", commands)
    yield made
    made.close()


def test_it_is_a_process_of_its_own_that_keeps_what_it_has(engine: Engine) -> None:
    first, _ = engine.call("keep", "nets")
    second, kept = engine.call("keep", "more")
    assert first == second != os.getpid()
    assert kept == ["nets", "more"]


def test_an_error_arrives_as_what_it_was_in_one_line(engine: Engine) -> None:
    with pytest.raises(OutputExistsError) as caught:
        engine.call("refuse")
    assert str(caught.value) == "a.mp4 exists; name another" and caught.value.exit_code == 7
    with pytest.raises(BadOptionError, match="/etc is outside"):  # the nearest that all know
        engine.call("outside")


def test_a_fault_of_ours_ends_neither_process(engine: Engine) -> None:
    pid, _ = engine.call("keep", 0)
    with pytest.raises(VidswapError, match="a fault of vidswap's own: ZeroDivisionError: a slip"):
        engine.call("fault")
    assert engine.call("keep", 0)[0] == pid


def test_a_command_that_is_cancelled_ends_and_leaves_the_process_as_it_was(engine: Engine) -> None:
    pid, _ = engine.call("keep", 0)

    def listen(said: dict[str, int]) -> None:
        if said["n"] == 3:
            engine.cancel()

    with pytest.raises(JobCancelledError, match="cancelled at"):
        engine.call("count", 10_000, listen=listen)
    assert engine.call("count", 2) == 2 and engine.call("keep", 0)[0] == pid


def test_a_cancel_that_comes_too_late_cancels_nothing_else(engine: Engine) -> None:
    engine.call("count", 1)
    engine.cancel()
    time.sleep(0.1)
    assert engine.call("count", 3) == 3


@pytest.mark.parametrize(
    ("command", "words"), [("die", "killed by SIGKILL; .* memory"), ("leave", "exit code 3")]
)
def test_the_server_outlives_the_death_of_a_process(
    engine: Engine, command: str, words: str
) -> None:
    pid, _ = engine.call("keep", 0)
    with pytest.raises(WorkerKilledError, match=words):
        engine.call(command)
    assert engine.call("keep", "anew")[0] != pid


def test_what_does_not_end_when_cancelled_is_ended(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CANCEL_SECONDS", 0.2)
    engine.call("keep", 0)
    threading.Timer(0.2, engine.cancel).start()
    with pytest.raises(JobCancelledError):
        engine.call("hang")


def test_closing_ends_the_process_and_the_command_it_is_at() -> None:
    engine = Engine("test", commands)
    pid, _ = engine.call("keep", 0)
    threading.Timer(0.2, engine.close).start()
    with pytest.raises(JobCancelledError, match="closed"):
        engine.call("hang")
    assert not psutil.pid_exists(pid)
    with pytest.raises(JobCancelledError):
        engine.call("keep", 0)


def test_it_ends_when_the_server_is_killed() -> None:
    code = (
        "from tests.web.engine_commands import commands\n"
        "from vidswap.web.engine import Engine\n"
        "if __name__ == '__main__':\n"
        "    engine = Engine('test', commands)\n"
        "    print(engine.call('keep', 0)[0], flush=True)\n"
        "    engine.call('hang')\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    server.kill()
    server.wait()
    end = time.monotonic() + 15
    while psutil.pid_exists(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not psutil.pid_exists(pid)
