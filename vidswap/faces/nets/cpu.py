"""The face nets on one core of the CPU, from the modules that define them.

Pictures are uint8 and go through one by one, so that an answer depends on its own picture alone,
however many are asked for together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.faces.nets import kernels, mesh_kernels
from vidswap.faces.nets.attention_mesh import (
    CROP_SCALE,
    CROP_SIZE,
    FEATURE_STRIDE,
    INPUT_SIZE,
    N_LANDMARKS,
    N_MESH,
    REGION_OF_PART,
    AttentionMesh,
)
from vidswap.faces.nets.blazeface_full_range import BlazeFaceFullRange, DoubleBlock, Head
from vidswap.faces.nets.blazeface_short_range import BlazeFaceShortRange
from vidswap.faces.nets.kernels import LANES, Array
from vidswap.faces.nets.layers import SameConv2d, SeparableBlock

Pictures = NDArray[np.uint8]
Slopes = Tensor | float  # of PReLU's negative half, per channel or for all
LINEAR, RELU = 1.0, 0.0
Group = tuple[int, int]  # the number of a group, and how many lie side by side in a layer
ALONE: Group = (0, 1)


class Program:
    """Layers one after another over square maps of fixed sizes; `kernels` says what a map is.

    The memory of a map that was given back with `free` serves a later layer.
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], None]] = []
        self._free: dict[tuple[int, ...], list[Array]] = {}

    def run(self) -> None:
        """Compute all layers; the maps hold the results until the next run."""
        for step in self._steps:
            step()

    def map(self, side: int, channels: int) -> Array:
        """A map of `side` x `side` pixels with its border of zeros."""
        shape = (side + 2, side + 2, _padded(channels))
        free = self._free.get(shape)
        return free.pop() if free else np.zeros(shape, np.float32)

    def free(self, x: Array) -> None:
        """Say that no layer still to come reads `x`."""
        self._free.setdefault(x.shape, []).append(x)

    def first_layer(self, picture: Pictures, low: float, conv: nn.Conv2d, slopes: Slopes) -> Array:
        """A convolution of stride 2 of a picture (S, S, 3), its 0 to 255 made `low` to 1."""
        kernel = conv.kernel_size[0]
        padding = (kernel - 2) // 2 if isinstance(conv, SameConv2d) else int(conv.padding[0])
        side, depth = picture.shape[0] // 2, kernel * kernel * 3
        layer = Layer.of(conv, slopes, depth=depth)
        windows = np.zeros((side, depth), np.float32)
        out = self.map(side, conv.out_channels)
        self._steps.append(
            partial(kernels.first_layer, picture, low, 1.0, kernel, padding, *layer, windows, out)
        )
        return out

    def separable(
        self,
        x: Array,
        depthwise: nn.Conv2d,
        pointwise: Layer,
        group: Group = ALONE,
        skip: Array | None = None,
    ) -> Array:
        """A depthwise convolution and a 1x1 one, and `skip` added before its PReLU."""
        stride = depthwise.stride[0]
        offset = int(stride == 2 and isinstance(depthwise, SameConv2d))
        weight, bias = _part(depthwise.weight, group), _part(depthwise.bias, group)
        taps = np.zeros((9, x.shape[2]), np.float32)
        taps[:, : weight.shape[0]] = weight.flatten(1).T.numpy()
        out = self.map((x.shape[0] - 2) // stride, pointwise.bias.size)
        row = np.zeros((2, out.shape[1] - 2, x.shape[2]), np.float32)
        added = x if skip is None else skip
        self._steps.append(
            partial(
                kernels.separable, x, stride, offset, taps, _lanes(bias), *pointwise,
                skip is not None, added, row, out,
            )
        )  # fmt: skip
        return out

    def pointwise(self, x: Array, layer: Layer) -> Array:
        """A 1x1 convolution."""
        out = self.map(x.shape[0] - 2, layer.bias.size)
        self._steps.append(partial(kernels.pointwise, x, *layer, out))
        return out

    def add_doubled(self, x: Array, out: Array) -> None:
        """`out` becomes `out` plus `x` at twice its size."""
        self._steps.append(partial(kernels.add_doubled, x, out))

    def blocks(
        self, x: Array, net: Iterable[nn.Module], group: Group = ALONE, keep: bool = False
    ) -> Array:
        """The blocks of a net in turn; `x` is freed unless it is to `keep`."""
        modules = list(net)
        for index, module in enumerate(modules):
            before = x
            if isinstance(module, SeparableBlock):
                layer = Layer.of(module.pointwise, _slope_of(module.activation), group)
                x = self.separable(x, module.depthwise, layer, group, skip=x)
            elif isinstance(module, DoubleBlock):
                half = self.separable(x, module.depthwise1, Layer.of(module.reduce, RELU))
                skip = None if module.stride == 2 else x
                x = self.separable(
                    half, module.depthwise2, Layer.of(module.expand, RELU), skip=skip
                )
                self.free(half)
            elif isinstance(module, nn.Conv2d):
                x = self.pointwise(x, Layer.of(module, _slope_of(modules[index + 1]), group))
            elif isinstance(module, nn.Sequential):
                x = self.blocks(x, module, group, keep)
                keep = False
                continue
            else:
                continue  # the PReLU of the convolution before it
            if not keep:
                self.free(before)
            keep = False
        return x


class Layer(NamedTuple):
    """A convolution as `kernels` takes it: weight (C_out / 16, depth, 16), bias and slopes (C_out).

    C_out is rounded up to a multiple of 16.
    """

    weight: Array
    bias: Array
    slopes: Array

    @classmethod
    def of(
        cls, conv: nn.Conv2d, slopes: Slopes, group: Group = ALONE, depth: int | None = None
    ) -> Self:
        """A convolution; the `depth` of a 1x1 one is that of the maps it reads."""
        matrix = _part(conv.weight, group).permute(0, 2, 3, 1).flatten(1).numpy()
        depth = depth or _padded(matrix.shape[1])
        weight = np.zeros((_padded(matrix.shape[0]), depth), np.float32)
        weight[: matrix.shape[0], : matrix.shape[1]] = matrix
        parts = weight.reshape(-1, LANES, depth).transpose(0, 2, 1)
        bias = _lanes(_part(conv.bias, group))
        if isinstance(slopes, Tensor):
            return cls(np.ascontiguousarray(parts), bias, _lanes(_part(slopes, group)))
        return cls(np.ascontiguousarray(parts), bias, np.full_like(bias, slopes))

    @classmethod
    def identity(cls, channels: int) -> Self:
        """Gives out what it takes."""
        conv = nn.Conv2d(channels, channels, 1).requires_grad_(False)
        nn.init.dirac_(conv.weight)
        conv.load_state_dict({"weight": conv.weight, "bias": torch.zeros(channels)})
        return cls.of(conv, LINEAR)


class CpuAttentionMesh:
    """`AttentionMesh` for pictures (B, 192, 192, 3) uint8; see there for what it answers."""

    def __init__(self, net: AttentionMesh) -> None:
        self._net = net
        self._lock = threading.Lock()
        self._picture = np.zeros((INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
        self._base = Program()
        x = self._base.first_layer(self._picture, 0.0, net.stem, net.stem_activation.weight)
        self._features = self._base.blocks(x, net.early)
        x = self._base.blocks(self._features, net.trunk, keep=True)
        self._end = self._base.blocks(x, net.neck)
        self._mesh, self._presence = _Dense(net.mesh), _Dense(net.presence)

        self._parts = Program()
        self._points: list[tuple[Array, _Dense]] = []
        self._crops = [self._parts.map(CROP_SIZE, 32) for _ in range(3)]
        regions = [
            self._parts.blocks(crop, net.regions, (region, 3), keep=True)
            for region, crop in enumerate(self._crops)
        ]
        layers = _convolutions(net.points)
        for part, (region, layer) in enumerate(zip(REGION_OF_PART, layers, strict=True)):
            end = self._parts.blocks(regions[region], net.parts, (part, 5), keep=True)
            self._points.append((end, _Dense(layer)))
        sizes = [layer.out_channels // 2 for layer in layers]
        self._region_of = np.repeat(np.array(REGION_OF_PART), sizes)
        self._regions, self._levels = net.region_points.numpy(), net.rotation_points.numpy()
        self._sources, self._rims = net.sources.numpy(), net.rims.numpy()

    def __call__(self, pictures: Pictures) -> tuple[Array, Array]:
        with self._lock:
            answers = [self._answer(picture) for picture in pictures]
        landmarks, presence = zip(*answers, strict=True)
        return np.stack(landmarks), np.array(presence, np.float32)

    def _answer(self, picture: Pictures) -> tuple[Array, float]:
        self._picture[:] = picture
        self._base.run()
        mesh = self._mesh(self._end).reshape(N_MESH, 3)
        affines = np.empty((3, 2, 3), np.float32)
        mesh_kernels.region_affines(
            mesh, FEATURE_STRIDE, self._regions, self._levels, CROP_SCALE, affines
        )
        for crop, affine in zip(self._crops, affines, strict=True):
            mesh_kernels.crop(self._features, affine, crop)
        self._parts.run()
        parts = np.concatenate([points(end) for end, points in self._points]).reshape(-1, 2)
        landmarks = np.empty((N_LANDMARKS, 3), np.float32)
        mesh_kernels.refine(
            mesh, parts, self._region_of, self._sources, self._rims, affines, CROP_SIZE,
            FEATURE_STRIDE, landmarks,
        )  # fmt: skip
        return landmarks, float(self._presence(self._end)[0])


class CpuBlazeFace:
    """Either BlazeFace for pictures (B, S, S, 3) uint8; see there for what it answers."""

    def __init__(self, net: BlazeFaceFullRange | BlazeFaceShortRange, size: int) -> None:
        self._lock = threading.Lock()
        self._picture = np.zeros((size, size, 3), np.uint8)
        self._program = Program()
        if isinstance(net, BlazeFaceShortRange):
            self._boxes, self._scores = _short_range(self._program, self._picture, net)
        else:
            self._boxes, self._scores = _full_range(self._program, self._picture, net)

    def __call__(self, pictures: Pictures) -> tuple[Array, Array]:
        with self._lock:
            answers = [self._answer(picture) for picture in pictures]
        boxes, scores = zip(*answers, strict=True)
        return np.stack(boxes), np.stack(scores)

    def _answer(self, picture: Pictures) -> tuple[Array, Array]:
        self._picture[:] = picture
        self._program.run()
        boxes = [values(_inside(x)).reshape(-1, 16) for x, values in self._boxes]
        scores = [values(_inside(x)).reshape(-1) for x, values in self._scores]
        return np.concatenate(boxes), np.concatenate(scores)


Heads = list[tuple[Array, Callable[[Array], Array]]]  # a map, and which of its values count


def _short_range(
    program: Program, picture: Pictures, net: BlazeFaceShortRange
) -> tuple[Heads, Heads]:
    fine = program.blocks(program.first_layer(picture, -1.0, net.stem, RELU), net.fine)
    coarse = program.blocks(fine, net.coarse, keep=True)

    def head(x: Array, conv: nn.Conv2d) -> tuple[Array, Callable[[Array], Array]]:
        out = program.pointwise(x, Layer.of(conv, LINEAR))
        return out, lambda values: values[:, :, : conv.out_channels]

    boxes = [head(fine, net.fine_boxes), head(coarse, net.coarse_boxes)]
    return boxes, [head(fine, net.fine_scores), head(coarse, net.coarse_scores)]


def _full_range(
    program: Program, picture: Pictures, net: BlazeFaceFullRange
) -> tuple[Heads, Heads]:
    x = program.blocks(program.first_layer(picture, -1.0, net.stem, RELU), [net.scales[0]])
    laterals = []
    for scale, lateral in zip(net.scales[1:], _convolutions(net.laterals), strict=True):
        x = program.blocks(x, [scale])
        laterals.append(program.pointwise(x, Layer.of(lateral, RELU)))
    x = laterals.pop()
    for index, blocks in enumerate(net.pyramid):
        program.add_doubled(x, laterals[-1])
        program.free(x)
        x = program.blocks(laterals.pop(), [blocks])
        if index < len(net.narrower):
            wide = x
            x = program.pointwise(wide, Layer.of(_convolutions(net.narrower)[index], RELU))
            program.free(wide)

    def head(module: Head) -> tuple[Array, Callable[[Array], Array]]:
        values = module.pointwise.out_channels // 4
        out = program.pointwise(x, Layer.of(module.pointwise, LINEAR))
        out = program.separable(out, module.depthwise, Layer.identity(4 * values))
        return out, partial(_shuffled, values=values)

    return [head(net.boxes)], [head(net.scores)]


def _convolutions(modules: nn.ModuleList) -> list[nn.Conv2d]:
    return [module for module in modules if isinstance(module, nn.Conv2d)]


def _shuffled(x: Array, values: int) -> Array:
    """torch's pixel_shuffle by 2 of (H, W, 4 * values), to (2H, 2W, values)."""
    height, width = x.shape[:2]
    x = x[:, :, : 4 * values].reshape(height, width, values, 2, 2)
    return x.transpose(0, 3, 1, 4, 2).reshape(2 * height, 2 * width, values)


def _slope_of(activation: nn.Module) -> Slopes:
    return activation.weight if isinstance(activation, nn.PReLU) else RELU


def _inside(x: Array) -> Array:
    return x[1:-1, 1:-1]


def _padded(channels: int) -> int:
    return -(-channels // LANES) * LANES


def _part(values: Tensor | None, group: Group) -> Tensor:
    """The share of a layer's weights or bias that belongs to one of several equal groups."""
    assert values is not None
    number, count = group
    return values.chunk(count)[number]


def _lanes(values: Tensor) -> Array:
    padded = np.zeros(_padded(len(values)), np.float32)
    padded[: len(values)] = values.numpy()
    return padded


class _Dense:
    """A convolution whose kernel covers its input, on the inside of a map."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self._size = conv.out_channels
        self._depth = conv.kernel_size[0] * conv.kernel_size[1] * conv.in_channels
        self._layer = Layer.of(conv, LINEAR, depth=self._depth)

    def __call__(self, x: Array) -> Array:
        out = np.empty(self._layer.bias.size, np.float32)
        kernels.dense(_inside(x).reshape(self._depth), *self._layer, out)
        return out[: self._size]
