"""Checkpoints as safetensors; `load_generator` is the only door to one.

A checkpoint is a whole generator, or an adapter: a small change of one, made for a pair of people,
which names the generator it changes by the SHA-256 of its file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from vidswap.digest import file_sha256
from vidswap.errors import CheckpointError
from vidswap.media.output import temporary_path, writing_errors
from vidswap.models.adapter import apply_changes
from vidswap.models.apgan.generator import Generator, GeneratorConfig

ARCHITECTURE = "apgan"
ADAPTER_ARCHITECTURE = "apgan-adapter"
DEFAULT_CHECKPOINT = "apgan-256.safetensors"


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator ready to run, and what its checkpoint says of itself.

    For an adapter `path` and `sha256` are its own, and the images those of both trainings.
    """

    net: Generator
    path: Path
    sha256: str
    images_trained: int

    @property
    def size(self) -> int:
        """Side of its crops in pixels."""
        return self.net.config.size


@dataclass(frozen=True)
class AdapterOrigin:
    """What an adapter says of its making.

    `base` is the file name of the generator it changes; `shots_sha256` tells apart the faces it was
    tuned on; `minutes` is the time of training.
    """

    base: str
    base_sha256: str
    config: GeneratorConfig
    images: int
    minutes: float
    shots_sha256: str


@dataclass(frozen=True)
class _File:
    path: Path
    metadata: Mapping[str, str]
    tensors: dict[str, Tensor]

    @property
    def architecture(self) -> str:
        return self.metadata.get("architecture", "unknown")


def default_checkpoint() -> Path:
    """Path of the checkpoint that comes with the package."""
    packaged = Path(__file__).resolve().parents[1] / "checkpoints" / DEFAULT_CHECKPOINT
    in_checkout = packaged.parents[2] / "checkpoints" / DEFAULT_CHECKPOINT
    return packaged if packaged.is_file() else in_checkout


def save_generator(net: Generator, path: Path, images_trained: int) -> None:
    """Write a generator as fp16 safetensors with its architecture in the metadata.

    Raises DiskFullError and OutputNotWritableError; then what was under the name stays.
    """
    metadata = {
        "architecture": ARCHITECTURE,
        "config": json.dumps(net.config.to_dict()),
        "images_trained": str(images_trained),
    }
    _write(net.state_dict(), path, metadata)


def save_adapter(tensors: Mapping[str, Tensor], path: Path, origin: AdapterOrigin) -> None:
    """Write an adapter's changes as fp16 safetensors; the file appears only when complete.

    Raises DiskFullError and OutputNotWritableError; then what was under the name stays.
    """
    metadata = {
        "architecture": ADAPTER_ARCHITECTURE,
        "base": origin.base,
        "base_sha256": origin.base_sha256,
        "config": json.dumps(origin.config.to_dict()),
        "images": str(origin.images),
        "minutes": f"{origin.minutes:.4f}",
        "shots_sha256": origin.shots_sha256,
    }
    _write(tensors, path, metadata)


def _write(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write fp16 safetensors; the file appears only when complete."""
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


def load_generator(
    path: Path | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> LoadedGenerator:
    """Read a checkpoint (default: the packaged one) to `device` in `dtype`, frozen.

    The generator an adapter changes is looked for beside it and in the package.

    Raises CheckpointError when the file is absent, is no safetensors file, or holds another net, or
    when an adapter's generator is not found.
    """
    path = path or default_checkpoint()
    file = _read(path)
    if file.architecture == ADAPTER_ARCHITECTURE:
        base = _read(_base_path(file))
        net = _generator(base)
        _adapt(net, file)
        images = _images(base, "images_trained") + _images(file, "images")
    else:
        net = _generator(file)
        images = _images(file, "images_trained")
    net = net.eval().requires_grad_(False)
    net = net.to(device=device, dtype=dtype)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return LoadedGenerator(net, path, file_sha256(path), images)


def is_adapter(path: Path) -> bool:
    """Whether a checkpoint is an adapter. Raises CheckpointError as `load_generator` does."""
    return _read(path).architecture == ADAPTER_ARCHITECTURE


def _read(path: Path) -> _File:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; give --checkpoint a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            return _File(path, metadata, {name: file.get_tensor(name).float() for name in names})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a safetensors checkpoint ({error})") from error


def _generator(file: _File) -> Generator:
    if file.architecture != ARCHITECTURE:
        raise CheckpointError(
            f"{file.path}: holds architecture {file.architecture!r}; expected {ARCHITECTURE!r}"
        )
    try:
        net = Generator(_config(json.loads(file.metadata["config"])))
        net.load_state_dict(file.tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{file.path}: does not fit this version's generator ({reason})"
        ) from error
    return net


def _base_path(adapter: _File) -> Path:
    """Where the generator of an adapter lies, recognised by its digest alone."""
    name = Path(adapter.metadata.get("base", "")).name
    wanted = adapter.metadata.get("base_sha256", "")
    places = [adapter.path.parent / name, default_checkpoint().parent / name, default_checkpoint()]
    for place in places:
        if name and place.is_file() and file_sha256(place) == wanted:
            return place
    raise CheckpointError(
        f"{adapter.path}: was tuned from {name or 'a checkpoint'} with SHA-256 {wanted[:12]}, "
        f"not found beside it or in {default_checkpoint().parent}; put it beside, or tune again"
    )


def _adapt(net: Generator, adapter: _File) -> None:
    try:
        config = _config(json.loads(adapter.metadata["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{adapter.path}: its metadata is damaged; tune again") from error
    if config != net.config:
        raise CheckpointError(f"{adapter.path}: was made for a generator of another shape")
    try:
        apply_changes(net, adapter.tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{adapter.path}: {error}; tune again") from error


def _images(file: _File, key: str) -> int:
    return int(file.metadata.get(key, 0))


def _config(given: Mapping[str, Any]) -> GeneratorConfig:
    lists_to_tuples = {
        **given,
        "channels": tuple((int(r), int(c)) for r, c in given["channels"]),
        "refined": tuple(given["refined"]),
    }
    return GeneratorConfig(**lists_to_tuples)
