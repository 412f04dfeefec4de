"""C, the content inference net of SwapInpaint (Li et al., III.B and III.D.1).

A variational autoencoder of one path after PICNet (Zheng et al., 2019): what a face may show in its
hole, whoever it is. Residual blocks, instance normalisation in the decoder alone, and a picture at
each of the last four sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.models.instance_norm import InstanceNorm

SIZES = (64, 128)  # pixels; the paper's are 256
LEVELS = 4  # n of eq. 11
SLOPE = 0.2


@dataclass(frozen=True)
class ContentConfig:
    """Channels at a half, a quarter, an eighth and a sixteenth of `size`, and of the latent maps.

    At the full size there are only pictures: four neighbours are one place of half of it. Weights
    of one size fit the other.
    """

    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    latent: int = 16
    size: int = 128

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f"size is none of {', '.join(map(str, SIZES))}")


def paper_config() -> ContentConfig:
    """PICNet's widths, as far as they fit these sizes."""
    return ContentConfig((64, 128, 256, 256), 128)


class Inference(NamedTuple):
    """What C makes of incomplete faces.

    pictures: x^1 to x^4 (B, 3, s, s) in [-1, 1], s from an eighth of the size to the whole. mean,
    log_variance: (B, latent, s, s) at a sixteenth of it, of P(z | incomplete face).
    """

    pictures: list[Tensor]
    mean: Tensor
    log_variance: Tensor


