"""The page of a report in a real browser: light and dark, wide and narrow, printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import CHROMIUM, Browser
from tests.report.examples import TIMES, WORST_AT, example
from vidswap.report.page import write_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    name = "a_very_long_name_without_any_place_to_break_it_" * 3 + ".mp4"
    write_page(example(swapped=name), path)
    return path


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 768, 1400])
def test_it_fits_every_width_without_complaint(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    browser.open(page, width=width, height=800, dark=dark)
    assert browser.value("document.scrollingElement.scrollWidth") <= width
    assert browser.complaints == []
    asked = [address for address in browser.requests if not address.startswith("data:")]
    assert asked == [page.resolve().as_uri()]
    assert browser.value("[...document.images].every((i) => i.naturalWidth > 0)")


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance of rgb(...)."""
    channels = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_lines_stand_out_from_the_page(browser: Browser, page: Path, dark: bool) -> None:
    browser.open(page, dark=dark)
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (luminance(ground) < 0.1) is dark
    for kind in ("body", "p.quiet", "a[href='#warnings']", ".broken .mark", ".kept .mark"):
        colour = browser.value(f"getComputedStyle(document.querySelector({kind!r})).color")
        assert contrast(colour, ground) >= 4.5, kind
    for kind in (".curve.swap", ".curve.target", "svg .limit"):
        colour = browser.value(f"getComputedStyle(document.querySelector({kind!r})).stroke")
        assert contrast(colour, ground) >= 3.0, kind


def test_pointing_at_a_curve_tells_its_value(browser: Browser, page: Path) -> None:
    browser.open(page)
    plot = "document.querySelector('[data-name=seam] .plot')"
    browser.value(f"{plot}.scrollIntoView({{block: 'center'}})")
    box = json.loads(browser.value(f"JSON.stringify({plot}.getBoundingClientRect())"))
    part = TIMES[WORST_AT] / TIMES[-1]
    browser.move_mouse(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
    read = browser.value("document.querySelector('[data-name=seam] .read').textContent")
    assert read == "swap 9.25"
    assert browser.value("document.querySelector('.now').textContent") == "at 1.24 s"
    browser.move_mouse(5, 5)
    assert "grey levels" in browser.value(
        "document.querySelector('[data-name=seam] .read').textContent"
    )


def test_it_can_be_read_without_script(browser: Browser, page: Path) -> None:
    browser.script(False)
    try:
        browser.open(page, width=360)
        text = browser.value("document.body.innerText")
    finally:
        browser.script(True)
    assert "Breaks 1 of 5 limits" in text and "worst 9.25" in text and "12,605" in text
    assert "Press a swap" not in text


def test_it_prints_with_everything_unfolded(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.value("dispatchEvent(new Event('beforeprint')), 0")
    assert browser.value("document.querySelectorAll('details:not([open])').length") == 0
    browser.value("dispatchEvent(new Event('afterprint')), 0")
    assert browser.value("document.querySelectorAll('details[open]').length") == 0
    assert browser.pdf().startswith(b"%PDF")
