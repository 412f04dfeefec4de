"""Weights that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from vidswap.errors import MissingWeightsError

Net = TypeVar("Net", bound=nn.Module)


def load_weights(net: Net, path: Path, name: str) -> Net:
    """`net`, called `name` in words, with the weights of a file: frozen, in float32, to read with.

    Raises MissingWeightsError when `path` is absent or holds another net's.
    """
    try:
        net.load_state_dict(safetensors.torch.load_file(path))
    except FileNotFoundError as error:
        raise MissingWeightsError(f"{path}: no such file; install vidswap again") from error
    except (OSError, RuntimeError, SafetensorError) as error:
        raise MissingWeightsError(f"{path}: not {name}; install vidswap again") from error
    return net.eval().requires_grad_(False)
