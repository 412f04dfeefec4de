"""Carrying weights over to a larger net: from 128 to 256 pixels, to a reference, to a gate."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def grow_discriminator(large: dict[str, Tensor], small: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights for twice the picture size: each scale of `small` moves to the next coarser place.

    The core's net stays. Tensors whose shape does not fit keep `large`'s values, as does the new
    finest scale.
    """
    grown = dict(large)
    for name, tensor in small.items():
        prefix, index, rest = name.split(".", 2)
        moved = f"{prefix}.{int(index) + 1}.{rest}" if prefix == "scales" else name
        if moved in large and large[moved].shape == tensor.shape:
            grown[moved] = tensor
    return grown


# What a generator may have that older ones lack: for a reference, and for a gate.
ADDED_PARTS = ("covered.", "gate.")


def with_added_parts(state: dict[str, Any], generator: nn.Module) -> dict[str, Any]:
    """A trainer's state for a generator with `reference` or `gate`, whose weights there begin as
    they are where the state has none.

    Its optimiser's moments stay. They are numbered in the order of the parameters, of which the new
    ones are the last.
    """
    own = {k: v for k, v in generator.state_dict().items() if k.startswith(ADDED_PARTS)}
    new = {k: v for k, v in own.items() if k not in state["generator"]}
    if not new:
        return state
    grown = dict(state)
    for name in ("generator", "average"):
        grown[name] = {**state[name], **new}
    if "generator_optimiser" in state:
        adam = state["generator_optimiser"]
        group = dict(adam["param_groups"][0])
        n = len(list(generator.parameters()))
        grown["generator_optimiser"] = {**adam, "param_groups": [{**group, "params": [*range(n)]}]}
    return grown
