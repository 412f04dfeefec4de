"""A run on the page outlives its server: started again, the page goes on, and measures it."""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from tests.report.browser import CHROMIUM, Browser
from tests.web.page import FRAMES, SEGMENT, Ui, begin, choose, fill, frames_done, is_shown, text
from vidswap.media.probing import probe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


def test_a_run_outlives_the_server_and_the_page(
    tmp_path: Path, source_picture: Path, untrained: Path
) -> None:
    fill(tmp_path, source_picture, untrained)
    ui = Ui(tmp_path)
    with Browser() as browser:
        browser.open(ui.address, width=1280, height=900)
        browser.wait_for("document.querySelector('#own-jobs p')")
        choose(browser, "target", "shots", "hopper.mp4")
        browser.wait_for("document.getElementById('before').naturalWidth === 320")
        choose(browser, "checkpoint", "untrained")
        browser.drop([tmp_path / "astronaut.png"], "#source-drop")
        begin(browser)
        browser.wait_for(f"({frames_done()}) > {2 * SEGMENT} || {is_shown('error')}", 120)
        ui.end(signal.SIGKILL)
        ui = Ui(tmp_path)
        browser.open(ui.address, width=1280, height=900)
        browser.wait_for("document.getElementById('own-jobs').textContent.includes('interrupted')")
        browser.value("document.querySelector('#own-jobs td .link').click()")
        browser.wait_for(f"{is_shown('outcome')} || {is_shown('error')}", 120)
        assert not browser.value(is_shown("error")), text(browser, "error")
        assert f"{FRAMES} frames" in text(browser, "outcome-said")
        assert "kept from the run before" in text(browser, "outcome-said")
        check_report(browser)
    assert probe(tmp_path / "shots" / "hopper-swapped.mp4").frames == FRAMES
    ui.end()


def check_report(browser: Browser) -> None:
    """It is measured in place, can be stopped meanwhile, and is shown."""
    browser.value("document.getElementById('report-button').click()")
    measuring = (
        "/Measuring the result: frame [1-9]/.test(document.getElementById('said').textContent)"
    )
    browser.wait_for(f"{measuring} || {is_shown('report-box')}", 120)
    if not browser.value(is_shown("report-box")):
        browser.value("document.getElementById('stop').click()")
        browser.wait_for(f"{is_shown('error')} || {is_shown('report-box')}")
    if not browser.value(is_shown("report-box")):
        assert "cancelled" in text(browser, "error").lower()
        browser.value("document.getElementById('report-button').click()")
    browser.wait_for(is_shown("report-box"), 120)
    address = browser.value("document.getElementById('report').src")
    with urllib.request.urlopen(address) as answer:
        assert b"hopper-swapped.mp4" in answer.read()
