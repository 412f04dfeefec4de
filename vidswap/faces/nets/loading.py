"""The face nets with their weights, as functions of uint8 pictures on the CPU or another device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.faces.nets import attention_mesh, blazeface_full_range, blazeface_short_range
from vidswap.faces.nets.attention_mesh import AttentionMesh
from vidswap.faces.nets.blazeface_full_range import BlazeFaceFullRange
from vidswap.faces.nets.blazeface_short_range import BlazeFaceShortRange
from vidswap.faces.nets.selfie_segmentation import SelfieSegmentation
from vidswap.runtime.weights import Net, load_weights

FOLDER = Path(__file__).parent / "weights"
NAMES = ("attention_mesh", "blazeface_full_range", "blazeface_short_range", "selfie_segmentation")

Array = NDArray[np.float32]
# Pictures (B, S, S, 3) uint8 RGB to the net's two answers, each with B in front.
PictureNet = Callable[[NDArray[np.uint8]], tuple[Array, Array]]

CPU = torch.device("cpu")


def load_attention_mesh(device: torch.device = CPU) -> PictureNet:
    """Pictures of side 192 to landmarks (B, 478, 3) and logits of a face's presence (B,).

    x and y count in pixels from the picture's corner, z in pixels, smaller is nearer. Raises
    MissingWeightsError, as all below.
    """
    net = with_weights(AttentionMesh(), "attention_mesh")
    if device.type == "cpu":
        from vidswap.faces.nets.cpu import CpuAttentionMesh  # numba: only a CPU needs it

        return CpuAttentionMesh(net)
    return _OnDevice(net, attention_mesh.INPUT_RANGE, device)


def load_blazeface_full_range(device: torch.device = CPU) -> PictureNet:
    """Pictures of side 192 to raw boxes (B, 2304, 16) and score logits (B, 2304)."""
    net = with_weights(BlazeFaceFullRange(), "blazeface_full_range")
    return _box_net(net, blazeface_full_range, device)


def load_blazeface_short_range(device: torch.device = CPU) -> PictureNet:
    """Pictures of side 128 to raw boxes (B, 896, 16) and score logits (B, 896)."""
    net = with_weights(BlazeFaceShortRange(), "blazeface_short_range")
    return _box_net(net, blazeface_short_range, device)


def _box_net(
    net: BlazeFaceFullRange | BlazeFaceShortRange, module: Any, device: torch.device
) -> PictureNet:
    if device.type == "cpu":
        from vidswap.faces.nets.cpu import CpuBlazeFace  # numba: only a CPU needs it

        return CpuBlazeFace(net, module.INPUT_SIZE)
    return _OnDevice(net, module.INPUT_RANGE, device)


def load_selfie_segmentation(device: torch.device = CPU) -> SelfieSegmentation:
    """The module itself: pictures (B, 3, 256, 256) in [0, 1] to (B, 1, 256, 256) in [0, 1]."""
    return _channels_last(with_weights(SelfieSegmentation(), "selfie_segmentation").to(device))


def with_weights(net: Net, name: str) -> Net:
    """`net` with the weights of `weights/<name>.safetensors`, frozen, in float32."""
    path = FOLDER / f"{name}.safetensors"
    return load_weights(net, path, f"the weights of {type(net).__name__}")


def _channels_last(net: Net) -> Net:
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


class _OnDevice:
    """A net on a device, all pictures in one batch, in full float32."""

    def __init__(self, net: nn.Module, value_range: tuple[float, float], device: torch.device):
        self._net = _channels_last(net.to(device))
        self._low, self._high = value_range
        self._device = device

    def __call__(self, pictures: NDArray[np.uint8]) -> tuple[Array, Array]:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            x = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).float()
            first, second = self._net(x * ((self._high - self._low) / 255.0) + self._low)
        return _array(first), _array(second)


def _array(values: Tensor) -> Array:
    array: Array = values.cpu().numpy()
    return array
