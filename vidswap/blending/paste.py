"""Stitch a swapped crop back onto its frame: inverse warp and blend (AP-GAN, III.D, eq. 13).

Convention: pixel centres at integers; `affine` (2, 3) takes frame pixels to pixels of the 256-pixel
crop, as in alignment; the crop is sampled bilinearly (bicubically when enlarged).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.mask import (
    ALPHA,
    GAMMA,
    OUTLINE_ALPHA,
    OUTLINE_GAMMA,
    face_mask,
    mirrored_sigmoid_mask,
)
from vidswap.choices import MaskName as MaskName
from vidswap.faces.align import CROP_SIZE, invert_affine, warp_points
from vidswap.faces.mesh import FACE_OVAL

# Eq. 12 is still 0.044 at the crop's edge; its last pixels are ramped to zero: no seam shows.
EDGE_RAMP = 6  # pixels
MAX_ENLARGED = 8  # times; bounds the memory of a face larger than 2048 pixels

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Patch:
    """New pixels for a box of the frame: `rgb` (bottom - top, right - left, 3) uint8, and how far
    each was replaced, `weight` (bottom - top, right - left) float32 in [0, 1].
    """

    box: Box  # left, top, right, bottom in frame pixels
    rgb: NDArray[np.uint8]
    weight: NDArray[np.float32]


def swapped_part(
    landmarks: NDArray[np.floating],
    mask: MaskName = "face",
    visibility: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """How much of an aligned crop is replaced (256, 256), in [0, 1].

    `landmarks` (478, 2) are those of the crop's face in its pixels. "square" is eq. 12 alone,
    "outline" what lies within the face's outline, and "face" that times `visibility` (H, W),
    0 to 1: glasses, hands and hair before the face stay as they are.
    """
    if mask == "square":
        return blending_mask()
    wide = blending_mask(alpha=OUTLINE_ALPHA, gamma=OUTLINE_GAMMA)
    weight: NDArray[np.float32] = wide * face_mask(landmarks[list(FACE_OVAL)])
    if mask == "face" and visibility is not None:
        weight *= cv2.resize(visibility, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR)
    return weight


@lru_cache(maxsize=4)
def blending_mask(
    size: int = CROP_SIZE, alpha: float = ALPHA, gamma: float = GAMMA
) -> NDArray[np.float32]:
    """Eq. 12 (size, size), ramped to zero over the last `EDGE_RAMP` pixels; read-only.

    `alpha` is the slope a pixel of the 256-pixel crop.
    """
    position = np.arange(size)
    edge = np.minimum(position, size - 1 - position) * (CROP_SIZE / size) / EDGE_RAMP
    ramp = np.clip(edge, 0.0, 1.0)
    mask = mirrored_sigmoid_mask(size, alpha * CROP_SIZE / size, gamma)
    mask = (mask * np.minimum(ramp[:, None], ramp[None, :])).astype(np.float32)
    mask.setflags(write=False)
    return mask


def paste_face(
    frame: NDArray[np.uint8],
    swapped: NDArray[np.uint8],
    affine: NDArray[np.floating],
    mask: NDArray[np.float32] | None = None,
) -> Patch | None:
    """Blend a swapped crop Y onto its frame.

    `frame` (H, W, 3) and `swapped` (S, S, 3) are uint8 RGB; `mask` (256, 256) in [0, 1] defaults to
    eq. 12. The blend happens in the frame's own pixels, so that the target is never resampled.
    Returns None when the crop lies outside the frame. `frame` is left as it is.
    """
    mask = blending_mask() if mask is None else mask
    box = crop_box(affine, frame.shape[1], frame.shape[0], mask_extent(mask))
    if box is None:
        return None
    left, top, right, bottom = box
    face = on_frame(swapped, affine, box)
    weight = on_frame(mask, affine, box)
    rgb = frame[top:bottom, left:right].copy()
    blend(rgb, face, weight)
    return Patch(box, rgb, weight)


def on_frame(picture: NDArray[Any], affine: NDArray[np.floating], box: Box) -> NDArray[Any]:
    """A crop (S, S) or (S, S, 3) sampled at the frame's pixels of a box.

    Beyond the crop a picture repeats its edge, and weights (S, S) are zero.
    """
    left, top, right, bottom = box
    in_box = np.array(affine, np.float64)
    in_box[:, 2] += in_box[:, :2] @ (left, top)
    shrink = float(np.sqrt(abs(np.linalg.det(in_box[:, :2]))))  # crop pixels a frame pixel
    return _inverse_warp(picture, in_box, (right - left, bottom - top), shrink)


def mask_extent(mask: NDArray[np.float32]) -> Box:
    """The box of the crop outside which a mask (256, 256) is zero; it may be empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if columns.size == 0:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def crop_box(
    affine: NDArray[np.floating],
    width: int,
    height: int,
    extent: Box = (0, 0, CROP_SIZE, CROP_SIZE),
) -> Box | None:
    """The frame's box (left, top, right, bottom) that the crop's `extent` covers, None outside."""
    x0, y0, x1, y1 = extent
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) - 0.5
    points = warp_points(invert_affine(affine), corners)
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0)) + 1
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(width, int(high[0])), min(height, int(high[1]))
    return (left, top, right, bottom) if right > left and bottom > top else None


