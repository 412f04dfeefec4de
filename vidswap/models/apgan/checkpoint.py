"""AP-GAN's checkpoints: a whole generator, or an adapter.

An adapter is a small change of a generator, made for a pair of people; it names the generator it
changes by the SHA-256 of its file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vidswap.digest import file_sha256
from vidswap.errors import CheckpointError
from vidswap.models.adapter import apply_changes
from vidswap.models.apgan.generator import Generator, GeneratorConfig
from vidswap.models.checkpoint_file import (
    CheckpointFile,
    default_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from vidswap.models.registry import BuiltNet, register

ADAPTER_ARCHITECTURE = "apgan-adapter"


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
        net = Generator(_config(json.loads(file.metadata["config"])))
        net.load_state_dict(file.tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{file.path}: does not fit this version's generator ({reason})"
        ) from error
    return BuiltNet(net, file.count("images_trained"))


@register(ADAPTER_ARCHITECTURE)
def build_adapted(file: CheckpointFile) -> BuiltNet:
    """The generator an adapter changes, changed. Raises CheckpointError where it is not found."""
    base = build_generator(read_checkpoint(_base_path(file)))
    assert isinstance(base.net, Generator)
    _adapt(base.net, file)
    return BuiltNet(base.net, base.images_trained + file.count("images"))


def _base_path(adapter: CheckpointFile) -> Path:
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


def _adapt(net: Generator, adapter: CheckpointFile) -> None:
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


def _config(given: Mapping[str, Any]) -> GeneratorConfig:
    lists_to_tuples = {
        **given,
        "channels": tuple((int(r), int(c)) for r, c in given["channels"]),
        "refined": tuple(given["refined"]),
    }
    return GeneratorConfig(**lists_to_tuples)
