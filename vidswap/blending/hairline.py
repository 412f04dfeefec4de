"""No hair of the source on a brow that the target has bare.

A face net knows people by their hairline too, and a generator that is taught by it paints one. Of a
forehead that no photograph shows it paints pieces of a fringe.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.warping import REFERENCE_REACH, covered_part
from vidswap.faces.skin import SIZE, newly_covered

LEAST_SHOWN = 0.2  # of the view's mask at its strongest: below, it shows nothing at all


def without_painted_hair(
    painted: NDArray[np.uint8],
    crop: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    view: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """A generator's answer with the target's forehead and temples where it painted hair on them.

    painted, crop (256, 256, 3) uint8 RGB show one face of the mesh (478, 2); the target's skin
    takes on the answer's colour. Where a view (256, 256, 4) leaves out the source's forehead, as
    under hair or a hat, less counts as hair.
    """
    unknown = None if view is None else hidden_in(view, landmarks)
    part, tint = newly_covered(painted, crop, landmarks, unknown)
    if part.max() < 0.01:
        return painted
    weight = cv2.resize(part, crop.shape[:2], interpolation=cv2.INTER_LINEAR)[..., None]
    own = crop + tint
    return np.clip(np.rint(painted + weight * (own - painted)), 0, 255).astype(np.uint8)


def hidden_in(
    view: NDArray[np.uint8], landmarks: NDArray[np.float32], size: int = SIZE
) -> NDArray[np.float32] | None:
    """Where a view (256, 256, 4) leaves out what its outline takes in (size, size), 0 to 1; None of
    a view that shows nothing.
    """
    mask = cv2.resize(view[..., 3], (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    most = float(mask.max())
    if most < LEAST_SHOWN * 255.0:
        return None
    inside = covered_part(landmarks, REFERENCE_REACH, size)
    return np.asarray(np.clip(inside - mask / most, 0.0, 1.0), np.float32)
