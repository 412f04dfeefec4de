"""How good a picture of a face is, as far as identity is concerned."""

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_SHARPNESS = 0.1


def sharpness(rgb_crop: NDArray[np.uint8]) -> float:
    """placeholder"""
    grey = cv2.cvtColor(rgb_crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var() / max(grey.var(), 1.0))


def is_sharp(rgb_crop: NDArray[np.uint8], minimum: float = 0.0) -> bool:
    """placeholder"""
    return sharpness(rgb_crop) >= minimum
