"""Views of a face to learn from: moved, in other light, poorly recorded, partly hidden."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidswap.identity.recogniser import SIZE, view_affine
from vidswap.training.augmentation import degrade
from vidswap.training.recogniser.albums import Albums

Picture = NDArray[np.uint8]
_AFFINE = view_affine().numpy()


@dataclass(frozen=True)
class ViewConfig:
    """How a picture is changed. Shares of pictures, and how far at most.

    rotation: degrees. scale: natural logarithm. shift: pixels of 64. contrast: natural logarithm
    of the gain; tint: that of each colour's own; brightness: grey levels. hidden: with a rectangle
    of one colour, its sides within hidden_sides, pixels of 64.
    """

    rotation: float = 8.0
    scale: float = 0.08
    shift: float = 2.5
    lit: float = 0.8
    contrast: float = 0.35
    tint: float = 0.2
    brightness: float = 30.0
    grey: float = 0.2
    hidden: float = 0.3
    hidden_sides: tuple[int, int] = (8, 28)


@dataclass(frozen=True, eq=False)
class PeopleDrawn:
    """A batch: views (2 B, 3, 64, 64) in [-1, 1], row i and row B + i of one person.

    people: (2 B,) their numbers. Those below the number of albums have several photographs.
    """

    views: Tensor
    people: Tensor


class PeopleSampler:
    """Draws people and two views of each: batch number i of a seed is always the same.

    `pictures` are drawn per batch, half as many people; a share `singles` of these have one
    photograph only, of which both views are. The others are drawn by the root of how many
    photographs they have.
    """

    def __init__(
        self, albums: Albums, pictures: int, singles: float, seed: int, views: ViewConfig
    ) -> None:
        self.albums, self.seed, self.views = albums, seed, views
        self.people = pictures // 2
        self.singles = int(self.people * singles) if albums.single else 0
        weights = np.sqrt(albums.photographs_of)
        self.weights = weights / weights.sum()

    def batch(self, number: int) -> PeopleDrawn:
        """Batch `number`."""
        random = np.random.default_rng((self.seed, number))
        albums, n = self.albums, len(self.albums.several)
        people = random.choice(n, self.people - self.singles, p=self.weights).tolist()
        if self.singles:
            people += (n + random.integers(0, len(albums.single), self.singles)).tolist()
        views = np.empty((2 * len(people), SIZE, SIZE, 3), np.uint8)
        for i, person in enumerate(people):
            album = albums.several[person] if person < n else albums.single[person - n]
            shown = random.choice(album, 2, replace=len(album) < 2)
            for row, picture in zip((i, len(people) + i), shown, strict=True):
                views[row] = drawn_view(albums.picture(int(picture)), self.views, random)
        return PeopleDrawn(views_to_tensor(views), torch.tensor(people * 2))


def drawn_view(picture: Picture, config: ViewConfig, random: np.random.Generator) -> Picture:
    """A picture (128, 128, 3), changed at random, as a view (64, 64, 3)."""
    if random.random() < 0.5:
        picture = picture[:, ::-1]
    view = cut_view(picture, _moved(config, random))
    view = np.asarray(degrade(view, random), np.uint8)
    if random.random() < config.lit:
        gain = np.exp(random.uniform(-config.contrast, config.contrast))
        gain = gain * np.exp(random.uniform(-config.tint, config.tint, 3))
        lit = view * gain + random.uniform(-config.brightness, config.brightness)
        view = lit.clip(0, 255).astype(np.uint8)
    if random.random() < config.grey:
        view = np.repeat(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if random.random() < config.hidden:
        height, width = random.integers(*config.hidden_sides, 2, endpoint=True)
        top, left = random.integers(0, SIZE - height), random.integers(0, SIZE - width)
        view = view.copy()
        view[top : top + height, left : left + width] = random.integers(0, 256, 3)
    return view


def cut_view(picture: Picture, affine: NDArray[np.float64] = _AFFINE) -> Picture:
    """The view (64, 64, 3) of a picture (128, 128, 3); `affine` takes its pixels to the picture's.

    Without one, what `recogniser_view` cuts.
    """
    view = cv2.warpAffine(
        np.ascontiguousarray(picture), affine, (SIZE, SIZE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    return np.asarray(view, np.uint8)


def views_to_tensor(views: NDArray[np.uint8]) -> Tensor:
    """Views (B, 64, 64, 3) uint8 as (B, 3, 64, 64) float32 in [-1, 1], channels last in memory."""
    return torch.from_numpy(views).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def _moved(config: ViewConfig, random: np.random.Generator) -> NDArray[np.float64]:
    """`view_affine` after a random turn, scale and shift about the view's centre."""
    angle = np.radians(random.uniform(-config.rotation, config.rotation))
    scale = np.exp(random.uniform(-config.scale, config.scale))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.full(2, (SIZE - 1) / 2.0)
    offset = centre - turn @ (centre + random.uniform(-config.shift, config.shift, 2))
    linear = _AFFINE[:, :2]
    return np.column_stack([linear @ turn, linear @ offset + _AFFINE[:, 2]])
