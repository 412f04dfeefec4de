"""What a face is to the rest of the library, and what a detector has to offer.

A detector finds boxes; a landmark finder turns a box, or the same face in the frame before, into
the 478-point mesh. Both are stateless: the same picture always gives the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Detection:
    """A face found in a frame.

    `box` is (left, top, right, bottom) float32 in pixels. `keypoints` (K, 2) float32 begins with
    the two eyes, the right one (left in the picture) first. `score` is in [0, 1].
    """

    box: FloatArray
    keypoints: FloatArray
    score: float


@dataclass(frozen=True, eq=False)
class Face:
    """The mesh of one face.

    `landmarks` (478, 2) float32, pixels of the upright frame, pixel centres at integers, numbered
    as in `mesh`. `landmarks_z` (478,) float32, depth in the same pixels, smaller is nearer; None
    where the net gives none. `score` in [0, 1] says how sure the net is that this is a face.
    """

    landmarks: FloatArray
    landmarks_z: FloatArray | None
    score: float

    @property
    def box(self) -> FloatArray:
        """(left, top, right, bottom) around all landmarks, float32 pixels."""
        return np.concatenate([self.landmarks.min(axis=0), self.landmarks.max(axis=0)])


class FaceDetector(Protocol):
    """Finds the faces of a frame."""

    def detect(self, rgb: Image) -> list[Detection]:
        """Faces in `rgb` (H, W, 3) uint8, the best score first; an empty list if there is none."""

    def close(self) -> None:
        """Free the net; the detector cannot be used afterwards."""


class LandmarkFinder(Protocol):
    """Finds the mesh of a face whose place is roughly known."""

    def landmarks(self, rgb: Image, region: Detection | Face) -> Face | None:
        """The face near `region` in `rgb` (H, W, 3) uint8, or None if there is none.

        `region` is a detection in this frame or the face as it was in a neighbouring frame.
        """

    def close(self) -> None:
        """Free the net; the finder cannot be used afterwards."""


def find_landmarks(
    finder: LandmarkFinder, requests: Sequence[tuple[Image, Detection | Face]]
) -> list[Face | None]:
    """The face of each frame and region, in one call of the net where the finder offers that.

    Such a finder has `landmarks_batch(requests)` besides `landmarks`, with the same answers.
    """
    together = getattr(finder, "landmarks_batch", None)
    if together is not None:
        return list(together(requests))
    return [finder.landmarks(rgb, region) for rgb, region in requests]


def box_overlap(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Intersection over union, in [0, 1], of two boxes (left, top, right, bottom)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = float(width * height)
    return shared / (_area(one) + _area(other) - shared)


def _area(box: NDArray[np.floating]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
