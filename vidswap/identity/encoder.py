"""The identity encoder (ID Enc) and the multi-scale id embedding (AP-GAN, III.A)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.faces.align import ARCFACE_CENTRE, ARCFACE_SCALE, CROP_CENTRE, CROP_SIZE
from vidswap.identity.dlib_resnet import (
    DLIB_FROM_ARCFACE_OFFSET,
    DLIB_FROM_ARCFACE_SCALE,
    EMBEDDING_SIZE,
    INPUT_SIZE,
    POOLED_SIZE,
    STAGE_CHANNELS,
    DlibResNet,
    load_dlib_resnet,
)

# Of the net whose embeddings these are; embeddings of two nets are not compared.
IDENTITY_NET = "dlib-resnet-29-v1"
ID_WIDTH = POOLED_SIZE + EMBEDDING_SIZE + sum(STAGE_CHANNELS)


@dataclass(frozen=True)
class IdEmbedding:
    """Multi-scale id embedding of a batch of faces.

    `vector` (B, 256) is the last vector before the fully connected layer, `embedding` (B, 128) that
    layer's output, in which faces are compared, and `features` the global average (B, C) of each
    stage's id feature, finest stage first.
    """

    vector: Tensor
    embedding: Tensor
    features: tuple[Tensor, ...]

    def mean(self) -> IdEmbedding:
        """The k-shot mean over the batch (III.D), as a batch of one."""
        return self.map(lambda x: x.mean(dim=0, keepdim=True))

    def rows(self) -> Tensor:
        """Vector, embedding and features side by side, (B, 1120)."""
        return torch.cat([self.vector, self.embedding, *self.features], dim=1)

    @classmethod
    def from_rows(cls, rows: Tensor) -> IdEmbedding:
        """The embeddings whose `rows` (B, `ID_WIDTH`) are."""
        parts = rows.split((POOLED_SIZE, EMBEDDING_SIZE, *STAGE_CHANNELS), dim=1)
        return cls(parts[0], parts[1], tuple(parts[2:]))

    def map(self, function: Callable[[Tensor], Tensor]) -> IdEmbedding:
        """Apply a function to every tensor."""
        return IdEmbedding(
            function(self.vector),
            function(self.embedding),
            tuple(function(feature) for feature in self.features),
        )

    def expand(self, batch: int) -> IdEmbedding:
        """Repeat an embedding of one face for a batch of targets."""
        return self.map(lambda x: x.expand(batch, -1))

    @staticmethod
    def concatenate(parts: Sequence[IdEmbedding]) -> IdEmbedding:
        """Join batches of embeddings along the batch axis."""
        return IdEmbedding(
            torch.cat([p.vector for p in parts]),
            torch.cat([p.embedding for p in parts]),
            tuple(torch.cat(stage) for stage in zip(*(p.features for p in parts), strict=True)),
        )


class IdentityEncoder(nn.Module):
    """Aligned crops to the multi-scale id embedding, through dlib's ResNet."""

    def __init__(self, resnet: DlibResNet | None = None) -> None:
        super().__init__()
        self.resnet = resnet if resnet is not None else load_dlib_resnet()

    def forward(self, crops: Tensor) -> IdEmbedding:
        """Embed aligned crops (B, 3, S, S), RGB in [-1, 1], of any side S."""
        return self.embed_faces(dlib_crop(crops))

    def embed_faces(self, faces: Tensor) -> IdEmbedding:
        """Embed faces (B, 3, 150, 150) that are already in dlib's own crop."""
        stages = self.resnet.stages(faces)
        vector = self.resnet.pooled(stages[-1])
        features = tuple(stage.mean(dim=(2, 3)) for stage in stages)
        return IdEmbedding(vector, self.resnet.embed(vector), features)


def crop_to_template(
    crops: Tensor,
    size: int,
    scale: float,
    offset: tuple[float, float],
    jitter: Tensor | None = None,
) -> Tensor:
    """Resample aligned crops (B, 3, S, S) to another net's input (B, 3, size, size).

    That net's pixel is `scale * x112 + offset` of ArcFace's 112-pixel template. `jitter`
    (B, 2, 3) moves the sampling grid, in units of half its side, before it is cut. Differentiable.
    """
    matrix = crops.new_zeros(2, 3, dtype=torch.float32)
    for axis in range(2):
        # That net's pixel to the 112-pixel template to the 256-pixel crop, whose [-1, 1] is
        # grid_sample's unit whatever the crop's real side is.
        gain = ARCFACE_SCALE / scale
        shift = CROP_CENTRE[axis] - ARCFACE_SCALE * (ARCFACE_CENTRE[axis] + offset[axis] / scale)
        centre = gain * (size - 1) / 2.0 + shift
        matrix[axis, axis] = gain * size / CROP_SIZE
        matrix[axis, 2] = 2.0 * (centre + 0.5) / CROP_SIZE - 1.0
    theta = matrix.expand(crops.shape[0], 2, 3)
    if jitter is not None:
        linear = theta[:, :, :2] @ jitter[:, :, :2]
        moved = theta[:, :, :2] @ jitter[:, :, 2:] + theta[:, :, 2:]
        theta = torch.cat([linear, moved], dim=2)
    grid = F.affine_grid(theta, [crops.shape[0], 3, size, size], align_corners=False)
    return F.grid_sample(
        crops, grid.to(crops.dtype), padding_mode="reflection", align_corners=False
    )


def dlib_crop(crops: Tensor, jitter: Tensor | None = None) -> Tensor:
    """Aligned crops (B, 3, S, S) to dlib's own crop (B, 3, 150, 150)."""
    if crops.shape[-1] > 256:
        crops = F.interpolate(crops, size=(256, 256), mode="area")
    return crop_to_template(
        crops, INPUT_SIZE, DLIB_FROM_ARCFACE_SCALE, DLIB_FROM_ARCFACE_OFFSET, jitter
    )
