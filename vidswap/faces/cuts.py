"""Cuts between shots, found frame by frame as a clip streams by."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class CutDetector:
    """placeholder"""

    def is_cut(self, rgb: Image) -> bool:
        """Whether `rgb` (H, W, 3) uint8 begins a new shot; the first frame does not."""
        return False
