"""The page of a report: what it says, and that it needs nothing else."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.report.examples import TIMES, WORST_AT, curves, example
from vidswap.errors import OutputNotWritableError
from vidswap.metrics.record import Curve, Figure, Report
from vidswap.report.page import page_html, write_page
from vidswap.report.pictures import (
    absolute_difference,
    amplified,
    factor_for,
    film_strip,
    heat_map,
    heat_top_for,
)
from vidswap.report.plots import HEIGHT, MOST_POINTS, TimeAxis, panel_of
from vidswap.report.verdict import allowance_used, broken_limits, verdict_of
from vidswap.report.words import number_text

SHOWN = {
    "identity_retrieval": "96.4 %",
    "cosine_to_source": "0.812",
    "pose_distance": "3.46",
    "mouth_correlation": "0.971",
    "flow_warp_ratio": "1.54",
    "flow_warp_target": "0.0213",
    "seam": "5.10",
    "mse_face": "12,605",
}


def row_of(html: str, name: str) -> str:
    """The table row of a figure, as text between bars."""
    row = re.search(rf'<tr[^>]*id="figure-{name}">(.*?)</tr>', html, re.DOTALL)
    assert row is not None
    return unescape(re.sub(r"(\s*<[^>]+>\s*)+", "|", row[1]))


def with_figure(name: str, **changes: object) -> Report:
    figures = tuple(
        replace(f, **changes) if f.name == name else f  # type: ignore[arg-type]
        for f in example().figures
    )
    return example(figures=figures)


# --- what the page is


def test_the_page_refers_to_nothing_outside_itself() -> None:
    html = page_html(example())
    links = re.findall(r"""(?:src|href|action|data|poster)\s*=\s*["']([^"']*)""", html)
    assert links and all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html)
    assert "<link" not in html.replace('<link rel="icon" href="data:,">', "")


def test_the_page_forbids_itself_the_network() -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page_html(example()))
    assert policy is not None
    assert "default-src 'none'" in policy[1] and "img-src data:" in policy[1]


def test_hostile_names_are_shown_as_text() -> None:
    name = '<script>alert("x")</script>.mp4'
    curve = replace(curves()[0], title=f"</script><b>{name}", name="</script>")
    html = page_html(
        example(
            swapped=name,
            target=f"/f/{name.replace('/', '')}",
            source=name,
            warnings=(name,),
            settings={name: [name]},
            provenance={"marks": {name: name}},
            curves=(curve,),
        )
    )
    assert "<script>alert" not in html and "</script><b>" not in html
    assert html.count("<script") == 2 and html.count("</script>") == 2
    assert "&lt;script&gt;alert(&#34;x&#34;)" in html


def test_folders_of_the_files_are_not_told() -> None:
    html = page_html(example())
    assert "swap.mp4" in html and "target.mp4" in html and "source.jpg" in html
    assert "/films" not in html and "/people" not in html


def test_the_page_stays_small_for_a_long_clip() -> None:
    count = 20_000
    times = tuple(i / 25 for i in range(count))
    noise = np.random.default_rng(0).normal(5, 1, (30, count))
    long = tuple(
        Curve(f"c{i}", f"Curve {i}", "px", "lower", times, tuple(row.tolist()))
        for i, row in enumerate(noise)
    )
    assert len(page_html(example(curves=long))) < 2_000_000


def test_a_page_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputNotWritableError):
        write_page(example(), tmp_path / "none" / "report.html")
    write_page(example(), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


# --- numbers


@pytest.mark.parametrize(("name", "shown"), SHOWN.items())
def test_every_value_stands_in_the_table(name: str, shown: str) -> None:
    assert f"|{shown}|" in row_of(page_html(example()), name)


def test_a_row_tells_interval_unit_direction_limit_net_and_source() -> None:
    row = row_of(page_html(example()), "pose_distance")
    parts = ("2.90 to 4.20", "degrees", "lower", "≤ 4", "✓ kept", "mesh", "AP-GAN")
    assert all(part in row for part in parts), row
    assert "✗ broken" in row_of(page_html(example()), "flow_warp_ratio")
    assert "to compare with" in row_of(page_html(example()), "flow_warp_target")


def test_an_absent_figure_says_why_and_shows_no_number() -> None:
    row = row_of(page_html(example()), "lpips")
    assert "not measured: its weights are in no package" in row
    assert not re.search(r"\d", row.replace("Zhang et al. 2018", ""))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "", "0"),
        (1.0, "share", "100 %"),
        (0.9994, "share", "99.9 %"),
        (0.0004, "share", "0.0400 %"),
        (0.00605175, "", "0.00605"),
        (3.245, "degrees", "3.25"),
        (25.755, "dB", "25.8"),
        (1234567.8, "", "1,234,568"),
        (-0.12, "", "\N{MINUS SIGN}0.120"),
        (3.2e-9, "", "3.20e\N{MINUS SIGN}09"),
        (None, "", "\N{EN DASH}"),
        (float("nan"), "", "\N{EN DASH}"),
        (float("inf"), "", "infinite"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, unit: str, text: str) -> None:
    assert number_text(value, unit) == text


