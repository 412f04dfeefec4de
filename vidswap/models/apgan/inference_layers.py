"""Layers of the generator's inference form: convolutions of oneDNN, and passes in place.

Maps are torch tensors (B, C, H, W), channels last, float32 or bfloat16, on the CPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.models import norm_kernels
from vidswap.models.apgan import inference_kernels
from vidswap.models.apgan.generator import COVERED_RATE, SLOPE, Down, PeBlock
from vidswap.models.normalisation import flat

Channels = NDArray[np.float32]


class Sums(NamedTuple):
    """Of a map: sums (B, 2, C) of `channel_sums`, and the first pixel (B, C), their origin."""

    sums: Channels
    origin: Channels


class Affine(NamedTuple):
    """What follows a normalisation: gain and bias, (B, C) each, or (1, C) for all faces."""

    gain: Channels
    bias: Channels

    def of(self, faces: slice) -> Affine:
        """That of some faces of the batch."""
        return self if len(self.gain) == 1 else Affine(self.gain[faces], self.bias[faces])


class Conv:
    """A convolution, with its weights in oneDNN's layout for `batch` maps of `side` pixels."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        side: int,
        batch: int = 1,
        stride: int = 1,
        activate: bool = False,
    ) -> None:
        self._geometry = [1, 1], [stride, stride], [1, 1], 1  # padding, stride, dilation, groups
        size = [batch, weight.shape[1], side, side]
        weight = weight.detach().contiguous(memory_format=torch.channels_last)
        self._weight = _onednn()._reorder_convolution_weight(weight, *self._geometry, size)
        self._bias = None if bias is None else bias.detach()
        self._activation = ("leaky_relu", [SLOPE], "") if activate else ("none", [], "")

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = _onednn()._convolution_pointwise(
            x, self._weight, self._bias, *self._geometry, *self._activation
        )
        return y


