"""A face's own proportions, told from pose and expression on its mesh.

A mesh laid over the canonical one leaves, pose taken out, how every feature lies otherwise than in
the mean face: the person's proportions and the moment's expression in one. How both vary was
measured on photographs of the same and of different people (`pipelines/fitting/face_shape.py`), so
that the likeliest proportions follow from few meshes: the linear estimate of least mean square
error (as the two-covariance model of speaker and face verification has it: Prince and Elder, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh
from vidswap.faces.pose import STABLE_POINTS, PoseFit, canonical_mesh, fit_pose

FloatArray = NDArray[np.float64]

# (upper, lower) points that open and shut with an expression, and keep their gap.
LIDS_AND_LIPS = np.array(
    [
        *((246, 7), (161, 163), (160, 144), (159, 145), (158, 153), (157, 154), (173, 155)),
        *((466, 249), (388, 390), (387, 373), (386, 374), (385, 380), (384, 381), (398, 382)),
        *((191, 95), (80, 88), (81, 178), (82, 87), (13, 14), (312, 317), (311, 402), (310, 318)),
        (415, 324),
    ]
)
# Of two meshes of one clip the second one tells less than a new photograph would.
FRAMES_ALIKE = 25.0  # until the expression is another
LEAST_DOUBT = 0.5  # share of what expression makes uncertain that no number of frames takes away


@dataclass(frozen=True, eq=False)
class ShapeModel:
    """How the features of faces vary, in the units of the canonical mesh.

    points: the K mesh points that are known of it, of which the irises are none. mean (K * 2,): of
    all faces. basis (K * 2, D): of what varies. between, within (D, D): covariance of people's
    proportions, and of one person's pictures. spread (478, K'): how the shifts of its K' points
    within the outline move the whole mesh.
    """

    points: NDArray[np.int64]
    mean: FloatArray
    basis: FloatArray
    between: FloatArray
    within: FloatArray
    spread: FloatArray

    @classmethod
    @cache
    def load(cls) -> ShapeModel:
        """The one of the package."""
        with np.load(Path(__file__).with_name("face_shape.npz"), allow_pickle=False) as arrays:
            return cls(
                points=arrays["points"].astype(np.int64),
                **{
                    name: arrays[name].astype(np.float64)
                    for name in ("mean", "basis", "between", "within", "spread")
                },
            )

    @cached_property
    def inner(self) -> NDArray[np.intp]:
        """Which of its points are no part of the outline (K',)."""
        return np.flatnonzero(~np.isin(self.points, mesh.FACE_OVAL))

    def pose(self, landmarks: NDArray[np.floating]) -> PoseFit:
        """How the canonical mesh lies over a mesh (478, 2) in pixels."""
        return pose_by(landmarks, self.points)

    def coefficients(
        self, landmarks: NDArray[np.floating], pose: PoseFit | None = None
    ) -> FloatArray:
        """How a mesh (478, 2) in pixels differs from the mean face, its `pose` taken out: (D,)."""
        differences = without_pose(landmarks, self.points, pose)
        return (differences.ravel() - self.mean) @ self.basis

    def proportions(self, mean_coefficients: FloatArray, doubt: float) -> FloatArray:
        """The likeliest proportions (D,) of a person whose meshes have this mean.

        doubt: share of the variance within a person that is left in the mean, 1 for one mesh and
        1 / n for n independent ones.
        """
        spread = self.between + doubt * self.within
        return np.asarray(self.between @ np.linalg.solve(spread, mean_coefficients), np.float64)

    def moved(
        self,
        landmarks: NDArray[np.floating],
        difference: FloatArray,
        pose: PoseFit | None = None,
    ) -> NDArray[np.float32]:
        """The mesh (478, 2) in pixels with its features moved by a difference of proportions (D,).

        The outline stays, what lies between it and the features follows smoothly, and eyes and
        mouth stay as far open as they are.
        """
        shift = self.spread @ (self.basis @ difference).reshape(-1, 2)[self.inner]
        upper, lower = LIDS_AND_LIPS.T
        shift[upper] = shift[lower] = (shift[upper] + shift[lower]) / 2.0
        pose = pose or self.pose(landmarks)
        moved = landmarks + pose.scale * shift @ pose.rotation[:2, :2].T
        return np.asarray(moved, np.float32)


def without_pose(
    landmarks: NDArray[np.floating], points: NDArray[np.int64], pose: PoseFit | None = None
) -> FloatArray:
    """Where points of a mesh lie beside those of the canonical one, seen from the front (K, 2).

    In its units. What lies in depth cannot be seen from one side and is left out.
    """
    pose = pose or pose_by(landmarks, points)
    canonical = canonical_mesh().astype(np.float64)[points]
    beside = (landmarks[points] - pose.project(canonical)[:, :2]) / pose.scale
    return np.asarray(np.linalg.solve(pose.rotation[:2, :2], beside.T).T, np.float64)


def pose_by(landmarks: NDArray[np.floating], points: NDArray[np.int64]) -> PoseFit:
    """The pose of a mesh (478, 2) by those of these points that no expression moves."""
    stable = np.intersect1d(STABLE_POINTS, points)
    return fit_pose(landmarks[stable], canonical_mesh()[stable])
