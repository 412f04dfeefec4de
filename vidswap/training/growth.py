"""Carrying weights from 128 to 256 pixels (progressive size)."""

from __future__ import annotations

from torch import Tensor


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
