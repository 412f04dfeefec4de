"""Pose and expression in numbers, measured on the 478-point mesh."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh

FloatArray = NDArray[np.float64]

# Points that neither lids, lips nor brows move: eye corners, nose, temples, forehead, cheekbones.
STABLE_POINTS = np.array(
    [
        *(33, 133, 263, 362),  # eye corners
        *(168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 129, 358),  # nose
        *(127, 356, 234, 454, 93, 323),  # temples and in front of the ears
        *(10, 109, 338, 54, 284),  # forehead
        *(117, 346, 50, 280, 101, 330),  # cheekbones
    ]
)
FIT_ROUNDS = 10

# (upper, lower) pairs of lid points, from the outer to the inner third of each eye.
_RIGHT_LIDS = np.array([(160, 144), (159, 145), (158, 153)])
_LEFT_LIDS = np.array([(387, 373), (386, 374), (385, 380)])
_LIPS = np.array([(82, 87), (13, 14), (312, 317)])  # inner contour
_BETWEEN_BROWS, _CHIN = 168, 152
# How much further, in eye widths, one eye may be open than the other in a mesh of a face whose
# eyes shut together, and from which difference on it winks.
BLINK, WINK = 0.08, 0.14


@dataclass(frozen=True)
class HeadPose:
    """Degrees, as seen in the picture.

    `yaw` is positive when the face is turned to the picture's right, `pitch` when it looks up,
    `roll` when the head is tilted clockwise. All are zero for a face that looks into the camera.
    """

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True, eq=False)
class PoseFit:
    """The rotation (3, 3), scale and shift (2,) that lay the canonical mesh over a face.

    A canonical point p comes to `scale * (rotation @ p)[:2] + shift` in pixels.
    """

    rotation: FloatArray
    scale: float
    shift: FloatArray

    def project(self, points: NDArray[np.floating]) -> FloatArray:
        """Canonical points (N, 3) in the picture: (N, 3) pixels, the third one depth."""
        turned = self.scale * np.asarray(points, np.float64) @ self.rotation.T
        turned[:, :2] += self.shift
        return turned


@cache
def canonical_mesh() -> NDArray[np.float32]:
    """The mean face (478, 3), seen from the front: x right, y down, z away from the viewer.

    The unit is the distance of the outer eye corners, whose middle is the origin. It is the mean of
    the meshes of 1,800 pictures (`pipelines/fitting/canonical_mesh.py`).
    """
    points: NDArray[np.float32] = np.load(Path(__file__).with_name("canonical_mesh.npy"))
    points.setflags(write=False)
    return points


@cache
def mirrored_points() -> NDArray[np.int64]:
    """For every mesh point the one on the other side (478,), from the canonical mesh's symmetry."""
    points = canonical_mesh().astype(np.float64)
    other = points * [-1.0, 1.0, 1.0]
    distance = np.linalg.norm(other[:, None] - points[None], axis=2)
    return np.asarray(distance.argmin(axis=1), np.int64)


def fit_pose(points: NDArray[np.floating], model: NDArray[np.floating]) -> PoseFit:
    """Lay `model` (N, 3) over `points` (N, 2) pixels: scaled orthographic projection.

    Least squares over rotation, scale and shift. The affine fit, made orthonormal, is the first
    guess. The picture lacks the points' depth, so that is taken from the model as turned so far and
    the rigid fit repeated (the idea of POSIT, DeMenthon and Davis, 1995).
    """
    shape = np.asarray(model, np.float64)
    centre, centroid = shape.mean(axis=0), np.asarray(points, np.float64).mean(axis=0)
    q, p = shape - centre, points - centroid
    affine = np.linalg.lstsq(q, p, rcond=None)[0].T
    left, stretch, right = np.linalg.svd(affine, full_matrices=False)
    across = left @ right
    rotation = np.vstack([across, np.cross(across[0], across[1])])
    scale = float(stretch.mean())
    for _ in range(FIT_ROUNDS):
        depth = scale * q @ rotation[2]
        rotation, scale = _rigid_fit(q, np.column_stack([p, depth]))
    return PoseFit(rotation, scale, centroid - scale * rotation[:2] @ centre)


def _rigid_fit(points: FloatArray, reference: FloatArray) -> tuple[FloatArray, float]:
    """Rotation and scale, without reflection, of centred points (N, 3) to a reference (N, 3)."""
    left, stretch, right = np.linalg.svd(reference.T @ points)
    proper = np.array([1.0, 1.0, np.linalg.det(left @ right)])
    scale = float((stretch * proper).sum() / (points**2).sum())
    return (left * proper) @ right, scale


