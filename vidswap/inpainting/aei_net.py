"""AEI-Net, the generative module of SwapInpaint (Li et al., III.C; FaceShifter, Li et al., 2019).

A subnet A takes a face's attributes apart from whose face it is, at every size from 2 pixels up;
eight blocks of adaptive attentional denormalisation (AAD) put them together with an identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.identity.dlib_resnet import EMBEDDING_SIZE
from vidswap.models.instance_norm import InstanceNorm

SIZE = 128  # pixels; the paper's are 256
SLOPE = 0.1


@dataclass(frozen=True)
class AeiConfig:
    """Channels at 128, 64, 32, 16, 8, 4 and 2 pixels, of A and of the generator alike."""

    widths: tuple[int, int, int, int, int, int, int] = (16, 32, 48, 96, 128, 160, 160)


class AeiNet(nn.Module):
    """A and the AAD generator: content images and identity to swapped faces Y_sp."""

    def __init__(self, config: AeiConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AeiConfig()
        widths = config.widths
        self.attributes = AttributeEncoder(widths)
        self.begin = nn.Linear(EMBEDDING_SIZE, 4 * widths[-1])
        # Eight blocks, 2 to 128 pixels; FaceShifter's eighth is at 256, here it is at 128 again.
        levels = list(zip(widths[::-1], self.attributes.map_widths, strict=True))
        blocks = [AadBlock(widths[-1], *levels[0])]
        blocks += [AadBlock(coarse[0], *fine) for coarse, fine in pairwise(levels)]
        blocks.append(AadBlock(levels[-1][0], *levels[-1]))
        self.blocks = nn.ModuleList(blocks)
        self.to_rgb = nn.Conv2d(widths[0], 3, 3, padding=1)

    @property
    def size(self) -> int:
        """Side of its pictures in pixels."""
        return SIZE

    def forward(self, content: Tensor, embedding: Tensor) -> Tensor:
        """Y_sp (B, 3, 128, 128) in [-1, 1] of contents X^ and identities z_id (B, 128)."""
        return self.generate(self.attributes(content), embedding)

    def generate(self, attributes: list[Tensor], embedding: Tensor) -> Tensor:
        """Y_sp of attributes z_att, coarsest first, and identities."""
        # Unit vectors have components far below one.
        identity = 8.0 * F.normalize(embedding.float(), dim=1).to(attributes[0].dtype)
        x = self.begin(identity).reshape(len(identity), -1, 2, 2)
        maps = [*attributes, attributes[-1]]
        for index, (block, attribute) in enumerate(zip(self.blocks, maps, strict=True)):
            x = block(x, attribute, identity)
            if index < len(self.blocks) - 2:
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        faces: Tensor = torch.tanh(self.to_rgb(F.leaky_relu(x, SLOPE)))
        return faces


class AttributeEncoder(nn.Module):
    """A: a U-Net whose decoder's features at seven sizes are the attribute embedding z_att."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Down(fine, coarse) for fine, coarse in pairwise(widths))
        reverse = widths[::-1]
        ups, given = [], reverse[0]
        self.map_widths = [given]  # channels of each map, coarsest first
        for wide in reverse[1:]:
            ups.append(_Up(given, wide))
            given = 2 * wide
            self.map_widths.append(given)
        self.up = nn.ModuleList(ups)

    def forward(self, faces: Tensor) -> list[Tensor]:
        """z_att of faces (B, 3, 128, 128): maps of 2, 4, ... 128 pixels."""
        x = F.leaky_relu(self.stem(faces), SLOPE)
        skips = [x]
        for down in self.down:
            x = down(x)
            skips.append(x)
        maps = [skips.pop()]
        for up, skip in zip(self.up, reversed(skips), strict=True):
            maps.append(torch.cat([up(maps[-1]), skip], dim=1))
        return maps


class AadLayer(nn.Module):
    """FaceShifter's eq. 5 to 8: features normalised, then a mixture, by a mask, of two scalings.

    One by the attribute map, at every place, and one by the identity, everywhere alike.
    """

    def __init__(self, wide: int, map_wide: int) -> None:
        super().__init__()
        self.norm = InstanceNorm(wide)
        self.by_attribute = nn.Conv2d(map_wide, 2 * wide, 1)
        self.by_identity = nn.Linear(EMBEDDING_SIZE, 2 * wide)
        self.mask = nn.Conv2d(wide, 1, 1)

    def forward(self, x: Tensor, attribute: Tensor, identity: Tensor) -> Tensor:
        normal = self.norm(x)
        gain, shift = self.by_attribute(attribute).chunk(2, dim=1)
        of_attributes = (1.0 + gain) * normal + shift
        gain, shift = self.by_identity(identity)[:, :, None, None].chunk(2, dim=1)
        of_identity = (1.0 + gain) * normal + shift
        mask = torch.sigmoid(self.mask(normal))
        mixed: Tensor = (1.0 - mask) * of_attributes + mask * of_identity
        return mixed


class AadBlock(nn.Module):
    """AAD ResBlk: two AAD layers, each with activation and convolution, and one past them."""

    def __init__(self, given: int, wide: int, map_wide: int) -> None:
        super().__init__()
        self.first, self.second = AadLayer(given, map_wide), AadLayer(wide, map_wide)
        self.conv_first = nn.Conv2d(given, wide, 3, padding=1, bias=False)
        self.conv_second = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.past: AadLayer | None = None
        if given != wide:
            self.past = AadLayer(given, map_wide)
            self.conv_past = nn.Conv2d(given, wide, 3, padding=1, bias=False)

    def forward(self, x: Tensor, attribute: Tensor, identity: Tensor) -> Tensor:
        y = self.conv_first(F.leaky_relu(self.first(x, attribute, identity), SLOPE))
        y = self.conv_second(F.leaky_relu(self.second(y, attribute, identity), SLOPE))
        if self.past is not None:
            x = self.conv_past(F.leaky_relu(self.past(x, attribute, identity), SLOPE))
        out: Tensor = x + y
        return out


class _Down(nn.Sequential):
    def __init__(self, given: int, wide: int) -> None:
        super().__init__(
            nn.Conv2d(given, wide, 4, 2, 1, bias=False), InstanceNorm(wide, True, SLOPE)
        )

    def forward(self, x: Tensor) -> Tensor:
        # One or four pixels have no deviation to speak of.
        y = self[0](x)
        out: Tensor = self[1](y) if y.shape[-1] > 2 else F.leaky_relu(y, SLOPE)
        return out


class _Up(nn.Sequential):
    def __init__(self, given: int, wide: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(given, wide, 4, 2, 1, bias=False), InstanceNorm(wide, True, SLOPE)
        )
