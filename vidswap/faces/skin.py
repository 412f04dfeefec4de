"""Where an aligned face shows skin, and where hair or a hat lies on it: told by colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh

SIZE = 128  # pixels of the answer: half the crop's side
SPREAD = np.array([25.0, 9.0, 12.0], np.float32)  # of skin's lightness, a and b over a face
# What a painted face is off more than the target at the same place: from the second on it is hair.
NEW = (0.8, 1.4)
OFF = 1.5  # spreads by which skin may be off; what is one more off is none
# In distances of the eyes' middles: where brows end at least, temples begin, and reach down to.
LEAST_BROW, TEMPLE, TEMPLE_LOW = 0.3, 0.85, -0.8
_PLACES = np.arange(SIZE, dtype=np.float32) * 2.0 + 0.5  # of the answer's pixels on the crop
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)  # their upper edges


def uncovered_part(crop: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """Where around brows and temples a face shows skin, not hair or a hat (128, 128), 0 to 1.

    `crop` (256, 256, 3) RGB with its mesh (478, 2), of which eye corners and brows are used. Skin
    is what has the colour of nose and cheeks, in CIELAB. Below the cheekbones a beard is the
    person's own, and nothing is asked.
    """
    found = _around_skin(crop, landmarks)
    if found is None:
        return np.ones((SIZE, SIZE), np.float32)
    hair = (found.zone * np.clip(found.off - OFF, 0.0, 1.0)).astype(np.float32)
    other = cv2.dilate(hair, np.ones((3, 3), np.uint8))
    return np.asarray(1.0 - cv2.GaussianBlur(other, (0, 0), 1.5), np.float32)


def newly_covered(
    painted: NDArray[np.uint8], crop: NDArray[np.uint8], landmarks: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where around brows and temples `painted` shows no skin and `crop` does (128, 128), 0 to 1,
    and how much lighter, redder and yellower the skin of `painted` is, in RGB (3,).

    Both are (256, 256, 3) RGB and show the face of the mesh (478, 2).
    """
    before, after = _around_skin(crop, landmarks), _around_skin(painted, landmarks)
    if before is None or after is None:
        return np.zeros((SIZE, SIZE), np.float32), np.zeros(3, np.float32)
    more = np.clip((after.off - before.off - NEW[0]) / (NEW[1] - NEW[0]), 0.0, 1.0)
    bare = np.clip(OFF - before.off, 0.0, 1.0)
    new = cv2.dilate((before.zone * bare * more).astype(np.float32), np.ones((5, 5), np.uint8))
    return np.asarray(cv2.GaussianBlur(new, (0, 0), 2.0), np.float32), after.skin - before.skin


@dataclass(frozen=True, eq=False)
class _AroundSkin:
    """Where brows end and temples begin, 0 to 1, and how far each pixel is off the skin's colour,
    in `SPREAD`s, (128, 128) each; and that colour in RGB (3,).
    """

    zone: NDArray[np.float32]
    off: NDArray[np.float32]
    skin: NDArray[np.float32]


def reduced_lab(crop: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """A crop (S, S, 3) uint8 RGB at (size, size) in CIELAB: lightness 0 to 100, a, b."""
    small = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    return np.asarray(lab, np.float32)


def _around_skin(crop: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> _AroundSkin | None:
    """None of a face seen from the side, or of no face."""
    small = cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    lab = np.asarray(cv2.cvtColor(small.astype(np.float32) * (1.0 / 255.0), cv2.COLOR_RGB2LAB))
    corners = (mesh.RIGHT_EYE_CORNERS, mesh.LEFT_EYE_CORNERS)
    right, left = (landmarks[list(pair)].mean(axis=0) for pair in corners)
    distance = max(float(np.linalg.norm(left - right)), 1.0)
    across = (left - right) / distance
    up = np.array([across[1], -across[0]])
    columns, rows = ((_PLACES - middle) / distance for middle in (right + left) / 2.0)
    height = (up[0] * columns + up[1] * rows[:, None]).astype(np.float32)
    side = np.abs(across[0] * columns + across[1] * rows[:, None]).astype(np.float32)
    cheeks = (side < 0.6) & (height < -0.15) & (height > -0.6)
    if not cheeks.any():
        return None
    middles = np.median(lab[cheeks][::2], axis=0)
    # By channel: numpy takes three times as long where it must pair (H, W, 3) with (3,).
    squares = np.zeros((SIZE, SIZE), np.float32)
    for channel, middle, spread in zip(cv2.split(lab), middles, SPREAD, strict=True):
        off = (channel - middle) * (np.float32(1.0) / spread)
        squares += off * off
    distances = np.sqrt(squares)
    brows = (landmarks[list(_BROWS)] - (right + left) / 2.0) @ up / distance
    above = np.clip((height - max(float(brows.max()), LEAST_BROW)) / 0.1, 0.0, 1.0)
    beside = np.clip((side - TEMPLE) / 0.1, 0.0, 1.0) * (height > TEMPLE_LOW)
    colour = np.median(small[cheeks][::2], axis=0).astype(np.float32)
    return _AroundSkin(np.maximum(above, beside), distances, colour)
