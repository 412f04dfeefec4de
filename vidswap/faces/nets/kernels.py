"""Convolutions of small nets on one core of the CPU, 16 channels at a time (numba).

torch spends more time around such small convolutions than in them, and its threads wait for one
another where the cores are busy. Maps are (H + 2, W + 2, C) float32 with a border of zeros and C a
multiple of `LANES`; weights are laid out by `cpu.py`. No kernel checks bounds: shapes are those of
nets that are fixed, and `cpu.py` makes every array.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numpy.typing import NDArray

from vidswap.runtime.kernels import compiled

LANES = 16
BYTES = 4
Array = NDArray[np.float32]

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_I64 = ir.IntType(64)
_intrinsic: Any = extending.intrinsic  # untyped, as is `cgutils`
_cgutils: Any = cgutils
_MAY_FUSE = ("contract",)


def _at(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _load(builder: Any, address: Any) -> Any:
    return builder.load(_at(builder, address, _VECTOR), align=BYTES)


def _spread(builder: Any, address: Any) -> Any:
    """One float in all lanes."""
    value = builder.load(_at(builder, address, ir.FloatType()), align=BYTES)
    vector = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, _int(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(vector, ir.Constant(_VECTOR, ir.Undefined), mask)


def _int(value: int) -> Any:
    return ir.Constant(_I64, value)


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(builder.fmul(a, b, flags=_MAY_FUSE), c, flags=_MAY_FUSE)


def _tile(pixels: int) -> Any:
    """A kernel for 16 output channels of `pixels` neighbouring pixels of a 1x1 convolution.

    Arguments are addresses and steps in bytes: of the input and its step per pixel, weights
    (depth, 16), bias (16), slopes (16), of the skip (0: none) and its step, the output and its
    step, and the depth, the number of input channels.
    """

    @_intrinsic  # type: ignore[untyped-decorator]
    def tile(
        _context: Any, x: Any, x_step: Any, weight: Any, bias: Any, slope: Any, skip: Any,
        skip_step: Any, out: Any, out_step: Any, depth: Any,
    ) -> Any:  # fmt: skip
        def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            x, x_step, weight, bias, slope, skip, skip_step, out, out_step, depth = arguments
            sums = [_cgutils.alloca_once(builder, _VECTOR) for _ in range(pixels)]
            start = _load(builder, bias)
            for total in sums:
                builder.store(start, total)
            with _cgutils.for_range(builder, depth, intp=_I64) as loop:
                row = builder.add(weight, builder.mul(loop.index, _int(LANES * BYTES)))
                weights = _load(builder, row)
                column = builder.add(x, builder.mul(loop.index, _int(BYTES)))
                for pixel, total in enumerate(sums):
                    at = builder.add(column, builder.mul(x_step, _int(pixel)))
                    value = _multiply_add(
                        builder, _spread(builder, at), weights, builder.load(total)
                    )
                    builder.store(value, total)
            with builder.if_then(builder.icmp_signed("!=", skip, _int(0))):
                for pixel, total in enumerate(sums):
                    at = builder.add(skip, builder.mul(skip_step, _int(pixel)))
                    builder.store(builder.fadd(builder.load(total), _load(builder, at)), total)
            slopes = _load(builder, slope)
            zero = ir.Constant(_VECTOR, [0.0] * LANES)
            for pixel, total in enumerate(sums):
                value = builder.load(total)
                positive = builder.fcmp_ordered(">", value, zero)
                value = builder.select(positive, value, builder.fmul(value, slopes))
                at = builder.add(out, builder.mul(out_step, _int(pixel)))
                builder.store(value, _at(builder, at, _VECTOR), align=BYTES)
            return _int(0)

        return types.int64(*[types.int64] * 10), build

    return tile


_tile4, _tile2, _tile1 = _tile(4), _tile(2), _tile(1)


@_intrinsic  # type: ignore[untyped-decorator]
def _depthwise_row(
    _context: Any, x: Any, x_row: Any, x_pixel: Any, x_step: Any, weight: Any, weight_step: Any,
    bias: Any, out: Any, out_step: Any, count: Any,
) -> Any:  # fmt: skip
    """16 channels of `count` neighbouring pixels of a 3x3 depthwise convolution."""

    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        x, x_row, x_pixel, x_step, weight, weight_step, bias, out, out_step, count = arguments
        weights = [
            _load(builder, builder.add(weight, builder.mul(weight_step, _int(tap))))
            for tap in range(9)
        ]
        start = _load(builder, bias)
        with _cgutils.for_range(builder, count, intp=_I64) as loop:
            corner = builder.add(x, builder.mul(x_step, loop.index))
            value = start
            for tap, factor in enumerate(weights):
                shift = builder.add(
                    builder.mul(x_row, _int(tap // 3)), builder.mul(x_pixel, _int(tap % 3))
                )
                value = _multiply_add(
                    builder, _load(builder, builder.add(corner, shift)), factor, value
                )
            at = builder.add(out, builder.mul(out_step, loop.index))
            builder.store(value, _at(builder, at, _VECTOR), align=BYTES)
        return _int(0)

    return types.int64(*[types.int64] * 10), build


@compiled
def pointwise_row(
    x: int, x_step: int, depth: int, weight: Array, bias: Array, slope: Array,
    skip: int, skip_step: int, skip_channels: int, out: int, out_step: int, count: int,
) -> None:  # fmt: skip
    """A 1x1 convolution of `count` neighbouring pixels, plus a skip, then PReLU.

    `x`, `skip` and `out` are addresses, steps are in bytes per pixel; `weight` is
    (C_out / 16, depth, 16). The skip has `skip_channels`, 0 for none.
    """
    weight_at, bias_at, slope_at = weight.ctypes.data, bias.ctypes.data, slope.ctypes.data
    for part in range(weight.shape[0]):
        lanes = part * LANES * BYTES
        w, b, s = weight_at + lanes * depth, bias_at + lanes, slope_at + lanes
        has_skip = part * LANES < skip_channels
        done = 0
        while done < count:
            a = skip + done * skip_step + lanes if has_skip else 0
            i, o = x + done * x_step, out + done * out_step + lanes
            if count - done >= 4:
                _tile4(i, x_step, w, b, s, a, skip_step, o, out_step, depth)
                done += 4
            elif count - done >= 2:
                _tile2(i, x_step, w, b, s, a, skip_step, o, out_step, depth)
                done += 2
            else:
                _tile1(i, x_step, w, b, s, a, skip_step, o, out_step, depth)
                done += 1


@compiled
def separable(
    x: Array, stride: int, offset: int, depthwise: Array, depthwise_bias: Array,
    pointwise: Array, bias: Array, slope: Array, skips: bool, skip: Array, row: Array, out: Array,
) -> None:  # fmt: skip
    """prelu(pointwise(depthwise(x)) + skip) into the inside of `out`.

    `x` and `out` are maps with borders; the window of output pixel i begins at row and column
    `stride * i + offset` of `x`. `depthwise` is (9, C), `pointwise` (C_out / 16, C, 16). `skip` is
    a map of the height and width of `out`, or of `x` at a stride of 2: then its 2x2 maximum is
    added. `row` (2, W_out, C) is scratch.
    """
    height, width = out.shape[0] - 2, out.shape[1] - 2
    channels = x.shape[2]
    pixel, out_pixel = channels * BYTES, out.shape[2] * BYTES
    x_row, out_row = x.shape[1] * pixel, out.shape[1] * out_pixel
    skip_pixel = skip.shape[2] * BYTES
    x_at, row_at, out_at = x.ctypes.data, row.ctypes.data, out.ctypes.data
    for y in range(height):
        first = x_at + (y * stride + offset) * x_row + offset * pixel
        for lanes in range(0, channels * BYTES, LANES * BYTES):
            _depthwise_row(
                first + lanes, x_row, pixel, stride * pixel, depthwise.ctypes.data + lanes, pixel,
                depthwise_bias.ctypes.data + lanes, row_at + lanes, pixel, width,
            )  # fmt: skip
        skip_at = skip.ctypes.data + ((y + 1) * skip.shape[1] + 1) * skip_pixel
        if skips and stride == 2:
            for i in range(width):
                for c in range(channels):
                    upper = max(skip[2 * y + 1, 2 * i + 1, c], skip[2 * y + 1, 2 * i + 2, c])
                    lower = max(skip[2 * y + 2, 2 * i + 1, c], skip[2 * y + 2, 2 * i + 2, c])
                    row[1, i, c] = max(upper, lower)
            skip_at = row_at + width * pixel
        pointwise_row(
            row_at, pixel, channels, pointwise, bias, slope, skip_at, skip_pixel,
            skip.shape[2] if skips else 0, out_at + (y + 1) * out_row + out_pixel, out_pixel,
            width,
        )  # fmt: skip


@compiled
def pointwise(x: Array, weight: Array, bias: Array, slope: Array, out: Array) -> None:
    """prelu of a 1x1 convolution of a map into the inside of `out`; for weights see `separable`."""
    height, width = out.shape[0] - 2, out.shape[1] - 2
    pixel, out_pixel = x.shape[2] * BYTES, out.shape[2] * BYTES
    for y in range(1, height + 1):
        pointwise_row(
            x.ctypes.data + (y * x.shape[1] + 1) * pixel, pixel, weight.shape[1], weight, bias,
            slope, 0, 0, 0, out.ctypes.data + (y * out.shape[1] + 1) * out_pixel, out_pixel, width,
        )  # fmt: skip


@compiled
def dense(x: Array, weight: Array, bias: Array, slope: Array, out: Array) -> None:
    """A matrix times a vector `x` (depth), plus a bias, then PReLU; weights as for `pointwise`."""
    pointwise_row(
        x.ctypes.data, 0, weight.shape[1], weight, bias, slope, 0, 0, 0, out.ctypes.data, 0, 1
    )


@compiled
def first_layer(
    picture: NDArray[np.uint8], low: float, high: float, kernel: int, padding: int,
    weight: Array, bias: Array, slope: Array, windows: Array, out: Array,
) -> None:  # fmt: skip
    """prelu of a convolution of stride 2 of a picture (H, W, 3), 0 to 255 made `low` to `high`.

    `padding` zeros lie before the first row and column. `weight` is (C_out / 16, kernel^2 * 3, 16);
    `windows` (W_out, kernel^2 * 3) is scratch.
    """
    height, width = out.shape[0] - 2, out.shape[1] - 2
    scale = np.float32((high - low) / 255.0)
    shift = np.float32(low)
    depth = windows.shape[1]
    out_pixel = out.shape[2] * BYTES
    for y in range(height):
        for i in range(width):
            place = 0
            for v in range(2 * y - padding, 2 * y - padding + kernel):
                for u in range(2 * i - padding, 2 * i - padding + kernel):
                    inside = 0 <= v < picture.shape[0] and 0 <= u < picture.shape[1]
                    for c in range(3):
                        value = np.float32(0)
                        if inside:
                            value = np.float32(picture[v, u, c]) * scale + shift
                        windows[i, place] = value
                        place += 1
        pointwise_row(
            windows.ctypes.data, depth * BYTES, depth, weight, bias, slope, 0, 0, 0,
            out.ctypes.data + ((y + 1) * out.shape[1] + 1) * out_pixel, out_pixel, width,
        )  # fmt: skip


@compiled
def add_doubled(x: Array, out: Array) -> None:
    """Add to the inside of map `out` that of `x` at twice the size, bilinear, edges repeated."""
    height, width = x.shape[0] - 2, x.shape[1] - 2
    near, far = np.float32(0.75), np.float32(0.25)
    for y in range(2 * height):
        v = y // 2 + 1
        beside_v = min(max(v + 2 * (y % 2) - 1, 1), height)
        for i in range(2 * width):
            u = i // 2 + 1
            beside_u = min(max(u + 2 * (i % 2) - 1, 1), width)
            for c in range(x.shape[2]):
                here = near * x[v, u, c] + far * x[v, beside_u, c]
                beside = near * x[beside_v, u, c] + far * x[beside_v, beside_u, c]
                out[y + 1, i + 1, c] += near * here + far * beside
