"""BlazeFace for faces that are near: those of a fifth of the picture's side and more.

Bazarevsky et al. 2019, "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs",
arXiv:1907.05047.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidswap.faces.nets.layers import SameConv2d, SeparableBlock

INPUT_SIZE = 128  # pixels
INPUT_RANGE = (-1.0, 1.0)
ANCHORS = ((16, 2), (8, 6))  # cells per side, anchors per cell

# Channels of each block of a scale; the first block of every scale but the first halves it.
_FINE = ((24, 28), (32, 36, 42), (48, 56, 64, 72, 80, 88))
_COARSE = (96, 96, 96, 96, 96)


def _relu(channels: int) -> nn.Module:
    return nn.ReLU(inplace=True)


class BlazeFaceShortRange(nn.Module):
    """Pictures (B, 3, 128, 128) in [-1, 1] to raw boxes (B, 896, 16) and score logits (B, 896)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 24, 5, stride=2)
        blocks, in_channels = [], 24
        for scale, channels_of_blocks in enumerate((*_FINE, _COARSE)):
            for index, channels in enumerate(channels_of_blocks):
                stride = 2 if scale > 0 and index == 0 else 1
                blocks.append(SeparableBlock(in_channels, channels, stride, activation=_relu))
                in_channels = channels
        split = len(blocks) - len(_COARSE)
        self.fine, self.coarse = nn.Sequential(*blocks[:split]), nn.Sequential(*blocks[split:])
        self.fine_scores, self.coarse_scores = nn.Conv2d(88, 2, 1), nn.Conv2d(96, 6, 1)
        self.fine_boxes, self.coarse_boxes = nn.Conv2d(88, 32, 1), nn.Conv2d(96, 96, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(torch.relu_(self.stem(pictures)))
        coarse = self.coarse(fine)
        scores = [
            _per_anchor(self.fine_scores(fine), 1),
            _per_anchor(self.coarse_scores(coarse), 1),
        ]
        boxes = [_per_anchor(self.fine_boxes(fine), 16), _per_anchor(self.coarse_boxes(coarse), 16)]
        return torch.cat(boxes, dim=1), torch.cat(scores, dim=1).squeeze(2)


def _per_anchor(x: Tensor, values: int) -> Tensor:
    """(B, A * values, H, W) to (B, H * W * A, values): anchors of a cell follow one another."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)