def head_pose(landmarks: NDArray[np.floating]) -> HeadPose:
    """Yaw, pitch and roll of a mesh (478, 2) in pixels, from the points expression leaves alone."""
    fit = fit_pose(landmarks[STABLE_POINTS], canonical_mesh()[STABLE_POINTS])
    # rotation = Rz(roll) @ Rx(-pitch) @ Ry(-yaw) in axes right, down and away.
    r = fit.rotation
    return HeadPose(
        yaw=float(np.degrees(np.arctan2(r[2, 0], r[2, 2]))),
        pitch=float(-np.degrees(np.arcsin(np.clip(r[2, 1], -1.0, 1.0)))),
        roll=float(np.degrees(np.arctan2(-r[0, 1], r[1, 1]))),
    )


def eye_openings(landmarks: NDArray[np.floating]) -> tuple[float, float]:
    """How far the right and the left eye (the person's own) are open: lid gap in eye widths.

    About 0.3 for an eye at rest, below 0.1 for a closed one. Corners and lids turn together, so
    that a tilted head reads the same.
    """
    return (
        _opening(landmarks, _RIGHT_LIDS, mesh.RIGHT_EYE_CORNERS),
        _opening(landmarks, _LEFT_LIDS, mesh.LEFT_EYE_CORNERS),
    )


def paired_eye_openings(landmarks: NDArray[np.floating]) -> tuple[float, float]:
    """`eye_openings` that only differ where one eye winks.

    Eyes blink together, but meshes of half-shut ones do not: what is decided for each eye by its
    own opening would make one of them squint.
    """
    right, left = eye_openings(landmarks)
    mean = (right + left) / 2.0
    winks = float(np.clip((abs(right - left) - BLINK) / (WINK - BLINK), 0.0, 1.0))
    return mean + winks * (right - mean), mean + winks * (left - mean)


def eye_opening(landmarks: NDArray[np.floating]) -> float:
    """The mean of both `eye_openings`."""
    return float(np.mean(eye_openings(landmarks)))


def mouth_opening(landmarks: NDArray[np.floating]) -> float:
    """How far the mouth is open: gap of the inner lips in face heights (between brows to chin).

    Zero for a closed mouth. The mouth's own width is no measure, as rounding the lips shrinks it.
    """
    height = np.linalg.norm(landmarks[_CHIN] - landmarks[_BETWEEN_BROWS])
    return lip_gap(landmarks) / float(height)


def lip_gap(landmarks: NDArray[np.floating]) -> float:
    """Gap of the inner lips in pixels, the mean of three places."""
    gaps = np.linalg.norm(landmarks[_LIPS[:, 0]] - landmarks[_LIPS[:, 1]], axis=1)
    return float(gaps.mean())


def gaze(landmarks: NDArray[np.floating]) -> tuple[float, float]:
    """Where the eyes look in the head: the irises' offset (right, down) in eye widths.

    Measured along the line between each eye's corners and square to it, from their middle, and
    averaged over both eyes; positive to the picture's right and down.
    """
    right, down = np.mean(iris_offsets(landmarks), axis=0)
    return float(right), float(down)


def iris_offsets(landmarks: NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
    """Those of the right and of the left eye (the person's own) whose mean `gaze` is, (2,) each."""
    return (
        _iris_offset(landmarks, mesh.RIGHT_EYE_CORNERS, mesh.RIGHT_IRIS[0]),
        _iris_offset(landmarks, mesh.LEFT_EYE_CORNERS[::-1], mesh.LEFT_IRIS[0]),
    )


def _opening(
    landmarks: NDArray[np.floating], lids: NDArray[np.intp], corners: tuple[int, int]
) -> float:
    gaps = np.linalg.norm(landmarks[lids[:, 0]] - landmarks[lids[:, 1]], axis=1)
    width = np.linalg.norm(landmarks[corners[0]] - landmarks[corners[1]])
    return float(gaps.mean() / max(float(width), 1e-6))


def _iris_offset(
    landmarks: NDArray[np.floating], corners: tuple[int, ...], iris: int
) -> FloatArray:
    """(right, down) in eye widths; `corners` from left to right in the picture."""
    start, end = landmarks[corners[0]], landmarks[corners[1]]
    across = (end - start) / max(float((end - start) @ (end - start)), 1e-12)
    offset = landmarks[iris] - (start + end) / 2
    return np.array([offset @ across, offset @ np.array([-across[1], across[0]])])
