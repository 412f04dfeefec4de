"""Log, progress lines, error codes, Ctrl-C, and names that the console cannot print."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from vidswap.commands import progress
from vidswap.commands.main import main
from vidswap.commands.progress import ProgressLines
from vidswap.errors import VidswapError

REPOSITORY = Path(__file__).resolve().parents[2]
VIDSWAP = (sys.executable, "-m", "vidswap")


def program(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*VIDSWAP, *map(str, arguments)], cwd=REPOSITORY, capture_output=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("before", [True, False])
def test_debug_shows_the_traceback_and_keeps_the_exit_code(before: bool) -> None:
    arguments = ["run", "absent.jpg", "b.mp4", "-o", "c.mp4"]
    arguments = ["--debug", *arguments] if before else [*arguments, "--debug"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 3
    assert "Traceback" in result.stderr and "InputNotFoundError" in result.stderr
    assert result.stderr.splitlines()[-1] == "vidswap: absent.jpg: no such file"


def test_without_debug_an_error_is_one_line() -> None:
    result = CliRunner().invoke(main, ["run", "absent.jpg", "b.mp4", "-o", "c.mp4"])
    assert result.exit_code == 3
    assert result.stderr == "vidswap: absent.jpg: no such file\n"


def test_a_log_file_tells_what_was_used_and_the_error_with_its_traceback(tmp_path: Path) -> None:
    log = tmp_path / "vidswap.log"
    for _ in range(2):
        CliRunner().invoke(main, ["--log-file", str(log), "run", "absent.jpg", "b", "-o", "c.mp4"])
    text = log.read_text(encoding="utf-8")
    assert text.count("InputNotFoundError: absent.jpg: no such file") == 4  # appended: both runs
    assert text.count("Traceback") == 2 and text.count(" INFO vidswap") >= 2


def test_a_log_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    absent = tmp_path / "absent" / "vidswap.log"
    result = CliRunner().invoke(main, ["info", "a.mp4", "--log-file", str(absent)])
    assert result.exit_code == 8 and f"--log-file {absent}" in result.stderr


def test_a_run_logs_its_nets_its_sources_its_memory_and_its_codecs(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    log = tmp_path / "vidswap.log"
    arguments = [
        "run", str(source_picture), str(target_clip), "-o", str(tmp_path / "out.mp4"),
        "--checkpoint", str(untrained), "--quiet", "--log-file", str(log), "--device", "cpu",
    ]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0 and result.output == ""
    text = log.read_text(encoding="utf-8")
    for words in (
        rf"generator .*{untrained.name} .* on cpu in (bfloat16|float32)",
        "face detector blazeface",
        f"source frames used: {source_picture.name}",
        r"memory plan: queues of 4, batches of 4, about \d+ MiB",
        "h264 decoded by the software decoder",
        r"out.mp4: encoder libx264",
        r"segment 1 finished: \d+ frames",
    ):
        assert re.search(words, text), words
    loggers = re.findall(r"^\d{4}-\S+ \S+ [A-Z]+ (\w+)", text, flags=re.MULTILINE)
    assert len(loggers) > 7 and set(loggers) == {"vidswap"}


def test_verbose_logs_to_stderr_and_not_to_stdout(target_clip: Path) -> None:
    quiet = CliRunner().invoke(main, ["info", str(target_clip)])
    verbose = CliRunner().invoke(main, ["-v", "info", str(target_clip)])
    assert quiet.stderr == ""
    assert verbose.stdout == quiet.stdout
    assert all(line.startswith("vidswap: ") for line in verbose.stderr.splitlines())
    assert "version" in verbose.stderr


def test_the_log_of_one_command_does_not_go_on_in_the_next(target_clip: Path) -> None:
    CliRunner().invoke(main, ["-vv", "info", str(target_clip)])
    assert CliRunner().invoke(main, ["info", str(target_clip)]).stderr == ""


def test_every_error_has_an_exit_code_of_its_own() -> None:
    codes = [error.exit_code for error in VidswapError.__subclasses__()]
    assert len(codes) == len(set(codes)) and not {0, 1, 130} & set(codes)


def test_a_progress_line_comes_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    lines = ProgressLines(300, initial=60, unit="frame")
    for _ in range(45):  # 45 s, two frames a second
        now[0] += 1.0
        lines.update(2)
    assert capsys.readouterr().err.splitlines() == [
        "vidswap: 80 / 300 frames, 2.0 frames/s, 0:01:50 left",
        "vidswap: 100 / 300 frames, 2.0 frames/s, 0:01:40 left",
        "vidswap: 120 / 300 frames, 2.0 frames/s, 0:01:30 left",
        "vidswap: 140 / 300 frames, 2.0 frames/s, 0:01:20 left",
    ]


def test_quiet_prints_no_progress_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    for silent in (True, False):
        with progress.ReportBar(None, silent) as bar:
            for done in range(3):
                bar.show(done, 3)
        assert bool(capsys.readouterr().err) is not silent


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("latin-1", b"\\u6f22\xfc\\udcff.png"),
        ("utf-8", "漢ü".encode() + b"\\udcff.png"),
    ],
)
def test_what_the_console_cannot_print_is_escaped(encoding: str, printed: bytes) -> None:
    code = (
        "import sys; from vidswap.runtime.process import configure_process; configure_process(); "
        "import click; click.echo(sys.argv[1]); click.echo(sys.argv[1], err=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, os.fsdecode("漢ü".encode() + b"\xff.png")], check=True,
        capture_output=True, cwd=REPOSITORY, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.stdout.strip() == done.stderr.strip() == printed


def test_a_file_whose_name_the_console_cannot_print_is_described(
    source_picture: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "漢字.png"
    picture.write_bytes(source_picture.read_bytes())
    done = program("info", picture, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert b"\\u6f22\\u5b57.png" in done.stdout and done.stderr == b""


def test_an_error_about_such_a_name_is_one_line() -> None:
    done = program("run", "--settings", "漢字.toml", PYTHONIOENCODING="latin-1")
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith(b"vidswap: \\u6f22\\u5b57.toml: ")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc")
@pytest.mark.parametrize("library", ["_ctypes", "libtorch", "libllvmlite"])
def test_ctrl_c_while_modules_are_imported_is_one_line(
    library: str, source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    arguments = (source_picture, target_clip, "-o", tmp_path / "out.mp4", "--checkpoint", untrained)
    job = subprocess.Popen(
        [*VIDSWAP, "run", *map(str, arguments)], cwd=REPOSITORY, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    maps = Path(f"/proc/{job.pid}/maps")
    while job.poll() is None and library not in maps.read_text():
        time.sleep(0.001)
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 130, errors
    (line,) = errors.decode().splitlines()
    assert line == "vidswap: interrupted; nothing was written"
    assert not list(tmp_path.iterdir())


def test_libraries_are_quiet_and_their_handlers_repeat_nothing(
    target_clip: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, foreign = logging.getLogger(), logging.StreamHandler(sys.__stderr__)
    root.addHandler(foreign)  # as some libraries do once they are loaded
    try:
        result = CliRunner().invoke(main, ["-v", "info", str(target_clip)])
    finally:
        root.removeHandler(foreign)
    assert "version" in result.stderr and capfd.readouterr().err == ""
    for name in ("matplotlib", "PIL.PngImagePlugin", "numba.core", "torch"):
        assert not logging.getLogger(name).isEnabledFor(logging.WARNING)
