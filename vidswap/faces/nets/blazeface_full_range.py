"""BlazeFace for faces near and far: those of a twentieth of the picture's side and more.

The "full range" variant of Bazarevsky et al. 2019 (arXiv:1907.05047), as its model card describes
it: double blocks with a bottleneck, and a feature pyramid up to a quarter of the input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT_SIZE = 192  # pixels
INPUT_RANGE = (-1.0, 1.0)
ANCHORS = ((48, 1),)  # cells per side, anchors per cell

# Bottleneck, channels and blocks of each scale, the coarsest last.
_SCALES = ((8, 32, 2), (16, 64, 2), (32, 128, 2), (48, 192, 2), (96, 384, 3))
_LATERAL = (48, 64, 96, 96)  # channels that each scale but the first gives to the pyramid
_PYRAMID = ((48, 96, 2), (32, 64, 2), (24, 48, 1))  # the finest last


class BlazeFaceFullRange(nn.Module):
    """Pictures (B, 3, 192, 192) in [-1, 1] to raw boxes (B, 2304, 16), score logits (B, 2304)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _SCALES[0][1], 3, stride=2, padding=1)
        self.scales, self.laterals = nn.ModuleList(), nn.ModuleList()
        in_channels = _SCALES[0][1]
        for index, (bottleneck, channels, count) in enumerate(_SCALES):
            blocks = [DoubleBlock(channels, bottleneck, channels) for _ in range(count)]
            if index > 0:
                blocks.insert(0, DoubleBlock(in_channels, bottleneck, channels, stride=2))
            self.scales.append(nn.Sequential(*blocks))
            in_channels = channels
            if index > 0:
                self.laterals.append(nn.Conv2d(channels, _LATERAL[index - 1], 1))
        self.pyramid, self.narrower = nn.ModuleList(), nn.ModuleList()
        for index, (bottleneck, channels, count) in enumerate(_PYRAMID):
            blocks = [DoubleBlock(channels, bottleneck, channels) for _ in range(count)]
            self.pyramid.append(nn.Sequential(*blocks))
            if index + 1 < len(_PYRAMID):
                self.narrower.append(nn.Conv2d(channels, _PYRAMID[index + 1][1], 1))
        self.scores, self.boxes = Head(48, 1), Head(48, 16)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu_(self.stem(pictures))
        x = self.scales[0](x)
        laterals = []
        for scale, lateral in zip(self.scales[1:], self.laterals, strict=True):
            x = scale(x)
            laterals.append(torch.relu_(lateral(x)))
        x = laterals.pop()
        for index, blocks in enumerate(self.pyramid):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = blocks(x.add_(laterals.pop()))
            if index < len(self.narrower):
                x = torch.relu_(self.narrower[index](x))
        scores = self.scores(x).squeeze(2)
        return self.boxes(x), scores


class DoubleBlock(nn.Module):
    """relu(x + expand(relu(reduce(x)))), each half a depthwise and a pointwise convolution.

    At a stride of 2 there is no skip.
    """

    def __init__(self, in_channels: int, bottleneck: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.depthwise1 = nn.Conv2d(
            in_channels, in_channels, 3, stride, padding=1, groups=in_channels
        )
        self.reduce = nn.Conv2d(in_channels, bottleneck, 1)
        self.depthwise2 = nn.Conv2d(bottleneck, bottleneck, 3, padding=1, groups=bottleneck)
        self.expand = nn.Conv2d(bottleneck, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu_(self.reduce(self.depthwise1(x)))
        y = self.expand(self.depthwise2(y))
        return torch.relu_(y if self.stride == 2 else y.add_(x))


class Head(nn.Module):
    """`values` for each pixel, computed four pixels at a time."""

    def __init__(self, channels: int, values: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels, 4 * values, 1)
        self.depthwise = nn.Conv2d(
            4 * values, 4 * values, 3, stride=2, padding=1, groups=4 * values
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_shuffle(self.depthwise(self.pointwise(x)), 2)
        return x.permute(0, 2, 3, 1).flatten(1, 2)
