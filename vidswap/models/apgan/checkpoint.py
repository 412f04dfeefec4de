"""AP-GAN's checkpoints: a whole generator, or an adapter.

An adapter is a small change of a generator, made for a pair of people; it names the generator it
changes by the SHA-256 of its file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vidswap.digest import file_sha256
from vidswap.errors import CheckpointError
from vidswap.models.adapter import apply_changes
from vidswap.models.apgan.generator import Generator, GeneratorConfig
from vidswap.models.apgan.stored_config import config_from_json
from vidswap.models.checkpoint_file import (
    CheckpointFile,
    default_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from vidswap.models.registry import BuiltNet, register
from vidswap.runtime.text import shown, word

ADAPTER_ARCHITECTURE = "apgan-adapter"
_LONGEST_REASON = 300  # characters
_LONGEST_NAME = 80


@dataclass(frozen=True)
class AdapterOrigin:
    """What an adapter says of its making.

    `base` is the file name of the generator it changes; `shots_sha256` identifies the faces it was
    tuned on; `minutes` is the time of training.
    """

    base: str
    base_sha256: str
    config: GeneratorConfig
    images: int
    minutes: float
    shots_sha256: str


def save_generator(net: Generator, path: Path, images_trained: int) -> None:
    """Write a generator as fp16 safetensors with its architecture in the metadata.

    Raises DiskFullError and OutputNotWritableError; then what was under the name stays.
    """
    metadata = {
        "architecture": Generator.name,
        "config": json.dumps(net.config.to_dict()),
        "images_trained": str(images_trained),
    }
    write_checkpoint(net.state_dict(), path, metadata)


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
    write_checkpoint(tensors, path, metadata)


def is_adapter(path: Path) -> bool:
    """Whether a checkpoint is an adapter. Raises CheckpointError as `read_checkpoint` does."""
    return read_checkpoint(path).architecture == ADAPTER_ARCHITECTURE


@register(Generator.name)
def build_generator(file: CheckpointFile) -> BuiltNet:
    """A whole generator. Raises CheckpointError where the file does not fit this version's."""
    if file.architecture != Generator.name:
        raise CheckpointError(
            f"{file.path}: holds architecture {file.architecture!r}; expected {Generator.name!r}"
        )
    try:
        config = config_from_json(file.metadata.get("config"))
        images_trained = file.count("images_trained")
        check_shapes(config, file.tensors)
        net = Generator(config)
        net.load_state_dict(file.tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise CheckpointError(
            f"{file.path}: does not fit this version's generator ({reason})"
        ) from error
    return BuiltNet(net, images_trained)


def check_shapes(config: GeneratorConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless the tensors are those of such a generator; none is built."""
    with torch.device("meta"):
        wanted = Generator(replace(config, spectral_norm=False)).state_dict()
    if config.spectral_norm:  # has tensors under other names, and some more
        if sum(t.numel() for t in wanted.values()) > sum(t.numel() for t in tensors.values()):
            raise ValueError("it has fewer weights than its config asks for")
        return
    for name, tensor in wanted.items():
        if name not in tensors:
            raise ValueError(f"it has no tensor {name}")
        if tensors[name].shape != tensor.shape:
            raise ValueError(f"{name} is {list(tensors[name].shape)}, not {list(tensor.shape)}")
    if more := [name for name in tensors if name not in wanted]:
        raise ValueError(f"tensor {shown(more[0])} is none of its own")


@register(ADAPTER_ARCHITECTURE)
def build_adapted(file: CheckpointFile) -> BuiltNet:
    """The generator an adapter changes, changed. Raises CheckpointError where it is not found."""
    images = file.count("images")
    base = build_generator(read_checkpoint(_base_path(file)))
    assert isinstance(base.net, Generator)
    _adapt(base.net, file)
    return BuiltNet(base.net, base.images_trained + images)


def _base_path(adapter: CheckpointFile) -> Path:
    """Where the generator of an adapter lies, recognised by its digest alone."""
    name = Path(adapter.metadata.get("base", "")).name
    wanted = adapter.metadata.get("base_sha256", "")
    if len(name) > _LONGEST_NAME or "\0" in name:
        raise CheckpointError(f"{adapter.path}: its metadata is damaged; tune again")
    places = [adapter.path.parent / name, default_checkpoint().parent / name, default_checkpoint()]
    for place in places:
        if name and place.is_file() and file_sha256(place) == wanted:
            return place
    raise CheckpointError(
        f"{adapter.path}: was tuned from {word(name) if name else 'a checkpoint'} with SHA-256 "
        f"{word(wanted[:12])}, "
        f"not found beside it or in {default_checkpoint().parent}; put it beside, or tune again"
    )


def _adapt(net: Generator, adapter: CheckpointFile) -> None:
    try:
        config = config_from_json(adapter.metadata.get("config"))
    except ValueError as error:
        raise CheckpointError(f"{adapter.path}: its metadata is damaged; tune again") from error
    if config != net.config:
        raise CheckpointError(f"{adapter.path}: was made for a generator of another shape")
    try:
        apply_changes(net, adapter.tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{adapter.path}: {error}; tune again") from error
