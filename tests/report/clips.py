"""A target of a photograph that moves, and swaps of it with faults that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from tests.media.clips import make_clip
from tests.photographs import astronaut, grace_hopper

SIZE = (320, 240)
FRAMES = 14
LOSSLESS = {"crf": "0", "preset": "ultrafast"}
# Grace Hopper's face in the frame at rest: centre and half axes in pixels.
CENTRE, AXES = (164, 115), (45, 55)

Picture = np.ndarray
Change = Callable[[int, Picture], Picture]


@cache
def hopper() -> Picture:
    """The photograph at the frame's height, filled up to its width."""
    photo = grace_hopper()
    scale = SIZE[1] / 480
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left = (SIZE[0] - small.shape[1]) // 2
    right = SIZE[0] - small.shape[1] - left
    wide = cv2.copyMakeBorder(small, 0, 0, left, right, cv2.BORDER_REFLECT)
    return np.ascontiguousarray(wide[: SIZE[1]])


def moved(picture: Picture, index: int) -> Picture:
    """The picture as frame `index` shows it: it drifts and turns a little."""
    matrix = cv2.getRotationMatrix2D((160, 100), 0.4 * index, 1.0)
    matrix[:, 2] += [0.6 * index, 0.3 * index]
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def face_weight(feather: float = 0.0) -> Picture:
    """One on the face of the picture at rest, (H, W, 1)."""
    mask = np.zeros(SIZE[::-1], np.float32)
    cv2.ellipse(mask, CENTRE, AXES, 0, 0, 360, 1.0, -1)
    return (cv2.GaussianBlur(mask, (0, 0), feather) if feather else mask)[:, :, None]


def brighter_face(level: float) -> Change:
    """The face brighter by `level` within a sharp edge."""

    def change(index: int, picture: Picture) -> Picture:
        return np.clip(picture + level * face_weight(), 0, 255).astype(np.uint8)

    return change


def blurred_face(deviation: float) -> Change:
    """The face blurred, softly joined to the rest."""

    def change(index: int, picture: Picture) -> Picture:
        weight = face_weight(2.0)
        blurred = cv2.GaussianBlur(picture, (0, 0), deviation)
        return np.rint(weight * blurred + (1 - weight) * picture).astype(np.uint8)

    return change


def only_in(frames: Sequence[int], change: Change) -> Change:
    """The change in some frames, the picture as it is in the others."""
    return lambda index, picture: change(index, picture) if index in frames else picture


def lossless(path: Path, picture: Callable[[int], Picture], **given: object) -> Path:
    """A clip of the pictures by number, exactly as they are."""
    options = {"size": SIZE, "options": LOSSLESS, "pixel_format": "yuv444p", **given}
    return make_clip(path, picture=lambda i, w, h: picture(i), **options)  # type: ignore[arg-type]


def write(
    path: Path,
    change: Change | None = None,
    frames: int = FRAMES,
    size: tuple[int, int] = SIZE,
    late: int = 0,
    **given: object,
) -> Path:
    """A clip of the moving photograph, each frame's face changed before it is moved."""

    def picture(index: int) -> Picture:
        at = max(0, index - late)
        still = hopper() if change is None else change(at, hopper())
        shown = moved(still, at)
        return shown if size == SIZE else cv2.resize(shown, size, interpolation=cv2.INTER_CUBIC)

    return lossless(path, picture, size=size, frames=frames, **given)


def write_two_people(path: Path, frames: int = 14) -> Path:
    """Two people who walk past each other, the astronaut in front."""
    one = cv2.resize(grace_hopper()[40:440, 70:450], (114, 120), interpolation=cv2.INTER_AREA)
    other = cv2.resize(astronaut()[:260, 90:360], (125, 120), interpolation=cv2.INTER_AREA)

    def picture(index: int) -> Picture:
        frame = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
        share = index / (frames - 1)
        left, right = round(10 + 190 * share), round(190 - 180 * share)
        frame[60:180, left : left + one.shape[1]] = one
        frame[40:160, right : right + other.shape[1]] = other
        return frame

    return lossless(path, picture, frames=frames)
