"""The faces a report measures: tracked through the target, cropped from both clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import BadOptionError
from vidswap.faces.align import align_face, face_affine, invert_affine, warp_points
from vidswap.faces.detection import Face
from vidswap.faces.mesh import FACE_OVAL
from vidswap.faces.tracking import FaceTracker, TrackedFace
from vidswap.metrics.flow import FlowArea, square_affine
from vidswap.metrics.geometry import meshes_in_one_region
from vidswap.metrics.onnx_nets import POSE_BOX
from vidswap.people.embedding import FaceSampler
from vidswap.people.face_selection import FaceChooser, LargestFace, NearestFace, person_of
from vidswap.people.main_person import MainPerson
from vidswap.people.source import SourceReader
from vidswap.report.frames import FramePair
from vidswap.runtime.stage_clock import StageClock

Picture = NDArray[np.uint8]
Affine = NDArray[np.float64]
Two = tuple[Picture, Picture]

_POSE_CROP = 224  # pixels


@dataclass(frozen=True, eq=False)
class AreaPictures:
    """The flow's area of both clips, and the affine (2, 3) from it to the aligned crop."""

    pictures: Two
    to_crop: Affine


@dataclass(frozen=True, eq=False)
class PairedFace:
    """The face of a frame of target and swap.

    before, after: its mesh in either, None where none was found. crops: both aligned by the
    target's landmarks, (256, 256, 3) uint8. outline: the face oval (N, 2) in them. heads: upright
    squares of both for a pose net, where there is one.
    """

    track: int
    before: Face | None
    after: Face | None
    crops: Two
    outline: NDArray[np.floating]
    heads: Two | None = None


@dataclass(frozen=True, eq=False)
class MeasuredFrame:
    """What is kept of a pair of frames to measure: nothing of their full size.

    person: whose face it is, the number of one of those that are measured.
    """

    index: int
    seconds: float
    face: PairedFace | None
    area: AreaPictures | None
    person: int = 0


class FaceChoice(Protocol):
    """Says which of a frame's faces are measured; `count` persons are."""

    count: int

    def of_frame(
        self, pair: FramePair, faces: Sequence[TrackedFace]
    ) -> Sequence[TrackedFace | None]:
        """The face of each person in a frame, None for who is not there."""
        ...


class OneFace:
    """The first face that a chooser takes."""

    count = 1

    def __init__(self, chooser: FaceChooser) -> None:
        self._chooser = chooser

    def of_frame(
        self, pair: FramePair, faces: Sequence[TrackedFace]
    ) -> Sequence[TrackedFace | None]:
        chosen = self._chooser.choose(pair.target, faces)
        return [chosen[0] if chosen else None]


@dataclass(eq=False)
class Followed:
    """How a person's face was followed.

    tracks: the tracks that were measured and the times in seconds at which they began to be.
    flow_ended: when the face left the flow's area, None if it never did.
    """

    tracks: list[tuple[int, float]] = field(default_factory=list)
    flow_ended: float | None = None
    flow_area: FlowArea = field(default_factory=FlowArea)


def chooser_of(
    face: str | Path, reader: SourceReader, main: MainPerson | None = None
) -> FaceChooser:
    """Whose face is measured: "largest", which is `main` where known, or a picture of the person.

    Raises InputNotFoundError, BadOptionError.
    """
    if face == "all":
        raise BadOptionError("--face all: a report measures one face; give largest or a PICTURE")
    person = person_of(face, reader)
    return LargestFace(reader, main) if person is None else NearestFace(person, reader)


class FaceWatch:
    """Follows the chosen faces through pairs of frames; iterate once, over frames by persons.

    Once iterated: `followed`, of each person; `crowded`, the frames with several faces.
    """

    def __init__(
        self,
        pairs: Iterable[FramePair],
        reader: SourceReader,
        choice: FaceChoice,
        clock: StageClock,
        heads: bool = False,
    ) -> None:
        self._pairs, self._reader, self._choice = pairs, reader, choice
        self._clock, self._heads = clock, heads
        self.followed = [Followed() for _ in range(choice.count)]
        self.crowded = 0

    def __iter__(self) -> Iterator[MeasuredFrame]:
        tracker = FaceTracker(
            self._reader.detector, self._reader.landmark_finder,
            identity=FaceSampler(self._reader.encoder),
        )  # fmt: skip
        waiting: deque[FramePair] = deque()
        for pair in self._pairs:
            waiting.append(pair)
            with self._clock("track"):
                answers = tracker.update(pair.index, pair.target, pair.seconds)
            for found in answers:
                yield from self._frame(waiting.popleft(), found.faces)
        with self._clock("track"):
            answers = tracker.flush()
        for found in answers:
            yield from self._frame(waiting.popleft(), found.faces)

    def _frame(self, pair: FramePair, faces: list[TrackedFace]) -> Iterator[MeasuredFrame]:
        self.crowded += len(faces) > 1
        for person, face in enumerate(self._choice.of_frame(pair, faces)):
            followed = self.followed[person]
            if face is not None and face.track_id not in [track for track, _ in followed.tracks]:
                followed.tracks.append((face.track_id, pair.seconds))
            yield MeasuredFrame(
                pair.index,
                pair.seconds,
                self._paired(pair, face) if face is not None else None,
                self._area(pair, face, followed),
                person,
            )

    def _paired(self, pair: FramePair, tracked: TrackedFace) -> PairedFace:
        with self._clock("landmarks"):
            meshes = meshes_in_one_region(
                pair.target, pair.swapped, tracked.face, self._reader.landmark_finder
            )
        with self._clock("crops"):
            affine = face_affine(tracked.landmarks)
            crops = (align_face(pair.target, affine), align_face(pair.swapped, affine))
            outline = warp_points(affine, tracked.landmarks[list(FACE_OVAL)])
            heads = self._upright(pair, tracked.face) if self._heads else None
        return PairedFace(tracked.track_id, *meshes, crops, outline, heads)

    def _area(
        self, pair: FramePair, tracked: TrackedFace | None, followed: Followed
    ) -> AreaPictures | None:
        """The flow's area, until the face has left it (AP-GAN, IV.C)."""
        followed.flow_area.look(None if tracked is None else tracked.face.box)
        if followed.flow_area.left and followed.flow_ended is None:
            followed.flow_ended = pair.seconds
        affine = followed.flow_area.affine
        if affine is None or tracked is None:
            return None
        with self._clock("crops"):
            pictures = (align_face(pair.target, affine), align_face(pair.swapped, affine))
        to_crop = _joined(invert_affine(affine), face_affine(tracked.landmarks))
        return AreaPictures(pictures, to_crop)

    def _upright(self, pair: FramePair, face: Face) -> Two:
        corners = np.asarray(face.box, np.float64).reshape(2, 2)
        half = POSE_BOX * float((corners[1] - corners[0]).max()) / 2.0
        centre = corners.mean(axis=0)
        affine = square_affine(np.concatenate([centre - half, centre + half]), 256)
        return (
            align_face(pair.target, affine, _POSE_CROP),
            align_face(pair.swapped, affine, _POSE_CROP),
        )


def _joined(first: Affine, second: Affine) -> Affine:
    """The affine (2, 3) of `first`, then `second`."""
    linear = second[:, :2] @ first[:, :2]
    return np.column_stack([linear, second[:, :2] @ first[:, 2] + second[:, 2]])
