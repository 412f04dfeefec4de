"""A small change to a generator's decoder, kept apart from the generator it belongs to.

Large matrices change by a product of low rank (LoRA: Hu et al. 2021), small tensors freely. The
encoder and the id mappings stay: what is learnt from one pair of people is how to draw them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vidswap.errors import CheckpointError

# Parts of the generator, by the beginning of their names, that never change.
FROZEN = ("stem", "down", "id_mapping")
DEFAULT_RANK = 32
_DOWN, _UP, _FREE = ".low_rank_down", ".low_rank_up", ".change"


class LowRankChange(nn.Module):
    """W + up @ down for a matrix or a convolution's weight W, flattened to (out, in)."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        n_out, n_in = weight.flatten(1).shape
        # One of the factors is zero: the net starts as its base.
        self.up = nn.Parameter(torch.zeros(n_out, rank))
        self.down = nn.Parameter(torch.randn(rank, n_in) / n_in**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).view_as(weight)

    def tensors(self, name: str) -> dict[str, Tensor]:
        return {name + _UP: self.up, name + _DOWN: self.down}


class FreeChange(nn.Module):
    """W + change, for a tensor of any shape."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.zeros_like(weight))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.change

    def tensors(self, name: str) -> dict[str, Tensor]:
        return {name + _FREE: self.change}


Change = LowRankChange | FreeChange


class Adapter:
    """Attaches trainable changes to a generator in place; its own weights are frozen."""

    def __init__(self, net: nn.Module, rank: int = DEFAULT_RANK) -> None:
        net.requires_grad_(False)
        self.changes: dict[str, Change] = {}
        for name, weight in list(net.named_parameters()):
            if name.startswith(FROZEN):
                continue
            change = _change(weight, rank).to(weight.device)
            owner, _, attribute = name.rpartition(".")
            parametrize.register_parametrization(
                net.get_submodule(owner), attribute, change, unsafe=True
            )
            self.changes[name] = change

    def parameters(self, low_rank: bool) -> list[Tensor]:
        """The trainable tensors: the low-rank factors, or the free changes."""
        kind = LowRankChange if low_rank else FreeChange
        return [
            tensor
            for name, change in self.changes.items()
            if isinstance(change, kind)
            for tensor in change.tensors(name).values()
        ]

    def tensors(self) -> dict[str, Tensor]:
        """The changes by name, as `apply_changes` takes them."""
        named: dict[str, Tensor] = {}
        for name, change in self.changes.items():
            named |= change.tensors(name)
        return named


def _change(weight: Tensor, rank: int) -> Change:
    if weight.dim() > 1:
        n_out, n_in = weight.flatten(1).shape
        if 2 * rank * (n_out + n_in) < n_out * n_in:
            return LowRankChange(weight.detach(), rank)
    return FreeChange(weight.detach())


def apply_changes(net: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Add changes, as `Adapter.tensors` names them, to the weights of a plain generator in place.

    Raises CheckpointError when one does not fit the net.
    """
    parameters = dict(net.named_parameters())
    with torch.no_grad():
        for key, tensor in tensors.items():
            name, _, kind = key.rpartition(".")
            try:
                weight = parameters[name]
                if "." + kind == _UP:
                    change = tensor.float() @ tensors[name + _DOWN].float()
                elif "." + kind == _FREE:
                    change = tensor.float()
                else:
                    continue
                weight.add_(change.reshape(weight.shape))
                if not bool(torch.isfinite(weight).all()):
                    raise RuntimeError("not finite")
            except (KeyError, RuntimeError) as error:
                raise CheckpointError(f"{name} of the adapter does not fit this net") from error
