"""Which of a frame's faces are to be swapped: `--face largest | all | PICTURE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import InputNotFoundError
from vidswap.faces.tracking import TrackedFace
from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.people.embedding import FaceEmbedder, FaceNets
from vidswap.people.source import SourceReader
from vidswap.runtime.inputs import check_readable

ChooserState = dict[int, float]  # a number per track id; plain data, safe to copy and pickle


class FaceChooser:
    """Chooses among the tracked faces of each frame; this one takes all of them.

    The contract of every chooser:

    - `choose` is called once per frame, in order. It returns a subset of the faces it was given,
      possibly empty, the best match first.
    - The choice follows tracks: it changes only when a track appears or disappears. After a cut,
      faces have new tracks and are chosen anew.
    - `state()` is all that is remembered. A chooser of the same kind that restores it makes the
      same choices from there on.
    """

    def choose(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> list[TrackedFace]:
        """The faces to swap of a frame (H, W, 3) uint8 RGB."""
        return list(faces)

    def state(self) -> ChooserState:
        """A copy of what is remembered of each track."""
        return {}

    def restore(self, state: Mapping[int, float]) -> None:
        """Continue from the `state()` of a chooser of the same kind."""

    @staticmethod
    def of(face: str | Path, nets: FaceNets) -> FaceChooser:
        """The chooser for `--face`: "largest", "all", or a picture of the person.

        Raises InputNotFoundError and NoFaceInSourceError.
        """
        if face == "all":
            return FaceChooser()
        reader = SourceReader.of(nets)
        person = person_of(face, reader, ("largest", "all"))
        return LargestFace() if person is None else NearestFace(person, reader)


class LargestFace(FaceChooser):
    """The largest face, until its track ends, even if another grows larger.

    State: the track that is kept, with the area of its face when it was chosen, in square pixels.
    """

    def __init__(self) -> None:
        self._kept: ChooserState = {}

    def state(self) -> ChooserState:
        return dict(self._kept)

    def restore(self, state: Mapping[int, float]) -> None:
        self._kept = dict(state)

    def choose(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> list[TrackedFace]:
        kept = [face for face in faces if face.track_id in self._kept]
        if kept:
            return kept
        largest = sorted(faces, key=_area)[-1:]
        self._kept = {face.track_id: _area(face) for face in largest}
        return largest


class NearestFace(FaceChooser):
    """The face nearest to a person's embedding (128,), if it is near enough to be that person.

    State: of every track seen, the distance of its first face to the person.
    """

    def __init__(self, person: NDArray[np.float32], embedder: FaceEmbedder) -> None:
        self._person, self._embedder = person, embedder
        self._distances: ChooserState = {}

    def state(self) -> ChooserState:
        return dict(self._distances)

    def restore(self, state: Mapping[int, float]) -> None:
        self._distances = dict(state)

    def choose(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> list[TrackedFace]:
        for face in faces:
            if face.track_id not in self._distances:
                self._distances[face.track_id] = self._embedder.distance(
                    rgb, face.landmarks, self._person
                )
        near = [f for f in faces if self._distances[f.track_id] < SAME_PERSON_DISTANCE]
        return sorted(near, key=lambda f: self._distances[f.track_id])[:1]


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
