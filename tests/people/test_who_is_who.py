"""A person stays who they are: through cuts, dissolves, crossings, exits and mirrors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from tests.people.scenes import (
    FPS,
    TILE,
    A,
    B,
    Scene,
    Shown,
    exchanged_at_a_cut,
    exchanged_by_a_dissolve,
    frame_of,
    leaving,
    mirrored,
    passing,
)
from vidswap.animation.clip import portrait_path
from vidswap.faces.tracking import FaceTracker, TrackedFrame
from vidswap.people.embedding import FaceSampler
from vidswap.people.face_selection import FaceChooser, LargestFace, NearestFace
from vidswap.people.source import SourceReader


@pytest.fixture(scope="module")
def reader() -> Iterator[SourceReader]:
    with closing(SourceReader.load()) as loaded:
        yield loaded


def followed(reader: SourceReader, scene: Scene, frames: int) -> list[TrackedFrame]:
    tracker = FaceTracker(
        reader.detector, reader.landmark_finder, identity=FaceSampler(reader.encoder)
    )
    found = []
    for index in range(frames):
        found += tracker.update(index, frame_of(scene(index), index), index / FPS)
    return found + tracker.flush()


def name_at(shown: list[Shown], x: float) -> str | None:
    """Who is seen at a place; None where two people are mixed there, or meet."""
    near = [one for one in shown if abs(one.left + TILE / 2 - x) < TILE / 3 and one.share > 0.05]
    whole = [one for one in near if one.share > 0.95]
    return near[0].name if len(near) == 1 and (whole or len(shown) == 1) else None


def swapped_names(found: list[TrackedFrame], scene: Scene, chooser: FaceChooser) -> dict[int, list]:
    """Whose faces are taken, by frame."""
    names = {}
    for frame in found:
        chosen = chooser.choose(np.zeros((8, 8, 3), np.uint8), frame.faces)
        shown = list(scene(frame.index))
        names[frame.index] = [name_at(shown, float(f.landmarks[:, 0].mean())) for f in chosen]
    return names


@pytest.mark.parametrize(
    ("scene", "frames", "away"),
    [
        (exchanged_at_a_cut, 45, ()), (exchanged_by_a_dissolve, 56, range(29, 46)),
        (passing, 60, range(22, 40)), (leaving, 70, range(25, 50)),
    ],
)  # fmt: skip
def test_the_chosen_person_is_followed_and_nobody_else(
    reader: SourceReader, scene: Scene, frames: int, away: range
) -> None:
    person = reader.person_in(portrait_path(A))
    found = followed(reader, scene, frames)
    for chooser in (NearestFace(person, reader), LargestFace(reader)):
        chosen_by_size = isinstance(chooser, LargestFace)
        names = swapped_names(found, scene, chooser)
        who = A if not chosen_by_size else names[0][0]
        for index, taken in names.items():
            if index in away:
                assert set(taken) <= {who, None}, index
            else:
                assert taken == [who], (index, chosen_by_size)


def test_a_person_and_her_mirror_image_are_both_taken(reader: SourceReader) -> None:
    person = reader.person_in(portrait_path(A))
    found = followed(reader, mirrored, 8)
    for chooser in (NearestFace(person, reader), LargestFace(reader)):
        assert all(names == [A, A] for names in swapped_names(found, mirrored, chooser).values())


def test_when_the_chosen_person_leaves_nobody_else_is_taken(reader: SourceReader) -> None:
    def scene(index: int) -> list[Shown]:
        return [Shown(A, 20.0), Shown(B, 260.0)] if index < 15 else [Shown(B, 140.0)]

    person = reader.person_in(portrait_path(A))
    names = swapped_names(followed(reader, scene, 25), scene, NearestFace(person, reader))
    assert all(names[index] == [A] for index in range(15))
    assert all(names[index] == [] for index in range(15, 25))


def test_a_track_that_goes_on_as_another_person_is_split_where_that_happens(
    reader: SourceReader,
) -> None:
    found = followed(reader, exchanged_by_a_dissolve, 56)
    left = {
        frame.index: next(f.track_id for f in frame.faces if f.landmarks[:, 0].mean() < 240)
        for frame in found
        if frame.index < 30 or frame.index > 46
    }
    assert len({left[index] for index in range(30)}) == 1
    assert left[0] != left[50]


def test_a_tracker_that_embeds_nothing_follows_as_before(reader: SourceReader) -> None:
    tracker = FaceTracker(reader.detector, reader.landmark_finder)
    found = tracker.update(0, frame_of(mirrored(0), 0), 0.0) + tracker.flush()
    assert all(face.identity is None and face.certainty == 0 for face in found[0].faces)
