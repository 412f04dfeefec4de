"""Spectral normalisation of a whole net (AP-GAN, IV.A; Miyato et al. 2018)."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils import parametrizations, parametrize

Net = TypeVar("Net", bound=nn.Module)
_LAYERS = (nn.Conv2d, nn.Linear)


def add_spectral_norm(net: nn.Module) -> None:
    """Divide the weight of every convolution and linear layer by its largest singular value."""
    for layer in net.modules():
        # A layer that starts as zero has no direction of largest gain.
        if isinstance(layer, _LAYERS) and bool(layer.weight.any()):
            parametrizations.spectral_norm(layer)


def without_spectral_norm(net: Net) -> Net:
    """A copy of a net whose layers hold the divided weights themselves."""
    plain = copy.deepcopy(net)
    for layer in plain.modules():
        if isinstance(layer, _LAYERS) and parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")
    return plain
