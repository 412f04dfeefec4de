"""Instance normalisation that keeps the channels-last layout, with its activation.

torch's own goes through a batch normalisation of a reshaped tensor, whose result is in the other
layout: every convolution after it then reorders its input, which costs more than the norm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidswap.models.normalisation import NORM_EPSILON, channel_statistics, scale_shift


class InstanceNorm(nn.Module):
    """(B, C, H, W) to zero mean and unit variance a picture and channel, then gain and bias.

    The same as `torch.nn.InstanceNorm2d(channels, affine=affine)`, parameters included, followed by
    a leaky ReLU of `slope` (1 is none); statistics are in float32 whatever the input is.
    """

    def __init__(self, channels: int, affine: bool = False, slope: float = 1.0) -> None:
        super().__init__()
        self.slope = slope
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = channel_statistics(x)
        gain = torch.rsqrt(variance + NORM_EPSILON)
        if self.weight is not None:
            gain = gain * self.weight.float()[:, None, None]
        offset = -gain * mean
        if self.bias is not None:
            offset = offset + self.bias.float()[:, None, None]
        return scale_shift(x, gain, offset, self.slope)
