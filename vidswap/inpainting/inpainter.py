"""What every model that fills faces is: (aligned crop, mask, perhaps an identity) to a crop."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from vidswap.errors import BadOptionError, CheckpointError
from vidswap.identity.encoder import IdEmbedding
from vidswap.models.checkpoint_file import CheckpointFile, write_checkpoint
from vidswap.models.face_net import FaceBatch, FaceNet, NetInputs
from vidswap.runtime.text import shown

Config = TypeVar("Config")
NetT = TypeVar("NetT", bound=nn.Module)
_COVERED = 0.01  # share of a pixel
_LONGEST = 2**16  # characters of a checkpoint's configuration
_LARGEST_COUNT = 4096  # of a width or a side in a checkpoint's configuration


class Inpainter(FaceNet):
    """A net, or a search, that fills the masked part of aligned faces.

    Subclasses have a frozen dataclass as `config`, take one as their only argument, and register
    their `name` with `vidswap.models.registry`. `needs_identity`: whose face is filled in must be
    given.
    """

    needs_identity: ClassVar[bool] = False
    config: Any

    @abstractmethod
    def fill(self, pictures: Tensor, masks: Tensor, identity: IdEmbedding | None) -> Tensor:
        """Fill faces (B, 3, S, S), RGB in [-1, 1], where masks (B, 1, S, S) are 1; 0 elsewhere.

        What pictures hold under their masks must not matter. The answer is a whole face, in
        [-1, 1], of which the caller takes what lies under the mask. `identity` has B rows, None
        where the model does without.
        """

    @property
    def takes(self) -> NetInputs:
        """A mask, and an identity where one is needed."""
        return NetInputs(mask=True, id_embedding=self.needs_identity)

    def swap(self, batch: FaceBatch) -> Tensor:
        """`fill` as the stages of a run call it. Raises BadOptionError without what it needs."""
        masks, identity = self.asked(batch)
        return self.fill(batch.targets, masks, identity)

    def asked(self, batch: FaceBatch) -> tuple[Tensor, IdEmbedding | None]:
        """Masks of a batch, 0 or 1, and its identity. Raises BadOptionError without either."""
        if batch.masks is None or (self.needs_identity and batch.identity is None):
            missing = "a mask" if batch.masks is None else "an identity (--source)"
            raise BadOptionError(f"{self.name} fills faces and needs {missing}")
        # A pixel of which any part is to be filled shows something of what must not matter.
        masks = (batch.masks > _COVERED).to(batch.targets.dtype)
        return masks, batch.identity


def save_inpainter(net: Any, path: Path, images_trained: int) -> None:
    """Write a model as fp16 safetensors with its architecture in the metadata.

    `net` is a module with a `name` and a flat dataclass as `config`. Raises DiskFullError and
    OutputNotWritableError; then what was under the name stays.
    """
    metadata = {
        "architecture": net.name,
        "config": json.dumps(asdict(net.config)),
        "images_trained": str(images_trained),
    }
    tensors = {n: t for n, t in net.state_dict().items() if t.is_floating_point()}
    write_checkpoint(tensors, path, metadata)


def read_inpainter(
    file: CheckpointFile, net_type: Callable[[Any], NetT], config_type: type[Any]
) -> NetT:
    """A model from its checkpoint; `net_type` is a class as `save_inpainter` takes its objects.

    Raises CheckpointError where the file does not fit it.
    """
    name_of_net = getattr(net_type, "name", "")
    if file.architecture != name_of_net:
        raise CheckpointError(
            f"{file.path}: holds architecture {shown(file.architecture)}; expected {name_of_net}"
        )
    try:
        config = stored_config(file.metadata.get("config", ""), config_type)
        with torch.device("meta"):
            wanted = net_type(config).state_dict()
        for name, tensor in wanted.items():
            if not tensor.is_floating_point():  # a count of batches, which is not stored
                continue
            if name not in file.tensors:
                raise ValueError(f"it has no tensor {name}")
            if file.tensors[name].shape != tensor.shape:
                shapes = list(file.tensors[name].shape), list(tensor.shape)
                raise ValueError(f"{name} is {shapes[0]}, not {shapes[1]}")
        net = net_type(config)
        counts = {n: t for n, t in net.state_dict().items() if not t.is_floating_point()}
        net.load_state_dict({**file.tensors, **counts})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{file.path}: does not fit this version's {name_of_net} ({reason})"
        ) from error
    return net


def stored_config(text: str, config_type: type[Config]) -> Config:
    """A flat configuration from a checkpoint's JSON, every number within bounds.

    Raises ValueError for what is none.
    """
    try:
        given = json.loads(text or "{}") if len(text) <= _LONGEST else None
    except RecursionError as error:
        raise ValueError("its config is no JSON") from error
    if not isinstance(given, dict):
        raise ValueError("its config is no JSON object")
    known = {f.name: getattr(config_type(), f.name) for f in fields(config_type)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"its config has an unknown setting {name[:40]!r}")
        values[name] = _bounded(value, known[name], name)
    return config_type(**values)


def _bounded(value: Any, default: Any, name: str) -> Any:
    if isinstance(default, tuple):
        if not isinstance(value, list) or len(value) != len(default):
            raise ValueError(f"{name} is not {len(default)} numbers")
        return tuple(_bounded(v, d, name) for v, d in zip(value, default, strict=True))
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise ValueError(f"{name} is no {type(default).__name__}")
    if type(value) is int and not 1 <= value <= _LARGEST_COUNT:
        raise ValueError(f"{name} is {shown(value)}, not within 1 to {_LARGEST_COUNT}")
    return value
