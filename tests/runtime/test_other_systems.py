"""What macOS and Windows lack is not needed to import vidswap, nor to say how it is used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidswap import doctor
from vidswap.runtime import private

REPOSITORY = Path(__file__).resolve().parents[2]


def hidden(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.runtime.hidden_posix", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_every_module_can_be_imported_without_what_other_systems_lack() -> None:
    done = hidden()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_help_needs_nothing_that_other_systems_lack() -> None:
    done = hidden("--help")
    assert done.returncode == 0 and done.stdout.startswith("Usage: vidswap ")


def test_the_check_sees_what_a_module_needs(tmp_path: Path) -> None:
    """The modules are really gone: the check would tell of one that needs them."""
    code = (
        "from tests.runtime.hidden_posix import hide; hide()\n"
        "import os\n"
        "for name in ('fcntl', 'resource', 'pwd', 'termios'):\n"
        "    try: __import__(name)\n"
        "    except ImportError: print(name)\n"
        "print(hasattr(os, 'getuid'), hasattr(os, 'sched_getaffinity'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.split() == ["fcntl", "resource", "pwd", "termios", "False", "False"]


def test_a_system_without_locks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(private, "fcntl", None)
    monkeypatch.setattr(private, "HAS_LOCKS", False)
    with (tmp_path / "lock").open("ab") as first, (tmp_path / "lock").open("ab") as second:
        assert private.lock(first) and private.lock(second)
    (finding,) = doctor.check_locks()
    assert finding.state == "note" and finding.found.startswith("none") and finding.fix


# A parent that starts a child, tells its number and is killed.
PARENT = """
import multiprocessing, os, time
from vidswap.runtime.orphans import end_with
def child(parent, told):
    end_with(parent); told.send(os.getpid()); time.sleep(60)
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=child, args=(os.getpid(), theirs)).start()
    print(ours.recv(), flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="looks for the process by signal 0")
def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    child, late = int(done.stdout), time.monotonic() + 10
    while is_alive(child):
        assert time.monotonic() < late
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    """Whether it runs: one that nobody has waited for is not alive."""
    try:
        return "(zombie)" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False
