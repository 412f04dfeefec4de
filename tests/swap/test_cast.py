"""Everybody in a clip: found in a first pass, and each swapped with a face of their own."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import vidswap
from tests.people.scenes import A, clip_of, frame_of, leaving, mirrored, two
from tests.report.browser import CHROMIUM, Browser
from tests.swap.test_swap import decoded_planes
from vidswap.animation.clip import load_portrait, portrait_names, portrait_path
from vidswap.commands.main import main
from vidswap.errors import BadOptionError, CastError, InputNotFoundError, OutputExistsError
from vidswap.media.picture import read_picture, write_picture
from vidswap.people.plan import PLAN, assign, read_plan
from vidswap.people.tracks import TRACKS, Tracks, read_tracks, write_tracks
from vidswap.provenance.verify import verify_file
from vidswap.swap import first_pass
from vidswap.swap.cast import auto_folder, automatic_people
from vidswap.swap.first_pass import find_people
from vidswap.swap.look import look_options
from vidswap.swap.options import SwapOptions, SwapResult
from vidswap.swap.plan import plan_swap
from vidswap.swap.preview import TILE, preview_cast
from vidswap.swap.sheet import SHEET, write_sheet

FRAMES = 32
ALICE, BOB = portrait_path("nora"), portrait_path("kenji")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A and B; A is away from 0.52 s to 1 s, and then both are on each other's side."""
    path = tmp_path_factory.mktemp("cast") / "clip.mkv"
    return clip_of(path, lambda index: leaving(2 * index), FRAMES)


