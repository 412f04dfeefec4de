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
LIKELY_NEW = (0.35, 0.8)  # likewise, of what is on one side of the face only
GUESSED = (0.1, 0.25)  # likewise, of what no photograph shows
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
    painted: NDArray[np.uint8],
    crop: NDArray[np.uint8],
    landmarks: NDArray[np.floating],
    unknown: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where around brows and temples `painted` shows no skin and `crop` does (128, 128), 0 to 1,
    and how much lighter, redder and yellower the skin of `painted` is, in RGB (3,).

    Both are (256, 256, 3) RGB and show the face of the mesh (478, 2). unknown (128, 128), 0 to 1:
    where `painted` is a guess, so that above the brows less and what is around it counts as hair.
    """
    before, after = _around_skin(crop, landmarks), _around_skin(painted, landmarks)
    if before is None or after is None:
        return np.zeros((SIZE, SIZE), np.float32), np.zeros(3, np.float32)
    off = after.off - before.off
    more, likely = (
        np.clip((off - low) / (high - low), 0.0, 1.0) for low, high in (NEW, LIKELY_NEW)
    )
    bare = before.zone * np.clip(OFF - before.off, 0.0, 1.0)
    # A hairline is on both sides; what looks like hair on one side only is none of it.
    one_sided = (bare * likely).astype(np.float32)
    wide = cv2.GaussianBlur(cv2.dilate(one_sided, np.ones((9, 9), np.uint8)), (0, 0), 2.0)
    other = _mirrored(np.asarray(wide, np.float32), landmarks)
    one_sided -= np.minimum(one_sided, other)
    new = np.maximum(bare * more, one_sided).astype(np.float32)
    new = cv2.dilate(new, np.ones((5, 5), np.uint8))
    if unknown is not None:
        low, high = GUESSED
        faint = bare * unknown * np.clip((off - low) / (high - low), 0.0, 1.0)
        wide = cv2.dilate(faint.astype(np.float32), np.ones((13, 13), np.uint8))
        new = np.maximum(new, wide * bare * (before.above > 0.0) * unknown).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(new, (0, 0), 2.0), np.float32), after.skin - before.skin


def _mirrored(part: NDArray[np.float32], landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """A map (128, 128) of one side of a face on the other, as seen in its own mirror."""
    right, left = _eyes(landmarks)
    middle = ((right + left) / 2.0 - 0.5) / 2.0
    across = (left - right) / max(float(np.linalg.norm(left - right)), 1.0)
    turned = np.eye(2) - 2.0 * np.outer(across, across)
    matrix = np.column_stack([turned, middle - turned @ middle])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(part, matrix, (SIZE, SIZE), flags=flags), np.float32)


def _eyes(landmarks: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """The middles of the right and the left eye."""
    corners = (mesh.RIGHT_EYE_CORNERS, mesh.LEFT_EYE_CORNERS)
    right, left = (landmarks[list(pair)].mean(axis=0) for pair in corners)
    return right, left


@dataclass(frozen=True, eq=False)
class _AroundSkin:
    """Where brows end and temples begin, 0 to 1, the part of it above the brows, and how far each
    pixel is off the skin's colour, in `SPREAD`s, (128, 128) each; and that colour in RGB (3,).
    """

    zone: NDArray[np.float32]
    above: NDArray[np.float32]
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
    right, left = _eyes(landmarks)
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
    return _AroundSkin(np.maximum(above, beside), above, distances, colour)
