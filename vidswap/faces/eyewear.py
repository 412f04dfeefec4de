"""Whether a face wears glasses: the bar over the nose is an edge where skin has none."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh

# Of 600 faces of a dataset, looked at in order, nearly all with glasses score above this, and so do
# some bare ones with a hard light or deep lines.
BARE_AT_MOST = 0.5
_STRIP = (16, 48)  # samples across and along the bridge of the nose
_REACH = 0.5, 1.1, 0.7  # of the distance of the inner corners: width, above them and below
_STEP = 3  # samples along, between which an edge is measured
_MIN_DISTANCE = 8.0  # pixels between the inner corners: less is a profile, where nothing is seen


def eyewear_score(picture: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> float:
    """The strongest edge across the bridge of the nose, in parts of the face's contrast; 0 or more.

    `picture` (S, S, 3) uint8 RGB is an aligned crop, `landmarks` (478, 2) its mesh in its pixels.
    The profile of brightness from between the brows down the nose is taken as a median over the
    bridge's width, which leaves out what does not cross it whole.
    """
    right, left = landmarks[list(mesh.RIGHT_EYE_CORNERS)], landmarks[list(mesh.LEFT_EYE_CORNERS)]
    inner_right, inner_left = right[right[:, 0].argmax()], left[left[:, 0].argmin()]
    across = inner_left - inner_right
    distance = float(np.linalg.norm(across))
    if distance < _MIN_DISTANCE * picture.shape[0] / 256:
        return 0.0
    across = across / distance
    down = np.array([-across[1], across[0]])
    width, above, below = (distance * part for part in _REACH)
    corner = (inner_right + inner_left) / 2 - across * width / 2 - down * above
    matrix = np.column_stack(
        [across * width / _STRIP[0], down * (above + below) / _STRIP[1], corner]
    )
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    strip = cv2.warpAffine(grey, matrix, _STRIP, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    profile = np.median(strip, axis=1)
    side = picture.shape[0]
    face = grey[side // 4 : side * 3 // 4, side // 4 : side * 3 // 4]
    return float(np.abs(profile[_STEP:] - profile[:-_STEP]).max() / (face.std() + 10.0))


def is_bare(picture: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> bool:
    """Whether a face, as far as `eyewear_score` tells, wears no glasses."""
    return eyewear_score(picture, landmarks) <= BARE_AT_MOST
