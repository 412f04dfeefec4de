"""Blend a filling into what it fills: Poisson image editing (Pérez et al., 2003), by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

# `seamlessClone` erodes its mask by three pixels before it takes gradients from the filling, and
# the gradient of a pixel reaches to the next one: four more pixels hold the whole seam.
_WIDER = 4
_PAD = _WIDER + 2  # pixels around the mask's box
_CARRIED, _SMOOTH = 3.0, 1.5  # pixels


def poisson_blend(target: Picture, filling: Picture, mask: NDArray[np.bool_]) -> Picture:
    """The target (H, W, 3) uint8 with the filling's gradients under a mask (H, W).

    `filling` has the target's size and shows what surrounds the mask too. Every pixel outside the
    mask is the target's own, bit for bit.
    """
    if not mask.any():
        return target
    hard = np.where(mask[..., None], filling, target)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = mask.shape
    # A hole at the picture's edge is mirrored beyond it, so that no colour is forced on the edge.
    above = _beyond(top == 0, bottom - top, height)
    below = _beyond(bottom == height, bottom - top, height)
    before = _beyond(left == 0, right - left, width)
    after = _beyond(right == width, right - left, width)

    def boxed(picture: NDArray[np.generic]) -> NDArray[np.uint8]:
        """The mask's box of the picture, and what lies around it."""
        padded = cv2.copyMakeBorder(
            np.ascontiguousarray(picture), above, below, before, after, cv2.BORDER_REFLECT
        )
        box = padded[top : bottom + above + below, left : right + before + after]
        return np.ascontiguousarray(box).astype(np.uint8)

    inside = boxed(mask.astype(np.uint8) * 255)
    for ring in (inside[:_PAD], inside[-_PAD:], inside[:, :_PAD], inside[:, -_PAD:]):
        ring[...] = 0  # what is mirrored may reach the end of what there is
    wide = cv2.dilate(inside, np.ones((2 * _WIDER + 1, 2 * _WIDER + 1), np.uint8))
    # The mask's own box is what is solved in, and its middle where it is put.
    x, y, wide_width, wide_height = cv2.boundingRect(wide)
    middle = (x + wide_width // 2, y + wide_height // 2)
    cloned = cv2.seamlessClone(boxed(filling), boxed(hard), wide, middle, cv2.NORMAL_CLONE)
    meeting = _meeting(np.asarray(cloned, np.uint8), boxed(target), inside > 0)
    answer = meeting[above:-below, before:-after]
    blended, hole = target.copy(), mask[top:bottom, left:right]
    blended[top:bottom, left:right][hole] = answer[hole]
    return blended


def _meeting(cloned: Picture, target: Picture, hole: NDArray[np.bool_]) -> Picture:
    """A cloned box (H, W, 3) that meets its target at the edge of the hole (H, W).

    `seamlessClone` solves in the whole box of a hole, so that around a hole of another shape than
    a box the target moves a little, and the hole with it. What it moved by is taken off: it is
    known around the hole, and is carried into it as missing pixels are.
    """
    moved = np.clip(target.astype(np.int16) - cloned + 128, 0, 255).astype(np.uint8)
    carried = cv2.inpaint(moved, hole.astype(np.uint8), _CARRIED, cv2.INPAINT_TELEA)
    smooth = cv2.GaussianBlur(carried, (0, 0), _SMOOTH).astype(np.int16) - 128
    met: Picture = np.clip(cloned + smooth, 0, 255).astype(np.uint8)
    return met


def _beyond(touched: bool, extent: int, side: int) -> int:
    """How far to mirror a picture beyond one of its edges, in pixels."""
    return min(int(extent) + _PAD, side) if touched else _PAD