class ContentNet(nn.Module):
    """C: incomplete faces and masks to whole ones."""

    def __init__(self, config: ContentConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ContentConfig()
        widths = config.widths
        deepest = widths[-1]
        # Irregular holes: the mask comes along as a channel, and what is under it counts as grey.
        self.stem = nn.Conv2d(4 * 4, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_ResBlock(a, b) for a, b in pairwise(widths))
        self.infer = _ResBlock(deepest, deepest)
        self.distribution = nn.Conv2d(deepest, 2 * config.latent, 3, padding=1)
        self.enter = _ResBlock(deepest + config.latent, deepest, normalised=True)
        self.up = nn.ModuleList()
        self.to_rgb = nn.ModuleList()
        self.narrow = nn.ModuleList()
        self.from_rgb = nn.ModuleList()
        finer = [*widths[-3::-1], widths[0]]  # of the size after each
        for coarse, fine, next_wide in zip(widths[:0:-1], widths[-2::-1], finer, strict=True):
            # Narrowed before it is enlarged, and added to what the encoder had: a third of the
            # work that joining them would be.
            self.narrow.append(nn.Conv2d(coarse, fine, 1))
            self.up.append(_ResBlock(fine, fine, normalised=True))
            self.to_rgb.append(nn.Conv2d(fine, 3, 3, padding=1))
            self.from_rgb.append(nn.Conv2d(3, next_wide, 1))
        self.enter_finest = nn.Conv2d(4 * 4, widths[0], 3, padding=1)
        self.to_finest = nn.Conv2d(widths[0], 4 * 3, 3, padding=1)
        self.attention = _Attention(widths[-2])

    @property
    def size(self) -> int:
        """Side S of its pictures in pixels."""
        return self.config.size

    def forward(self, faces: Tensor, masks: Tensor, sampled: bool = False) -> Inference:
        """Infer faces (B, 3, S, S) in [-1, 1] where masks (B, 1, S, S) are 1.

        z is the distribution's mean, or with `sampled` is drawn from it.
        """
        given = F.pixel_unshuffle(torch.cat([faces * (1.0 - masks), masks], dim=1), 2)
        x = self.stem(given)
        skips = [x]
        for block in self.down:
            x = block(F.avg_pool2d(x, 2))
            skips.append(x)
        mean, log_variance = self.distribution(_act(self.infer(x))).chunk(2, dim=1)
        log_variance = log_variance.float().clamp(-8.0, 8.0)
        z = mean
        if sampled:
            z = mean + (0.5 * log_variance).exp().to(mean.dtype) * torch.randn_like(mean)
        x = self.enter(torch.cat([x, z], dim=1))
        pictures: list[Tensor] = []
        blocks = zip(self.narrow, self.up, self.to_rgb, reversed(skips[:-1]), strict=True)
        for index, (narrow, up, to_rgb, skip) in enumerate(blocks):
            x = F.interpolate(narrow(x), scale_factor=2.0) + skip
            if index > 0:
                x = x + F.interpolate(self.from_rgb[index - 1](pictures[-1]), scale_factor=2.0)
            x = up(x)
            if index == 0:
                x = self.attention(x, skip, F.interpolate(masks, x.shape[2:], mode="area"))
            pictures.append(torch.tanh(to_rgb(_act(x))))
        x = x + self.from_rgb[-1](pictures[-1]) + self.enter_finest(given)
        pictures.append(torch.tanh(F.pixel_shuffle(self.to_finest(_act(x)), 2)))
        return Inference(pictures, mean.float(), log_variance)

    def content(self, faces: Tensor, masks: Tensor) -> Tensor:
        """X^ (B, 3, s, s) of faces of any side: themselves, and under masks what C infers."""
        side, size = faces.shape[-1], self.size
        if side == size:
            inferred: Tensor = self(faces, masks).pictures[-1]
        else:
            # A smaller pixel is known as far as those it covers are; of the others nothing shows.
            share = F.interpolate(1.0 - masks, (size, size), mode="area")
            small = F.interpolate(faces * (1.0 - masks), (size, size), mode="area")
            missing = (share < 0.5).to(faces.dtype)
            inferred = self(small / share.clamp(min=1e-3), missing).pictures[-1].float()
            inferred = F.interpolate(inferred, (side, side), mode="bicubic", align_corners=False)
            inferred = inferred.clamp(-1.0, 1.0)
        whole: Tensor = torch.where(masks > 0.5, inferred.to(faces.dtype), faces)
        return whole


class _ResBlock(nn.Module):
    """Two 3x3 convolutions, each after its activation, and a 1x1 convolution past them."""

    def __init__(self, given: int, wide: int, normalised: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(given, wide, 3, padding=1)
        self.second = nn.Conv2d(wide, wide, 3, padding=1)
        self.past = nn.Conv2d(given, wide, 1) if given != wide else nn.Identity()
        # Normalises, scales, and activates.
        self.before: nn.Module = (
            InstanceNorm(given, affine=True, slope=SLOPE) if normalised else nn.LeakyReLU(SLOPE)
        )
        self.between: nn.Module = (
            InstanceNorm(wide, affine=True, slope=SLOPE) if normalised else nn.LeakyReLU(SLOPE)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.between(self.first(self.before(x))))
        past: Tensor = self.past(x)
        return past + y


class _Attention(nn.Module):
    """PICNet's short and long term attention: every place looks at the whole face.

    At the decoder's own features, and at the encoder's where the face is known.
    """

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(wide, max(8, wide // 4), 1)
        self.short = nn.Parameter(torch.zeros(1))
        self.long = nn.Parameter(torch.zeros(1))

    def forward(self, decoded: Tensor, encoded: Tensor, missing: Tensor) -> Tensor:
        """Features (B, C, h, w) of decoder and encoder; `missing` (B, 1, h, w) in [0, 1]."""
        query = self.query(decoded).flatten(2)
        weights = torch.softmax((query.transpose(1, 2) @ query).float(), dim=2).to(decoded.dtype)
        own = decoded.flatten(2) @ weights.transpose(1, 2)
        seen = (encoded * (1.0 - missing).to(encoded.dtype)).flatten(2) @ weights.transpose(1, 2)
        own, seen = own.reshape_as(decoded), seen.reshape_as(encoded)
        hole = missing.to(decoded.dtype)
        return decoded + self.short * own + self.long * hole * seen


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)
