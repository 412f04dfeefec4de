"""What a process sets up at its start, in one place."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vidswap.runtime.process import _is_writable, raising_on_interrupt

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


@pytest.mark.parametrize(
    ("code", "policy"),
    [
        ("vidswap.SwapOptions", "PASSIVE"),
        ("os.environ['OMP_WAIT_POLICY'] = 'ACTIVE'; vidswap.SwapOptions", "ACTIVE"),
        ("sys.modules['torch'] = None; vidswap.SwapOptions", "None"),  # imported before
        ("vidswap.__version__", "None"),
    ],
)
def test_what_is_imported_from_python_does_not_spin_either(code: str, policy: str) -> None:
    code = f"import os, sys, vidswap; {code}; print(os.environ.get('OMP_WAIT_POLICY'))"
    assert printed(code) == policy


def test_imports_are_not_searched_for_garbage_and_collection_goes_on() -> None:
    code = (
        "import gc; from vidswap.runtime.process import collection_put_off as off\n"
        "with off(): print(gc.isenabled()); kept = [[] for _ in range(9)]\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 0, any(o is kept for o in gc.get_objects()))"
    )
    assert printed(code).split() == ["False", "True", "True", "False"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_used_again_unless_the_user_tuned_the_allocator() -> None:
    """Pages of a large buffer are mapped once, not in each of 20 rounds."""
    code = (
        "c(); import resource as r; f = lambda: r.getrusage(r.RUSAGE_SELF).ru_minflt\n"
        "bytearray(2**23); before = f()\n"
        "for _ in range(20): bytearray(2**23)[::4096] = b'1' * 2048\n"
        "print(f() - before)"
    )
    pages = 2**23 // 4096
    assert int(printed(code)) < pages
    assert int(printed(code, MALLOC_MMAP_THRESHOLD_="65536")) > 10 * pages


def test_no_other_module_sets_variables_or_threads_at_its_import() -> None:
    setters = ("environ.setdefault", "setNumThreads")
    for path in (REPOSITORY / "vidswap").rglob("*.py"):
        if path.name != "process.py":
            assert not any(name in path.read_text(encoding="utf-8") for name in setters), path
    for path in (REPOSITORY / "pipelines").rglob("*.py"):  # a benchmark may, when it is called
        lines = [s for s in path.read_text(encoding="utf-8").splitlines() if s[:1].strip()]
        assert not any(name in line for name in setters for line in lines), path


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


# As root may write everywhere, numba is told that beside the module it may not.
READ_ONLY = """
import tempfile
making = tempfile.TemporaryFile
def refuse(*args, **options):
    if str(options.get("dir", "")).endswith("__pycache__"): raise PermissionError(13, "denied")
    return making(*args, **options)
tempfile.TemporaryFile = refuse
"""
KERNELS = """
import numpy as np
from vidswap.models import norm_kernels
norm_kernels.channel_sums(np.ones((1, 16, 4), np.float32))
print(norm_kernels.cache_folder())
"""
NO_HOME = "/proc/none"  # can be made by nobody


def test_where_nothing_can_be_written_the_kernels_work_without_a_cache() -> None:
    assert printed(f"0{READ_ONLY}{KERNELS}", HOME=NO_HOME, XDG_CACHE_HOME=NO_HOME) == "None"


def test_without_a_home_the_kernels_are_kept_in_a_private_temporary_folder(tmp_path: Path) -> None:
    none = "import vidswap.runtime.process as process; process._is_writable = lambda folder: False"
    code = f"0{READ_ONLY}{none}\nc()\n{KERNELS}"
    found = printed(code, HOME=NO_HOME, XDG_CACHE_HOME=NO_HOME, TMPDIR=str(tmp_path))
    (made,) = tmp_path.iterdir()
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert found.startswith(str(made)) and any(made.rglob("*.nbi"))


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_none_for_the_cache(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert not _is_writable(tmp_path / "a" / "b")


def test_a_folder_that_cannot_be_made_is_none_for_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert _is_writable(tmp_path / "a" / "b")
    assert not _is_writable(tmp_path / "file" / "b") and not _is_writable(Path("~/.cache/numba"))


def test_a_temporary_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    """What lies in it would be run."""
    folder = tmp_path / f"vidswap-numba-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    code = (
        "import vidswap.runtime.process as p, tempfile; "
        f"tempfile.tempdir = {str(tmp_path)!r}; p._is_writable = lambda folder: False; "
        "p._give_numba_a_cache(); import os; print('NUMBA_CACHE_DIR' in os.environ)"
    )
    assert printed(code) == "False"
    folder.chmod(0o700)
    assert printed(code) == "True"


def test_a_swap_begins_without_what_only_several_faces_need() -> None:
    """Half a second of scipy; numba itself asks for its version alone."""
    code = "c(); import sys, vidswap.swap.worker; print([f'scipy.{n}' in sys.modules for n in "
    assert printed(f"{code}('optimize', 'cluster', 'linalg')])") == str([False] * 3)
