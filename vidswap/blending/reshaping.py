"""The target's face with the source's proportions: the inner face moved within its outline.

Laid on the target's mesh, the source's features get the target's distances, by which people are
recognised as well. So the picture is warped before the swap: the features come to where the source
has them, in the target's pose and expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.fields import EXACT_POINTS, SIZE, displaced, displacement
from vidswap.blending.reference import ReferenceShot
from vidswap.blending.warping import FaceCrop
from vidswap.faces.shape import FRAMES_ALIKE, LEAST_DOUBT, ShapeModel

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ShapeMoment:
    """What the next frame of a track goes on from: the mean of its `frames` meshes so far.

    mean (D,): coefficients of the `ShapeModel`.
    """

    index: int
    mean: FloatArray
    frames: int


class Reshaper:
    """Moves the features of one track's faces, in order of frames; `last` is all it remembers.

    share: how far they get the source's proportions, 0 to 1. points: those of the meshes that are
    known, by default all.
    """

    def __init__(
        self,
        shots: Sequence[ReferenceShot],
        share: float,
        last: ShapeMoment | None = None,
        points: NDArray[np.int64] | None = None,
    ) -> None:
        self.shots, self.last, self.share, self._points = shots, last, share, points
        self._model = ShapeModel.load()
        self._wanted = source_proportions(shots, self._model)

    def __call__(self, index: int, face: FaceCrop) -> FaceCrop:
        """The face of frame `index`, its picture, mesh and visibility moved."""
        pose = self._model.pose(face.landmarks)
        seen = self._model.coefficients(face.landmarks, pose)
        last, frames = self.last, 1
        if last is not None:
            frames = last.frames + 1
            seen = last.mean + (seen - last.mean) / frames
        self.last = ShapeMoment(index, seen, frames)
        doubt = max(1.0 / (1.0 + (frames - 1) / FRAMES_ALIKE), LEAST_DOUBT)
        own = self._model.proportions(seen, doubt)
        moved = self._model.moved(face.landmarks, self.share * (self._wanted - own), pose)
        return reshaped(face, moved, self._points)


def source_proportions(
    shots: Sequence[ReferenceShot], model: ShapeModel | None = None
) -> FloatArray:
    """The likeliest proportions (D,) of the person in these shots."""
    model = model or ShapeModel.load()
    meshes = [shot.shot.landmarks for shot in shots]
    mean = np.mean([model.coefficients(landmarks) for landmarks in meshes], axis=0)
    return model.proportions(mean, max(1.0 / len(meshes), LEAST_DOUBT))


def reshaped(
    face: FaceCrop, landmarks: NDArray[np.float32], points: NDArray[np.int64] | None = None
) -> FaceCrop:
    """The face warped so that its mesh comes to lie at `landmarks` (478, 2).

    points: those of the mesh that are known, by default all.
    """
    known = slice(None) if points is None else points
    field = displacement(
        landmarks[known], np.asarray(face.landmarks[known], np.float32), EXACT_POINTS[known]
    )
    visibility = face.visibility
    if visibility is not None:
        half = len(visibility)
        step = SIZE / half
        rows, columns = np.mgrid[:half, :half].astype(np.float32)
        small = cv2.resize(field, (half, half), interpolation=cv2.INTER_AREA) / np.float32(step)
        visibility = np.asarray(
            cv2.remap(
                visibility, columns + small[..., 0], rows + small[..., 1],
                cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
            ),
            np.float32,
        )  # fmt: skip
    return FaceCrop(displaced(face.crop, field), landmarks, visibility)
