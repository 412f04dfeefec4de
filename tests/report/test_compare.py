"""Several swaps of one target: who comes first, and what of it may be chance."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.report.browser import CHROMIUM, Browser
from tests.report.examples import example
from vidswap.errors import BadOptionError
from vidswap.metrics.record import Curve, Figure, Report
from vidswap.metrics.registry import metric
from vidswap.report.compare import MOST_SWAPS, compare, difference_of, frame_rows
from vidswap.report.compare_page import (
    comparison_html,
    comparison_to_csv,
    comparison_to_json,
    describe_comparison,
    write_comparison,
)

FRAMES, RATE = 200, 25.0


def seams(
    name: str,
    level: float,
    *,
    seed: int = 0,
    noise: float = 0.5,
    shared: float = 0.0,
    frames: Sequence[int] = range(FRAMES),
    **changes: object,
) -> Report:
    """A report with one measure, the seam: `level`, noise of its own, and noise that all share."""
    own = np.random.default_rng(seed).normal(0.0, noise, FRAMES)
    common = np.random.default_rng(99).normal(0.0, 1.0, FRAMES) * shared
    values = tuple(float(level + own[i] + common[i]) for i in frames)
    times = tuple(i / RATE for i in frames)
    figure = Figure(
        "seam", "Edge of the pasted face", float(np.mean(values)), "grey levels", "lower",
        "defined here", interval=(level - 1, level + 1), limit=6.0,
    )  # fmt: skip
    curve = Curve("seam", "Edge of the pasted face", "grey levels", "lower", times, values)
    return example(
        swapped=f"/films/{name}", figures=(figure,), curves=(curve,), moments=(), warnings=(),
        settings={}, **changes,
    )  # fmt: skip


def test_the_clearly_better_swap_comes_first() -> None:
    found = compare([seams("bad.mp4", 8.0), seams("good.mp4", 4.0, seed=1)])
    assert [(swap.name, swap.place) for swap in found.swaps] == [("good.mp4", 1), ("bad.mp4", 2)]
    assert [swap.score for swap in found.swaps] == [1.0, -1.0]
    apart = found.difference("seam", 0, 1)
    assert apart.outcome == "better" and apart.frames == FRAMES
    assert apart.value == pytest.approx(-4.0, abs=0.15) and apart.interval is not None
    assert apart.interval[0] < apart.value < apart.interval[1] < 0
    assert "good.mp4 comes first" in found.sentence and "clearly better in the edge" in (
        found.sentence
    )


def test_a_difference_that_may_be_chance_is_called_so() -> None:
    found = compare([seams("a.mp4", 5.0, noise=2.0), seams("b.mp4", 5.05, seed=1, noise=2.0)])
    assert found.difference("seam", 0, 1).outcome == "within the noise"
    assert [swap.place for swap in found.swaps] == [1, 1]
    assert found.sentence.startswith("No clear winner")
    assert "≈ within the noise" in comparison_html(found)


def test_frames_are_paired_so_what_they_share_is_no_noise() -> None:
    """Both swing by several grey levels with the clip; their difference of 0.3 hardly does."""
    one = seams("a.mp4", 5.0, noise=0.1, shared=4.0)
    other = seams("b.mp4", 5.3, seed=1, noise=0.1, shared=4.0)
    apart = compare([one, other]).difference("seam", 0, 1)
    assert apart.outcome == "better" and apart.interval is not None
    assert apart.interval[1] - apart.interval[0] < 0.1


def test_about_one_in_twenty_equal_swaps_seem_different() -> None:
    seam = metric("seam")
    clear = 0
    for seed in range(60):
        one, other = (seams("x", 5.0, seed=2 * seed + n, noise=1.0) for n in (0, 1))
        _, interval, _ = difference_of(seam, one, other)
        assert interval is not None
        clear += not interval[0] <= 0 <= interval[1]
    assert clear <= 9  # 3 are to be expected; of blocks a few more


def test_only_frames_that_both_have_are_compared() -> None:
    """Where the second has no frames, the first is far worse; it must not count."""
    values = [4.0 if i < 100 else 50.0 for i in range(FRAMES)]
    one = seams("a.mp4", 0.0, noise=0.0)
    curve = replace(one.curves[0], values=tuple(values))
    one = replace(one, curves=(curve,))
    other = seams("b.mp4", 5.0, noise=0.0, frames=range(20, 100))
    value, _, frames = difference_of(metric("seam"), one, other)
    assert frames == 80 and value == pytest.approx(-1.0)


def test_frames_are_paired_by_the_targets_time() -> None:
    one = seams("a.mp4", 5.0)
    curve = one.curves[0]
    later = replace(
        one,
        curves=(
            replace(
                curve,
                seconds=tuple(s - 2.0 for s in curve.seconds[50:]),
                values=tuple(v + 1.0 for v in curve.values[50:] if v is not None),
            ),
        ),
        settings={"start": 2.0},
    )
    value, _, frames = difference_of(metric("seam"), later, one)
    assert frames == FRAMES - 50 and value == pytest.approx(1.0)
    assert frame_rows(later, ("seam",))[0][0] == 2000


def test_a_measure_of_two_curves_takes_the_targets_own() -> None:
    times = tuple(i / RATE for i in range(FRAMES))
    mouth = tuple(0.2 + 0.1 * float(np.sin(i / 7)) for i in range(FRAMES))
    against = tuple(0.4 - value for value in mouth)
    reports = []
    for name, opening, value in (("a.mp4", mouth, 1.0), ("b.mp4", against, -1.0)):
        curve = Curve("mouth_opening", "Mouth", "", "neither", times, opening, mouth)
        figure = Figure(
            "mouth_correlation", "Speech", value, "correlation", "higher", "", limit=0.9
        )
        reports.append(example(swapped=name, curves=(curve,), figures=(figure,), settings={}))
    value, interval, _ = difference_of(metric("mouth_correlation"), *reports)
    assert value == pytest.approx(2.0) and interval == pytest.approx((2.0, 2.0))
    assert compare(reports[::-1]).swaps[0].name == "a.mp4"


def test_sections_count_alike_however_many_measures_they_have() -> None:
    """Better in one of identity, worse in two faults: the sections cancel out."""
    times = tuple(i / RATE for i in range(FRAMES))

    def report(name: str, cosine: float, fault: float) -> Report:
        wobble = np.sin(np.arange(FRAMES))
        parts = (("cosine_to_source", "higher", cosine, None), ("seam", "lower", fault, 6.0),
                 ("colour_shift", "lower", fault, 6.0))  # fmt: skip
        levels = {n: tuple((v + 0.001 * wobble).tolist()) for n, _, v, _ in parts}
        return example(
            swapped=name,
            curves=tuple(Curve(n, n, "", d, times, levels[n]) for n, d, _, _ in parts),  # type: ignore[arg-type]
            figures=tuple(Figure(n, n, v, "", d, "", limit=x) for n, d, v, x in parts),  # type: ignore[arg-type]
            settings={},
        )

    found = compare([report("a.mp4", 0.9, 5.0), report("b.mp4", 0.8, 4.0)])
    assert [swap.score for swap in found.swaps] == [0.0, 0.0]
    assert [swap.place for swap in found.swaps] == [1, 1]


def test_different_judges_are_not_compared() -> None:
    one, other = seams("a.mp4", 4.0), seams("b.mp4", 8.0)
    other = replace(other, figures=(replace(other.figures[0], net="another"),))
    apart = compare([one, other]).difference("seam", 0, 1)
    assert apart.outcome == "not compared" and "different nets" in apart.reason


def test_what_cannot_be_compared_is_refused() -> None:
    one = seams("a.mp4", 4.0)
    with pytest.raises(BadOptionError, match="1 swap to compare; give from 2"):
        compare([one])
    with pytest.raises(BadOptionError, match=str(MOST_SWAPS)):
        compare([one] * (MOST_SWAPS + 1))
    with pytest.raises(BadOptionError, match=r"different targets, .*other\.mp4"):
        compare([one, replace(one, target="other.mp4")])


def test_swaps_of_one_name_are_numbered() -> None:
    found = compare([seams("x/out.mp4", 4.0), seams("y/out.mp4", 8.0)])
    assert [swap.name for swap in found.swaps] == ["out.mp4 (1)", "out.mp4 (2)"]


def test_three_are_ranked_by_whom_they_beat() -> None:
    found = compare([seams(f"{n}.mp4", level, seed=n) for n, level in ((3, 9), (1, 3), (2, 6))])
    assert [(s.name, s.place, s.score) for s in found.swaps] == [
        ("1.mp4", 1, 1.0),
        ("2.mp4", 2, 0.0),
        ("3.mp4", 3, -1.0),
    ]
    assert describe_comparison(found).splitlines()[1].startswith("1. 1.mp4: score 1.00")


def test_json_and_csv_hold_every_difference() -> None:
    found = compare([seams("good.mp4", 4.0), seams("bad.mp4", 8.0, seed=1)])
    read = json.loads(json.dumps(comparison_to_json(found), allow_nan=False))
    assert [s["name"] for s in read["swaps"]] == ["good.mp4", "bad.mp4"]
    assert read["differences"][0]["outcome"] == "better"
    rows = list(csv.DictReader(io.StringIO(comparison_to_csv(found))))
    assert [row["swap"] for row in rows] == ["good.mp4", "bad.mp4"]
    assert rows[0]["first_is"] == "" and rows[1]["first_is"] == "better"
    assert float(rows[1]["first_less_this"]) == pytest.approx(-4.0, abs=0.2)


def test_the_page_escapes_names_and_refers_to_nothing_outside() -> None:
    hostile = seams("<img src=x>.mp4", 4.0)
    html = comparison_html(compare([hostile, seams("b.mp4", 8.0, seed=1)]))
    assert "<img src=x" not in html and "&lt;img src=x&gt;" in html
    assert "http:" not in html and "https:" not in html


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_fits_a_browser(browser: Browser, tmp_path: Path, width: int) -> None:
    one = example(swapped="a_name_that_is_long_and_has_no_place_to_break_" * 3)
    write_comparison(compare([one, example(swapped="b.mp4")]), tmp_path / "page.html")
    browser.open(tmp_path / "page.html", width=width)
    assert browser.value("document.scrollingElement.scrollWidth") <= width
    assert browser.complaints == []
    assert browser.value("document.querySelectorAll('.ranking li').length") == 2
