"""DIPD, AP-GAN's distance of what a picture shows apart from whose face it is (IV.C)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidswap.errors import MissingWeightsError

# torchvision's VGG-16: 3x3 convolutions by block; conv5 is the last of the fifth.
VGG_BLOCKS = (2, 2, 3, 3, 3)
_VGG_SIZE = 224  # pixels
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def instance_normalised(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Feature maps (C, H, W), each less its mean and over its deviation; an even map gives 0."""
    flat = np.asarray(features, np.float64).reshape(len(features), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    deviation = flat.std(axis=1, keepdims=True)
    alive = deviation > 1e-9
    normal: NDArray[np.float64] = np.where(alive, centred / np.where(alive, deviation, 1.0), 0.0)
    return normal.reshape(features.shape)


def dipd(target: NDArray[np.floating], swap: NDArray[np.floating]) -> float:
    """Domain-invariant perceptual distance of two pictures' feature maps (C, H, W).

    |IN(a) - IN(b)| / sqrt(CHW), Euclidean, IN the instance normalisation: AP-GAN, IV.C, after
    Huang et al., "Multimodal unsupervised image-to-image translation", 2018. In [0, 2]: 0 for equal
    pictures, sqrt(2) for unrelated ones; lower is better. The paper takes VGG's conv5 and does not
    say over what it averages, so that its numbers are no yardstick; the net is to be named.
    """
    if target.shape != swap.shape:
        raise ValueError(f"features of one shape are needed: {target.shape} and {swap.shape}")
    difference = instance_normalised(target) - instance_normalised(swap)
    return float(np.sqrt((difference**2).mean()))


class VggConv5:
    """VGG-16's features after conv5_3 and its ReLU, from torchvision's weights."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """`weights` is torchvision's state dictionary; raises ValueError where it is not."""
        numbers = sorted(
            int(name.split(".")[1])
            for name in weights
            if name.startswith("features.") and name.endswith(".weight")
        )
        if len(numbers) != sum(VGG_BLOCKS):
            raise ValueError(f"{len(numbers)} convolutions, VGG-16 has {sum(VGG_BLOCKS)}")
        self._layers = [
            (weights[f"features.{n}.weight"].float(), weights[f"features.{n}.bias"].float())
            for n in numbers
        ]

    def __call__(self, crops: Tensor) -> Tensor:
        """conv5 (B, 512, 14, 14) of crops (B, 3, S, S), RGB in [-1, 1]."""
        x = F.interpolate(crops, (_VGG_SIZE, _VGG_SIZE), mode="area")
        mean, deviation = (
            x.new_tensor(v)[:, None, None] for v in (_IMAGENET_MEAN, _IMAGENET_DEVIATION)
        )
        x = ((x + 1.0) / 2.0 - mean) / deviation
        layers = iter(self._layers)
        for block, depth in enumerate(VGG_BLOCKS):
            x = x if block == 0 else F.max_pool2d(x, 2)
            for _ in range(depth):
                weight, bias = next(layers)
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
        return x


def load_vgg(path: Path) -> VggConv5:
    """VGG-16 from torchvision's file, `vgg16-397923af.pth`.

    Raises MissingWeightsError where the file is absent or holds another net.
    """
    if not path.is_file():
        raise MissingWeightsError(f"{path}: no such file; give torchvision's vgg16-397923af.pth")
    try:
        return VggConv5(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise MissingWeightsError(
            f"{path}: not torchvision's VGG-16 ({error}); give its vgg16-397923af.pth"
        ) from error
