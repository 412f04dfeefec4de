"""The page in a real Chromium, against the real server: all of what a user does, in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from tests.report.browser import CHROMIUM, Browser
from tests.report.test_page_in_browser import contrast
from tests.web.page import (
    EVIL,
    FRAMES,
    Ui,
    begin,
    choose,
    fill,
    is_shown,
    looks,
    set_value,
    text,
    wait_for_look,
)
from vidswap.media.probing import probe

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, source_picture: Path, untrained: Path) -> Path:
    folder = tmp_path_factory.mktemp("ui")
    fill(folder, source_picture, untrained)
    return folder


@pytest.fixture(scope="module")
def ui(home: Path) -> Iterator[Ui]:
    running = Ui(home)
    yield running
    if running.process.poll() is None:
        running.end()


# One test after another, as a user goes on; each needs those before it.


def test_a_target_is_chosen_and_its_frames_are_scrubbed(browser: Browser, ui: Ui) -> None:
    browser.open(ui.address, width=1280, height=900)
    browser.wait_for("document.querySelector('#own-jobs p')")
    assert browser.value("document.getElementById('run').disabled")
    choose(browser, "target", "shots", "hopper.mp4")
    browser.wait_for("document.getElementById('before').naturalWidth === 320")
    assert text(browser, "where") == f"frame {FRAMES // 2 + 1} of {FRAMES}, 1.20 s"
    assert "hopper.mp4, 320 \N{MULTIPLICATION SIGN} 240, 60 frames, 2.40 s" in text(
        browser, "target-said"
    )
    first = browser.value("document.getElementById('before').src")
    set_value(browser, "scrub", 4)
    browser.wait_for("document.getElementById('before').src.includes('n=4&quick=1')")
    browser.wait_for("document.getElementById('before').src.endsWith('n=4')")  # all its pixels
    assert first != browser.value("document.getElementById('before').src")
    assert text(browser, "where").startswith(f"frame 5 of {FRAMES}")
    browser.click("#next")
    browser.wait_for("document.getElementById('before').src.endsWith('n=5')")


def test_what_is_no_picture_is_named_in_a_sentence(browser: Browser, home: Path) -> None:
    browser.drop([home / EVIL], "#source-drop")
    browser.wait_for(is_shown("error"))
    words = text(browser, "error")
    assert "no decoder here reads" in words and words.endswith(".")
    assert "/" not in words  # where the page keeps a dropped file is nothing to its user
    browser.click("#sources button")
    browser.wait_for("document.querySelectorAll('#sources li').length === 0")


def test_a_name_is_text_and_never_markup(browser: Browser, home: Path) -> None:
    (home / "shots" / EVIL).write_bytes(b"no picture")
    choose(browser, "source", EVIL[:20])
    browser.wait_for(is_shown("error"))
    assert text(browser, "sources").startswith(EVIL)
    assert browser.value("document.title") == "vidswap"
    assert browser.value("document.querySelectorAll('[onerror]').length") == 0
    browser.click("#sources button")
    browser.wait_for("document.querySelectorAll('#sources li').length === 0")


def test_a_source_is_dropped_and_the_frame_is_swapped(browser: Browser, home: Path) -> None:
    choose(browser, "checkpoint", "untrained")
    before = looks(browser)
    browser.drop([home / "astronaut.png"], "#source-drop")
    wait_for_look(browser, before)
    assert text(browser, "said").startswith("1 face swapped in")
    assert browser.value("document.getElementById('after').naturalWidth") == 320
    command = text(browser, "command")
    assert re.fullmatch(
        r"vidswap run \S+/astronaut\.png \S+/hopper\.mp4 -o \S+/hopper-swapped\.mp4 "
        r"--checkpoint \S+/untrained\.safetensors", command,
    )  # fmt: skip


def test_before_and_after_are_compared_with_the_slider(browser: Browser) -> None:
    set_value(browser, "split", 25)
    clip = browser.value("document.getElementById('after').style.clipPath")
    assert clip == "inset(0px 0px 0px 25%)"
    box = json.loads(
        browser.value("JSON.stringify(document.getElementById('canvas').getBoundingClientRect())")
    )
    middle = box["y"] + box["height"] / 2
    start = (box["x"] + 0.25 * box["width"], middle)
    browser.drag(start, (box["x"] + 0.75 * box["width"], middle))
    assert browser.value("Number(document.getElementById('split').value)") == pytest.approx(
        75, abs=1
    )


def test_layers_lie_over_the_picture_and_it_is_enlarged_to_its_pixels(browser: Browser) -> None:
    for name in ("mask", "boundary map", "landmarks", "reference"):
        browser.value(f"document.querySelector(\"#layers input[value='{name}']\").click()")
        image = f"document.getElementById('layer-{name.replace(' ', '-')}')"
        browser.wait_for(f"!{image}.hidden && {image}.naturalWidth === 320")
        browser.value(f"document.querySelector(\"#layers input[value='{name}']\").click()")
        browser.wait_for(f"{image}.hidden")
    browser.value("document.querySelector('[name=zoom][value=\"4\"]').click()")
    assert browser.value("document.getElementById('before').getBoundingClientRect().width") == 1280
    assert browser.value("getComputedStyle(document.getElementById('before')).imageRendering") == (
        "pixelated"
    )
    browser.value("document.querySelector('[name=zoom][value=fit]').click()")


def test_a_setting_shows_what_it_changes_and_its_flag(browser: Browser) -> None:
    before = looks(browser)
    set_value(browser, "f-colour_match", 0.2)
    wait_for_look(browser, before)
    browser.wait_for("document.getElementById('said').textContent.startsWith('Colour match')")
    said = text(browser, "said")
    assert re.match(r"Colour match: 0.7 → 0.2: [\d,]+ pixels change, by [\d.]+ of 255 on", said)
    browser.wait_for(
        "document.getElementById('command').textContent.includes('--colour-match 0.2')"
    )
    browser.value("document.querySelector('#layers input[value=change]').click()")
    assert browser.value(is_shown("layer-change"))
    browser.value("document.querySelector('#layers input[value=change]').click()")
    before = looks(browser)
    set_value(browser, "f-crf", 40)
    wait_for_look(browser, before)
    browser.wait_for("document.getElementById('said').textContent.includes('As a key frame')")
    browser.value("document.querySelector('[data-name=crf] .reset').click()")
    browser.value("document.querySelector('[data-name=colour_match] .reset').click()")
    browser.wait_for("!document.getElementById('command').textContent.includes('--c' + 'olour')")


def test_a_setting_that_is_not_allowed_is_a_sentence(browser: Browser) -> None:
    set_value(browser, "f-crf", -3)
    browser.wait_for("document.getElementById('error').textContent.includes('0 or more')")
    set_value(browser, "output", "/etc/swapped.mp4")
    set_value(browser, "f-crf", "")
    browser.wait_for("document.getElementById('error').textContent.includes('--root')")
    browser.value("document.getElementById('output').value = ''")
    set_value(browser, "output", "")
    browser.wait_for(f"!({is_shown('error')})")


def test_a_run_is_cancelled_and_gone_on_with(browser: Browser, home: Path) -> None:
    set_value(browser, "output", str(home / "shots" / "out.mp4"))
    begin(browser)
    browser.wait_for(is_shown("live"))
    browser.click("#cancel")
    browser.wait_for("document.getElementById('own-jobs').textContent.includes('cancelled')", 60)
    assert not (home / "shots" / "out.mp4").exists()
    assert text(browser, "said").startswith("Cancelled after")
    assert browser.value("document.activeElement.textContent") == "Resume"
    browser.value("document.activeElement.click()")
    browser.wait_for(f"{is_shown('outcome')} || {is_shown('error')}", 120)
    assert not browser.value(is_shown("error")), text(browser, "error")
    assert f"{FRAMES} frames" in text(browser, "outcome-said")
    assert probe(home / "shots" / "out.mp4").frames == FRAMES


def test_the_result_is_verified_and_downloaded(browser: Browser, home: Path) -> None:
    browser.wait_for("document.getElementById('verify-said').textContent.includes('manifest')", 60)
    assert text(browser, "verify-said").startswith("✓ Its C2PA manifest holds")
    size = browser.call(
        "Runtime.evaluate", returnByValue=True, awaitPromise=True,
        expression="fetch(document.getElementById('download').href).then(async (a) =>"
        " [a.headers.get('content-disposition'), (await a.arrayBuffer()).byteLength])",
    )["result"]["value"]  # fmt: skip
    assert size == ["attachment; filename*=UTF-8''out.mp4", (home / "shots/out.mp4").stat().st_size]


def test_what_is_chosen_is_there_when_the_page_is_opened_again(browser: Browser, ui: Ui) -> None:
    browser.open(ui.address, width=1280, height=900)
    browser.wait_for("document.getElementById('before').naturalWidth === 320")
    assert browser.value("document.querySelectorAll('#sources li').length") == 1
    checkpoint = browser.value("document.getElementById('f-checkpoint').value")
    assert checkpoint.endswith("untrained.safetensors")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_and_can_be_read(browser: Browser, width: int, dark: bool) -> None:
    browser.resize(width, 800, dark=dark)
    assert browser.value("document.scrollingElement.scrollWidth") <= width
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    for kind in ("body", "p.help", "#target-said .link", "legend", "td.state"):
        colour = browser.value(f"getComputedStyle(document.querySelector({kind!r})).color")
        assert contrast(colour, ground) >= 4.5, kind
    colour, own = json.loads(
        browser.value("(() => { const s = getComputedStyle(document.getElementById('run'));"
                      "return JSON.stringify([s.color, s.backgroundColor]) })()")
    )  # fmt: skip
    assert contrast(colour, own) >= 4.5


def test_everything_has_a_name_for_who_cannot_see_it(browser: Browser) -> None:
    browser.resize(1280, 900)
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "slider", "textbox", "checkbox", "radio", "combobox", "spinbutton", "switch",
             "link", "progressbar")  # fmt: skip
    found = [n for n in nodes if not n["ignored"] and n["role"]["value"] in roles]
    assert len(found) > 30
    nameless = [n["role"]["value"] for n in found if not n.get("name", {}).get("value", "").strip()]
    assert nameless == []


def test_the_keyboard_alone_reaches_everything_and_swaps(browser: Browser, home: Path) -> None:
    browser.value("document.body.focus(); document.activeElement.blur(); scrollTo(0, 0)")
    seen: list[str] = []
    for _ in range(70):
        browser.press("Tab", 9)
        seen.append(
            browser.value("document.activeElement.id || document.activeElement.textContent")
        )
        if seen[-1] == "copy":
            break
    for name in (
        "viewport", "split", "to-face", "previous", "scrub", "next", "start-here", "output", "run",
        "f-reference", "f-colour_match", "f-codec", "f-crf", "copy",
    ):  # fmt: skip
        assert name in seen, (name, seen)
    browser.value("document.getElementById('scrub').focus()")
    before = browser.value("document.getElementById('scrub').value")
    browser.press("ArrowRight", 39)
    assert browser.value("document.getElementById('scrub').value") == str(int(before) + 1)
    browser.value("document.querySelector('[data-choose=source]').focus()")
    browser.press("Enter", 13, text="\r")
    browser.wait_for("document.getElementById('files').open")
    browser.press("Escape", 27)
    browser.wait_for("!document.getElementById('files').open")


def test_people_are_found_and_a_source_is_dragged_onto_one(browser: Browser, home: Path) -> None:
    browser.click("#find-people")
    browser.wait_for("document.querySelectorAll('#people-list li').length === 1", 120)
    plan = home / "shots" / "hopper-cast" / "people.toml"
    assert 'source = ""' in plan.read_text()
    assert browser.value("document.getElementById('f-cast').value") == str(plan.parent)
    assert browser.value("document.getElementById('run').disabled")
    before = looks(browser)
    source = browser.value("document.querySelector('#sources .name').title")
    x, y = browser.middle("#people-list li")
    item = {"mimeType": "application/x-vidswap-source", "data": source}
    given = {"items": [item], "files": [], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=given)
    wait_for_look(browser, before)
    assert "astronaut.png" in plan.read_text()
    assert text(browser, "said").startswith("1 face swapped in")
    browser.wait_for("document.getElementById('command').textContent.includes('--cast')")
    browser.value("document.getElementById('one-source').click()")
    browser.wait_for("!document.getElementById('command').textContent.includes('--cast')")


def test_the_page_asks_no_one_but_its_server(browser: Browser, ui: Ui) -> None:
    asked = [a for a in browser.requests if not a.startswith(("data:", "blob:"))]
    assert asked and all(address.startswith(ui.address) for address in asked)
    strange = [line for line in browser.complaints if "Failed to load resource" not in line]
    assert strange == []


def test_a_target_without_a_face_is_said(browser: Browser) -> None:
    choose(browser, "target", "faceless.mp4")
    browser.wait_for("document.getElementById('said').textContent.includes('No face to swap')", 60)


def test_without_its_server_the_page_says_so(browser: Browser, ui: Ui) -> None:
    ui.end()
    assert ui.process.returncode == 0
    browser.click("#run")
    browser.wait_for("document.getElementById('error').textContent.includes('vidswap ui')")
