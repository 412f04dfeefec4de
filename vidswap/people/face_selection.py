"""Which of a frame's faces are to be swapped: `--face largest | all | PICTURE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import InputNotFoundError
from vidswap.faces.tracking import TrackedFace
from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.people.embedding import FaceEmbedder, FaceNets, as_array
from vidswap.people.main_person import MainPerson
from vidswap.people.source import SourceReader
from vidswap.runtime.inputs import check_readable

ChooserState = dict[str, Any]  # plain data, safe to copy and pickle

# Mirrored, a face of LFW is at most 0.31 from itself (median 0.18); two people are more than 0.5.
ALIKE = 0.35
ALONE_DISTANCE = 0.7  # up to it a face is taken for the only person that a clip seems to show
HYSTERESIS = 0.05  # beyond the limit, before a chosen track is let go
SETTLED = 4.0  # certainty from which on a track's distance does not change any more
MOST_TRACKS = 256  # that are remembered


class FaceChooser:
    """Chooses among the tracked faces of each frame; this one takes all of them.

    The contract of every chooser:

    - `choose` is called once per frame, in order. It returns a subset of the faces it was given,
      possibly empty, the best match first.
    - The choice follows tracks: it changes when a track appears or disappears, or when more of a
      doubtful one was seen. After a cut, faces have new tracks and are chosen anew.
    - `state()` is all that is remembered. A chooser of the same kind that restores it makes the
      same choices from there on.
    """

    def choose(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> list[TrackedFace]:
        """The faces to swap of a frame (H, W, 3) uint8 RGB."""
        return list(faces)

    def state(self) -> ChooserState:
        """A copy of what is remembered of each track."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the `state()` of a chooser of the same kind."""

    @staticmethod
    def of(face: str | Path, nets: FaceNets, main: MainPerson | None = None) -> FaceChooser:
        """The chooser for `--face`: "largest", "all", or a picture of the person.

        main: the person of the clip whom "largest" means; by default the largest face of the first
        frame with a face. Raises InputNotFoundError and NoFaceInSourceError.
        """
        if face == "all":
            return FaceChooser()
        reader = SourceReader.of(nets)
        person = person_of(face, reader, ("largest", "all"))
        return LargestFace(reader, main) if person is None else NearestFace(person, reader)


class NearestFace(FaceChooser):
    """The face nearest to a person's embedding (128,), if it is near enough to be that person.

    A frame may show the person twice, as in a mirror: faces as good as equal to the nearest one
    are taken too. State: of every track, its distance to the person, and how certain that is.
    """

    def __init__(
        self,
        person: NDArray[np.float32],
        embedder: FaceEmbedder | None,
        near: float = SAME_PERSON_DISTANCE,
    ) -> None:
        self._person, self._embedder, self._near = person, embedder, near
        self._known: dict[int, tuple[float, float]] = {}

    def state(self) -> ChooserState:
        return {"known": {track: list(known) for track, known in self._known.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._known = {track: (known[0], known[1]) for track, known in state["known"].items()}

    def choose(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> list[TrackedFace]:
        before = self._known
        near = []
        for face in faces:
            was = before.get(face.track_id, (np.inf, 0.0))[0] < self._near
            limit = self._near + (HYSTERESIS if was else 0.0)
            if self._distance(rgb, face) < limit:
                near.append(face)
        self._known = dict(list(self._known.items())[-MOST_TRACKS:])
        near.sort(key=lambda face: self._known[face.track_id][0])
        return [face for n, face in enumerate(near) if n == 0 or are_alike(face, near[0])]

    def _distance(self, rgb: NDArray[np.uint8], face: TrackedFace) -> float:
        """From the person, by all that is known of the track up to now."""
        distance, certainty = self._known.get(face.track_id, (np.inf, -1.0))
        if certainty >= SETTLED or face.certainty <= certainty:
            return distance
        if face.identity is not None:
            distance = float(np.linalg.norm(face.identity - self._person))
        elif self._embedder is not None:
            distance = self._embedder.distance(rgb, face.landmarks, self._person)
        self._known[face.track_id] = (distance, face.certainty)
        return distance


class LargestFace(FaceChooser):
    """The person that a clip shows most, or whose face is the largest in its first frame with one.

    The person is chosen once and kept: who else comes into the picture is left alone, even once
    the person has left. State: that of `NearestFace`, the person (128,) and the track they were
    chosen by.
    """

    def __init__(
        self, embedder: FaceEmbedder | None = None, main: MainPerson | None = None
    ) -> None:
        self._embedder, self._main = embedder, main
        self._track: int | None = None
        self._certainty = 0.0
        self._person: NDArray[np.float32] | None = None if main is None else main.identity
        self._nearest = self._chooser()

    def state(self) -> ChooserState:
        return {
            "track": self._track,
            "certainty": self._certainty,
            "person": self._person,
            "nearest": None if self._nearest is None else self._nearest.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._track, self._certainty = state["track"], state["certainty"]
        self._person = state["person"]
        self._nearest = self._chooser()
        if self._nearest is not None and state["nearest"] is not None:
            self._nearest.restore(state["nearest"])

    def choose(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> list[TrackedFace]:
        if self._main is None:
            self._choose_person(rgb, faces)
        if self._nearest is None:  # nothing embeds faces: the track is all that is known of them
            return [face for face in faces if face.track_id == self._track]
        chosen = self._nearest.choose(rgb, faces)
        own = [face for face in faces if face.track_id == self._track]
        return own + [face for face in chosen if face not in own]

    def _choose_person(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> None:
        """By the largest face, once; then learn more of its track."""
        if self._track is None or (self._person is None and self._embedder is None):
            present = {face.track_id for face in faces}
            if faces and self._track not in present:
                self._track = max(faces, key=_area).track_id
        own = next((face for face in faces if face.track_id == self._track), None)
        if own is None or (self._person is not None and own.certainty <= self._certainty):
            return
        if own.identity is not None:
            self._person = own.identity
        elif self._embedder is not None:
            self._person = as_array(self._embedder.embed_mesh(rgb, own.landmarks)[1])
        self._certainty = own.certainty
        before, self._nearest = self._nearest, self._chooser()
        if before is not None and self._nearest is not None:
            self._nearest.restore(before.state())

    def _chooser(self) -> NearestFace | None:
        if self._person is None:
            return None
        alone = self._main is not None and self._main.alone
        near = ALONE_DISTANCE if alone else SAME_PERSON_DISTANCE
        return NearestFace(self._person, self._embedder, near)


def are_alike(one: TrackedFace, other: TrackedFace) -> bool:
    """Whether two faces of one frame are one person's, as in a mirror."""
    if one.identity is None or other.identity is None:
        return False
    return bool(np.linalg.norm(one.identity - other.identity) < ALIKE)


def person_of(
    face: str | Path, reader: SourceReader, keywords: Sequence[str] = ("largest",)
) -> NDArray[np.float32] | None:
    """The embedding (128,) of the person in the picture that `--face` names.

    keywords: what `face` may be instead of a picture; then there is no person to look for, None.
    Raises InputNotFoundError and NoFaceInSourceError.
    """
    if face in keywords:
        return None
    picture = Path(face)
    if picture.exists():
        check_readable(picture)
    if not picture.is_file():
        allowed = " nor ".join(repr(keyword) for keyword in keywords)
        raise InputNotFoundError(f"--face {face}: neither {allowed} nor a picture that exists")
    return reader.person_in(picture)


def _area(face: TrackedFace) -> float:
    extent = np.ptp(face.landmarks, axis=0)
    return float(extent[0] * extent[1])
