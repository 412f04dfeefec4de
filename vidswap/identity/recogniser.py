"""A small face recogniser that the project trains itself: a second judge, in no loss of a swap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.faces.align import ARCFACE_CENTRE, ARCFACE_SCALE, CROP_CENTRE, CROP_SIZE
from vidswap.identity.encoder import crop_to_template

PICTURE_SIZE = 128  # pixels, side of the aligned crop that a view is cut out of
TEMPLATE_SIZE = 112  # of ArcFace's template, which a view shows at `SIZE` pixels
SIZE = 64
# The ellipse of the inner face, pixels of the template: from above the brows to the chin.
INNER_CENTRE, INNER_AXES = (56.5, 74.0), (36.0, 42.0)
SOFT_EDGE = 3.0  # pixels of a view


@dataclass(frozen=True)
class RecogniserConfig:
    """Channels at 32, 16, 8 and 4 pixels, the blocks of each, and the numbers of an embedding.

    inner: only the inner face is seen, from brows to chin. What is around it stays the target's in
    a swap, and says nothing of whose face it is.
    """

    widths: tuple[int, int, int, int] = (16, 32, 96, 192)
    blocks: tuple[int, int, int, int] = (1, 2, 2, 1)
    embedding: int = 128
    inner: bool = True


class Recogniser(nn.Module):
    """A narrow residual net: views (B, 3, 64, 64) in [-1, 1] to embeddings (B, 128), by cosine.

    Its last features are weighted place by place (a global depthwise convolution, as in
    MobileFaceNet) instead of averaged: in an aligned face every place has its meaning.
    """

    name: ClassVar[str] = "recogniser"

    def __init__(self, config: RecogniserConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RecogniserConfig()
        given = config.widths[0]
        self.register_buffer("seen", inner_face() if config.inner else None, persistent=False)
        self.stem = nn.Sequential(
            nn.Conv2d(3, given, 3, 2, 1, bias=False), nn.BatchNorm2d(given), nn.PReLU(given)
        )
        blocks: list[nn.Module] = []
        for level, (wide, count) in enumerate(zip(config.widths, config.blocks, strict=True)):
            for index in range(count):
                blocks.append(_Block(given, wide, halved=level > 0 and index == 0))
                given = wide
        self.blocks = nn.Sequential(*blocks)
        side = SIZE // 2 ** len(config.widths)
        self.places = nn.Sequential(
            nn.Conv2d(given, given, side, groups=given, bias=False), nn.BatchNorm2d(given)
        )
        self.answer = nn.Linear(given, config.embedding, bias=False)
        self.answer_norm = nn.BatchNorm1d(config.embedding)

    def forward(self, views: Tensor) -> Tensor:
        """Embeddings of views, of any length."""
        if isinstance(self.seen, Tensor):
            views = views * self.seen
        features: Tensor = self.places(self.blocks(self.stem(views))).flatten(1)
        embeddings: Tensor = self.answer_norm(self.answer(features))
        return embeddings

    def embed(self, crops: Tensor) -> Tensor:
        """Embeddings of aligned crops (B, 3, S, S), S 128 or more: of the view and its mirror."""
        views = recogniser_view(crops)
        embeddings: Tensor = self(views) + self(views.flip(3))
        return embeddings


class _Block(nn.Module):
    """Two convolutions of three pixels beside a skip, at the same or at half the size."""

    def __init__(self, given: int, wide: int, halved: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(given, wide, 3, 2 if halved else 1, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.PReLU(wide),
            nn.Conv2d(wide, wide, 3, 1, 1, bias=False),
            nn.BatchNorm2d(wide),
        )
        skip: list[nn.Module] = [nn.AvgPool2d(2)] if halved else []
        if given != wide:
            skip.append(nn.Conv2d(given, wide, 1, bias=False))
        self.skip = nn.Sequential(*skip)
        self.rectifier = nn.PReLU(wide)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.rectifier(self.skip(x) + self.body(x))
        return answer


def inner_face() -> Tensor:
    """The inner face of a view (1, 1, 64, 64), 1 inside an ellipse with a soft edge, 0 outside."""
    scale = SIZE / TEMPLATE_SIZE
    pixels = (torch.arange(SIZE) + 0.5) / scale  # of the template, edges at integers
    x, y = (pixels - INNER_CENTRE[0]) / INNER_AXES[0], (pixels - INNER_CENTRE[1]) / INNER_AXES[1]
    distance = torch.sqrt(x[None, :] ** 2 + y[:, None] ** 2)
    soft = ((1.0 - distance) * min(INNER_AXES) * scale / SOFT_EDGE + 0.5).clamp(0.0, 1.0)
    return soft[None, None]


def recogniser_view(crops: Tensor) -> Tensor:
    """Aligned crops (B, 3, S, S) to ArcFace's template at 64 pixels, (B, 3, 64, 64).

    Reduced to 128 pixels first, as training pictures are: the template then loses half of its
    pixels only.
    """
    if crops.shape[-1] > PICTURE_SIZE:
        crops = F.interpolate(crops, (PICTURE_SIZE, PICTURE_SIZE), mode="area")
    scale = SIZE / TEMPLATE_SIZE
    half_pixel = (scale - 1.0) / 2.0
    return crop_to_template(crops, SIZE, scale, (half_pixel, half_pixel))


def view_affine() -> Tensor:
    """The affine (2, 3) of `recogniser_view`: pixels of a view to those of a 128-pixel crop."""
    to_picture = PICTURE_SIZE / CROP_SIZE
    gain = TEMPLATE_SIZE / SIZE
    affine = torch.zeros(2, 3, dtype=torch.float64)
    for axis in range(2):
        shift = (gain - 1.0) / 2.0  # of the template's pixel, centres at integers
        in_crop = (shift - ARCFACE_CENTRE[axis]) * ARCFACE_SCALE + CROP_CENTRE[axis]
        affine[axis, axis] = gain * ARCFACE_SCALE * to_picture
        affine[axis, 2] = in_crop * to_picture + (to_picture - 1.0) / 2.0
    return affine
