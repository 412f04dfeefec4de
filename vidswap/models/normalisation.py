"""Normalise-and-activate steps of the nets: torch's operations, or one-pass kernels on the CPU.

Each function takes a map (B, C, H, W), a gain and a bias (B, C, 1, 1) in float32 that already hold
the statistics (`channel_statistics`), and is differentiable in all of them.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

NORM_EPSILON = 1e-5


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Variance (not Bessel's) and mean over the positions of (B, C, H, W): (B, C, 1, 1) float32."""
    if _has_kernels(x):
        mean, variance = _Statistics.apply(x)  # type: ignore[no-untyped-call]
        return variance, mean
    # In float32: a difference of squares loses all digits in half precision.
    variance, mean = torch.var_mean(x.float(), dim=(2, 3), keepdim=True, correction=0)
    return variance, mean


def scale_shift(x: Tensor, gain: Tensor, bias: Tensor, slope: float = 1.0) -> Tensor:
    """`leaky_relu(x gain + bias, slope)`; the default slope is no activation."""
    if _has_kernels(x):
        y: Tensor = _ScaleShift.apply(x, gain, bias, slope)  # type: ignore[no-untyped-call]
        return y
    y = torch.addcmul(bias.to(x.dtype), x, gain.to(x.dtype))
    return y if slope == 1.0 else F.leaky_relu(y, slope)


def modulate(x: Tensor, gain: Tensor, bias: Tensor, maps: Tensor, slope: float) -> Tensor:
    """`leaky_relu((x gain + bias) (1 + gamma) + beta)`, `maps` (B, 2 C, H, W) gamma, then beta."""
    if _has_kernels(x):
        maps = maps.contiguous(memory_format=torch.channels_last)
        y: Tensor = _Modulate.apply(x, gain, bias, maps, slope)  # type: ignore[no-untyped-call]
        return y
    x = torch.addcmul(bias.to(x.dtype), x, gain.to(x.dtype))
    gamma, beta = maps.chunk(2, dim=1)
    return F.leaky_relu(torch.addcmul(x + beta, x, gamma), slope)


@cache
def _kernels() -> ModuleType:
    """The kernels, which only a CPU needs: elsewhere the nets run without numba."""
    from vidswap.models import norm_kernels

    return norm_kernels


def _has_kernels(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.bfloat16, torch.float32)
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def flat(x: Tensor) -> NDArray[Any]:
    """A channels-last map as (B, H W, C), sharing memory; bfloat16 as its bits."""
    x = x.detach().permute(0, 2, 3, 1).flatten(1, 2)
    array: NDArray[Any] = (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()
    return array


def _channels(x: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = x.detach().float().flatten(1).contiguous().numpy()
    return array


def _empty_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _split_sums(sums: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    first, second = torch.from_numpy(sums)[:, :, :, None, None].unbind(1)
    return first, second


class _Statistics(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        total, square = _split_sums(_kernels().channel_sums(flat(x)))
        n = x.shape[2] * x.shape[3]
        shifted = total / n
        mean = shifted + x[:, :, :1, :1].float()
        ctx.save_for_backward(x, mean)
        return mean, (square / n - shifted**2).clamp(min=0.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        grad_mean, grad_variance = grads
        n = x.shape[2] * x.shape[3]
        gain = grad_variance * (2.0 / n)
        grad_x = _empty_like(x)
        bias = grad_mean / n - gain * mean
        _kernels().affine(flat(x), _channels(gain), _channels(bias), flat(grad_x))
        return grad_x


class _ScaleShift(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x, gain, bias)
        ctx.slope = slope
        y = _empty_like(x)
        _kernels().scale_shift(flat(x), _channels(gain), _channels(bias), slope, flat(y))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, gain, bias = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        grad_x = _empty_like(x)
        sums = _kernels().scale_shift_backward(
            flat(x), _channels(gain), _channels(bias), ctx.slope, flat(grad), flat(grad_x)
        )
        return grad_x, *_split_sums(sums), None


class _Modulate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, maps: Tensor, slope: float
    ) -> Tensor:
        ctx.save_for_backward(x, gain, bias, maps)
        ctx.slope = slope
        y = _empty_like(x)
        _kernels().modulate(flat(x), _channels(gain), _channels(bias), flat(maps), slope, flat(y))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        x, gain, bias, maps = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        grad_x, grad_maps = _empty_like(x), _empty_like(maps)
        sums = _kernels().modulate_backward(
            flat(x),
            _channels(gain),
            _channels(bias),
            flat(maps),
            ctx.slope,
            flat(grad),
            flat(grad_x),
            flat(grad_maps),
        )
        return grad_x, *_split_sums(sums), grad_maps, None
