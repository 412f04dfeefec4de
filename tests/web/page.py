"""`vidswap ui` in a process of its own, and what a user does on its page."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.media.clips import make_clip
from tests.photographs import grace_hopper
from tests.report.browser import Browser
from tests.swap_fixtures import moved

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 60
SEGMENT = 5
EVIL = "<img src=x onerror=document.title='evil'>.jpg"


class Ui:
    """`vidswap ui` in a process of its own, with short segments."""

    def __init__(self, home: Path) -> None:
        code = (
            "import sys; from pathlib import Path\n"
            "from vidswap.web.options import UiOptions\n"
            "from vidswap.web.server import serve\n"
            "if __name__ == '__main__':\n"
            "    home = Path(sys.argv[1])\n"
            f"    options = UiOptions(work_folder=home / 'work', segment_frames={SEGMENT})\n"
            "    serve(None, [home / 'shots'], options, lambda text: print(text, flush=True))\n"
        )
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:")

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(how)
        self.process.wait(30)


def fill(folder: Path, source_picture: Path, untrained: Path) -> None:
    """Lay out what a user has: shots that the page may use, and files to be dropped on it."""
    shots = folder / "shots"
    shots.mkdir()
    photo = grace_hopper()
    make_clip(
        shots / "hopper.mp4", size=(320, 240), frames=FRAMES, options={"crf": "12"},
        picture=lambda index, width, height: moved(photo, index // 4, width, height),
    )  # fmt: skip
    make_clip(shots / "faceless.mp4", frames=4)
    (shots / "untrained.safetensors").write_bytes(untrained.read_bytes())
    (folder / "astronaut.png").write_bytes(source_picture.read_bytes())
    (folder / EVIL).write_bytes(b"no picture")


def text(browser: Browser, name: str) -> str:
    value: str = browser.value(f"document.getElementById({name!r}).textContent.trim()")
    return value


def is_shown(name: str) -> str:
    return f"document.getElementById({name!r})?.getClientRects().length > 0"


def choose(browser: Browser, what: str, *names: str) -> None:
    """By the dialog, with the mouse."""
    browser.value(f"document.querySelector('[data-choose={what}]').click()")
    for name in names:
        found = (
            "[...document.querySelectorAll('#files-list button')]"
            f".find((b) => b.textContent.includes({name!r}))"
        )
        browser.wait_for(found)
        browser.value(f"{found}.click()")


def set_value(browser: Browser, field: str, value: object) -> None:
    browser.value(
        f"(() => {{ const e = document.getElementById({field!r}); e.value = {value!r};"
        "e.dispatchEvent(new Event('input', {bubbles: true}));"
        "e.dispatchEvent(new Event('change', {bubbles: true})); return 1 })()"
    )


def looks(browser: Browser) -> str:
    found: str = browser.value("document.getElementById('stage').dataset.shown || ''")
    return found


def wait_for_look(browser: Browser, after: str) -> None:
    now = "(document.getElementById('stage').dataset.shown || '')"
    browser.wait_for(f"{now} !== {after!r} || {is_shown('error')}", 120)
    assert not browser.value(is_shown("error")), text(browser, "error")


def frames_done() -> str:
    said = "document.getElementById('progress-said').textContent"
    return f"Number(({said}.match(/(\\d+) of {FRAMES} frames/) || [0, 0])[1])"


def begin(browser: Browser) -> None:
    browser.wait_for("!document.getElementById('run').disabled")
    browser.click("#run")
    browser.wait_for(f"({frames_done()}) > 0 || {is_shown('error')}", 120)
    assert not browser.value(is_shown("error")), text(browser, "error")
