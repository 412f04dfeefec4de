"""No hair of the source on a brow that the target has bare.

A face net knows people by their hairline too, and a generator that is taught by it paints one.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces.skin import newly_covered


def without_painted_hair(
    painted: NDArray[np.uint8], crop: NDArray[np.uint8], landmarks: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """A generator's answer with the target's forehead and temples where it painted hair on them.

    painted, crop (256, 256, 3) uint8 RGB show one face of the mesh (478, 2); the target's skin
    takes on the answer's colour.
    """
    part, tint = newly_covered(painted, crop, landmarks)
    if part.max() < 0.01:
        return painted
    weight = cv2.resize(part, crop.shape[:2], interpolation=cv2.INTER_LINEAR)[..., None]
    own = crop + tint
    return np.clip(np.rint(painted + weight * (own - painted)), 0, 255).astype(np.uint8)
