"""Alignment of a face to the 256x256 crop the generator works in (AP-GAN, III.D and IV.A).

Convention: pixel centres are at integers, x to the right, y down. An `affine` is a (2, 3) float64
matrix that takes frame pixels to crop pixels: crop = affine @ (x, y, 1).
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh

CROP_SIZE = 256  # pixels, side of the aligned crop

# ArcFace's 112-pixel reference points: right eye, left eye, nose tip, right and left mouth corner.
ARCFACE_112 = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
# The 112-pixel template enlarged and moved so that the head, hair included, is inside 256 pixels.
ARCFACE_SCALE = 1.76
ARCFACE_CENTRE = np.array([56.0, 51.6])
CROP_CENTRE = np.array([128.0, 106.0])
TEMPLATE_256 = (ARCFACE_112 - ARCFACE_CENTRE) * ARCFACE_SCALE + CROP_CENTRE

FloatArray = NDArray[np.floating]
Image = NDArray[np.uint8]


def arcface_points_in_crop(points_112: FloatArray) -> FloatArray:
    """Map points (N, 2) from ArcFace's 112-pixel template to the 256-pixel crop."""
    in_crop: FloatArray = (np.asarray(points_112) - ARCFACE_CENTRE) * ARCFACE_SCALE + CROP_CENTRE
    return in_crop


def five_points(landmarks: FloatArray) -> FloatArray:
    """The five alignment points (5, 2) of a 478-point mesh (478, 2), in `ARCFACE_112`'s order."""
    return np.stack(
        [
            landmarks[list(mesh.RIGHT_EYE_CORNERS)].mean(axis=0),
            landmarks[list(mesh.LEFT_EYE_CORNERS)].mean(axis=0),
            landmarks[mesh.NOSE_TIP],
            landmarks[mesh.RIGHT_MOUTH_CORNER],
            landmarks[mesh.LEFT_MOUTH_CORNER],
        ]
    ).astype(np.float64)


def similarity_transform(points: FloatArray, reference: FloatArray) -> NDArray[np.float64]:
    """Least-squares similarity (2, 3) that takes `points` (N, 2) to `reference` (N, 2).

    Closed form of Umeyama (1991) in two dimensions, without reflection. Raises ValueError when the
    points coincide.
    """
    centre, reference_centre = points.mean(axis=0), reference.mean(axis=0)
    p, q = points - centre, reference - reference_centre
    energy = float((p**2).sum())
    if energy < 1e-9:
        raise ValueError("the points coincide: no similarity transform exists")
    cosine = float((p * q).sum()) / energy
    sine = float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()) / energy
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([rotation, reference_centre - rotation @ centre])


def face_affine(landmarks: FloatArray) -> NDArray[np.float64]:
    """The affine (2, 3), frame pixels to crop pixels, that aligns mesh landmarks (478, 2)."""
    return similarity_transform(five_points(landmarks), TEMPLATE_256)


def warp_points(affine: FloatArray, points: FloatArray) -> FloatArray:
    """Apply an affine (2, 3) to points (N, 2)."""
    return np.asarray(points) @ affine[:, :2].T + affine[:, 2]


def invert_affine(affine: FloatArray) -> NDArray[np.float64]:
    """The inverse (2, 3) of an affine (2, 3)."""
    linear = np.linalg.inv(affine[:, :2])
    return np.column_stack([linear, -linear @ affine[:, 2]])


def align_face(rgb: Image, affine: FloatArray, size: int = CROP_SIZE) -> Image:
    """Cut the aligned crop (size, size, 3) out of a frame (H, W, 3), both uint8 RGB.

    `affine` maps to the 256-pixel crop; another `size` scales it about the pixel grid's corner.
    Faces larger than the crop are low-passed first, since bilinear sampling alone would alias.
    What lies outside the frame is filled by its mirrored edge.
    """
    affine = scale_affine(affine, size / CROP_SIZE)
    shrink = 1.0 / float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    # INTER_AREA is not implemented for warpAffine: halve the frame's region by area averaging first
    # until less than a factor of two is left to the bilinear kernel.
    if shrink >= 2.0:
        left, top, right, bottom = _crop_footprint(affine, size, rgb.shape)
        if right - left >= 2 and bottom - top >= 2:
            factor = int(shrink)
            patch: Any = rgb[top:bottom, left:right]
            width, height = max(1, patch.shape[1] // factor), max(1, patch.shape[0] // factor)
            patch = cv2.resize(patch, (width, height), interpolation=cv2.INTER_AREA)
            sx, sy = (right - left) / width, (bottom - top) / height
            to_frame = np.array(
                [[sx, 0, left + sx / 2 - 0.5], [0, sy, top + sy / 2 - 0.5], [0, 0, 1]]
            )
            rgb, affine = patch, affine @ to_frame
    crop: Any = cv2.warpAffine(
        rgb, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    aligned: Image = crop
    return aligned


def scale_affine(affine: FloatArray, factor: float) -> NDArray[np.float64]:
    """The affine (2, 3) to a crop `factor` times as large, pixel edges (not centres) kept."""
    offset = affine[:, 2] * factor + (factor - 1.0) / 2.0
    return np.column_stack([affine[:, :2] * factor, offset])


def _crop_footprint(
    affine: FloatArray, size: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Box (left, top, right, bottom) of the frame that the crop covers, clipped to the frame."""
    corners = np.array([[-2, -2], [size + 1, -2], [size + 1, size + 1], [-2, size + 1]])
    points = warp_points(invert_affine(affine), corners)
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0)) + 1
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(shape[1], int(high[0])), min(shape[0], int(high[1]))
    return left, top, right, bottom
