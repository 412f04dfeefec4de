"""people.toml: what it may say, what it then means, and every mistake named with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidswap.errors import CastError
from vidswap.people.plan import PLAN, assign, begin_plan, edit_plan, read_plan
from vidswap.people.tracks import (
    TRACKS,
    ClipFacts,
    TrackRecord,
    Tracks,
    read_tracks,
    write_tracks,
)
from vidswap.swap.look import look_options

SETTINGS = look_options()


def track(number: int, person: str, start: float, end: float, left: float = 0.0) -> TrackRecord:
    """A face that moves 100 pixels to the right while it is seen."""
    times = np.array([start, end])
    boxes = np.float32([[left, 10, left + 50, 60], [left + 100, 10, left + 150, 60]])
    poses = np.float32([[start, 3, -2, 1]])
    embedding = np.eye(1, 128, number, dtype=np.float32)[0]
    frames = round((end - start) * 25) + 1
    return TrackRecord(
        number, 0, start, end, frames, times, boxes, poses, 0.3, 50.0, 4.0, embedding, (), person
    )


def tracks() -> Tracks:
    """p1 is seen from 0 to 4 s and from 6 to 8 s, p2 beside them at first; p3 comes later."""
    found = (
        track(0, "p1", 0.0, 4.0), track(1, "p2", 0.0, 3.0, 300.0), track(2, "p1", 6.0, 8.0),
        track(3, "p3", 6.5, 8.0, 300.0),
    )  # fmt: skip
    clip = ClipFacts("film.mp4", "ab" * 32, (640, 360), 201, 8.0)
    together = {(0, 1): 0.0, (2, 3): 6.5}
    return Tracks(
        clip, {"identity": "net"}, "1", ((0.0, 8.0),), found, together, ("p1", "p2", "p3")
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tracks(tracks(), tmp_path / TRACKS)
    (tmp_path / PLAN).write_text(begin_plan(tracks()))
    for name in ("alice.png", "bob.png"):
        (tmp_path / name).write_bytes(b"picture")
    return tmp_path


def planned(folder: Path, text: str) -> Any:
    (folder / PLAN).write_text(text)
    return read_plan(folder, SETTINGS)


def test_a_new_plan_names_everybody_and_changes_nobody(folder: Path) -> None:
    plan = read_plan(folder, SETTINGS)
    assert list(plan.people) == ["p1", "p2", "p3"]
    assert not plan.all_sources()
    text = (folder / PLAN).read_text()
    assert "seconds = 6.1" in text and "first = 6.50" in text


def test_tracks_come_back_as_they_were_written(folder: Path) -> None:
    before, after = tracks(), read_tracks(folder)
    assert after.clip == before.clip and after.people == before.people
    assert after.together == before.together
    for one, other in zip(before.tracks, after.tracks, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes)
        np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-3)
        assert (one.id, one.person, one.start, one.end) == (
            other.id, other.person, other.start, other.end,
        )  # fmt: skip
    assert (folder / TRACKS).stat().st_mode & 0o077 == 0


def test_a_face_is_known_by_its_place_at_a_time() -> None:
    found = tracks()
    halfway = np.array([50.0, 10, 100, 60])
    beside = np.array([360.0, 10, 410, 60])
    assert found.match(2.0, [halfway, beside]) == [0, 1]
    assert found.match(2.0, [beside, halfway]) == [1, 0]
    assert found.match(5.0, [halfway]) == [None]  # nobody is there then
    assert found.match(2.0, [halfway + 400]) == [None]
    assert found.match(2.0, [halfway, halfway + 3]) == [0, None]  # a track has one face


def test_a_person_gets_a_source_and_settings(folder: Path) -> None:
    plan = planned(
        folder, '[p1]\nsource = "alice.png"\ncolour-match = 0.5\n[p2]\nsource = "keep"\n'
    )
    decision = plan.decide(0, 1.0)
    assert decision.person == "p1" and decision.sources == (folder / "alice.png",)
    assert decision.settings == {"colour_match": 0.5}
    assert plan.decide(1, 1.0).sources == () and plan.decide(3, 7.0).sources == ()


def test_several_sources_make_one_person(folder: Path) -> None:
    plan = planned(folder, '[p1]\nsource = ["alice.png", "bob.png"]\n')
    assert plan.decide(2, 7.0).sources == (folder / "alice.png", folder / "bob.png")


def test_a_merged_person_is_the_other(folder: Path) -> None:
    plan = planned(folder, '[p2]\nsource = "bob.png"\n[p3]\nsame_as = "p2"\n')
    assert plan.decide(3, 7.0).person == "p2"
    assert plan.decide(3, 7.0).sources == (folder / "bob.png",)


def test_overrides_hold_for_tracks_and_for_times(folder: Path) -> None:
    plan = planned(
        folder,
        """
        [p1]
        source = "alice.png"
        [[shot]]
        start = 0
        end = 2
        mask = "outline"
        [[override]]
        tracks = [2]
        person = "p2"
        source = "bob.png"
        [[override]]
        start = 1.0
        end = 3.0
        person = "p1"
        source = "keep"
        temporal_smoothing = 0.2
        """,
    )
    assert plan.decide(0, 0.5).sources == (folder / "alice.png",)
    assert plan.decide(0, 0.5).settings == {"mask": "outline"}
    assert plan.decide(0, 1.5).sources == ()
    assert plan.decide(0, 1.5).settings == {"mask": "outline", "temporal_smoothing": 0.2}
    assert plan.decide(0, 3.5).settings == {}
    assert (plan.decide(2, 7.0).person, plan.decide(2, 7.0).sources) == (
        "p2", (folder / "bob.png",),
    )  # fmt: skip
    assert plan.decide(1, 1.5).settings == {"mask": "outline"}


def test_an_assignment_keeps_comments_and_all_else(folder: Path) -> None:
    text = (
        '# mine\n[p1]  # the tall one\nname = "Ann"\nsource = ""\n\n[[shot]]\nstart = 1\nend = 2\n'
    )
    (folder / PLAN).write_text(text)
    assign(folder, {"p1": "alice.png", "p3": "bob.png"})
    edit_plan(folder, {"p1": {"name": "Anna"}})
    changed = (folder / PLAN).read_text()
    assert "# mine" in changed and "# the tall one" in changed and "[[shot]]" in changed
    plan = read_plan(folder, SETTINGS)
    assert plan.people["p1"].title == "p1 (Anna)"
    assert plan.people["p3"].sources == (folder / "bob.png",)
    with pytest.raises(CastError, match=r"p9 is nobody .* p1, p2, p3"):
        assign(folder, {"p9": "bob.png"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[p1]\nsource = \n", r"line 2, column"),
        ("[p1]\nsource = 3\n", r"line 2.*source is a path in quotes"),
        ("[p1]\n\nsauce = ''\n", r"line 3.*unknown key sauce; allowed: name, source, same_as"),
        ("[p1]\nsource = 'nobody.png'\n", r"line 2.*no such file"),
        ("[p4]\n", r"line 1.*p4 is nobody here; there are p1, p2, p3"),
        ("[person]\n", r"line 1.*not allowed"),
        ("[p1]\nname = 3\n", r"name is a text"),
        ("p1 = 3\n", r"line 1.*is no table"),
        ("[p1]\nmask = 'all'\n", r"line 2.*one of face, outline, square"),
        ("[p1]\ncolour_match = 7\n", r"line 2.*from 0 to 1"),
        ("[p1]\nsame_as = 'p2'\n", r"tracks 0 and 1 .* seen together at 0.00 s"),
        ("[p2]\nsame_as = 'p3'\nsource = 'bob.png'\n", r"line 2.*same_as and source"),
        ("[p2]\nsame_as = 'p2'\n", r"must be another of p1"),
        ("[p2]\nsame_as = 'p3'\n[p3]\nsame_as = 'p2'\n", r"circle"),
        ("[override]\nstart = 1\n", r"\[\[override\]\], in two brackets"),
        ("[[override]]\nsource = 'keep'\n", r"needs tracks, or start and end"),
        ("[[override]]\ntracks = [9]\n", r"there is no track"),
        ("[[override]]\ntracks = [2]\nperson = 'p3'\n", r"seen together at 6.50 s"),
        ("[[shot]]\nstart = 5\nend = 2\n", r"end after it starts"),
        ("[[shot]]\nstart = 'now'\n", r"line 2.*time in seconds"),
        ("[[shot]]\nperson = 'p1'\n", r"unknown key person; allowed: start, end, mask"),
        ("[[shot]]\nstart = nan\n", r"time in seconds"),
        ("\0", r"people.toml"),
    ],
)
def test_a_mistake_is_named_with_its_line(folder: Path, text: str, words: str) -> None:
    with pytest.raises(CastError, match=words) as caught:
        planned(folder, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 7}, {"tracks": "none"}, {"tracks": [{}]}, {"people": ["p1"]}, {"shots": []},
        {"people": ["p1", "p1", "p2", "p3"]}, {"together": [[0, 99, 1.0]]}, {"target": {}},
    ],
)  # fmt: skip
def test_altered_tracks_are_refused_in_one_line(folder: Path, change: dict[str, Any]) -> None:
    plain = json.loads((folder / TRACKS).read_text())
    (folder / TRACKS).write_text(json.dumps(plain | change))
    with pytest.raises(CastError, match=r"tracks\.json.*vidswap people"):
        read_plan(folder, SETTINGS)


def test_a_folder_that_holds_no_cast_says_so(tmp_path: Path) -> None:
    with pytest.raises(CastError, match=r"holds no tracks\.json"):
        read_plan(tmp_path, SETTINGS)
