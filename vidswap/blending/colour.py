"""The swapped face takes on the colour of the skin it lies in.

A generator answers with the source's complexion; beside the target's own neck, ears and brow that
reads as make-up, or as another light. As in Reinhard et al., *Color transfer between images*
(2001), the mean of the face is moved towards that of the target's in CIELAB; its spread, which
carries relief and features, is left alone.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
DEFAULT_COLOUR_MATCH = 0.7


def matched_colour(
    target: Picture, swapped: Picture, weight: NDArray[np.floating], share: float
) -> Picture:
    """`swapped` (S, S, 3) uint8 RGB with its mean colour moved towards that of `target`.

    The means are those of the pixels by `weight` (S, S), the part that will be blended in; `share`
    in [0, 1] is how far they are moved, and 0 gives `swapped` back.
    """
    total = float(weight.sum())
    if share == 0.0 or total <= 0.0:
        return swapped
    labs = [
        cv2.cvtColor(p.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB) for p in (target, swapped)
    ]
    means = [np.einsum("ij,ijc->c", weight, lab) / total for lab in labs]
    moved = labs[1] + (share * (means[0] - means[1])).astype(np.float32)
    rgb = cv2.cvtColor(moved, cv2.COLOR_LAB2RGB)
    pixels: Picture = np.clip(np.rint(rgb * 255.0), 0, 255).astype(np.uint8)
    return pixels
