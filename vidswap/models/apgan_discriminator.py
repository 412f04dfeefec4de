"""The PE-aware multi-scale discriminator (AP-GAN, III.B)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.models.instance_norm import InstanceNorm
from vidswap.models.spectral import add_spectral_norm

N_SCALES = 3


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Base width of each scale, finest first; without `pe_aware` it sees no boundary map."""

    widths: tuple[int, ...] = (32, 32, 24)
    pe_aware: bool = True
    spectral_norm: bool = False


class PatchDiscriminator(nn.Module):
    """One scale: strided 4x4 convolutions over the face joined with its boundary map."""

    def __init__(self, width: int, in_channels: int = 6, n_stages: int = 4) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for index in range(n_stages):
            channels = width * 2 ** min(index, 3)
            stride = 1 if index == n_stages - 1 else 2
            activate = InstanceNorm(channels, slope=0.2) if index else nn.LeakyReLU(0.2)
            stages.append(
                nn.Sequential(
                    nn.Conv2d(in_channels, channels, 4, stride=stride, padding=1),
                    activate,
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

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DiscriminatorConfig()
        channels = 6 if config.pe_aware else 3
        self.scales = nn.ModuleList(PatchDiscriminator(width, channels) for width in config.widths)
        if config.spectral_norm:
            add_spectral_norm(self)

    def forward(self, faces: Tensor, boundary_maps: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        x = torch.cat([faces, boundary_maps], dim=1) if self.config.pe_aware else faces
        outputs = []
        for index, scale in enumerate(self.scales):
            if index:
                x = F.avg_pool2d(x, 2)
            outputs.append(scale(x))
        return outputs
