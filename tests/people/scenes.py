"""Clips of generated people with known truth: who is where in which frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from tests.media.clips import make_clip
from vidswap.animation.clip import find_face, load_portrait, portrait_names
from vidswap.animation.motion import talking
from vidswap.animation.portrait import animate
from vidswap.media.picture import read_picture

FPS = 25
SIZE = (480, 240)  # width, height
TALK = 30  # frames that are animated, played forwards and backwards
TILE = 200  # pixels, side of a person's picture
MORE = Path(__file__).resolve().parents[3] / "shared" / "demo"  # portraits, not always there
LEFT, MIDDLE, RIGHT = 20.0, 140.0, 260.0  # where a person's picture begins


@dataclass(frozen=True)
class Shown:
    """A person in a frame.

    left, top, size: of the picture of them, in pixels. share: how far it is mixed in, 0 to 1.
    """

    name: str
    left: float
    share: float = 1.0
    mirrored: bool = False
    top: float = 20.0
    size: int = TILE


Scene = Callable[[int], Sequence[Shown]]


@cache
def tiles(name: str, frames: int = TALK) -> np.ndarray:
    """A portrait that talks, (frames, TILE, TILE, 3): a packaged one, or one beside the project."""
    photo = (
        load_portrait(name) if name in portrait_names() else read_picture(MORE / f"{name}.jpg").rgb
    )
    times = (index / FPS for index in range(frames))
    return np.stack(list(animate(photo, find_face(photo), times, talking, (TILE, TILE))))


def frame_of(shown: Sequence[Shown], index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """One frame: people over a plain wall, later ones before earlier ones."""
    picture = np.full((size[1], size[0], 3), (118, 126, 138), np.float32)
    picture += np.linspace(-20, 20, size[0], dtype=np.float32)[None, :, None]
    for one in shown:
        tile = tiles(one.name)[TALK - 1 - abs(index % (2 * TALK - 2) - TALK + 1)]
        tile = tile[:, ::-1] if one.mirrored else tile
        if one.size < TILE:  # without the aliasing of a warp that makes things small
            tile = cv2.resize(tile, (one.size, one.size), interpolation=cv2.INTER_AREA)
        matrix = np.float32([[1, 0, one.left], [0, 1, one.top]])
        laid = cv2.warpAffine(tile, matrix, size).astype(np.float32)
        side = len(tile)
        mask = np.zeros((side, side), np.float32)
        cv2.ellipse(mask, (side // 2, side // 2), (side * 2 // 5, side // 2), 0, 0, 360, 1.0, -1)
        mask = cv2.GaussianBlur(cv2.warpAffine(mask, matrix, size), (0, 0), 2)[..., None]
        picture += one.share * mask * (laid - picture)
    return np.clip(picture, 0, 255).astype(np.uint8)


def clip_of(path: Path, scene: Scene, frames: int, size: tuple[int, int] = SIZE) -> Path:
    """Write the scene as a clip of 25 frames a second."""
    return make_clip(
        path, picture=lambda index, *_: frame_of(scene(index), index, size), size=size,
        frames=frames, rate=Fraction(FPS), options={"crf": "14"},
    )  # fmt: skip


A, B, C = "clara", "samuel", "mei"


def two(index: int) -> list[Shown]:
    """A beside B."""
    return [Shown(A, LEFT), Shown(B, RIGHT)]


def exchanged_at_a_cut(index: int) -> list[Shown]:
    """A beside B; from frame 30 on B beside A."""
    return two(index) if index < 30 else [Shown(B, LEFT), Shown(A, RIGHT)]


def exchanged_by_a_dissolve(index: int, first: int = 30, length: int = 15) -> list[Shown]:
    """A beside B, over 15 frames mixed into B beside A."""
    share = min(max((index - first) / length, 0.0), 1.0)
    after = [Shown(B, LEFT, share), Shown(A, RIGHT, share)]
    return [*([] if share == 1.0 else two(index)), *(after if share > 0 else [])]


def passing(index: int) -> list[Shown]:
    """A goes from left to right behind B, who goes from right to left."""
    share = min(max((index - 10) / 40, 0.0), 1.0)
    way = RIGHT - LEFT
    return [Shown(A, LEFT + share * way), Shown(B, RIGHT - share * way)]


def leaving(index: int) -> list[Shown]:
    """A and B; A is away from frame 25 to 50 and comes back where B was, who moves aside."""
    if index < 25:
        return two(index)
    if index < 50:
        return [Shown(B, RIGHT)]
    return [Shown(B, LEFT), Shown(A, RIGHT)]


def mirrored(index: int) -> list[Shown]:
    """A and her mirror image."""
    return [Shown(A, LEFT), Shown(A, RIGHT, mirrored=True)]
