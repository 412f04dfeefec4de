"""What a process sets up at its start, in one place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vidswap.runtime.process import raising_on_interrupt

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGURE = "from vidswap.runtime.process import configure_process as c; "


def printed(code: str, **environment: str) -> str:
    cleared = {
        k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "OPENCV_", "NUMBA_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", CONFIGURE + code], cwd=REPOSITORY, capture_output=True, text=True,
        check=True, env=cleared | environment,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("code", ["c(); import cv2", "import cv2; c()"])
def test_opencv_works_in_one_thread_whether_imported_before_or_after(code: str) -> None:
    assert printed(f"{code}; print(cv2.getNumThreads())") == "1"


def test_what_the_user_has_set_stays() -> None:
    code = "c(); import os; print(os.environ['OMP_WAIT_POLICY'], os.environ['NUMBA_NUM_THREADS'])"
    assert printed(code, OMP_NUM_THREADS="2") == "PASSIVE 2"
    assert printed(code, OMP_WAIT_POLICY="ACTIVE", NUMBA_NUM_THREADS="3") == "ACTIVE 3"


def test_no_other_module_sets_variables_or_threads_at_its_import() -> None:
    for folder in ("vidswap", "pipelines"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            if path.name != "process.py":
                text = path.read_text(encoding="utf-8")
                assert "environ.setdefault" not in text and "setNumThreads" not in text, path


def test_an_interrupt_amid_an_import_is_raised_once_the_import_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "interrupted_module.py").write_text(
        "import signal, time\n"
        "signal.raise_signal(signal.SIGINT)\n"
        "time.sleep(0.2)\n"
        "complete = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt), raising_on_interrupt():
        import interrupted_module  # type: ignore[import-not-found]

        signal.pause()  # until the interrupt comes again
    assert interrupted_module.complete


def test_the_handler_of_before_is_put_back_and_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with raising_on_interrupt():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
    try:
        with raising_on_interrupt():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
