"""How skin looks that was painted: whether it has blotches."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.relighting import SIZE as MAP_SIZE
from vidswap.blending.relighting import skin_part
from vidswap.faces.skin import reduced_lab

PATCH = 2.0  # pixels of the map of skin: patches of its colour, not pores
CALM = 0.5  # of CIELAB's a and b: what is less than this no eye sees


def blotches(
    swap: NDArray[np.uint8],
    target: NDArray[np.uint8],
    source: NDArray[np.uint8],
    landmarks: NDArray[np.floating],
    source_landmarks: NDArray[np.floating],
) -> float:
    """How much the skin's colour varies from patch to patch, over the more varied of its parents.

    Above 1 the swap has patches of colour that neither source nor target has. Crops (256, 256, 3)
    uint8 RGB; the swap's mesh (478, 2) is the target's.
    """
    parents = max(colour_spread(target, landmarks), colour_spread(source, source_landmarks))
    return colour_spread(swap, landmarks) / max(parents, CALM)


def colour_spread(crop: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> float:
    """Root mean square deviation of a and b (CIELAB) of patches of skin from their mean."""
    lab = reduced_lab(crop, MAP_SIZE)
    skin = skin_part(np.asarray(landmarks, np.float32))
    if skin.max() < 0.5:
        return 0.0
    weight = cv2.GaussianBlur(skin, (0, 0), PATCH) + 1e-6
    patches = cv2.GaussianBlur(lab[..., 1:] * skin[..., None], (0, 0), PATCH) / weight[..., None]
    inside = skin > 0.5
    colours = patches[inside]
    return float(np.sqrt(((colours - colours.mean(axis=0)) ** 2).sum(axis=1).mean()))
