"""The face a report measures: tracked through the target, cropped from both clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

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
    """What is kept of a pair of frames to measure: nothing of their full size."""

    index: int
    seconds: float
    face: PairedFace | None
    area: AreaPictures | None


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
    """Follows the chosen face through pairs of frames; iterate once.

    Once iterated: `tracks`, the times in seconds at which another person's face began to be
    measured; `crowded`, the frames with several faces; `flow_ended`, when the face left the
    flow's area (None if it never did).
    """

    def __init__(
        self,
        pairs: Iterable[FramePair],
        reader: SourceReader,
        chooser: FaceChooser,
        clock: StageClock,
        heads: bool = False,
    ) -> None:
        self._pairs, self._reader, self._chooser = pairs, reader, chooser
        self._clock, self._heads = clock, heads
        self._flow_area = FlowArea()
        self.tracks: list[tuple[int, float]] = []
        self.crowded = 0
        self.flow_ended: float | None = None

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
                yield self._frame(waiting.popleft(), found.faces)
        with self._clock("track"):
            answers = tracker.flush()
        for found in answers:
            yield self._frame(waiting.popleft(), found.faces)

    def _frame(self, pair: FramePair, faces: list[TrackedFace]) -> MeasuredFrame:
        self.crowded += len(faces) > 1
        chosen = self._chooser.choose(pair.target, faces)
        face = chosen[0] if chosen else None
        if face is not None and face.track_id not in [track for track, _ in self.tracks]:
            self.tracks.append((face.track_id, pair.seconds))
        return MeasuredFrame(
            pair.index,
            pair.seconds,
            self._paired(pair, face) if face is not None else None,
            self._area(pair, face),
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

    def _area(self, pair: FramePair, tracked: TrackedFace | None) -> AreaPictures | None:
        """The flow's area, until the face has left it (AP-GAN, IV.C)."""
        self._flow_area.look(None if tracked is None else tracked.face.box)
        if self._flow_area.left and self.flow_ended is None:
            self.flow_ended = pair.seconds
        affine = self._flow_area.affine
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
