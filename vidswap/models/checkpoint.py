"""`load_generator` is the only door to a checkpoint, of whatever architecture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vidswap.digest import file_sha256
from vidswap.models.checkpoint_file import default_checkpoint, read_checkpoint
from vidswap.models.face_net import FaceNet
from vidswap.models.registry import build

__all__ = ["LoadedGenerator", "default_checkpoint", "load_generator"]


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator ready to run, and what its checkpoint says of itself.

    For an adapter `path` and `sha256` are its own, and the images are the sum of both trainings.
    """

    net: FaceNet
    path: Path
    sha256: str
    images_trained: int

    @property
    def size(self) -> int:
        """Side of its crops in pixels."""
        return self.net.size

    def for_inference(self) -> LoadedGenerator:
        """The same, its net in the form that is cheapest to run (`FaceNet.for_inference`)."""
        return replace(self, net=self.net.for_inference())


def load_generator(
    path: Path | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> LoadedGenerator:
    """Read a checkpoint (default: the packaged one) to `device` in `dtype`, frozen.

    The generator an adapter changes is looked for beside it and in the package.

    Raises CheckpointError when the file is absent, is no safetensors file, or holds a net that is
    not known or does not fit, or when an adapter's generator is not found.
    """
    path = path or default_checkpoint()
    built = build(read_checkpoint(path))
    net = built.net.eval().requires_grad_(False)
    net = net.to(device=device, dtype=dtype)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return LoadedGenerator(net, path, file_sha256(path), built.images_trained)
