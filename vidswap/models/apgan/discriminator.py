"""The PE-aware multi-scale discriminator (AP-GAN, III.B)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.models.instance_norm import InstanceNorm
from vidswap.models.spectral import add_spectral_norm

# Top, bottom, left and right of eyes, nose and mouth in an aligned crop, in sides of the crop.
CORE = (72 / 256, 216 / 256, 56 / 256, 200 / 256)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Base width of each scale, finest first, and of the core's net (0: none).

    Without `pe_aware` no net sees the boundary map.
    """

    widths: tuple[int, ...] = (32, 32, 24)
    core_width: int = 24
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

    A fourth, with `core_width`, sees the square of eyes, nose and mouth alone. Returns, a view
    each, the score map (B, 1, h, w) and the feature (B, C, h, w) of every stage.
    """

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DiscriminatorConfig()
        channels = 6 if config.pe_aware else 3
        self.scales = nn.ModuleList(PatchDiscriminator(width, channels) for width in config.widths)
        self.core = PatchDiscriminator(config.core_width, channels) if config.core_width else None
        if config.spectral_norm:
            add_spectral_norm(self)

    def forward(self, faces: Tensor, boundary_maps: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        x = torch.cat([faces, boundary_maps], dim=1) if self.config.pe_aware else faces
        nets = [*self.scales, *([self.core] if self.core is not None else [])]
        return [net(view) for net, view in zip(nets, self.views(x), strict=True)]

    def views(self, pictures: Tensor) -> list[Tensor]:
        """What each net sees of pictures (B, C, S, S): S, S / 2 and S / 4 pixels, and the core."""
        views = [pictures]
        for _ in self.config.widths[1:]:
            views.append(F.avg_pool2d(views[-1], 2))
        if self.core is not None:
            top, bottom, left, right = (round(f * pictures.shape[2]) for f in CORE)
            views.append(pictures[:, :, top:bottom, left:right])
        return views
