"""What the face nets share: TensorFlow's padding and the depthwise-separable residual block."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, for inputs that the stride divides.

    At a stride of 2 the padding is one pixel larger at the right and the bottom than at the left
    and the top, which `nn.Conv2d` cannot say.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        total = kernel - stride
        self._uneven = total % 2 == 1
        super().__init__(in_channels, out_channels, kernel, stride, total // 2, groups=groups)
        self._total = total

    def forward(self, x: Tensor) -> Tensor:
        if not self._uneven:
            return super().forward(x)
        before, after = self._total // 2, self._total - self._total // 2
        x = F.pad(x, (before, after, before, after))
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


class SeparableBlock(nn.Module):
    """act(x + pointwise(depthwise(x))), the block of MobileNet v1 with a skip.

    At a stride of 2 the skip is max-pooled; where `channels` exceeds `in_channels`, zeros are
    added to it. `groups` nets of equal shape can lie side by side in the channels: each group of
    `in_channels / groups` channels has its own weights and sees no other group.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[[int], nn.Module] = nn.PReLU,
    ) -> None:
        super().__init__()
        self.stride, self.groups = stride, groups
        self.depthwise = SameConv2d(in_channels, in_channels, 3, stride, groups=in_channels)
        self.pointwise = nn.Conv2d(in_channels, channels, 1, groups=groups)
        self.activation = activation(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pointwise(self.depthwise(x))
        if self.stride == 2:
            x = F.max_pool2d(x, 2)
        if x.shape[1] == y.shape[1]:
            y = y.add_(x)
        else:
            grouped = x.unflatten(1, (self.groups, -1))
            y.unflatten(1, (self.groups, -1))[:, :, : grouped.shape[2]].add_(grouped)
        activated: Tensor = self.activation(y)
        return activated
