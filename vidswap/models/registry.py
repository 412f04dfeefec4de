"""Which code reads a checkpoint: nets register by the architecture in its metadata."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from vidswap.errors import CheckpointError
from vidswap.models.checkpoint_file import CheckpointFile
from vidswap.models.face_net import FaceNet
from vidswap.runtime.text import shown


@dataclass(frozen=True)
class BuiltNet:
    """A net with the weights of its checkpoint, and how many images it was trained on."""

    net: FaceNet
    images_trained: int


Builder = Callable[[CheckpointFile], BuiltNet]

# The module that registers an architecture is imported when a checkpoint first asks for it.
_MODULES = {
    "apgan": "vidswap.models.apgan.checkpoint",
    "apgan-adapter": "vidswap.models.apgan.checkpoint",
    "context": "vidswap.inpainting.context_gan",
    "idgan": "vidswap.inpainting.id_gan",
    "latent": "vidswap.inpainting.search",
    "swapinpaint": "vidswap.inpainting.swapinpaint",
}
_BUILDERS: dict[str, Builder] = {}


def register(architecture: str) -> Callable[[Builder], Builder]:
    """Make a function the builder of all checkpoints of an architecture."""

    def remember(builder: Builder) -> Builder:
        _BUILDERS[architecture] = builder
        return builder

    return remember


def architectures() -> tuple[str, ...]:
    """All architectures that can be loaded, by name."""
    return tuple(sorted({*_MODULES, *_BUILDERS}))


def build(file: CheckpointFile) -> BuiltNet:
    """The net of a checkpoint, on the CPU in fp32. Raises CheckpointError for an unknown one."""
    name = file.architecture
    if name not in _BUILDERS and name in _MODULES:
        importlib.import_module(_MODULES[name])
    if name not in _BUILDERS:
        raise CheckpointError(
            f"{file.path}: holds architecture {shown(name)}; allowed: {', '.join(architectures())}"
        )
    return _BUILDERS[name](file)
