"""The deep generative model of "Deep generative inpainting": DCGAN, 64 pixels from 100 numbers.

Nets after Radford et al., "Unsupervised representation learning with deep convolutional generative
adversarial networks", 2016: strided and transposed convolutions, batch normalisation, ReLU in the
generator and leaky ReLU in the discriminator.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import Tensor, nn

SIZE = 64  # pixels, side of what is generated
N_LATENT = 100  # numbers, length of z
SLOPE = 0.2


@dataclass(frozen=True)
class DcganConfig:
    """Channels at the finest of the hidden sizes, 32 pixels; twice as many at each coarser one."""

    generator_width: int = 64
    discriminator_width: int = 64


class DcganGenerator(nn.Module):
    """G: z (B, 100) to faces (B, 3, 64, 64) in [-1, 1]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [8 * width, 4 * width, 2 * width, width]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(N_LATENT, widths[0], 4, 1, 0, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(True),
        ]
        for coarse, fine in itertools.pairwise(widths):
            layers += [
                nn.ConvTranspose2d(coarse, fine, 4, 2, 1, bias=False),
                nn.BatchNorm2d(fine),
                nn.ReLU(True),
            ]
        layers += [nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(_from_normal)

    def forward(self, z: Tensor) -> Tensor:
        faces: Tensor = self.layers(z[:, :, None, None])
        return faces


class DcganDiscriminator(nn.Module):
    """D: faces (B, 3, 64, 64) to logits (B,), positive for a photograph."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(SLOPE, True)]
        for fine, coarse in itertools.pairwise(widths):
            layers += [
                nn.Conv2d(fine, coarse, 4, 2, 1, bias=False),
                nn.BatchNorm2d(coarse),
                nn.LeakyReLU(SLOPE, True),
            ]
        layers.append(nn.Conv2d(widths[-1], 1, 4, 1, 0))
        self.layers = nn.Sequential(*layers)
        self.apply(_from_normal)

    def forward(self, faces: Tensor) -> Tensor:
        logits: Tensor = self.layers(faces)
        return logits.flatten()


def _from_normal(module: nn.Module) -> None:
    """DCGAN's start: every weight from a normal distribution of deviation 0.02."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