# --- the verdict


def test_the_verdict_says_in_words_what_the_limits_say() -> None:
    verdict = verdict_of(example())
    assert verdict.state == "fail" and verdict.headline == "Breaks 1 of 5 limits"
    assert verdict.sentence == (
        "Recognisable as the source (to a net that took part in training); pose and mouth follow "
        "the target; shimmer is above the limit; the other measure of motion, colour and edges "
        "keeps its limit."
    )
    assert verdict.checks[0].figure.name == "flow_warp_ratio"


def test_a_swap_that_keeps_all_limits_passes() -> None:
    report = with_figure("flow_warp_ratio", value=1.1)
    assert verdict_of(report).headline == "Keeps all 5 limits"
    assert verdict_of(report).state == "pass" and broken_limits(report) == []


def test_what_could_not_be_measured_is_neither_kept_nor_broken() -> None:
    report = with_figure("pose_distance", value=None, interval=None, absent="no mesh")
    verdict = verdict_of(report)
    assert verdict.headline == "Breaks 1 of 4 limits; 1 more could not be measured"
    assert [check.figure.name for check in verdict.of("unmeasured")] == ["pose_distance"]
    assert "no mesh" in page_html(report)
    assert broken_limits(report) == ["flow_warp_ratio <= 1.15 is broken: 1.538"]


def test_without_any_value_nothing_is_judged() -> None:
    figures = tuple(replace(f, value=None, absent="no face") for f in example().figures)
    report = example(figures=figures, frames_with_face=0, curves=(), moments=())
    verdict = verdict_of(report)
    assert verdict.state == "unknown" and verdict.sentence == "No face was found in the target."
    assert broken_limits(report) and "Curves over time" not in page_html(report)


def test_a_source_that_is_not_recognised_is_named_with_its_share() -> None:
    sentence = verdict_of(with_figure("identity_retrieval", value=0.4)).sentence
    assert sentence.startswith("Recognisable as the source in 40 % of the frames only")


def test_an_interval_that_reaches_the_limit_is_pointed_out() -> None:
    checks = {check.figure.name: check for check in verdict_of(example()).checks}
    assert checks["pose_distance"].close and not checks["seam"].close


@pytest.mark.parametrize(
    ("figure", "used"),
    [
        (Figure("seam", "", 3.0, "", "lower", "", limit=6.0), 0.5),
        (Figure("ssim_outside", "", 0.95, "", "higher", "", limit=0.9), 0.5),
        (Figure("flow_warp_ratio", "", 1.3, "", "lower", "", limit=1.15), 2.0),
        (Figure("flow_warp_ratio", "", 0.8, "", "lower", "", limit=1.15), 0.0),
        (Figure("cosine_to_target", "", 0.3, "", "lower", "", limit=0.6), 0.5),
        (Figure("flicker", "", 0.0, "", "lower", "", limit=0.0), 0.0),
        (Figure("flicker", "", 1.0, "", "lower", "", limit=0.0), float("inf")),
    ],
)
def test_the_bar_counts_from_perfect_to_the_limit(figure: Figure, used: float) -> None:
    assert figure.value is not None
    assert allowance_used(figure, figure.value) == pytest.approx(used)


# --- curves


def points_of(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+?) (\d+\.\d+)", path)]


def test_a_curve_goes_through_its_samples_and_breaks_where_one_is_missing() -> None:
    curve = curves()[1]
    panel = panel_of([curve], TimeAxis.over([curve]))
    path = panel.lines[0].path
    points = points_of(path)
    assert path.count("M") == 2 and len(points) == len(TIMES) - 2
    known = [(t, v) for t, v in zip(TIMES, curve.values, strict=True) if v is not None]
    top = max(v for _, v in known)
    for (x, y), (seconds, value) in zip(points, known, strict=True):
        assert x == pytest.approx(1000 * seconds / TIMES[-1], abs=0.06)
        assert y == pytest.approx(HEIGHT * (1 - value / top), abs=0.01)


def test_the_worst_sample_is_marked_by_direction() -> None:
    for curve, at in ((curves()[1], WORST_AT), (curves()[4], 0)):
        panel = panel_of([curve], TimeAxis.over([curve]))
        assert panel.worst is not None and panel.worst[3] == TIMES[at]
    mouth = replace(curves()[2], second=tuple(0.9 if i == 11 else 0.1 for i in range(len(TIMES))))
    panel = panel_of([mouth], TimeAxis.over([mouth]))
    assert panel.worst is not None and panel.worst[3] == TIMES[11]


