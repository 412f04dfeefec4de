"""Selfie segmentation: which pixels show a person, hair and clothes included.

The general model of the MediaPipe project: a MobileNet v3 (Howard et al. 2019, arXiv:1905.02244)
and a decoder whose skips are weighted by a gate of their channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.faces.nets.layers import SameConv2d

INPUT_SIZE = 256  # pixels

# Expanded channels, channels, channels of the gate's bottleneck of the last blocks of the encoder.
_DEEP = ((96, 32, 24), (128, 32, 32), (128, 32, 32), (96, 32, 24), (96, 32, 24))


class SelfieSegmentation(nn.Module):
    """Pictures (B, 3, 256, 256) in [0, 1] to the probability of a person (B, 1, 256, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 16, 3, stride=2)
        self.half_size = _Inverted(16, 16, 16, 3, stride=2, gate=8)
        self.quarter_size = nn.Sequential(
            _Inverted(16, 72, 24, 3, stride=2), _Inverted(24, 88, 24, 3)
        )
        blocks, channels = [], 24
        for index, (expanded, out_channels, gate) in enumerate(_DEEP):
            stride = 2 if index == 0 else 1
            blocks.append(
                _Inverted(channels, expanded, out_channels, 5, stride, gate, nn.Hardswish)
            )
            channels = out_channels
        self.deep = nn.Sequential(*blocks)
        self.context, self.context_gate = nn.Conv2d(32, 128, 1), nn.Conv2d(32, 128, 1)
        self.up = nn.ModuleList([_Up(128, 24), _Up(24, 16), _Up(16, 16)])
        self.person = nn.ConvTranspose2d(16, 1, 2, stride=2)

    def forward(self, pictures: Tensor) -> Tensor:
        skips = [F.hardswish(self.stem(pictures))]
        for encode in (self.half_size, self.quarter_size):
            skips.append(encode(skips[-1]))
        deep = self.deep(skips[-1])
        x = torch.relu(self.context(deep))
        x = x * torch.sigmoid(self.context_gate(deep.mean(dim=(2, 3), keepdim=True)))
        for up in self.up:
            x = up(x, skips.pop())
        return torch.sigmoid(self.person(x))


class _Gate(nn.Module):
    """Squeeze and excitation: a factor in [0, 1] for each channel, from its mean."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, bottleneck, 1)
        self.excite = nn.Conv2d(bottleneck, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))


class _Inverted(nn.Module):
    """MobileNet's inverted residual; a skip where shapes agree."""

    def __init__(
        self,
        in_channels: int,
        expanded: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        gate: int = 0,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.skips = stride == 1 and in_channels == channels
        self.activation = activation()
        self.expand = nn.Conv2d(in_channels, expanded, 1)
        self.depthwise = SameConv2d(expanded, expanded, kernel, stride, groups=expanded)
        self.gate = _Gate(expanded, gate) if gate else None
        self.project = nn.Conv2d(expanded, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.depthwise(self.activation(self.expand(x))))
        if self.gate is not None:
            y = y * self.gate(y)
        projected: Tensor = self.project(y)
        return projected + x if self.skips else projected


class _Up(nn.Module):
    """Twice the size, the encoder's features added through a gate, then a residual block."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(in_channels, channels, 1)
        self.gate = _Gate(channels, channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.depthwise = SameConv2d(channels, channels, 3, groups=channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.narrow(F.interpolate(x, scale_factor=2.0, mode="bilinear"))
        x = skip * self.gate(skip + x) + x
        x = torch.relu(self.pointwise(x))
        return x + torch.relu(self.depthwise(x))
