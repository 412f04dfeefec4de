"""From the 68 points of the iBUG scheme, as FAN finds them, to the 478-point mesh."""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from vidswap.faces import mesh
from vidswap.faces.detection import FloatArray
from vidswap.faces.pose import canonical_mesh, fit_pose

# The mesh point nearest to each of the 68, measured on 544 portraits on which both were found.
MESH_OF_68 = np.array(
    [
        *(127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356),  # jaw
        *(70, 63, 105, 66, 107),  # right brow
        *(336, 296, 334, 293, 300),  # left brow
        *(168, 197, 5, 4),  # bridge of the nose
        *(75, 97, 2, 326, 305),  # underside of the nose
        *(33, 160, 158, 133, 153, 144),  # right eye
        *(362, 385, 387, 263, 373, 380),  # left eye
        *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
        *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
    ]
)
# Eye corners and nose, which say the head's pose. The jaw is left out: seen from the side, FAN's
# jaw line is the visible outline and not the same place on the head.
_POSE_POINTS = np.array([*range(27, 36), 36, 39, 42, 45])
_RIGHT_EYE, _LEFT_EYE = slice(36, 42), slice(42, 48)


def mesh_from_68(points: NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
    """The mesh (478, 2) in pixels and its depth (478,) that 68 points (68, 2) imply.

    The canonical mesh is laid over the face by its pose, then warped so that the 68 points are hit
    exactly; what lies between follows smoothly (biharmonic interpolation over the head's surface).
    There is no gaze in 68 points: the irises are put into the middle of the eyes.
    """
    points = np.asarray(points, np.float64)
    canonical = canonical_mesh().astype(np.float64)
    known = canonical[MESH_OF_68]
    projected = fit_pose(points[_POSE_POINTS], known[_POSE_POINTS]).project(canonical)
    warp = RBFInterpolator(known, points - projected[MESH_OF_68, :2], kernel="linear", degree=1)
    warped = projected[:, :2] + warp(canonical)
    for eye, iris in ((_RIGHT_EYE, mesh.RIGHT_IRIS), (_LEFT_EYE, mesh.LEFT_IRIS)):
        warped[list(iris)] += points[eye].mean(axis=0) - warped[iris[0]]
    return warped.astype(np.float32), projected[:, 2].astype(np.float32)