@pytest.fixture(scope="module")
def found(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cast folder as the first pass leaves it."""
    folder = tmp_path_factory.mktemp("found") / "cast"
    find_people(clip, folder)
    return folder


@pytest.fixture
def cast(found: Path, tmp_path: Path) -> Path:
    """A copy to be edited."""
    return Path(shutil.copytree(found, tmp_path / "cast"))


def options(untrained: Path, **more: object) -> SwapOptions:
    return SwapOptions(checkpoint=untrained, codec="ffv1", no_provenance="a test", **more)


def swapped(
    clip: Path, output: Path, sources: list[Path], wanted: SwapOptions
) -> tuple[SwapResult, list[list[np.ndarray]]]:
    result = vidswap.swap_video(sources, clip, output, wanted)
    return result, decoded_planes(output)


def changed_sides(before: Path, after: Path) -> list[str]:
    """Of every frame, on which sides of the picture it was changed."""
    sides = []
    for one, other in zip(decoded_planes(before), decoded_planes(after), strict=True):
        columns = (one[0] != other[0]).any(axis=0)
        half = len(columns) // 2
        sides.append("L" * bool(columns[:half].any()) + "R" * bool(columns[half:].any()))
    return sides


def test_everybody_is_found_from_when_to_when(found: Path) -> None:
    tracks = read_tracks(found)
    assert len(tracks.people) == 2 and len(tracks.shots) == 3
    spans = {
        person: [(round(t.start, 2), round(t.end, 2)) for t in own]
        for person, own in tracks.of_person.items()
    }
    assert spans == {
        "p1": [(0.0, 0.48), (0.52, 0.96), (1.0, 1.24)], "p2": [(0.0, 0.48), (1.0, 1.24)]
    }  # fmt: skip
    assert sorted(path.name for path in found.iterdir()) == sorted(
        [PLAN, TRACKS, first_pass.PICTURES]
    )


def test_each_gets_their_own_face_wherever_they_are(
    clip: Path, cast: Path, untrained: Path, tmp_path: Path
) -> None:
    assign(cast, {"p1": str(BOB), "p2": str(ALICE)})
    result, both = swapped(clip, tmp_path / "both.mkv", [], options(untrained, cast=cast))
    assert [(p.person, p.sources) for p in result.people] == [
        ("p1", ("kenji.jpg",)), ("p2", ("nora.jpg",))
    ]  # fmt: skip
    assert result.people[0].spans == ((0.0, 1.24),)
    assert result.people[1].spans == ((0.0, 1.24),)  # gaps of less than a second are not told

    assign(cast, {"p1": "keep"})
    _, one = swapped(clip, tmp_path / "one.mkv", [], options(untrained, cast=cast))
    sides = changed_sides(clip, tmp_path / "one.mkv")
    assert sides == ["L"] * 13 + [""] * 12 + ["R"] * 7

    # The same frames as a run that finds the same person itself.
    face = tmp_path / "a.jpg"
    shutil.copyfile(portrait_path(A), face)
    _, alone = swapped(clip, tmp_path / "alone.mkv", [ALICE], options(untrained, face=face))
    for ours, theirs in zip(one, alone, strict=True):
        for plane, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(plane, other)

    # And auto finds the same as the plan.
    wanted = options(untrained, cast="auto")
    result, auto = swapped(clip, tmp_path / "auto.mkv", [BOB, ALICE], wanted)
    assert [person.sources for person in result.people] == [("kenji.jpg",), ("nora.jpg",)]
    for ours, theirs in zip(both, auto, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
    assert not auto_folder(tmp_path / "auto.mkv").exists()


def test_a_range_follows_the_plan_by_the_clips_own_times(
    clip: Path, cast: Path, untrained: Path, tmp_path: Path
) -> None:
    assign(cast, {"p2": str(ALICE)})
    wanted = options(untrained, cast=cast, start=0.8)
    result, _ = swapped(clip, tmp_path / "out.mkv", [], wanted)
    (swap, others) = result.people
    assert swap.person == "p2" and swap.spans[0][0] == pytest.approx(1.0)
    assert others.person == "others" and others.spans[0][0] == pytest.approx(0.8)


def test_settings_hold_for_whom_and_when_they_are_given(
    clip: Path, cast: Path, untrained: Path, tmp_path: Path
) -> None:
    assign(cast, {"p1": str(BOB), "p2": str(ALICE)})
    _, plain = swapped(clip, tmp_path / "a.mkv", [], options(untrained, cast=cast, end=0.4))
    with (cast / PLAN).open("a") as file:
        file.write('[[override]]\nstart = 0.16\nend = 9\nperson = "p2"\nmask = "square"\n')
        file.write(
            f'[[override]]\nstart = 0.28\nend = 9\nperson = "p1"\ncheckpoint = "{untrained}"\n'
        )
        file.write("colour_match = 0.0\n")
    _, other = swapped(clip, tmp_path / "b.mkv", [], options(untrained, cast=cast, end=0.4))
    differ = []
    for one, changed in zip(plain, other, strict=True):
        columns = (one[0] != changed[0]).any(axis=0)
        half = len(columns) // 2
        differ.append("L" * bool(columns[:half].any()) + "R" * bool(columns[half:].any()))
    assert differ == [""] * 4 + ["L"] * 3 + ["LR"] * 3


def test_a_pass_that_was_broken_off_goes_on_to_the_same_result(
    clip: Path, found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, seen = tmp_path / "cast", []
    monkeypatch.setattr(first_pass, "_SAFE_EVERY", 0.0)

    def interrupt(done: int, expected: int) -> None:
        seen.append(done)
        if done == 22:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_people(clip, folder, progress=interrupt)
    assert (folder / first_pass.WORK / "state").stat().st_mode & 0o077 == 0
    seen.clear()
    find_people(clip, folder, progress=lambda done, _: seen.append(done))
    assert seen[0] > 11
    before, after = (json.loads((path / TRACKS).read_text()) for path in (found, folder))
    assert before == after
    assert (found / PLAN).read_text() == (folder / PLAN).read_text()


def test_another_clip_is_refused(cast: Path, untrained: Path, tmp_path: Path) -> None:
    other = clip_of(tmp_path / "other.mkv", mirrored, 3)
    assign(cast, {"p1": str(BOB)})
    with pytest.raises(CastError, match=r"that of clip\.mkv, and .*other\.mkv is another file"):
        vidswap.swap_video([], other, tmp_path / "out.mkv", options(untrained, cast=cast))
    with pytest.raises(BadOptionError, match="takes no SOURCES"):
        vidswap.swap_video([BOB], other, tmp_path / "out.mkv", options(untrained, cast=cast))
    with pytest.raises(CastError, match="no such folder"):
        vidswap.swap_video([], other, tmp_path / "o.mkv", options(untrained, cast=tmp_path / "no"))
    with pytest.raises(BadOptionError, match="give one or more"):
        vidswap.swap_video([], other, tmp_path / "out.mkv", options(untrained, cast="auto"))


def test_a_plan_that_names_nobody_is_refused(
    clip: Path, cast: Path, untrained: Path, tmp_path: Path
) -> None:
    with pytest.raises(CastError, match="nobody has a source"):
        vidswap.swap_video([], clip, tmp_path / "out.mkv", options(untrained, cast=cast))
    assert not (tmp_path / "out.mkv").exists()


def test_a_mirror_image_gets_the_same_face_by_itself(untrained: Path, tmp_path: Path) -> None:
    clip = clip_of(tmp_path / "mirror.mkv", mirrored, 6)
    wanted = options(untrained, cast="auto")
    result = vidswap.swap_video([ALICE, BOB], clip, tmp_path / "out.mkv", wanted)
    assert [person.sources for person in result.people] == [("nora.jpg",), ("nora.jpg",)]
    assert any("looks like p1, as in a mirror" in line for line in result.warnings)
    assert any("nobody is left for kenji.jpg" in line for line in result.warnings)


def test_a_picture_has_a_cast_too(untrained: Path, tmp_path: Path) -> None:
    group = tmp_path / "group.png"
    write_picture(group, frame_of(two(0), 0))
    wanted = replace(options(untrained, cast="auto"), codec=None)
    result = vidswap.swap_video([ALICE, BOB], group, tmp_path / "out.png", wanted)
    assert result.faces_swapped == 2
    assert {person.sources for person in result.people} == {("nora.jpg",), ("kenji.jpg",)}
    assert (read_picture(tmp_path / "out.png").rgb != read_picture(group).rgb).any()


def test_a_crowd_of_people_and_their_doubles_is_told_apart(tmp_path: Path) -> None:
    """Six faces in one picture, three people and each in a mirror: six people, as all are seen."""
    names = portrait_names()
    crowd = np.full((440, 660, 3), 120, np.uint8)
    for place in range(6):
        tile = cv2.resize(load_portrait(names[place % 3]), (220, 220), interpolation=cv2.INTER_AREA)
        row, column = divmod(place, 3)
        tile = tile[:, ::-1] if row else tile
        crowd[220 * row : 220 * row + 220, 220 * column : 220 * column + 220] = tile
    write_picture(tmp_path / "crowd.png", crowd)
    tracks = find_people(tmp_path / "crowd.png", tmp_path / "cast")
    assert len(tracks.tracks) == len(tracks.people) == 6
    assert len(tracks.together) == 15
    alike = [track for track in tracks.tracks if any("in a mirror" in d for d in track.doubts)]
    assert len(alike) == 6, [track.doubts for track in tracks.tracks]
    plans, _ = automatic_people(tracks, [ALICE])
    assert len(plans) == 2  # the first and her double get the one source


def test_an_image_sequence_has_a_cast_too(untrained: Path, tmp_path: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / f"shot.{number:03d}.png", frame_of(two(number), number))
    target = tmp_path / "shot.%03d.png"
    tracks = find_people(target, tmp_path / "cast")
    assert len(tracks.people) == 2 and tracks.clip.frames == 4
    assign(tmp_path / "cast", {"p1": str(BOB), "p2": str(ALICE)})
    (tmp_path / "out").mkdir()
    wanted = SwapOptions(checkpoint=untrained, cast=tmp_path / "cast", no_provenance="a test")
    result = vidswap.swap_video([], target, tmp_path / "out" / "shot.%03d.png", wanted)
    assert result.faces_swapped == 8 and len(result.people) == 2
    shown, _ = preview_cast([], target, tmp_path / "preview.png", wanted)
    assert shown == 2


def test_nobody_in_a_clip_is_an_empty_cast(faceless_clip: Path, tmp_path: Path) -> None:
    tracks = find_people(faceless_clip, tmp_path / "cast")
    assert tracks.people == () and tracks.tracks == ()
    assert isinstance(read_tracks(tmp_path / "cast"), Tracks)
    with pytest.raises(OutputExistsError, match="holds a cast already"):
        find_people(faceless_clip, tmp_path / "cast")
    strange = tmp_path / "mine"
    strange.mkdir()
    (strange / "letter.txt").write_text("dear")
    with pytest.raises(OutputExistsError, match="other files"):
        find_people(faceless_clip, strange)


def test_the_manifest_names_who_got_which_source(
    clip: Path, cast: Path, untrained: Path, tmp_path: Path
) -> None:
    assign(cast, {"p1": str(BOB)})
    output = tmp_path / "out.mp4"
    wanted = SwapOptions(checkpoint=untrained, cast=cast, end=0.2)
    vidswap.swap_video([], clip, output, wanted)
    said = json.dumps(verify_file(output).to_dict())
    assert '"person": "p1"' in said and '"source 1"' in said


def test_the_command_finds_assigns_and_tells(clip: Path, tmp_path: Path) -> None:
    folder, table = tmp_path / "cast", tmp_path / "people.csv"
    shutil.copyfile(ALICE, tmp_path / "alice.jpg")
    runner = CliRunner()
    made = runner.invoke(main, ["people", str(clip), "-o", str(folder), "--quiet"])
    assert made.exit_code == 0, made.output
    told = runner.invoke(
        main,
        ["people", str(folder), "--assign", f"p2={tmp_path / 'alice.jpg'}", "--csv", str(table)],
    )
    assert told.exit_code == 0, told.output
    assert 'source = "../alice.jpg"' in (folder / PLAN).read_text()
    rows = table.read_text().splitlines()
    assert rows[0].startswith("person,name,source,track,shot,start_seconds")
    assert len(rows) == 6 and sum("alice.jpg" in row for row in rows) == 2
    facts = json.loads(runner.invoke(main, ["people", str(folder), "--json"]).output)
    assert [person["id"] for person in facts["people"]] == ["p1", "p2"]
    assert (folder / SHEET).read_text().count("data:image/jpeg") >= 5
    (tmp_path / "edit.csv").write_text("in,out,person,source\n00:00:00:04,0.4,p1,alice.jpg\n")
    told = runner.invoke(main, ["people", str(folder), "--shots", str(tmp_path / "edit.csv")])
    assert told.exit_code == 0 and "1 shot added to" in told.output
    assert 'person = "p1"' in (folder / PLAN).read_text()
    for wrong, code in (
        ([str(folder), "--assign", "p2"], 2), ([str(folder), "--assign", "p9=keep"], 22),
        ([str(folder), "--assign", "p1=absent.jpg"], InputNotFoundError.exit_code),
        ([str(clip)], 2), ([str(folder), "p1=keep"], 2), ([str(folder), "-o", "x"], 2),
    ):  # fmt: skip
        assert runner.invoke(main, ["people", *wrong]).exit_code == code, wrong


def test_a_preview_shows_each_person_before_and_after_in_each_shot(
    clip: Path, cast: Path, untrained: Path, tmp_path: Path
) -> None:
    assign(cast, {"p1": str(BOB), "p2": str(ALICE)})
    output = tmp_path / "preview.png"
    flags = ["--cast", str(cast), "-o", str(output), "--checkpoint", str(untrained)]
    told = CliRunner().invoke(main, ["preview", str(clip), *flags])
    assert told.exit_code == 0 and "5 appearance(s)" in told.output, told.output
    sheet = read_picture(output).rgb
    assert sheet.shape == (2 * (TILE + 20), 3 * 2 * TILE, 3)
    before, after = sheet[:TILE, :TILE].astype(int), sheet[:TILE, TILE : 2 * TILE].astype(int)
    assert before.std() > 20 and np.abs(before - after).mean() > 1
    assert CliRunner().invoke(main, ["preview", str(clip), *flags, "--at", "1"]).exit_code == 2


def test_clean_knows_the_first_pass_of_a_run_that_ended_early(cast: Path, tmp_path: Path) -> None:
    left = auto_folder(tmp_path / "out.mp4")
    shutil.copytree(cast, left)
    assert "nothing to remove" in CliRunner().invoke(main, ["clean", str(tmp_path)]).output
    for path in (*left.iterdir(), left):
        os.utime(path, (1e9, 1e9))
    assert "kept" in CliRunner().invoke(main, ["clean", str(tmp_path)]).output
    (left / "letter.txt").write_text("dear")
    os.utime(left / "letter.txt", (1e9, 1e9))
    os.utime(left, (1e9, 1e9))
    assert "nothing" in CliRunner().invoke(main, ["clean", str(tmp_path), "--all"]).output
    (left / "letter.txt").unlink()
    os.utime(left, (1e9, 1e9))
    assert "removed" in CliRunner().invoke(main, ["clean", str(tmp_path), "--all"]).output
    assert not left.exists() and cast.exists()


def test_a_plan_can_be_tried_without_work(
    cast: Path, clip: Path, untrained: Path, tmp_path: Path
) -> None:
    assign(cast, {"p1": str(BOB)})
    short = options(untrained, cast=cast, end=0.2)
    plan = plan_swap([], clip, tmp_path / "out.mkv", short)
    assert plan.sources.used == (("kenji.jpg", 1),)
    auto = plan_swap([ALICE, BOB], clip, tmp_path / "out.mkv", replace(short, cast="auto"))
    assert dict(auto.sources.used) == {"nora.jpg": 1, "kenji.jpg": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cast"]


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@needs_chromium
def test_the_sheet_shows_everybody_on_a_telephone_and_on_paper(cast: Path) -> None:
    text = (cast / PLAN).read_text().replace('name = ""', 'name = "<b>Ann & \\"co\\"</b>"', 1)
    (cast / PLAN).write_text(text)
    write_sheet(read_plan(cast, look_options()))
    page = cast / SHEET
    with Browser() as browser:
        for width in (1200, 360):
            browser.open(page, width=width)
            assert browser.complaints == []
            assert all(url.startswith(("data:", "file:")) for url in browser.requests)
            assert browser.value("document.documentElement.scrollWidth") <= width
            assert browser.value("document.querySelectorAll('article').length") == 2
            assert browser.value(
                "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
            )
        assert browser.value("document.querySelectorAll('.strip rect').length") == 5
        assert browser.value("document.querySelector('h3').textContent").endswith(
            '<b>Ann & "co"</b>'
        )
        assert browser.pdf().startswith(b"%PDF")


def test_doubtful_tracks_come_first_and_say_why(cast: Path) -> None:
    tracks = read_tracks(cast)
    doubted = replace(tracks.tracks[0], doubts=("blurred", "could be p2"))
    write_tracks(replace(tracks, tracks=(doubted, *tracks.tracks[1:])), cast / TRACKS)
    write_sheet(read_plan(cast, look_options()))
    page = (cast / SHEET).read_text()
    assert page.index("Doubtful first") < page.index("could be p2") < page.index("<h2>People</h2>")
