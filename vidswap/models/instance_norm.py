"""Instance normalisation that keeps the channels-last layout.

torch's own goes through a batch normalisation of a reshaped tensor, whose result is in the other
layout: every convolution after it then reorders its input, which costs more than the norm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NORM_EPSILON = 1e-5


class InstanceNorm(nn.Module):
    """(B, C, H, W) to zero mean and unit variance a picture and channel, then gain and bias.

    The same as `torch.nn.InstanceNorm2d(channels, affine=affine)`, parameters included; statistics
    are in float32 whatever the input is.
    """

    def __init__(self, channels: int, affine: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x.float(), dim=(2, 3), keepdim=True, correction=0)
        gain = torch.rsqrt(variance + NORM_EPSILON)
        if self.weight is not None:
            gain = gain * self.weight.float()[:, None, None]
        offset = -gain * mean
        if self.bias is not None:
            offset = offset + self.bias.float()[:, None, None]
        return torch.addcmul(offset.to(x.dtype), x, gain.to(x.dtype))
