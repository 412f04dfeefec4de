"""Passes of the generator's inference form over channels-last maps on the CPU (numba).

Arrays are (B, H, W, C), of float32 or of uint16 that hold bfloat16's bits; arithmetic is float32.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from vidswap.models.norm_kernels import PARTS, Channels, Map, joined, kernel, load, store
from vidswap.models.normalisation import NORM_EPSILON
from vidswap.runtime.kernels import compiled

_NEAR, _FAR, _QUARTER = np.float32(0.75), np.float32(0.25), np.float32(0.25)
_TANH_RANGE = np.float32(6.0)  # tanh is within 1e-5 of one from here on


@kernel
def lay_in(target: Map, reference: Map, stacked: Map) -> None:
    """The target with the view laid in, what that covers, and the mask: `stacked` (B, H, W, 7).

    `target` (B, H, W, 3); `reference` (B, H, W, 4): a view, black where its mask is zero, and the
    mask.
    """
    batch, height, width = target.shape[:3]
    one = np.float32(1.0)
    for job in numba.prange(batch * PARTS):
        b, part = job // PARTS, job % PARTS
        for y in range(part * height // PARTS, (part + 1) * height // PARTS):
            for x in range(width):
                like = reference[b, y, x, 3]
                mask = load(like)
                for c in range(3):
                    value = load(target[b, y, x, c])
                    view = load(reference[b, y, x, c])
                    stacked[b, y, x, c] = store(value * (one - mask) + view, like)
                    stacked[b, y, x, 3 + c] = store(value * mask, like)
                stacked[b, y, x, 6] = like


@kernel
def halve(x: Map, half: Map) -> None:
    """The mean of 2x2 pixels: `x` (B, 2 H, 2 W, C) to `half` (B, H, W, C)."""
    batch, height, width, channels = half.shape
    for job in numba.prange(batch * PARTS):
        b, part = job // PARTS, job % PARTS
        for row in range(part * height // PARTS, (part + 1) * height // PARTS):
            top, low, out = x[b, 2 * row], x[b, 2 * row + 1], half[b, row]
            for i in range(width):
                for c in range(channels):
                    upper = load(top[2 * i, c]) + load(top[2 * i + 1, c])
                    lower = load(low[2 * i, c]) + load(low[2 * i + 1, c])
                    out[i, c] = store(_QUARTER * (upper + lower), top[i, c])


@kernel
def add_phases(phases: Map, y: Map) -> tuple[Channels, Channels]:
    """Add to y what four phases hold of it.

    `phases` (B, H + 1, W + 1, 4 C), `y` (B, 2 H, 2 W, C): pixel (2 i + a, 2 j + k) of y is in
    channels (2 a + k) C and on, at (i + a, j + k). Returns y's sums (B, 2, C) of `channel_sums`,
    and its first pixel (B, C).
    """
    batch, height, width, channels = y.shape
    rows = height // 2
    origin = np.empty((batch, channels), np.float32)
    for b in range(batch):
        for c in range(channels):
            origin[b, c] = load(phases[b, 0, 0, c]) + load(y[b, 0, 0, c])
    parts = np.zeros((batch * PARTS, 2, channels), np.float32)
    for job in numba.prange(batch * PARTS):
        b, part = job // PARTS, job % PARTS
        total, square = parts[job, 0], parts[job, 1]
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            for a in range(2):
                for x in range(width):
                    first = (2 * a + (x & 1)) * channels
                    for c in range(channels):
                        own = y[b, 2 * row + a, x, c]
                        value = load(phases[b, row + a, (x + 1) >> 1, first + c]) + load(own)
                        y[b, 2 * row + a, x, c] = store(value, own)
                        value -= origin[b, c]
                        total[c] += value
                        square[c] += value * value
    return joined(parts, batch), origin


@compiled
def normalising(
    sums: Channels, origin: Channels, positions: int, rho: Channels, gain: Channels, bias: Channels
) -> tuple[Channels, Channels]:
    """AdaLIN (eq. 1 to 3) and what follows it as one gain and one bias of the map, (B, C) each.

    `sums` (B, 2, C) about `origin` (B, C) over so many positions; `rho` (C,); `gain` and `bias`
    (B, C), or (1, C) for all faces, are applied to the normalised map.
    """
    batch, channels = origin.shape
    gains, biases = np.empty_like(origin), np.empty_like(origin)
    mean, variance = np.empty(channels), np.empty(channels)
    for b in range(batch):
        for c in range(channels):
            shifted = sums[b, 0, c] / positions
            mean[c] = shifted + origin[b, c]
            variance[c] = max(sums[b, 1, c] / positions - shifted**2, 0.0)
        layer_mean = mean.mean()
        layer_variance = (variance + mean**2).mean() - layer_mean**2
        row = b % len(gain)
        for c in range(channels):
            instance = rho[c] / np.sqrt(variance[c] + NORM_EPSILON)
            layer = (1.0 - rho[c]) / np.sqrt(layer_variance + NORM_EPSILON)
            gains[b, c] = (instance + layer) * gain[row, c]
            shift = instance * mean[c] + layer * layer_mean
            biases[b, c] = bias[row, c] - shift * gain[row, c]
    return gains, biases


@kernel
def paint(coarse: Map, fine: Map, picture: NDArray[np.float32]) -> None:
    """The picture, of what two levels paint in blocks of 2x2 pixels.

    `coarse` (B, H / 4, W / 4, 12) is enlarged twofold, bilinearly, and added to `fine`
    (B, H / 2, W / 2, 12); their channels are row, column and colour in a block. The hyperbolic
    tangent of the sum is written to `picture` (B, H, W, 3).
    """
    batch, height, width = picture.shape[:3]
    rows, n = height // 2, width // 2  # of the coarse picture
    for job in numba.prange(batch * PARTS):
        b, part = job // PARTS, job % PARTS
        blended = np.empty(3 * (n + 2), np.float32)  # a row between two rows, and its edges twice
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            for a in range(2):
                other = min(max(row - 1 + 2 * a, 0), rows - 1)
                near, far = coarse[b, row // 2], coarse[b, other // 2]
                near_first, far_first = 6 * (row % 2), 6 * (other % 2)
                for x in range(n // 2):
                    for c in range(6):
                        value = _NEAR * load(near[x, near_first + c])
                        blended[3 + 6 * x + c] = value + _FAR * load(far[x, far_first + c])
                for c in range(3):
                    blended[c] = blended[3 + c]
                    blended[3 * n + 3 + c] = blended[3 * n + c]
                out, own = picture[b, 2 * row + a].reshape(-1), fine[b, row]
                for x in range(n):
                    for c in range(3):
                        middle = _NEAR * blended[3 * x + 3 + c]
                        left = middle + _FAR * blended[3 * x + c]
                        right = middle + _FAR * blended[3 * x + 6 + c]
                        out[6 * x + c] = left + load(own[x, 6 * a + c])
                        out[6 * x + 3 + c] = right + load(own[x, 6 * a + 3 + c])
                _tanh(out)


@numba.njit(inline="always")
def _tanh(x: NDArray[np.float32]) -> None:
    """The hyperbolic tangent in place, within 1e-5: Lambert's continued fraction, nine steps."""
    for i in range(len(x)):
        v = min(max(x[i], -_TANH_RANGE), _TANH_RANGE)
        s = v * v
        over = np.float32(34459425) + s * (
            np.float32(4729725) + s * (np.float32(135135) + s * (np.float32(990) + s))
        )
        under = np.float32(34459425) + s * (
            np.float32(16216200)
            + s * (np.float32(945945) + s * (np.float32(13860) + s * np.float32(45)))
        )
        x[i] = v * over / under
