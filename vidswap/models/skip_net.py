"""A small net that answers for every pixel: down and up again, with what was seen on the way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SkipNet(nn.Module):
    """A `stem`, `down` to each coarser level, `up` to each finer one, and an `answer` per pixel."""

    stem: nn.Module
    down: nn.ModuleList
    up: nn.ModuleList
    answer: nn.Conv2d

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (B, classes, S, S) of pictures (B, 3, S, S) in [-1, 1]."""
        levels = [self.stem(pictures)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up, skip in zip(reversed(self.up), reversed(levels), strict=True):
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0), skip], dim=1))
        logits: Tensor = self.answer(x)
        return logits


def conv_block(given: int, wide: int, stride: int = 1) -> nn.Sequential:
    """A convolution of three pixels, normalised, with a leaky rectifier."""
    conv = nn.Conv2d(given, wide, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(wide), nn.LeakyReLU(0.1))
