"""Clips to time a swap on: animated portraits, as many and as large as asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.animation.clip import FPS, find_face, load_portrait, portrait_names, write_clip
from vidswap.animation.motion import talking
from vidswap.animation.portrait import animate
from vidswap.errors import BadOptionError
from vidswap.faces.detection import Face

Image = NDArray[np.uint8]

SOURCE, TARGET = "clara", "nora"  # packaged portraits
SMALLEST = 32  # pixels of a face's height that are still one


def write_faces(
    path: Path,
    n_frames: int,
    size: tuple[int, int] = (1280, 720),
    faces: int = 1,
    face_height: int | None = None,
) -> None:
    """A clip of `size` (width, height) in which so many faces talk, side by side.

    face_height: of each face in pixels, brow to chin as the mesh has it; None is as large as its
    part of the frame shows whole. Raises BadOptionError where that is too small or too large.
    """
    write_clip(path, _frames(n_frames, size, faces, face_height), n_frames / FPS, size)


def _frames(
    n_frames: int, size: tuple[int, int], faces: int, face_height: int | None
) -> Iterator[Image]:
    columns = math.ceil(math.sqrt(faces))
    rows = math.ceil(faces / columns)
    cell = _even(size[0] // columns), _even(size[1] // rows)
    names = [TARGET, *(name for name in portrait_names() if name not in (SOURCE, TARGET))]
    times = [index / FPS for index in range(n_frames)]
    photos = [
        (photo, find_face(photo)) for photo in map(load_portrait, islice(cycle(names), faces))
    ]
    views = [cell if face_height is None else _view(*p, cell, face_height) for p in photos]
    moving = [
        animate(*photo, times, talking, view) for photo, view in zip(photos, views, strict=True)
    ]
    for shown in zip(*moving, strict=True):
        frame = np.full((size[1], size[0], 3), 96, np.uint8)
        for number, picture in enumerate(shown):
            left, top = number % columns * cell[0], number // columns * cell[1]
            frame[top : top + cell[1], left : left + cell[0]] = _centred(picture, cell)
        yield frame


def _view(photo: Image, face: Face, cell: tuple[int, int], face_height: int) -> tuple[int, int]:
    """The size (width, height) at which a portrait's face is so high; a cell at most."""
    whole = next(animate(photo, face, [0.0], talking, cell))
    box = find_face(whole).box
    largest = int(box[3] - box[1])
    if not SMALLEST <= face_height <= largest:
        raise BadOptionError(
            f"faces of {face_height} pixels; in parts of {cell[0]}x{cell[1]} of the frame they "
            f"may have {SMALLEST} to {largest}"
        )
    share = face_height / largest
    return _even(cell[0] * share), _even(cell[1] * share)


def _centred(picture: Image, size: tuple[int, int]) -> Image:
    """A picture amid one of `size` (width, height), whose edge goes on to the border."""
    height, width = picture.shape[:2]
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    sides = top, size[1] - height - top, left, size[0] - width - left
    return np.asarray(cv2.copyMakeBorder(picture, *sides, cv2.BORDER_REPLICATE), np.uint8)


def _even(length: float) -> int:
    return int(length) // 2 * 2
