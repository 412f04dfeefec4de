from __future__ import annotations

import subprocess
from typing import Any

import pytest

from pipelines import headless_opencv
from vidswap.errors import MissingLibraryError

LACKS_GL = "OpenCV needs the system library libGL.so.1, which is not installed; apt-get install x"


def test_nothing_is_installed_where_opencv_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("installs something"))
    assert headless_opencv.complaint() == ""


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [("", ""), (f"Traceback\nvidswap.errors.MissingLibraryError: {LACKS_GL}\n", LACKS_GL)],
)
def test_without_libgl_the_headless_build_of_the_same_version_is_installed_and_tried(
    monkeypatch: pytest.MonkeyPatch, stderr: str, expected: str
) -> None:
    commands = []

    def lacks() -> None:
        raise MissingLibraryError(LACKS_GL)

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, int(bool(stderr)), "", stderr)

    monkeypatch.setattr(headless_opencv, "check_system_libraries", lacks)
    monkeypatch.setattr(headless_opencv, "headless_requirement", lambda: "headless==4.14")
    monkeypatch.setattr(subprocess, "run", run)
    assert headless_opencv.complaint() == expected
    install, tried = commands
    assert install[1:4] == ["-m", "pip", "install"]
    assert install[-3:] == ["--force-reinstall", "--no-deps", "headless==4.14"]
    assert "check_system_libraries" in tried[-1]
