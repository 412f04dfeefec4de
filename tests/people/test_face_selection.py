"""Which faces are swapped, on tracks whose faces and likeness are given."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.photographs import astronaut, grace_hopper
from vidswap.errors import InputNotFoundError
from vidswap.faces.detection import Face
from vidswap.faces.tracking import TrackedFace
from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.media.picture import write_picture
from vidswap.people.embedding import (
    FaceEmbedder,
    as_array,
    face_size,
    without_bystanders,
)
from vidswap.people.face_selection import FaceChooser, LargestFace, NearestFace, person_of
from vidswap.people.source import SourceReader

FRAME = np.zeros((8, 8, 3), np.uint8)
PERSON = np.zeros(128, np.float32)


def face_of(size: float, left: float = 0.0) -> Face:
    corners = np.float32([[left, 0], [left + size, size]])
    return Face(corners, None, 1.0)


def tracked(track: int, size: float, left: float = 0.0) -> TrackedFace:
    face = face_of(size, left)
    return TrackedFace(track, face, face.landmarks, True)


class KnownDistances(FaceEmbedder):
    """An embedder whose faces have a distance by their left edge; counts how often it is asked."""

    def __init__(self, distances: dict[float, float]) -> None:
        self.distances, self.asked = distances, 0

    def distance(self, rgb: Any, landmarks: Any, person: Any) -> float:
        self.asked += 1
        return self.distances[float(landmarks[0, 0])]


def tracks(faces: list[TrackedFace]) -> list[int]:
    return [face.track_id for face in faces]


def test_all_faces_are_taken_as_they_come() -> None:
    faces = [tracked(4, 10), tracked(2, 30)]
    chosen = FaceChooser().choose(FRAME, faces)
    assert [id(face) for face in chosen] == [id(face) for face in faces]


def test_the_largest_face_is_kept_until_its_track_ends() -> None:
    chooser = LargestFace()
    assert tracks(chooser.choose(FRAME, [tracked(1, 20), tracked(2, 30)])) == [2]
    assert tracks(chooser.choose(FRAME, [tracked(1, 90), tracked(2, 30)])) == [2]
    assert tracks(chooser.choose(FRAME, [tracked(1, 90)])) == [1]
    assert chooser.choose(FRAME, []) == []
    assert tracks(chooser.choose(FRAME, [tracked(1, 10), tracked(3, 11)])) == [3]


def test_the_nearest_face_is_taken_if_it_is_near_enough() -> None:
    embedder = KnownDistances({0.0: 0.5, 1.0: 0.3, 2.0: SAME_PERSON_DISTANCE})
    chooser = NearestFace(PERSON, embedder)
    assert tracks(chooser.choose(FRAME, [tracked(1, 9, 0.0), tracked(2, 9, 1.0)])) == [2]
    assert tracks(chooser.choose(FRAME, [tracked(1, 9, 0.0)])) == [1]
    assert chooser.choose(FRAME, [tracked(3, 9, 2.0)]) == []


def test_a_track_is_judged_by_its_first_face_alone() -> None:
    embedder = KnownDistances({0.0: 0.2, 1.0: 0.9})
    chooser = NearestFace(PERSON, embedder)
    for left in (0.0, 1.0, 1.0):
        assert tracks(chooser.choose(FRAME, [tracked(1, 9, left)])) == [1]
    assert embedder.asked == 1
    assert chooser.choose(FRAME, [tracked(2, 9, 1.0)]) == []


@pytest.mark.parametrize(
    "make",
    [FaceChooser, LargestFace, lambda: NearestFace(PERSON, KnownDistances({0.0: 0.2, 1.0: 0.1}))],
)
def test_another_chooser_goes_on_from_the_state_of_one(make: Callable[[], FaceChooser]) -> None:
    one, other = make(), make()
    one.choose(FRAME, [tracked(1, 20, 0.0), tracked(2, 30, 1.0)])
    kept = one.state()
    before = copy.deepcopy(kept)
    assert bool(kept) == (type(one) is not FaceChooser)  # who takes all remembers nothing
    assert pickle.loads(pickle.dumps(kept)) == kept
    assert all(type(track) is int and type(value) is float for track, value in kept.items())
    other.restore(kept)
    later = [tracked(1, 90, 0.0), tracked(2, 30, 1.0), tracked(5, 99, 1.0)]
    assert tracks(other.choose(FRAME, later)) == tracks(one.choose(FRAME, later))
    assert kept == before  # neither chooser writes to a state that was given out


def test_bystanders_are_much_smaller_than_the_largest_face() -> None:
    faces = [face_of(100), face_of(50), face_of(49)]
    assert [face_size(face) for face in without_bystanders(faces)] == [100, 50]


def test_only_a_picture_or_a_keyword_chooses(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="neither 'largest' nor 'all' nor a picture"):
        person_of(tmp_path / "absent.png", None, ("largest", "all"))  # type: ignore[arg-type]
    assert person_of("largest", None) is None  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def both() -> np.ndarray:
    """Two people beside each other, Grace Hopper the larger."""
    return np.concatenate([astronaut()[:500], grace_hopper()[:500]], axis=1)


def test_a_picture_of_either_person_chooses_that_person(both: np.ndarray, tmp_path: Path) -> None:
    with closing(SourceReader.load()) as reader:
        faces = reader.faces(both)
        assert len(faces) == 2
        assert [face_size(face) for face in faces] == sorted(map(face_size, faces), reverse=True)
        everyone = [TrackedFace(i, face, face.landmarks, True) for i, face in enumerate(faces)]
        for name, rgb in (("astronaut", astronaut()), ("hopper", grace_hopper())):
            path = tmp_path / f"{name}.png"
            write_picture(path, rgb)
            person = reader.person_in(path)
            (chosen,) = FaceChooser.of(path, reader).choose(both, everyone)
            nearest = reader.nearest(both, faces, person)
            assert nearest is chosen.face
            assert (chosen.face.box[0] < 512) == (name == "astronaut")
            assert reader.nearest(both, faces, person, below=0.0) is None
            own = as_array(reader.embed(both, chosen.face)[1])
            assert np.linalg.norm(own - person) == pytest.approx(
                reader.distance(both, chosen.face.landmarks, person)
            )
