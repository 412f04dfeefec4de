"""How sharp a picture of a face is: blurred source frames would smear the identity."""

import cv2
import numpy as np
from numpy.typing import NDArray

FINE, COARSE = 1.5, 3.0  # pixels, Gaussian widths of the two scales, at a crop of 256
N_DIRECTIONS = 8
# The middle of the crop, where the face is: top, bottom, left, right in parts of its side.
FACE_PART = (0.25, 0.8125, 0.25, 0.75)

# Gaussian blur of 3.5 pixels or motion blur of 17 pixels in a 256-pixel crop come to this on the
# median of 80 portraits; they move dlib's embedding by 0.35 to 0.4, where 0.6 is another person.
# Of the portraits themselves, snapshots from newspapers among them, 98 % are above 0.24.
MIN_SHARPNESS = 0.15


def sharpness(rgb_crop: NDArray[np.uint8]) -> float:
    """Sharpness of an aligned crop (S, S, 3) uint8 RGB: about 0 blurred away, 0.45 sharp.

    How much stronger the grey picture's gradients are at a fine scale than at a coarse one, less
    one, in the direction in which that is least: motion blurs along one direction only. Unlike the
    variance of the Laplacian it depends little on light, contrast, noise and compression.
    """
    grey = _face_in_grey(rgb_crop)
    fine, coarse = _gradients(grey, FINE), _gradients(grey, COARSE)
    angles = np.arange(N_DIRECTIONS) * np.pi / N_DIRECTIONS
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    strength_fine = (directions @ fine).std(axis=1)
    strength_coarse = (directions @ coarse).std(axis=1)
    return float((strength_fine / np.maximum(strength_coarse, 1e-6)).min() - 1.0)


def is_sharp(rgb_crop: NDArray[np.uint8], minimum: float = MIN_SHARPNESS) -> bool:
    """Whether an aligned crop (S, S, 3) uint8 RGB is sharp enough to show who it is."""
    return sharpness(rgb_crop) >= minimum


def _face_in_grey(rgb_crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    size = rgb_crop.shape[0]
    top, bottom, left, right = (round(part * size) for part in FACE_PART)
    face = np.ascontiguousarray(rgb_crop[top:bottom, left:right])
    return np.asarray(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), np.float32)


def _gradients(grey: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    """Gradients to the right and down, as rows (2, pixels), after a blur of `width` pixels."""
    blurred = cv2.GaussianBlur(grey, (0, 0), width)
    right, down = cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1)
    return np.stack([right.ravel(), down.ravel()]).astype(np.float32)
