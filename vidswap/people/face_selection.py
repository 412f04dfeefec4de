"""Which of a frame's faces are to be swapped: `--face largest | all | PICTURE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import InputNotFoundError
from vidswap.faces.align import align_face, face_affine
from vidswap.faces.tracking import TrackedFace
from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.identity.encoder import IdentityEncoder
from vidswap.nets import Nets
from vidswap.people.source import SourceReader, embed_crop


class FaceChooser:
    """Chooses among the tracked faces of each frame; a choice holds as long as the track does."""

    def choose(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> list[TrackedFace]:
        """The faces of this frame to swap."""
        return list(faces)

    def state(self) -> Any:
        """What another chooser of the same kind needs to go on from here; do not write to it."""
        return None

    def restore(self, state: Any) -> None:
        """Go on from another chooser's `state()`."""

    @staticmethod
    def of(face: str | Path, nets: Nets) -> FaceChooser:
        """The chooser for `--face`: "largest", "all", or a picture of the person."""
        if face == "all":
            return FaceChooser()
        if face == "largest":
            return LargestFace()
        picture = Path(face)
        if not picture.is_file():
            raise InputNotFoundError(
                f"--face {face}: neither 'largest' nor 'all' nor a picture that exists"
            )
        reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
        reference = reader.read([picture], choose="largest").identity.embedding[0].cpu().numpy()
        return NearestFace(reference, nets.encoder)


class LargestFace(FaceChooser):
    """The largest face; it is kept until its track ends, even if another grows larger."""

    def __init__(self) -> None:
        self._track: int | None = None

    def state(self) -> Any:
        return self._track

    def restore(self, state: Any) -> None:
        self._track = state

    def choose(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> list[TrackedFace]:
        kept = [f for f in faces if f.track_id == self._track]
        if kept:
            return kept
        largest = sorted(faces, key=_area)[-1:]
        self._track = largest[0].track_id if largest else None
        return largest


class NearestFace(FaceChooser):
    """The face nearest to a reference embedding (128,), if it is near enough to be that person."""

    def __init__(self, reference: NDArray[np.float32], encoder: IdentityEncoder) -> None:
        self._reference, self._encoder = reference, encoder
        self._distances: dict[int, float] = {}

    def state(self) -> Any:
        return self._distances

    def restore(self, state: Any) -> None:
        self._distances = dict(state)

    def choose(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> list[TrackedFace]:
        for face in faces:
            if face.track_id not in self._distances:
                self._distances[face.track_id] = self._distance(rgb, face)
        near = [f for f in faces if self._distances[f.track_id] < SAME_PERSON_DISTANCE]
        return sorted(near, key=lambda f: self._distances[f.track_id])[:1]

    def _distance(self, rgb: NDArray[np.uint8], face: TrackedFace) -> float:
        crop = align_face(rgb, face_affine(face.landmarks))
        embedding = embed_crop(self._encoder, crop).embedding[0].cpu().numpy()
        return float(np.linalg.norm(embedding - self._reference))


def _area(face: TrackedFace) -> float:
    extent = np.ptp(face.landmarks, axis=0)
    return float(extent[0] * extent[1])