def test_a_long_curve_keeps_its_extremes() -> None:
    count = 50_000
    values = np.random.default_rng(1).normal(0.0, 1.0, count)
    values[12_345], values[40_001] = 30.0, -20.0
    times = tuple(i / 25 for i in range(count))
    curve = Curve("c", "C", "px", "neither", times, tuple(values.tolist()))
    panel = panel_of([curve], TimeAxis.over([curve]))
    drawn = panel.samples["lines"][0]
    assert len(drawn["t"]) <= MOST_POINTS
    assert max(drawn["v"]) == 30.0 and min(drawn["v"]) == -20.0
    assert drawn["t"][drawn["v"].index(30.0)] == pytest.approx(12_345 / 25, abs=1e-3)


def test_one_frame_is_a_dot_in_the_middle() -> None:
    curve = Curve("c", "C", "px", "lower", (0.0,), (3.0,))
    panel = panel_of([curve], TimeAxis.over([curve]))
    assert points_of(panel.lines[0].path)[0][0] == 500.0 and panel.flat == "3.00"
    assert "C 3.00" in page_html(example(curves=(curve,), frames=1, frames_with_face=1))


def test_the_axis_has_round_times_within_it() -> None:
    assert [text for _, text in TimeAxis(0.0, 4.0).ticks()][:3] == ["0", "1", "2"]
    assert TimeAxis(0.0, 4.0).ticks()[1][0] == pytest.approx(25.0)
    assert [text for _, text in TimeAxis(0.0, 200.0).ticks()][-1] == "3:00"


def test_worst_moments_stand_on_the_axis_and_in_every_plot() -> None:
    html = page_html(example())
    left = f"{100 * TIMES[WORST_AT] / TIMES[-1]:.2f}"
    chip = re.search(r'<a class="chip worst" href="#moment-1" style="left:([\d.]+)%', html)
    assert chip is not None and chip[1] == left
    assert 'id="moment-1"' in html and 'id="moment-A"' in html
    plots = re.findall(r'<div class="plot">(.*?)</svg>', html, re.DOTALL)
    assert plots and all(plot.count('class="moment"') == 2 for plot in plots)


def test_curves_behind_the_verdict_come_first_and_flat_ones_are_told_in_words() -> None:
    html = page_html(example())
    first, _, folded = html.partition("<details>")
    assert 'data-name="seam"' in first and 'data-name="mouth_opening"' in first
    assert 'data-name="ssim"' in folded and 'data-name="identity_retrieval"' not in html
    assert "Frames recognised as the source 100 %" in folded


# --- pictures


def test_the_difference_is_amplified_by_the_factor_that_is_stated() -> None:
    target = np.full((8, 8, 3), 100, np.uint8)
    swapped = target + np.array([10, 0, 5], np.uint8)
    difference = absolute_difference(target, swapped)
    factor = factor_for([difference])
    assert factor == 16  # 10 * 16 is below white, and there is no higher one
    assert amplified(difference, factor)[0, 0].tolist() == [160, 0, 80]
    assert factor_for([np.full((4, 4, 3), 40, np.uint8)]) == 4
    strip = film_strip(example().moments)
    assert f"difference \N{MULTIPLICATION SIGN} {strip.factor}" in page_html(example())


def test_heat_maps_go_from_black_to_bright_in_one_scale() -> None:
    error = np.linspace(0.0, 37.0, 256, dtype=np.float32)[None]
    assert heat_top_for([error]) == 40.0
    colours = heat_map(error, 37.0)[0].astype(int)
    assert colours[0].sum() < 10 and colours[-1].sum() > 500
    brightness = colours @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(brightness) >= -1.0).all()
    strip = film_strip(example().moments)
    assert f"{strip.heat_top:g} grey values and more" in page_html(example())


def test_pictures_are_the_moments_pictures() -> None:
    moment = example().moments[0]
    uri = film_strip([moment]).stills[0].swapped
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
    assert pixels.shape == moment.swapped.shape
    assert np.abs(pixels.astype(int) - moment.swapped).mean() < 8.0  # noise, as JPEG


def test_a_moment_without_flow_says_so_and_all_pictures_have_words() -> None:
    html = page_html(example())
    assert html.count("not measured here") == 1
    pictures = re.findall(r"<img [^>]*>", html)
    assert len(pictures) == 3 * 4 - 1
    assert all(re.search(r'alt="[^"]{5,}"', picture) for picture in pictures)


def test_a_strangers_text_on_the_page_is_escaped_bounded_and_written(tmp_path: Path) -> None:
    evil = "</td><script>alert(1)</script>\n\x1b[2J\u202eab\ud800" + "x" * 1_000_000
    claim = {"marks": {"comment": evil, evil: "y"}, "manifest": {"signer": evil}}
    names = {"swapped": "/films/a\u202e<b>\ud800.mp4", "warnings": ("left out a\x1b[2J\u202e",)}
    write_page(example(provenance=claim, **names), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html and "<b>" not in html
    assert not {"\x1b", "\u202e", "\ud800"} & set(html)
    assert r"\x1b[2J\u202eab\ud800" in unescape(html)
    assert len(html) < len(page_html(example())) + 100_000
