"""ID-GAN: identity-diversity inpainting (Ge et al., 2020), the nets I, D_g and D_l.

I fills; D_g judges the whole picture and D_l what lies in the hole. S is in `parsing`, R is dlib's
face net. `vidswap.training.inpainting.idgan` has the losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.identity.encoder import IdEmbedding
from vidswap.inpainting.inpainter import Inpainter, read_inpainter
from vidswap.models.checkpoint_file import CheckpointFile
from vidswap.models.registry import BuiltNet, register

SIZE = 128  # pixels, IV.A
LOCAL_SIZE = 48  # pixels, side of what D_l sees: IV.A's m
DILATIONS = (1, 2, 4, 8, 1, 1)  # of the coarsest convolutions, 16 pixels
SLOPE = 0.2


@dataclass(frozen=True)
class IdGanConfig:
    """Channels of I at 128, 64, 32 and 16 pixels."""

    widths: tuple[int, int, int, int] = (16, 32, 64, 128)


class InpaintingNet(Inpainter):
    """I of eq. 1: an encoder and decoder with dilated convolutions between them.

    It sees the picture, white in the hole as IV.A has it, and the mask.
    """

    name: ClassVar[str] = "idgan"

    def __init__(self, config: IdGanConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or IdGanConfig()
        full, half, quarter, eighth = config.widths
        self.stem = _conv(4, full, 5)
        self.down = nn.ModuleList(
            nn.Sequential(_conv(fine, coarse, 3, stride=2), _conv(coarse, coarse, 3))
            for fine, coarse in ((full, half), (half, quarter), (quarter, eighth))
        )
        self.middle = nn.ModuleList(_conv(eighth, eighth, 3, dilation=d) for d in DILATIONS)
        self.up = nn.ModuleList(
            _conv(coarse + fine, fine, 3) for coarse, fine in ((eighth, quarter), (quarter, half))
        )
        self.narrow = _conv(half, full, 1)
        self.last = nn.Sequential(_conv(full + 4, full, 3), nn.Conv2d(full, 3, 3, padding=1))
        self.apply(_keeping_variance)
        for name, weight in self.middle.named_parameters():
            if name.endswith("weight"):  # residual: their sum keeps it too
                weight.data.mul_(len(DILATIONS) ** -0.5)

    @property
    def size(self) -> int:
        """Side of its pictures in pixels."""
        return SIZE

    def fill(self, pictures: Tensor, masks: Tensor, identity: IdEmbedding | None) -> Tensor:
        """`Inpainter.fill`."""
        filled: Tensor = self(pictures, masks)
        return filled

    def forward(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """X of eq. 1a (B, 3, 128, 128), whole faces; masks (B, 1, 128, 128) are 1 in the holes."""
        holed = torch.where(masks > 0.5, torch.ones_like(pictures), pictures)
        given = torch.cat([holed, masks], dim=1)
        x = self.stem(given)
        levels = [x]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for layer in self.middle:
            x = x + layer(x)
        for up, skip in zip(self.up, reversed(levels[1:]), strict=True):
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0), skip], dim=1))
        x = F.interpolate(self.narrow(x), scale_factor=2.0) + levels[0]
        x = torch.cat([x, given], dim=1)
        # Bounded softly: a clamp would leave no gradient beyond the ends.
        filled: Tensor = torch.tanh(self.last(x))
        return filled


class Discriminators(nn.Module):
    """D_g and D_l: ten convolutions and a fully connected layer each, III.C."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.whole = _Discriminator(width, SIZE)
        self.local = _Discriminator(width, LOCAL_SIZE)

    def forward(self, faces: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B,) of D_g and D_l for faces (B, 3, 128, 128).

        `windows` (B, 2) are the top and left of what D_l sees of each, in pixels.
        """
        parts = [
            face[:, top : top + LOCAL_SIZE, left : left + LOCAL_SIZE]
            for face, (top, left) in zip(faces, windows.tolist(), strict=True)
        ]
        local = torch.stack(parts).contiguous(memory_format=torch.channels_last)
        return self.whole(faces), self.local(local)


class _Discriminator(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        given = 3
        for stage in range(5):
            channels = min(width * 2**stage, 8 * width)
            layers += [
                nn.Conv2d(given, channels, 4, 2, 1), nn.LeakyReLU(SLOPE, True),
                nn.Conv2d(channels, channels, 3, 1, 1), nn.LeakyReLU(SLOPE, True),
            ]  # fmt: skip
            given, size = channels, size // 2
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(given * size * size, 1)

    def forward(self, faces: Tensor) -> Tensor:
        logits: Tensor = self.score(self.layers(faces).flatten(1))
        return logits.flatten()


def _conv(given: int, wide: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(given, wide, kernel, stride, padding, dilation), nn.LeakyReLU(SLOPE, True)
    )


def _keeping_variance(module: nn.Module) -> None:
    """He et al.'s start: without normalisation the signal would fade layer by layer."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, SLOPE)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]


@register(InpaintingNet.name)
def build_inpainting_net(file: CheckpointFile) -> BuiltNet:
    """I from its checkpoint. Raises CheckpointError."""
    return BuiltNet(read_inpainter(file, InpaintingNet, IdGanConfig), file.count("images_trained"))