def _inverse_warp(
    picture: NDArray[Any],
    affine: NDArray[np.float64],
    size: tuple[int, int],
    shrink: float,
) -> NDArray[Any]:
    """Sample a square crop at the frame's pixels; outside the crop is zero.

    A crop much finer than the frame is area-averaged first: bilinear sampling alone would alias.
    One that is coarser is first enlarged by a whole factor, bicubically: OpenCV does that twenty
    times faster than it samples bicubically.
    """
    side = picture.shape[0]
    step = shrink * side / CROP_SIZE  # pixels of the picture a frame pixel
    if step >= 2.0:
        side //= int(step)
        picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    left = top = 0
    if step < 0.8 and picture.ndim == 3:
        times = min(int(np.ceil(1.5 / step)), MAX_ENLARGED)
        left, top, right, bottom = _seen_part(affine, size, side)
        picture = picture[top:bottom, left:right]
        side, left, top = times * side, times * left, times * top
        wide = (times * picture.shape[1], times * picture.shape[0])
        picture = cv2.resize(picture, wide, interpolation=cv2.INTER_CUBIC)
    factor = side / CROP_SIZE
    # cv2 wants the map from output (frame) to input (crop) pixels, which `affine` is.
    to_crop = affine * factor
    to_crop[:, 2] += (factor - 1.0) / 2.0
    to_crop[:, 2] -= left, top
    # Pixels beyond the crop repeat its edge, so that no black is mixed in; there the mask is zero.
    border = cv2.BORDER_REPLICATE if picture.ndim == 3 else cv2.BORDER_CONSTANT
    return cv2.warpAffine(
        picture, to_crop, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border
    )


def _seen_part(affine: NDArray[np.float64], size: tuple[int, int], side: int) -> Box:
    """The part of a picture (side, side) of the crop that a box of `size` frame pixels shows.

    `affine` takes pixels of the box to those of the crop. With what bicubic sampling needs beyond.
    """
    width, height = size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    points = (warp_points(affine, corners) + 0.5) * (side / CROP_SIZE)
    low, high = np.floor(points.min(axis=0)) - 4, np.ceil(points.max(axis=0)) + 4
    left, top = np.clip(low, 0, max(0, side - 8)).astype(int)
    right, bottom = np.clip(high, 8, side).astype(int)
    return int(left), int(top), max(int(right), int(left) + 8), max(int(bottom), int(top) + 8)


@numba.njit(cache=True, nogil=True)
def blend(frame: NDArray[np.uint8], face: NDArray[np.uint8], weight: NDArray[np.float32]) -> None:
    """Eq. 13 in place: frame = weight * face + (1 - weight) * frame, rounded to nearest.

    One pass without float copies of the pictures; `blend_reference` is the same in NumPy.
    """
    height, width, channels = frame.shape
    for y in range(height):
        for x in range(width):
            w = weight[y, x]
            if w > 0.0:
                for c in range(channels):
                    old = np.float32(frame[y, x, c])
                    frame[y, x, c] = np.uint8(old + w * (np.float32(face[y, x, c]) - old) + 0.5)


def blend_reference(
    frame: NDArray[np.uint8], face: NDArray[np.uint8], weight: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Eq. 13 as it is written; returns the blended picture (H, W, 3) uint8."""
    mask = weight[:, :, None].astype(np.float64)
    mixed = mask * face + (1.0 - mask) * frame
    return np.floor(mixed + 0.5).astype(np.uint8)
