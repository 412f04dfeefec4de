"""Frames with the photographs' heads at chosen places, on a plain backdrop."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.photographs import astronaut, grace_hopper

Image = NDArray[np.uint8]

HEAD = 220  # pixels, side of a head's patch; the face is about 95 wide
SIZE = (960, 540)  # width and height of a frame
NOISE = 3.0  # grey levels


@cache
def head(name: str) -> Image:
    """The patch (220, 220, 3) around the head of "collins" or "hopper"."""
    if name == "collins":
        return astronaut()[10:230, 110:330].copy()
    patch = grace_hopper()[20:400, 80:460]
    return cv2.resize(patch, (HEAD, HEAD), interpolation=cv2.INTER_AREA)


@cache
def backdrop(seed: int = 0) -> Image:
    """Soft blotches of colour, (540, 960, 3), without a face; another seed, another place."""
    blotches = np.random.default_rng(seed).integers(40, 200, (9, 16, 3)).astype(np.uint8)
    return cv2.resize(blotches, SIZE, interpolation=cv2.INTER_CUBIC)


def place(frame: Image, name: str, x: float, y: float, scale: float = 1.0) -> Image:
    """A copy of the frame with a head centred at (x, y), feathered into it."""
    half = int(scale * HEAD / 2) + 2
    left, top = max(0, int(x) - half), max(0, int(y) - half)
    right, bottom = min(SIZE[0], int(x) + half), min(SIZE[1], int(y) + half)
    placed = frame.copy()
    if right <= left or bottom <= top:
        return placed
    shift = (x - scale * HEAD / 2 - left, y - scale * HEAD / 2 - top)
    to_part = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    size = (right - left, bottom - top)
    patch = cv2.warpAffine(head(name), to_part, size)
    mask = cv2.warpAffine(_oval(), to_part, size)[..., None]
    part = placed[top:bottom, left:right]
    part[:] = (patch * mask + part * (1 - mask)).astype(np.uint8)
    return placed


def noisy(frame: Image, seed: int) -> Image:
    """The frame with sensor noise, another for every seed."""
    noise = np.roll(_noise(), 7919 * seed)[: frame.size].reshape(frame.shape)
    return cv2.add(frame, noise, dtype=cv2.CV_8U)


@cache
def _noise() -> NDArray[np.int16]:
    values = np.random.default_rng(0).normal(0, NOISE, SIZE[0] * SIZE[1] * 3)
    return np.rint(values).astype(np.int16)


@cache
def _oval() -> NDArray[np.float32]:
    y, x = np.mgrid[:HEAD, :HEAD]
    distance = np.hypot((x - HEAD / 2) / 100, (y - HEAD / 2) / 108)
    return (np.clip(1.15 - distance, 0, 0.12) / 0.12).astype(np.float32)
