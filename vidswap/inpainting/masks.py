"""Masks: which pixels of a face or a frame are to be filled; True where they are.

Masks of an aligned crop are (S, S) bool. Where the papers differ a docstring names the one that a
mask is from. Landmarks are meshes (478, 2) in pixels of the 256-pixel crop, whatever S is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.mask import sixteenths
from vidswap.choices import RegionName
from vidswap.errors import BadOptionError
from vidswap.faces import mesh
from vidswap.faces.align import CROP_SIZE

Mask = NDArray[np.bool_]

CENTRE_SHARE = 3 / 5  # of the side: SwapInpaint, IV.A
BLOCK_SHARE = 48 / 128  # of the side: ID-GAN, IV.A
REGIONS: tuple[RegionName, ...] = get_args(RegionName)

RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
_RIGHT_EYE, _LEFT_EYE = mesh.RIGHT_EYE + RIGHT_BROW, mesh.LEFT_EYE + LEFT_BROW
_NOSE = (168, 6, 98, 2, 327)
# The part of the face oval below the nose's tip, from ear to ear.
_JAW = (361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132)
# Outlines whose convex hulls are filled, and how far beyond them, in pixels of 256.
_HULLS: dict[RegionName, tuple[tuple[tuple[int, ...], ...], float]] = {
    "eyes": ((_RIGHT_EYE, _LEFT_EYE), 6.0),
    "glasses": ((_RIGHT_EYE + _LEFT_EYE,), 10.0),
    "nose": ((_NOSE,), 7.0),
    "mouth": ((mesh.OUTER_LIPS,), 7.0),
    "lower-face": (((mesh.NOSE_TIP, *_JAW),), 3.0),
    "face": ((_RIGHT_EYE + _LEFT_EYE + _NOSE + mesh.OUTER_LIPS,), 8.0),
}


def centre_square(size: int, share: float = CENTRE_SHARE) -> Mask:
    """A square in the middle whose side is a `share` of the picture's."""
    mask = np.zeros((size, size), bool)
    side = round(share * size)
    start = (size - side) // 2
    mask[start : start + side, start : start + side] = True
    return mask


def random_block(size: int, random: np.random.Generator, share: float = BLOCK_SHARE) -> Mask:
    """A square of m x m at a random place, wholly inside the picture: ID-GAN, IV.A."""
    mask = np.zeros((size, size), bool)
    side = round(share * size)
    top, left = random.integers(0, size - side + 1, 2)
    mask[top : top + side, left : left + side] = True
    return mask


def irregular(
    size: int, random: np.random.Generator, least: float = 0.1, most: float = 0.45
) -> Mask:
    """Random strokes that turn as they go, as Liu et al. (2018) draw theirs.

    They cover at least `least` and hardly more than `most` of the picture.
    """
    wanted = random.uniform(least, most) * size * size
    mask = np.zeros((size, size), np.uint8)
    while mask.sum() < wanted:
        point, angle = random.uniform(0, size, 2), random.uniform(0, 2 * np.pi)
        width = random.uniform(0.03, 0.12) * size
        for _ in range(int(random.integers(2, 8))):
            angle += random.uniform(-1.2, 1.2)
            end = point + random.uniform(0.06, 0.25) * size * np.array(
                [np.cos(angle), np.sin(angle)]
            )
            ends = [tuple(int(v) for v in np.rint(p)) for p in (point, end)]
            cv2.line(mask, ends[0], ends[1], 1, max(1, round(width)))
            cv2.circle(mask, ends[1], max(1, round(width / 2)), 1, -1)
            point = end
            if mask.sum() >= wanted:
                break
    return mask.astype(bool)


def half(size: int, side: str) -> Mask:
    """One half of a picture: "left", "right", "upper" or "lower"."""
    mask = np.zeros((size, size), bool)
    middle = size // 2
    if side in ("left", "right"):
        mask[:, slice(None, middle) if side == "left" else slice(middle, None)] = True
    elif side in ("upper", "lower"):
        mask[slice(None, middle) if side == "upper" else slice(middle, None)] = True
    else:
        raise BadOptionError(f"half {side!r}; allowed: left, right, upper, lower")
    return mask


def random_pixels(size: int, share: float, random: np.random.Generator) -> Mask:
    """Single pixels, each missing with a chance of `share`."""
    mask: Mask = random.random((size, size)) < share
    return mask


def region_mask(landmarks: NDArray[np.floating], region: RegionName, size: int = CROP_SIZE) -> Mask:
    """A part of the face by its mesh (478, 2), (size, size).

    "eyes" and "glasses" hold brows as well; "face" is everything from brows to lips; "centre" is
    `centre_square`, wherever the face is.
    """
    if region == "centre":
        return centre_square(size)
    outlines, margin = _HULLS[region]
    mask = np.zeros((size, size), np.uint8)
    for points in outlines:
        hull = cv2.convexHull(landmarks[list(points)].astype(np.float32))
        cv2.fillConvexPoly(mask, sixteenths(np.asarray(hull, np.float32), size), 1, cv2.LINE_8, 4)
    return widened(mask.astype(bool), margin * size / CROP_SIZE)


def background_mask(landmarks: NDArray[np.floating], size: int = CROP_SIZE) -> Mask:
    """Everything but the face, the convex hull of its oval: the cascaded context GAN's input."""
    mask = np.zeros((size, size), np.uint8)
    hull = cv2.convexHull(landmarks[list(mesh.FACE_OVAL)].astype(np.float32))
    cv2.fillConvexPoly(mask, sixteenths(np.asarray(hull, np.float32), size), 1, cv2.LINE_8, 4)
    return ~mask.astype(bool)


def colour_key(picture: NDArray[np.uint8], colour: Sequence[int], tolerance: float = 12.0) -> Mask:
    """Pixels of a picture (H, W, 3) within a distance of an RGB `colour`, in grey levels."""
    difference = picture.astype(np.float32) - np.asarray(colour, np.float32)
    near: Mask = np.linalg.norm(difference, axis=2) <= tolerance
    return near


def occluder_mask(occlusion: NDArray[np.float32], size: int, sure: float = 0.25) -> Mask:
    """What the occlusion net found before a face, (H, W) in [0, 1], with its soft edge and shadow.

    A rim that is half left over is worse than skin that is filled for nothing.
    """
    found = cv2.resize(occlusion, (size, size), interpolation=cv2.INTER_LINEAR) > sure
    return widened(np.asarray(found, bool), 5.0 * size / CROP_SIZE)


def widened(mask: Mask, margin: float) -> Mask:
    """A mask and all pixels within `margin` of it."""
    if margin < 0.5 or not mask.any():
        return mask
    near: Mask = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) <= margin
    return near


def check_mask(mask: Mask, shape: tuple[int, int], name: str) -> Mask:
    """The mask, if it has the shape (H, W) and leaves something to see. Raises BadOptionError."""
    if mask.shape != shape:
        (height, width), (wanted_height, wanted_width) = mask.shape, shape
        raise BadOptionError(
            f"{name} is {width}x{height} pixels and the target {wanted_width}x{wanted_height}; "
            "give a mask of the target's size"
        )
    if not mask.any():
        raise BadOptionError(f"{name} is empty: nothing is to be filled; paint white what is")
    if mask.all():
        raise BadOptionError(f"{name} covers everything: nothing is left to fill from")
    return mask
