"""A report of a cast: everybody who is swapped has numbers of their own, and their own source."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.people.scenes import A, B, clip_of, exchanged_at_a_cut, frame_of, two
from tests.report.browser import CHROMIUM, Browser
from vidswap.animation.clip import portrait_path
from vidswap.commands.main import main
from vidswap.errors import CastError
from vidswap.media.picture import write_picture
from vidswap.people.plan import PLAN, CastPlan, assign, read_plan
from vidswap.report.cast import (
    CastReport,
    cast_to_csv,
    cast_to_json,
    describe_cast,
    measure_cast,
    swaps_of,
)
from vidswap.report.cast_page import cast_html, write_cast_page
from vidswap.report.measure import ReportOptions, load_report_nets
from vidswap.report.nets import ReportNets
from vidswap.swap.first_pass import find_people
from vidswap.swap.look import look_options

FRAMES, CUT = 12, 6


@pytest.fixture(scope="module")
def nets() -> Iterator[ReportNets]:
    with closing(load_report_nets(ReportOptions())) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A beside B, who exchange places at a cut."""
    path = tmp_path_factory.mktemp("cast") / "clip.mkv"
    return clip_of(path, lambda index: exchanged_at_a_cut(30 - CUT + index), FRAMES)


@pytest.fixture(scope="module")
def folder(clip: Path) -> Path:
    """The clip's cast: each gets their own portrait, so that a right report finds them alike."""
    folder = clip.with_name("cast")
    tracks = find_people(clip, folder)
    left = {track.person: track.boxes[0][0] < 200 for track in tracks.tracks if track.start == 0}
    own = {person: str(portrait_path(A if is_left else B)) for person, is_left in left.items()}
    assert len(own) == 2
    assign(folder, own)
    text = (folder / PLAN).read_text()
    (folder / PLAN).write_text(text.replace('name = ""', 'name = "<i>Ann</i>"', 1))
    return folder


@pytest.fixture(scope="module")
def plan(folder: Path) -> CastPlan:
    return read_plan(folder, look_options())


@pytest.fixture(scope="module")
def found(clip: Path, plan: CastPlan, nets: ReportNets) -> CastReport:
    return measure_cast(clip, clip, plan, nets=nets)


def test_everybody_is_compared_with_their_own_source(found: CastReport, plan: CastPlan) -> None:
    assert [person.person for person in found.people] == ["p1", "p2"]
    assert [person.title for person in found.people] == ["p1 (<i>Ann</i>)", "p2"]
    for person in found.people:
        assert person.sources == plan.people[person.person].sources
        likeness = person.report.figure("cosine_to_source").value
        curve = next(c for c in person.report.curves if c.name == "cosine_to_source")
        assert person.report.frames_with_face == FRAMES == len(curve.values)
        # Two people's are below 0.9, also where they have exchanged places.
        assert likeness is not None and likeness > 0.95
        assert min(value for value in curve.values if value is not None) > 0.93
        assert any("was not swapped" in line for line in person.report.warnings)


def test_the_sources_of_each_other_are_far(clip: Path, plan: CastPlan, nets: ReportNets) -> None:
    one, other = plan.people["p1"], plan.people["p2"]
    crossed = replace(plan, people={
        "p1": replace(one, sources=other.sources), "p2": replace(other, sources=one.sources),
    })  # fmt: skip
    for person in measure_cast(clip, clip, crossed, nets=nets).people:
        likeness = person.report.figure("cosine_to_source").value
        assert likeness is not None and likeness < 0.92


def test_json_csv_and_words_name_everybody(found: CastReport) -> None:
    plain = json.loads(json.dumps(cast_to_json(found), allow_nan=False))
    assert [(p["person"], p["name"]) for p in plain["people"]] == [("p1", "<i>Ann</i>"), ("p2", "")]
    assert all(p["report"]["figures"]["cosine_to_source"]["value"] > 0.95 for p in plain["people"])
    rows = list(csv.DictReader(io.StringIO(cast_to_csv(found))))
    assert [row["person"] for row in rows] == ["p1"] * FRAMES + ["p2"] * FRAMES
    assert {row["sources"] for row in rows} == {"clara.jpg", "samuel.jpg"}
    text = describe_cast(found)
    assert all(f"{person.label}:" in text for person in found.people)