class UpConv:
    """A 3x3 convolution of a map enlarged twofold (nearest), joined with another map.

    Each of the 2x2 pixels that a pixel becomes sees 2x2 pixels of the small map: 16 products for a
    pixel of it instead of 36. `side` is that of the result.
    """

    def __init__(self, weight: Tensor, enlarged: int, side: int, batch: int = 1) -> None:
        """`weight` (C, enlarged + skipped, 3, 3)."""
        weight = weight.detach()
        self._small = Conv(phases(weight[:, :enlarged]), None, side // 2, batch)
        self._skip = Conv(weight[:, enlarged:], None, side, batch)

    def __call__(self, x: Tensor, skip: Tensor) -> tuple[Tensor, Sums]:
        y = self._skip(skip)
        return y, Sums(*inference_kernels.add_phases(pixels(self._small(x)), pixels(y)))


def phases(weight: Tensor) -> Tensor:
    """Weights (4 C, D, 2, 2), on the small map, of a 3x3 convolution (C, D, 3, 3) of its double.

    The C channels of each of 2x2 pixels, row by row. Rows 2 i - 1, 2 i and 2 i + 1 of the double
    are rows i - 1, i and i of the map; rows 2 i, 2 i + 1 and 2 i + 2 are i, i and i + 1.
    """
    w = weight.float()
    rows = (
        (w[:, :, :1], w[:, :, 1:].sum(2, keepdim=True)),
        (w[:, :, :2].sum(2, keepdim=True), w[:, :, 2:]),
    )
    halves = [torch.cat(pair, dim=2) for pair in rows]
    quarters = [
        torch.cat(pair, dim=3)
        for h in halves
        for pair in (
            (h[..., :1], h[..., 1:].sum(3, keepdim=True)),
            (h[..., :2].sum(3, keepdim=True), h[..., 2:]),
        )
    ]
    return torch.cat(quarters).to(weight.dtype)


def painting(conv: nn.Conv2d, side: int) -> Conv:
    """A 3x3 convolution to C channels as one of stride 2: 4 C channels, row, column, channel.

    Three channels fill less of a vector than twelve do.
    """
    weight = conv.weight.detach()
    blocks = weight.new_zeros(2, 2, *weight.shape[:2], 4, 4)
    for row in range(2):
        for column in range(2):
            blocks[row, column, :, :, row : row + 3, column : column + 3] = weight
    assert conv.bias is not None
    return Conv(blocks.flatten(0, 2), conv.bias.repeat(4), side, stride=2)


def seeing_covered(stem: nn.Conv2d, covered: nn.Conv2d) -> Tensor:
    """Weights of a stem and of what sees what the reference covers, side by side."""
    return torch.cat([stem.weight, COVERED_RATE * covered.weight], dim=1)


class DownConv:
    """A `Down`, to maps of `side` pixels."""

    def __init__(self, down: Down, side: int, batch: int) -> None:
        self._conv = Conv(down.conv.weight, None, 2 * side, batch, stride=2)
        weight, bias = down.norm.weight, down.norm.bias
        assert weight is not None and bias is not None
        self._norm = Norm(torch.ones_like(weight))
        self._affine = Affine(*(p.detach().float()[None].numpy() for p in (weight, bias)))

    def __call__(self, x: Tensor) -> Tensor:
        return self._norm.scale_shift(self._conv(x), self._affine)


class PeMaps:
    """Gamma and beta of a PE block (B, 2 C, H, W), from boundary maps."""

    def __init__(self, block: PeBlock, side: int) -> None:
        self._embed = Conv(block.embed.weight, block.embed.bias, side, activate=True)
        self._affine = Conv(block.affine.weight, block.affine.bias, side)

    def __call__(self, boundary_map: Tensor) -> Tensor:
        return self._affine(self._embed(boundary_map))


class Norm:
    """AdaLIN (eq. 1 to 3) and its leaky ReLU, in place; with a rho of one, instance norm."""

    def __init__(self, rho: Tensor) -> None:
        self._rho: Channels = rho.detach().float().clamp(0.0, 1.0).numpy()
        self._none = Affine(np.ones((1, len(rho)), np.float32), np.zeros((1, len(rho)), np.float32))

    def scale_shift(self, x: Tensor, affine: Affine, sums: Sums | None = None) -> Tensor:
        """`leaky_relu(norm(x) gain + bias)`; `sums` of x, where they are known."""
        values = flat(x)
        gain, bias = self._normalising(values, affine, sums or _sums(x))
        norm_kernels.scale_shift(values, gain, bias, SLOPE, values)
        return x

    def modulate(self, x: Tensor, maps: Tensor, sums: Sums | None = None) -> Tensor:
        """`leaky_relu(norm(x) (1 + gamma) + beta)`, `maps` (B, 2 C, H, W) gamma, then beta."""
        values = flat(x)
        gain, bias = self._normalising(values, self._none, sums or _sums(x))
        norm_kernels.modulate(values, gain, bias, flat(maps), SLOPE, values)
        return x

    def _normalising(
        self, values: NDArray[Any], affine: Affine, sums: Sums
    ) -> tuple[Channels, Channels]:
        return inference_kernels.normalising(*sums, values.shape[1], self._rho, *affine)


def _sums(x: Tensor) -> Sums:
    return Sums(norm_kernels.channel_sums(flat(x)), x[:, :, 0, 0].float().numpy())


def halved(x: Tensor) -> Tensor:
    """The mean of 2x2 pixels."""
    half = empty_map(len(x), x.shape[1], x.shape[2] // 2, x.dtype)
    inference_kernels.halve(pixels(x), pixels(half))
    return half


def empty_map(batch: int, channels: int, side: int, dtype: torch.dtype) -> Tensor:
    """A map to be written."""
    return torch.empty(batch, side, side, channels, dtype=dtype).permute(0, 3, 1, 2)


def pixels(x: Tensor) -> NDArray[Any]:
    """A map as (B, H, W, C), sharing memory; bfloat16 as its bits."""
    x = x.permute(0, 2, 3, 1)
    array: NDArray[Any] = (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()
    return array


def _onednn() -> Any:
    return torch.ops.mkldnn
