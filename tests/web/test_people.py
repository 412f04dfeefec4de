"""The people of a cast folder on the page: the same folder as the command line's, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.web.serving import Served, serving
from vidswap.batch.manifest import Job
from vidswap.batch.records import JobError
from vidswap.batch.state import StateFolder, state_folder_of
from vidswap.digest import file_sha256
from vidswap.errors import BadOptionError, CastError
from vidswap.people.plan import begin_plan, read_plan
from vidswap.people.tracks import TRACKS, ClipFacts, TrackRecord, Tracks, write_tracks
from vidswap.swap.look import look_options
from vidswap.swap.request import SwapRequest
from vidswap.web.people import assign_source, cast_folder_for, people_of, plan_within
from vidswap.web.roots import OutsideError, Roots
from vidswap.web.settings import request_of_page

FPS = 25


def track(number: int, person: str, first: int, last: int) -> TrackRecord:
    embedding = np.eye(128, dtype=np.float32)[number]
    return TrackRecord(
        id=number, shot=0, start=first / FPS, end=last / FPS, frames=last - first + 1,
        times=np.array([first / FPS, last / FPS]),
        boxes=np.array([[10, 10, 90, 90]] * 2, np.float32),
        poses=np.zeros((1, 4), np.float32), sharpness=50.0, pixels=80.0, certainty=3.0,
        embedding=embedding, doubts=("turned away",) if number == 3 else (), person=person,
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    shots = tmp_path / "shots"
    (shots / "cast").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(b"private")
    (shots / "alice.vsid").write_bytes(b"alice")
    (shots / "film.mp4").write_bytes(b"a film")
    sha256 = file_sha256(shots / "film.mp4")
    tracks = Tracks(
        clip=ClipFacts("film.mp4", sha256, (320, 240), 100, 99 / FPS),
        nets={}, version="1", shots=((0.0, 2.0), (2.0, 3.96)),
        tracks=(track(1, "p1", 0, 49), track(2, "p2", 10, 30), track(3, "p1", 60, 99)),
        people=("p1", "p2"),
    )  # fmt: skip
    write_tracks(tracks, shots / "cast" / TRACKS)
    (shots / "cast" / "people.toml").write_text(begin_plan(tracks))
    return tmp_path


@pytest.fixture
def roots(home: Path) -> Roots:
    return Roots([home / "shots"])


@pytest.fixture
def cast(home: Path) -> Path:
    return home / "shots" / "cast"


def test_everybody_is_shown_with_when_they_are_seen(cast: Path, roots: Roots) -> None:
    told = people_of(cast, roots)
    assert told["target"] == "film.mp4" and told["shots"] == [2.0]
    first, second = told["people"]
    assert (first["id"], first["doubtful"], first["sources"]) == ("p1", 1, [])
    assert first["spans"] == [[0.0, 1.96], [2.4, 3.96]] and second["spans"] == [[0.4, 1.2]]
    assert first["seconds"] > second["seconds"]


def test_what_is_assigned_on_the_page_the_command_line_reads(
    home: Path, cast: Path, roots: Roots
) -> None:
    before = (cast / "people.toml").read_text()
    assign_source(cast, "p2", home / "shots" / "alice.vsid", roots)
    text = (cast / "people.toml").read_text()
    assert 'source = "../alice.vsid"' in text
    comments = [line for line in before.splitlines() if line.startswith("#")]
    assert [line for line in text.splitlines() if line.startswith("#")] == comments
    plan = read_plan(cast, look_options())
    assert [path.resolve() for path in plan.people["p2"].sources] == [home / "shots/alice.vsid"]
    assert plan.people["p1"].sources == ()
    assert "alice.vsid" in (cast / "sheet.html").read_text()
    assert people_of(cast, roots)["people"][1]["sources"] == [str(home / "shots/alice.vsid")]
    assign_source(cast, "p2", None, roots)
    assert read_plan(cast, look_options()).people["p2"].sources == ()


def test_what_is_edited_by_hand_the_page_shows(home: Path, cast: Path, roots: Roots) -> None:
    path = cast / "people.toml"
    text = path.read_text().replace(
        '[p1]\nname = ""\nsource = ""', '[p1]\nname = "Ann"\nsource = "../alice.vsid"'
    )
    path.write_text(text)
    first = people_of(cast, roots)["people"][0]
    assert first["name"] == "Ann" and first["sources"] == [str(home / "shots/alice.vsid")]
    path.write_text(text + '\n[[override]]\nstart = "soon"\n')
    with pytest.raises(CastError, match="start is a time in seconds"):
        people_of(cast, roots)


@pytest.mark.parametrize(
    "line",
    [
        '[p1]\nsource = "../../secret.jpg"', '[p1]\nsource = "{home}/secret.jpg"',
        '[p1]\nsource = ["../alice.vsid", "../link.jpg"]',
        '[p1]\nsource = "../alice.vsid"\ncheckpoint = "../../secret.jpg"',
        '[p1]\nsource = ""\n[[override]]\ntracks = [3]\nsource = "../../secret.jpg"',
    ],
)  # fmt: skip
def test_a_plan_that_names_files_outside_is_not_followed(
    home: Path, cast: Path, roots: Roots, line: str
) -> None:
    (home / "shots" / "link.jpg").symlink_to(home / "secret.jpg")
    (cast / "people.toml").write_text(line.format(home=home))
    with pytest.raises(OutsideError, match="--root"):
        plan_within(cast, roots)
    with pytest.raises(OutsideError):
        assign_source(cast, "p1", home / "shots" / "alice.vsid", roots)


def test_nobody_is_invented(home: Path, cast: Path, roots: Roots) -> None:
    with pytest.raises(BadOptionError, match="no such person"):
        assign_source(cast, "p9", home / "shots" / "alice.vsid", roots)


def test_the_cast_of_a_target_is_found_again_and_another_files_is_left_alone(
    home: Path, cast: Path
) -> None:
    film, beside = home / "shots" / "film.mp4", home / "shots"
    assert cast_folder_for(film, beside) == (beside / "film-cast", False)
    cast.rename(beside / "film-cast")
    assert cast_folder_for(film, beside) == (beside / "film-cast", True)
    film.write_bytes(b"another film")
    assert cast_folder_for(film, beside) == (beside / "film-cast-2", False)


def test_a_cast_takes_the_place_of_sources(home: Path, cast: Path, roots: Roots) -> None:
    shots = home / "shots"
    given = {"sources": [str(shots / "alice.vsid")], "target": str(shots / "film.mp4")}
    request = request_of_page(given | {"options": {"cast": str(cast)}}, roots, 250)
    assert request.sources == () and request.options.cast == cast
    with pytest.raises(BadOptionError, match="Find the people"):
        request_of_page(given | {"options": {"cast": "auto"}}, roots, 250)
    with pytest.raises(OutsideError):
        request_of_page(given | {"options": {"cast": str(home)}}, roots, 250)


@pytest.fixture
def served(home: Path) -> Iterator[Served]:
    with serving(None, [home / "shots"], home / "work") as running:
        yield running


def test_the_page_assigns_by_the_server_and_is_told_what_is_wrong(
    served: Served, home: Path, cast: Path
) -> None:
    alice = str(home / "shots" / "alice.vsid")
    given = {"cast": str(cast), "person": "p1", "source": alice}
    told = served.ask("people", given).told
    assert told["people"][0]["sources"] == [alice]
    assert served.ask(f"people?path={cast}").told == told
    for changes, status, words in (
        ({"source": str(home / "secret.jpg")}, 403, "--root"), ({"cast": "/etc"}, 403, "--root"),
        ({"person": "p9"}, 400, "no such person"), ({"person": 7}, 400, "such as p1"),
        ({"cast": str(home / "shots")}, 400, "tracks.json"),
    ):  # fmt: skip
        answer = served.ask("people", given | changes)
        assert answer.status == status and words in answer.error, answer.content
    (cast / "people.toml").write_text('[p1]\nsource = "../../secret.jpg"\n')
    request = {
        "sources": [],
        "target": str(home / "shots/film.mp4"),
        "options": {"cast": str(cast)},
    }
    answer = served.ask("jobs", request)
    assert answer.status == 400 and "--root" in answer.error and b"private" not in answer.content


def test_jobs_of_a_batch_are_a_table(served: Served, home: Path) -> None:
    shots = home / "shots"
    manifest = shots / "night.jsonl"
    manifest.write_text("{}")
    state = StateFolder(state_folder_of(manifest))
    assert served.ask(f"batch?path={manifest}").status == 404
    state.make()
    assert "no job" in served.ask(f"batch?path={manifest}").error
    for n, (name, how) in enumerate(
        [("a", "done"), ("b", "failed"), ("c", "running"), ("d", "queued")], 1
    ):
        request = SwapRequest.of([shots / "alice.vsid"], shots / "film.mp4", shots / f"{name}.mp4")
        record = Job(n, request).record()
        why = JobError(9, "DiskFullError", "no space\x1b[31m left") if how == "failed" else None
        changed = {"state": how, "frames": 5 * n, "expected": 20, "error": why}
        state.write(type(record)(**{**vars(record), **changed}))
    for path in (manifest, state.path):
        told = served.ask(f"batch?path={path}").told
        assert [job["state"] for job in told["jobs"]] == ["done", "failed", "interrupted", "queued"]
        assert [job["frames"] for job in told["jobs"]] == [5, 10, 15, 20]
        assert told["jobs"][1]["error"] == "no space\\x1b[31m left"
        assert told["counts"]["interrupted"] == 1
        assert told["jobs"][0]["command"].startswith("vidswap run ")
