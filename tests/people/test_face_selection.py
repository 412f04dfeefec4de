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
from vidswap.people.main_person import SeenFace, main_person
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


def test_without_identities_the_largest_face_is_kept_until_its_track_ends() -> None:
    chooser = LargestFace()
    assert tracks(chooser.choose(FRAME, [tracked(1, 20), tracked(2, 30)])) == [2]
    assert tracks(chooser.choose(FRAME, [tracked(1, 90), tracked(2, 30)])) == [2]
    assert tracks(chooser.choose(FRAME, [tracked(1, 90)])) == [1]
    assert chooser.choose(FRAME, []) == []
    assert tracks(chooser.choose(FRAME, [tracked(1, 10), tracked(3, 11)])) == [1]


def known(track: int, size: float, who: np.ndarray, certainty: float = 4.0) -> TrackedFace:
    """A face whose track has an identity."""
    face = face_of(size)
    return TrackedFace(track, face, face.landmarks, True, 0.0, who, certainty)


ALICE, BOB = np.eye(2, 128, dtype=np.float32) * 0.6  # 0.85 apart
ALICE_IN_THE_MIRROR = ALICE + np.float32(0.02)  # 0.23 from her


def test_the_largest_person_is_chosen_once_and_kept() -> None:
    chooser = LargestFace()
    assert tracks(chooser.choose(FRAME, [known(1, 20, BOB), known(2, 30, ALICE)])) == [2]
    assert tracks(chooser.choose(FRAME, [known(1, 90, BOB)])) == []  # she left: he is not taken
    assert tracks(chooser.choose(FRAME, [known(5, 10, ALICE), known(6, 90, BOB)])) == [5]


def test_a_person_who_is_seen_twice_is_taken_twice() -> None:
    faces = [known(1, 20, ALICE_IN_THE_MIRROR), known(2, 20, BOB), known(3, 20, ALICE)]
    assert tracks(NearestFace(ALICE, None).choose(FRAME, faces)) == [3, 1]
    assert sorted(tracks(LargestFace().choose(FRAME, [known(1, 30, ALICE), *faces[1:]]))) == [1, 3]


def test_of_two_people_who_look_alike_one_is_taken() -> None:
    sister = ALICE + 0.55 * np.eye(1, 128, 7, dtype=np.float32)[0]
    faces = [known(1, 20, sister), known(2, 20, ALICE)]
    assert tracks(NearestFace(ALICE, None).choose(FRAME, faces)) == [2]


def test_the_main_person_of_a_clip_is_who_takes_up_most_of_it() -> None:
    frames = [[SeenFace(80, BOB, 1.0)], [SeenFace(50, ALICE, 1.0)], [SeenFace(60, ALICE, 1.0)]]
    main = main_person(frames)
    assert main is not None and not main.alone
    np.testing.assert_allclose(main.identity, ALICE, atol=1e-6)
    assert main_person([[]]) is None
    alone = main_person([[SeenFace(80, BOB, 1.0)]])
    assert alone is not None and alone.alone
    chooser = LargestFace(None, main)
    assert tracks(chooser.choose(FRAME, [known(1, 90, BOB), known(2, 30, ALICE)])) == [2]


def test_a_doubtful_track_is_judged_again_once_more_of_it_was_seen() -> None:
    chooser = NearestFace(ALICE, None)
    unclear = ALICE + 0.65 * np.eye(1, 128, 9, dtype=np.float32)[0]
    assert chooser.choose(FRAME, [known(1, 20, unclear, 0.4)]) == []
    assert tracks(chooser.choose(FRAME, [known(1, 20, ALICE, 2.0)])) == [1]
    assert tracks(chooser.choose(FRAME, [known(1, 20, ALICE, 4.0)])) == [1]
    assert tracks(chooser.choose(FRAME, [known(1, 20, BOB, 5.0)])) == [1]  # settled


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
