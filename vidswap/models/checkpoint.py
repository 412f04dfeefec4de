"""Checkpoints as safetensors; `load_generator` is the only door to one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vidswap.errors import CheckpointError
from vidswap.models.apgan import Generator, GeneratorConfig

ARCHITECTURE = "apgan"
DEFAULT_CHECKPOINT = "apgan-256.safetensors"


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator ready to run, and what its checkpoint says of itself."""

    net: Generator
    path: Path
    sha256: str
    images_trained: int

    @property
    def size(self) -> int:
        """Side of its crops in pixels."""
        return self.net.config.size


def default_checkpoint() -> Path:
    """Path of the checkpoint that comes with the package."""
    return Path(__file__).resolve().parents[2] / "checkpoints" / DEFAULT_CHECKPOINT


def save_generator(net: Generator, path: Path, images_trained: int) -> None:
    """Write a generator as fp16 safetensors with its architecture in the metadata."""
    tensors = {name: t.detach().half().contiguous().cpu() for name, t in net.state_dict().items()}
    metadata = {
        "architecture": ARCHITECTURE,
        "config": json.dumps(net.config.to_dict()),
        "images_trained": str(images_trained),
    }
    save_file(tensors, path, metadata)


def load_generator(
    path: Path | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> LoadedGenerator:
    """Read a checkpoint (default: the packaged one) to `device` in `dtype`, frozen.

    Raises CheckpointError when the file is absent, is no safetensors file, or holds another net.
    """
    path = path or default_checkpoint()
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; give --checkpoint a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            tensors = {name: file.get_tensor(name).float() for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a safetensors checkpoint ({error})") from error
    if metadata.get("architecture") != ARCHITECTURE:
        raise CheckpointError(
            f"{path}: holds architecture {metadata.get('architecture', 'unknown')!r}; "
            f"expected {ARCHITECTURE!r}"
        )
    try:
        net = Generator(_config(json.loads(metadata["config"])))
        net.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: does not fit this version's generator ({reason})"
        ) from error
    net = net.eval().requires_grad_(False)
    net = net.to(device=device, dtype=dtype)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return LoadedGenerator(net, path, _sha256(path), int(metadata.get("images_trained", 0)))


def _config(given: Mapping[str, Any]) -> GeneratorConfig:
    lists_to_tuples = {
        **given,
        "channels": tuple((int(r), int(c)) for r, c in given["channels"]),
        "refined": tuple(given["refined"]),
    }
    return GeneratorConfig(**lists_to_tuples)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
