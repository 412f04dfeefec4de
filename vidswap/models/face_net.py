"""What a stage of the swap needs of a generator, whichever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vidswap.identity.encoder import IdEmbedding


@dataclass(frozen=True)
class NetInputs:
    """What a net takes beside the target's face; what it does not take is not made."""

    boundary_map: bool = False
    id_embedding: bool = False
    reference: bool = False
    mask: bool = False


@dataclass(frozen=True, eq=False)
class FaceBatch:
    """Aligned faces for one call of a net, on its device and in its number format.

    targets: F_t (B, 3, S, S), RGB in [-1, 1]. boundary_maps: B_t (B, 3, S, S) in [0, 1]. identity:
    id embeddings of the sources, batch B. references: (B, 4, S, S) of `reference_tensor`. masks:
    (B, 1, S, S) in [0, 1], the part of the face to fill. None where the net takes none, or where a
    batch has none.
    """

    targets: Tensor
    boundary_maps: Tensor | None = None
    identity: IdEmbedding | None = None
    references: Tensor | None = None
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)


class FaceNet(nn.Module, ABC):
    """A net that gives an aligned face another look; `swap` is all that a swap asks of it.

    `name` is the architecture that its checkpoints name in their metadata (`registry`).
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def size(self) -> int:
        """Side S of its pictures in pixels."""

    @property
    @abstractmethod
    def takes(self) -> NetInputs:
        """What it takes beside the target's face."""

    @property
    def composes(self) -> bool:
        """Whether it lays the reference over its answer by itself, where it sees fit."""
        return False

    def for_inference(self) -> FaceNet:
        """A net that does the same and cannot be trained, where one is cheaper; else itself."""
        return self

    @abstractmethod
    def swap(self, batch: FaceBatch) -> Tensor:
        """Y (B, 3, S, S), RGB in [-1, 1], of a batch of its own size."""


def at_size(net: FaceNet, batch: FaceBatch) -> Tensor:
    """Y of a batch of any size, by a net of its own: Y has the batch's size, within [-1, 1]."""
    side = batch.targets.shape[-1]
    if side == net.size:
        return net.swap(batch)

    def reduced(pictures: Tensor | None) -> Tensor | None:
        if pictures is None:
            return None
        size = (net.size, net.size)
        return torch.nn.functional.interpolate(pictures, size=size, mode="area")

    targets = reduced(batch.targets)
    assert targets is not None
    small = FaceBatch(
        targets, reduced(batch.boundary_maps), batch.identity, reduced(batch.references),
        reduced(batch.masks),
    )  # fmt: skip
    outputs = net.swap(small)
    enlarged = torch.nn.functional.interpolate(outputs, (side, side), mode="bicubic")
    return enlarged.clamp(-1.0, 1.0)


def reference_tensor(views: Tensor) -> Tensor:
    """Views (B, H, W, 4) uint8, RGB and mask, as a net takes them: (B, 4, H, W) in [-1, 1].

    Colours are multiplied by the mask, so that nothing is shown where it is zero.
    """
    channels = views.permute(0, 3, 1, 2).float() / 255.0
    mask = channels[:, 3:]
    channels[:, :3].mul_(2.0).sub_(1.0).mul_(mask)
    return channels
