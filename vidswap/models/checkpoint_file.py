"""The file of a checkpoint: safetensors with text metadata, which names the architecture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from vidswap.errors import CheckpointError
from vidswap.media.output import temporary_path, writing_errors

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
        """A whole number of the metadata, 0 where it is absent."""
        return int(self.metadata.get(key, 0))


def default_checkpoint() -> Path:
    """Path of the checkpoint that comes with the package, or lies in the checkout."""
    packaged = Path(__file__).resolve().parents[1] / "checkpoints" / DEFAULT_CHECKPOINT
    in_checkout = packaged.parents[2] / "checkpoints" / DEFAULT_CHECKPOINT
    return packaged if packaged.is_file() else in_checkout


def read_checkpoint(path: Path) -> CheckpointFile:
    """Read a checkpoint. Raises CheckpointError where it is absent or no safetensors file."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; give --checkpoint a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            tensors = {name: file.get_tensor(name).float() for name in names}
            return CheckpointFile(path, metadata, tensors)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a safetensors checkpoint ({error})") from error


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
