"""The PE-aware multi-scale discriminator (AP-GAN, III.B)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.models.instance_norm import InstanceNorm

N_SCALES = 3


class PatchDiscriminator(nn.Module):
    """One scale: strided 4x4 convolutions over the face joined with its boundary map."""

    def __init__(self, width: int, n_stages: int = 4) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        in_channels = 6
        for index in range(n_stages):
            channels = width * 2 ** min(index, 3)
            stride = 1 if index == n_stages - 1 else 2
            normalise = InstanceNorm(channels) if index else nn.Identity()
            stages.append(
                nn.Sequential(
                    nn.Conv2d(in_channels, channels, 4, stride=stride, padding=1),
                    normalise,
                    nn.LeakyReLU(0.2),
                )
            )
            in_channels = channels
        self.stages = nn.ModuleList(stages)
        self.score = nn.Conv2d(in_channels, 1, 4, padding=1)

    def forward(self, face_and_map: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        x = face_and_map
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return self.score(x), features


class Discriminator(nn.Module):
    """PE-A D: the same net at three scales of the face and its boundary map.

    Returns, a scale each, the score map (B, 1, h, w) and the feature (B, C, h, w) of every stage.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 32, 24)) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(width) for width in widths)

    def forward(self, faces: Tensor, boundary_maps: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        x = torch.cat([faces, boundary_maps], dim=1)
        outputs = []
        for index, scale in enumerate(self.scales):
            if index:
                x = F.avg_pool2d(x, 2)
            outputs.append(scale(x))
        return outputs
