"""The file of a checkpoint: safetensors with text metadata, which names the architecture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from vidswap.errors import CheckpointError
from vidswap.media.output import temporary_path, writing_errors
from vidswap.runtime.text import shown, word

_MOST_DIGITS = 15
_LONGEST_REASON = 200  # characters
DEFAULT_CHECKPOINT = "apgan-256.safetensors"


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint as read: its metadata, and its tensors in fp32 by name."""

    path: Path
    metadata: Mapping[str, str]
    tensors: dict[str, Tensor]

    @property
    def architecture(self) -> str:
        """What net it holds, as `registry` knows it."""
        return self.metadata.get("architecture", "unknown")

    def count(self, key: str) -> int:
        """A whole number of the metadata, 0 where it is absent. Raises CheckpointError."""
        text = self.metadata.get(key, "0")
        if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
            raise CheckpointError(f"{self.path}: {key} is {shown(text)}, not a whole number")
        return int(text)


def default_checkpoint() -> Path:
    """Path of the checkpoint that comes with the package, or lies in the checkout."""
    packaged = Path(__file__).resolve().parents[1] / "checkpoints" / DEFAULT_CHECKPOINT
    in_checkout = packaged.parents[2] / "checkpoints" / DEFAULT_CHECKPOINT
    return packaged if packaged.is_file() else in_checkout


def packaged_checkpoint(name: str, model: str) -> Path:
    """A checkpoint that comes with the package beside the default one, of a `model` in words.

    Raises CheckpointError where none does.
    """
    path = default_checkpoint().with_name(name)
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no weights of {model} come with this version; train them with `vidswap "
            "train inpainter` and give --checkpoint"
        )
    return path


def read_checkpoint(path: Path) -> CheckpointFile:
    """Read a checkpoint. Raises CheckpointError where it is absent, damaged or none."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; give --checkpoint a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
        words = shown(error) if len(str(error)) > _LONGEST_REASON else error
        raise CheckpointError(f"{path}: not a safetensors checkpoint ({words})") from error
    return CheckpointFile(path, metadata, {n: _weights(path, n, t) for n, t in tensors.items()})


def _weights(path: Path, name: str, tensor: Tensor) -> Tensor:
    """In fp32. Raises CheckpointError for what is no weight: no float, not finite."""
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CheckpointError(f"{path}: tensor {word(name)} holds {kind}; weights are floats")
    weights = tensor.float()
    # One sum tells nearly always, in a tenth of the time.
    if not bool(torch.isfinite(weights.sum())) and not bool(torch.isfinite(weights).all()):
        raise CheckpointError(
            f"{path}: tensor {word(name)} has values that are not finite; the checkpoint is damaged"
        )
    return weights


def write_checkpoint(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write fp16 safetensors; the file appears only when complete.

    Raises DiskFullError and OutputNotWritableError; then what was under the name stays.
    """
    halves = {name: t.detach().half().contiguous().cpu() for name, t in tensors.items()}
    part = temporary_path(path)
    try:
        with writing_errors(path):
            with part.open("wb") as file:
                file.write(to_bytes(halves, metadata))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
