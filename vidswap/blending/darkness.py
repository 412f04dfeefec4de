"""Pupils, brows and nostrils as dark as the target's: the dark end of a relit photograph.

A face that takes on another's tone of skin takes all of it along: on the way from a dark face to a
light one black pupils become grey. But what is dark in a face is dark in every light, and how dark
the camera shows it can be seen in the target. Pupils have it to themselves, behind glasses above
all: where brows and nostrils are dark enough, eyes can still be pale.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.mask import part_around, sixteenths
from vidswap.blending.relighting import CHANNEL_MEAN, Floats
from vidswap.faces import mesh

DARKEST = 1.5  # percent of the face's pixels
DARKER = 0.35  # of matt skin's brightness, that it is moved by at the most
LEAST_RANGE = 0.2  # likewise, from the dark end to matt skin
LEAST_LEFT = 0.02  # likewise, of what is darkened
FEWEST = 100  # pixels at half the crop's size
PUPILS = 10.0  # percent of what is between the lids
FEWEST_EYE = 30  # pixels of both eyes: less is shut
EYE_SOFT = 2.0  # pixels, deviation of the edge of what is darkened around the lids


def dark_end(picture: NDArray[np.generic], matt: Floats, face: Floats) -> float | None:
    """How dark a picture (256, 256, 3) is at its dark end, in parts of `matt` (256, 256): the
    brightness of matt skin in the target's light.

    Told where `face` (128, 128) is above one half; None where there is too little of it.
    """
    seen = face > 0.5
    if np.count_nonzero(seen) < FEWEST:
        return None
    grey = cv2.transform(np.ascontiguousarray(picture[::2, ::2], np.float32), CHANNEL_MEAN)
    shares = grey[seen] / matt[::2, ::2][seen]
    return float(np.percentile(shares, DARKEST))


def own_dark_end(picture: NDArray[np.uint8], face: Floats) -> tuple[float, float]:
    """How bright a photograph's face is at its dark end and at its median, in levels of 255; both
    zero where there is too little of it.
    """
    seen = face > 0.5
    if np.count_nonzero(seen) < FEWEST:
        return 0.0, 0.0
    shades = picture[::2, ::2][seen].mean(axis=1)
    return float(np.percentile(shades, DARKEST)), float(np.median(shades))


def with_dark_end(lit: Floats, matt: Floats, end: float, by: float) -> Floats:
    """A relit picture, changed: darker `by` at its dark `end`, less towards skin, skin not."""
    share = cv2.transform(lit, CHANNEL_MEAN) / matt
    below = np.clip((1.0 - share) / max(1.0 - end, LEAST_RANGE), 0.0, 1.2)
    darker = np.maximum(share - np.float32(by) * below * below, LEAST_LEFT)
    lit *= (darker / np.maximum(share, LEAST_LEFT))[..., None]
    return lit


def between_lids(landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Where both eyes are (256, 256), one within the lids of a mesh (478, 2)."""
    part = np.zeros((256, 256), np.uint8)
    for lids in (mesh.RIGHT_EYE, mesh.LEFT_EYE):
        cv2.fillPoly(part, [sixteenths(landmarks[list(lids)])], 1, cv2.LINE_8, 4)
    return part


def pupils_end(picture: NDArray[np.generic], matt: Floats, eyes: NDArray[np.uint8]) -> float | None:
    """`dark_end` of the eyes alone, of `between_lids`; None where they are shut."""
    seen = eyes > 0
    if np.count_nonzero(seen) < FEWEST_EYE:
        return None
    return float(np.percentile(picture[seen].mean(axis=1) / matt[seen], PUPILS))


def with_dark_pupils(
    lit: Floats, matt: Floats, end: float, by: float, eyes: NDArray[np.uint8]
) -> Floats:
    """A relit picture, changed: `with_dark_end` of what is between the lids alone."""
    part = part_around(eyes, round(4.0 * EYE_SOFT))
    wide = cv2.dilate(eyes[part], np.ones((5, 5), np.uint8)).astype(np.float32)
    share = cv2.GaussianBlur(wide, (0, 0), EYE_SOFT)[..., None]
    darker = with_dark_end(lit[part].copy(), np.ascontiguousarray(matt[part]), end, by)
    lit[part] += share * (darker - lit[part])
    return lit
