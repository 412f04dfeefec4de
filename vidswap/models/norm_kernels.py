"""Normalisation passes over channels-last maps on the CPU, each one read of memory (numba).

torch computes `var_mean` and broadcast products of bfloat16 channels-last maps at a tenth of the
memory's speed; in a generator whose finest maps have few channels that is most of a training step.

Arrays are (B, N, C) with N = H W, of float32, or of uint16 that hold bfloat16's bits; gains and
biases are (B, C) float32; arithmetic is float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import types
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])
Map = NDArray[np.generic]
Channels = NDArray[np.float32]
_FAST = {"contract", "reassoc"}
PARTS = 16  # pieces of a picture's map, for the threads


def _compiled(function: F, **options: Any) -> F:
    """Compile on first use; the machine code is kept for other runs where a folder takes it."""
    compiled: Any
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except (RuntimeError, OSError):  # numba finds no folder that it may write to
        compiled = numba.njit(**options)(function)
    return cast("F", compiled)


def kernel(function: F) -> F:
    """A pass over a map, in all threads."""
    return _compiled(function, parallel=True, fastmath=_FAST, nogil=True)


_intrinsic: Any = extending.intrinsic  # untyped, as is `njit` below


@_intrinsic  # type: ignore[untyped-decorator]
def load(_context: Any, value: Any) -> Any:
    """A stored element as float32."""
    if value == types.float32:
        return types.float32(types.float32), lambda _c, _b, _s, args: args[0]

    def widen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.shl(builder.zext(args[0], i32), ir.Constant(i32, 16))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.uint16), widen


@_intrinsic  # type: ignore[untyped-decorator]
def store(_context: Any, value: Any, like: Any) -> Any:
    """A float32 as an element of the type of `like`, bfloat16 rounded to nearest even."""
    if like == types.float32:
        return types.float32(types.float32, types.float32), lambda _c, _b, _s, args: args[0]

    def narrow(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.bitcast(args[0], i32)
        odd = builder.and_(builder.lshr(bits, ir.Constant(i32, 16)), ir.Constant(i32, 1))
        bits = builder.add(bits, builder.add(odd, ir.Constant(i32, 0x7FFF)))
        return builder.trunc(builder.lshr(bits, ir.Constant(i32, 16)), ir.IntType(16))

    return types.uint16(types.float32, types.uint16), narrow


@kernel
def channel_sums(x: Map) -> Channels:
    """Sums of (x - x_0) and its square over the N positions, x_0 the first: (B, 2, C).

    The shift by a sample keeps the digits of the variance where the mean is large.
    """
    batch, n, channels = x.shape
    parts = np.zeros((batch * PARTS, 2, channels), np.float32)
    for job in numba.prange(batch * PARTS):
        b, part = job // PARTS, job % PARTS
        origin = np.empty(channels, np.float32)
        total, square = parts[job, 0], parts[job, 1]
        for c in range(channels):
            origin[c] = load(x[b, 0, c])
        for i in range(part * n // PARTS, (part + 1) * n // PARTS):
            for c in range(channels):
                value = load(x[b, i, c]) - origin[c]
                total[c] += value
                square[c] += value * value
    return joined(parts, batch)


@kernel
def scale_shift(x: Map, gain: Channels, bias: Channels, slope: float, y: Map) -> None:
    """y = leaky_relu(x gain + bias)."""
    batch, n, channels = x.shape
    leak = np.float32(slope)
    for job in numba.prange(batch * PARTS):
        b, part = job // PARTS, job % PARTS
        for i in range(part * n // PARTS, (part + 1) * n // PARTS):
            for c in range(channels):
                z = load(x[b, i, c]) * gain[b, c] + bias[b, c]
                y[b, i, c] = store(max(z, leak * z), x[b, i, c])


@kernel
def scale_shift_backward(
    x: Map, gain: Channels, bias: Channels, slope: float, grad: Map, grad_x: Map
) -> Channels:
    """Gradient of `scale_shift`: `grad_x` is written; of gain and bias, returned as (B, 2, C)."""
    batch, n, channels = x.shape
    leak, one = np.float32(slope), np.float32(1.0)
    parts = np.zeros((batch * PARTS, 2, channels), np.float32)
    for job in numba.prange(batch * PARTS):
        b, part = job // PARTS, job % PARTS
        of_gain = np.zeros(channels, np.float32)
        of_bias = np.zeros(channels, np.float32)
        for i in range(part * n // PARTS, (part + 1) * n // PARTS):
            for c in range(channels):
                value = load(x[b, i, c])
                z = value * gain[b, c] + bias[b, c]
                g = load(grad[b, i, c]) * (one if z > 0 else leak)
                of_gain[c] += g * value
                of_bias[c] += g
                grad_x[b, i, c] = store(g * gain[b, c], x[b, i, c])
        parts[job, 0] = of_gain
        parts[job, 1] = of_bias
    return joined(parts, batch)


@kernel
def affine(x: Map, gain: Channels, bias: Channels, y: Map) -> None:
    """y = x gain + bias."""
    batch, n, channels = x.shape
    for job in numba.prange(batch * PARTS):
        b, part = job // PARTS, job % PARTS
        for i in range(part * n // PARTS, (part + 1) * n // PARTS):
            for c in range(channels):
                y[b, i, c] = store(load(x[b, i, c]) * gain[b, c] + bias[b, c], x[b, i, c])


@kernel
def modulate(x: Map, gain: Channels, bias: Channels, maps: Map, slope: float, y: Map) -> None:
    """y = leaky_relu((x gain + bias) (1 + gamma) + beta); `maps` (B, N, 2 C): gamma, beta."""
    batch, n, channels = x.shape
    leak, one = np.float32(slope), np.float32(1.0)
    for job in numba.prange(batch * PARTS):
        b, part = job // PARTS, job % PARTS
        for i in range(part * n // PARTS, (part + 1) * n // PARTS):
            for c in range(channels):
                normal = load(x[b, i, c]) * gain[b, c] + bias[b, c]
                z = normal * (one + load(maps[b, i, c])) + load(maps[b, i, channels + c])
                y[b, i, c] = store(max(z, leak * z), x[b, i, c])


@kernel
def modulate_backward(
    x: Map,
    gain: Channels,
    bias: Channels,
    maps: Map,
    slope: float,
    grad: Map,
    grad_x: Map,
    grad_maps: Map,
) -> Channels:
    """Gradient of `modulate`: `grad_x` and `grad_maps` are written; gain and bias as (B, 2, C)."""
    batch, n, channels = x.shape
    leak, one = np.float32(slope), np.float32(1.0)
    parts = np.zeros((batch * PARTS, 2, channels), np.float32)
    for job in numba.prange(batch * PARTS):
        b, part = job // PARTS, job % PARTS
        of_gain = np.zeros(channels, np.float32)
        of_bias = np.zeros(channels, np.float32)
        for i in range(part * n // PARTS, (part + 1) * n // PARTS):
            for c in range(channels):
                value = load(x[b, i, c])
                normal = value * gain[b, c] + bias[b, c]
                gamma = one + load(maps[b, i, c])
                z = normal * gamma + load(maps[b, i, channels + c])
                g = load(grad[b, i, c]) * (one if z > 0 else leak)
                grad_maps[b, i, c] = store(g * normal, maps[b, i, c])
                grad_maps[b, i, channels + c] = store(g, maps[b, i, c])
                g *= gamma
                of_gain[c] += g * value
                of_bias[c] += g
                grad_x[b, i, c] = store(g * gain[b, c], x[b, i, c])
        parts[job, 0] = of_gain
        parts[job, 1] = of_bias
    return joined(parts, batch)


@_compiled
def joined(parts: Channels, batch: int) -> Channels:
    """The sums of each picture's parts."""
    sums = np.zeros((batch, 2, parts.shape[2]), np.float32)
    for job in range(parts.shape[0]):
        for part in range(2):
            for c in range(parts.shape[2]):
                sums[job // PARTS, part, c] += parts[job, part, c]
    return sums


def cache_folder() -> str | None:
    """Where the compiled kernels are kept for other runs; None where they are not."""
    compiled: Any = channel_sums
    path: str | None = compiled.stats.cache_path
    return path