def test_the_page_names_everybody_and_escapes_their_names(found: CastReport) -> None:
    page = cast_html(found)
    assert "&lt;i&gt;Ann&lt;/i&gt;" in page and "<i>Ann" not in page
    assert "with clara.jpg" in page and "with samuel.jpg" in page
    assert str(portrait_path(A).parent) not in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_fits_a_telephone_and_follows_the_pointer(
    found: CastReport, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    write_cast_page(found, page)
    with Browser() as browser:
        for width in (1200, 360):
            browser.open(page, width=width)
            assert browser.complaints == []
            assert browser.value("document.scrollingElement.scrollWidth") <= width
            assert browser.value("[...document.images].every((i) => i.naturalWidth > 0)")
        assert browser.value("document.querySelectorAll('.ranking li').length") == 2


def test_only_who_gets_a_source_in_the_range_is_measured(plan: CastPlan, folder: Path) -> None:
    (a,), (b,) = plan.people["p1"].sources, plan.people["p2"].sources
    assert swaps_of(plan) == [("p1", (a,)), ("p2", (b,))]
    text = (folder / PLAN).read_text()
    copy = Path(shutil.copytree(folder, folder.with_name("edited")))
    (copy / PLAN).write_text(
        text.replace(f'source = "{b}"', 'source = "keep"')
        + f'[[override]]\nstart = 0.3\nend = 9\nperson = "p1"\nsource = "{b}"\n'
    )
    edited = read_plan(copy, look_options())
    assert swaps_of(edited) == [("p1", (a,)), ("p1", (b,))]
    assert swaps_of(edited, end=0.3) == [("p1", (a,))]
    assert swaps_of(edited, start=0.4) == [("p1", (b,))]


def test_a_plan_without_sources_and_sources_beside_a_plan_are_refused(
    clip: Path, plan: CastPlan, folder: Path, nets: ReportNets
) -> None:
    nobody = replace(plan, people={})
    with pytest.raises(CastError, match="nobody has a source"):
        measure_cast(clip, clip, nobody, nets=nets)
    flags = ["report", "--target", str(clip), "--swapped", str(clip), "--cast", str(folder)]
    told = CliRunner().invoke(main, [*flags, "--source", str(portrait_path(A))])
    assert told.exit_code == 2 and "leave --source" in told.output
    other = clip_of(folder.with_name("other.mkv"), two, 2)
    flags[2] = str(other)
    assert CliRunner().invoke(main, flags).exit_code == CastError.exit_code


def test_the_command_measures_a_picture_and_names_who_breaks_a_limit(
    tmp_path: Path, plan: CastPlan
) -> None:
    group = tmp_path / "group.png"
    write_picture(group, np.ascontiguousarray(frame_of(two(0), 0)))
    find_people(group, tmp_path / "cast")
    assign(tmp_path / "cast", {"p2": str(portrait_path("kenji"))})
    told = CliRunner().invoke(
        main,
        ["report", "--target", str(group), "--swapped", str(group), "--cast",
         str(tmp_path / "cast"), "--json", str(tmp_path / "r.json"), "-o",
         str(tmp_path / "r.html"), "--fail-on", "cosine_to_source>=0.99"],
    )  # fmt: skip
    assert told.exit_code == 1, told.output
    assert "p2 with kenji.jpg: cosine_to_source >= 0.99 is broken" in told.output
    people = json.loads((tmp_path / "r.json").read_text())["people"]
    assert [person["person"] for person in people] == ["p2"]
    assert (tmp_path / "r.html").stat().st_size > 10_000
