"""S, the structure network of ID-GAN: which part of a face each pixel is (III.B, after GFC)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.inpainting.inpainter import read_inpainter
from vidswap.models.checkpoint_file import read_checkpoint

SIZE = 128  # pixels
PARTS = ("rest", "hair", "skin", "brows", "eyes", "nose", "lips", "mouth")


@dataclass(frozen=True)
class ParsingConfig:
    """Channels at 128, 64, 32, 16 and 8 pixels."""

    widths: tuple[int, int, int, int, int] = (16, 24, 32, 48, 64)


class ParsingNet(nn.Module):
    """A U-Net: faces (B, 3, 128, 128) in [-1, 1] to logits (B, 8, 128, 128) of `PARTS`."""

    name: ClassVar[str] = "face-parsing"

    def __init__(self, config: ParsingConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ParsingConfig()
        widths = config.widths
        self.stem = _conv(3, widths[0])
        self.down = nn.ModuleList(_conv(fine, coarse, 2) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(_conv(fine + coarse, fine) for fine, coarse in pairwise(widths))
        self.answer = nn.Conv2d(widths[0], len(PARTS), 1)

    def forward(self, faces: Tensor) -> Tensor:
        levels = [self.stem(faces)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up, skip in zip(reversed(self.up), reversed(levels), strict=True):
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0), skip], dim=1))
        logits: Tensor = self.answer(x)
        return logits


def _conv(given: int, wide: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(given, wide, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(wide), nn.LeakyReLU(0.1))


def load_parsing(path: Path) -> ParsingNet:
    """The parsing net of a checkpoint, frozen, on the CPU in fp32. Raises CheckpointError."""
    net = read_inpainter(read_checkpoint(path), ParsingNet, ParsingConfig)
    net = net.eval().requires_grad_(False)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net
