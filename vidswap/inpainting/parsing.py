"""S, the structure network of ID-GAN: which part of a face each pixel is (III.B, after GFC)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from vidswap.inpainting.inpainter import read_inpainter
from vidswap.models.checkpoint_file import read_checkpoint
from vidswap.models.skip_net import SkipNet, conv_block

SIZE = 128  # pixels
PARTS = ("rest", "hair", "skin", "brows", "eyes", "nose", "lips", "mouth")


@dataclass(frozen=True)
class ParsingConfig:
    """Channels at 128, 64, 32, 16 and 8 pixels."""

    widths: tuple[int, int, int, int, int] = (16, 24, 32, 48, 64)


class ParsingNet(SkipNet):
    """A U-Net: faces (B, 3, 128, 128) in [-1, 1] to logits (B, 8, 128, 128) of `PARTS`."""

    name: ClassVar[str] = "face-parsing"

    def __init__(self, config: ParsingConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ParsingConfig()
        widths = config.widths
        self.stem = conv_block(3, widths[0])
        self.down = nn.ModuleList(conv_block(fine, coarse, 2) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(
            conv_block(fine + coarse, fine) for fine, coarse in pairwise(widths)
        )
        self.answer = nn.Conv2d(widths[0], len(PARTS), 1)


def load_parsing(path: Path) -> ParsingNet:
    """The parsing net of a checkpoint, frozen, on the CPU in fp32. Raises CheckpointError."""
    net = read_inpainter(read_checkpoint(path), ParsingNet, ParsingConfig)
    net = net.eval().requires_grad_(False)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net
