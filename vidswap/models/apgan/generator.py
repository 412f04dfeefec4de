"""AP-GAN's generator: a U-Net with ID blocks and PE blocks (AP-GAN, III.A, Fig. 2 and 3).

The net is built around its 128-pixel core. The 256-pixel level reads and writes picture residuals
around that core, so weights trained at 128 pixels carry over unchanged (progressive size).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.identity.dlib_resnet import EMBEDDING_SIZE, POOLED_SIZE, STAGE_CHANNELS
from vidswap.identity.encoder import IdEmbedding
from vidswap.models.apgan.gate import Composition, Gate, upsample, upsample_smooth
from vidswap.models.face_net import FaceBatch, FaceNet, NetInputs
from vidswap.models.instance_norm import InstanceNorm
from vidswap.models.normalisation import (
    NORM_EPSILON,
    channel_statistics,
    modulate,
    scale_shift,
)
from vidswap.models.spectral import add_spectral_norm

# The stage of the identity encoder whose resolution is nearest to that of a generator stage.
STAGE_OF_RESOLUTION = {4: 3, 8: 2, 16: 1, 32: 0, 64: 0, 128: 0}

SLOPE = 0.2  # of every leaky ReLU
# What sees the covered starts from zero; with the rate of the other weights it would take thousands
# of steps.
COVERED_RATE = 8.0


@dataclass(frozen=True)
class GeneratorConfig:
    """Architecture of the generator.

    `size` is the side of its pictures, 128 or 256; `channels` the width at each resolution;
    `refined` the resolutions that get a second, residual ID block. Without `pe_blocks` the last two
    stages normalise without the boundary map, and without `layer_norm` AdaLIN is AdaIN: the rows of
    Table IV. `spectral_norm` (IV.A) matters in training alone. With `reference` the net may be
    shown the source's face warped onto the target's, and beside it what that covers; the paper's
    generator sees the target alone. With `gate`, which needs `reference`, the net composes: it
    says for each pixel how far its own picture stands, and how far the one that it was given.
    """

    size: int = 256
    channels: tuple[tuple[int, int], ...] = (
        (256, 16), (128, 16), (64, 48), (32, 96), (16, 192), (8, 320), (4, 320),
    )  # fmt: skip
    refined: tuple[int, ...] = (8, 16)
    id_width: int = 256
    pe_width: int = 8
    pe_blocks: bool = True
    layer_norm: bool = True
    spectral_norm: bool = False
    reference: bool = False
    gate: bool = False

    def width(self, resolution: int) -> int:
        return dict(self.channels)[resolution]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


class AdaLIN(nn.Module):
    """Instance and layer normalisation mixed by a learned rho (eq. 1-3), before gamma and beta.

    Without `layer_norm` rho stays one: AdaIN.
    """

    def __init__(self, channels: int, layer_norm: bool = True) -> None:
        super().__init__()
        rho = torch.full((channels,), 0.9 if layer_norm else 1.0)
        self.rho = nn.Parameter(rho, requires_grad=layer_norm)

    def scale_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The gain and bias (B, C, 1, 1) with which the normalised map is `x * gain + bias`.

        Both normalisations are affine in x, so their mixture is applied in one pass.
        """
        variance, mean = channel_statistics(x)
        layer_mean = mean.mean(dim=1, keepdim=True)
        layer_variance = (variance + mean**2).mean(dim=1, keepdim=True) - layer_mean**2
        rho = self.rho.float().clamp(0.0, 1.0)[:, None, None]
        instance_gain = rho * torch.rsqrt(variance + NORM_EPSILON)
        layer_gain = (1.0 - rho) * torch.rsqrt(layer_variance + NORM_EPSILON)
        return instance_gain + layer_gain, -(instance_gain * mean + layer_gain * layer_mean)


class IdBlock(nn.Module):
    """3x3 convolution, AdaLIN with gamma and beta from the id embedding, leaky ReLU."""

    def __init__(
        self, in_channels: int, channels: int, id_width: int, layer_norm: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.norm = AdaLIN(channels, layer_norm)
        self.affine = nn.Linear(id_width, 2 * channels)
        if not self.affine.weight.is_meta:  # whose initialisation would import torch._dynamo
            nn.init.normal_(self.affine.weight, std=0.5 / id_width**0.5)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, identity: Tensor) -> Tensor:
        x = self.conv(x)
        gain, bias = self.norm.scale_shift(x)
        gamma, beta = self.affine(identity).float()[:, :, None, None].chunk(2, dim=1)
        return scale_shift(x, gain * (1.0 + gamma), bias * (1.0 + gamma) + beta, SLOPE)


class PeBlock(nn.Module):
    """3x3 convolution, AdaLIN with gamma and beta maps from the boundary map, leaky ReLU."""

    def __init__(self, in_channels: int, channels: int, pe_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.norm = AdaLIN(channels)
        self.embed = nn.Conv2d(3, pe_width, 3, padding=1)
        self.affine = nn.Conv2d(pe_width, 2 * channels, 3, padding=1)

    def forward(self, x: Tensor, boundary_map: Tensor) -> Tensor:
        x = self.conv(x)
        gain, bias = self.norm.scale_shift(x)
        maps = self.affine(F.leaky_relu(self.embed(boundary_map), SLOPE))
        return modulate(x, gain, bias, maps, SLOPE)


class PlainBlock(nn.Module):
    """What stands for a PE block in Table IV's first row: it does not look at the boundary map."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.norm = InstanceNorm(channels, affine=True, slope=SLOPE)

    def forward(self, x: Tensor, _boundary_map: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


class IdMapping(nn.Module):
    """The id code of one resolution: the id vector joined with that stage's id feature (III.A)."""

    def __init__(self, feature_channels: int, width: int) -> None:
        super().__init__()
        self.feature = nn.Linear(feature_channels, width // 2)
        self.join = nn.Linear(POOLED_SIZE + EMBEDDING_SIZE + width // 2, width)

    def forward(self, vector: Tensor, feature: Tensor) -> Tensor:
        return F.leaky_relu(self.join(torch.cat([vector, self.feature(feature)], dim=1)), SLOPE)


class Down(nn.Module):
    """4x4 stride-2 convolution, instance normalisation, leaky ReLU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 4, stride=2, padding=1, bias=False)
        self.norm = InstanceNorm(channels, affine=True, slope=SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


class Generator(FaceNet):
    """U-Net G: target face, boundary map and id embedding to the swapped face."""

    name = "apgan"

    id_mean: Tensor
    id_std: Tensor

    def __init__(self, config: GeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GeneratorConfig()
        if config.size not in (128, 256):
            raise ValueError(f"generator size {config.size}; allowed: 128, 256")
        if config.gate and not config.reference:
            raise ValueError("a generator with gate needs reference")
        self.core_resolutions = (128, 64, 32, 16, 8, 4)
        width = config.width
        self.stem = nn.Conv2d(3, width(128), 3, padding=1)
        self.down = nn.ModuleDict()
        self.id_mapping = nn.ModuleDict()
        self.up = nn.ModuleDict()
        self.refine = nn.ModuleDict()
        for finer, coarser in zip(self.core_resolutions, self.core_resolutions[1:], strict=False):
            self.down[str(coarser)] = Down(width(finer), width(coarser))
        for resolution in reversed(self.core_resolutions):
            stage = STAGE_OF_RESOLUTION[resolution]
            self.id_mapping[str(resolution)] = IdMapping(STAGE_CHANNELS[stage], config.id_width)
            in_channels = (
                width(4) if resolution == 4 else width(resolution // 2) + width(resolution)
            )
            self.up[str(resolution)] = self._id_block(in_channels, resolution)
            if resolution in config.refined:
                self.refine[str(resolution)] = self._id_block(width(resolution), resolution)
        self.pe_128 = self._pe_block(width(128), width(128))
        self.to_rgb = nn.Conv2d(width(128), 3, 3, padding=1)
        if config.size == 256:
            self.stem_256 = nn.Conv2d(3, width(256), 3, padding=1)
            self.down_128 = nn.Conv2d(width(256), width(128), 4, stride=2, padding=1)
            self.pe_256 = self._pe_block(width(128) + width(256), width(256))
            self.to_rgb_256 = nn.Conv2d(width(256), 3, 3, padding=1)
            # The 256-pixel level starts as no change to what the 128-pixel core does.
            for conv in (self.down_128, self.to_rgb_256):
                nn.init.zeros_(conv.weight)
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)
        if config.reference:
            # Weights trained without a reference carry over: at first it changes nothing.
            sizes = (128, 256) if config.size == 256 else (128,)
            convs = {str(s): nn.Conv2d(4, width(s), 3, padding=1, bias=False) for s in sizes}
            for new in convs.values():
                nn.init.zeros_(new.weight)
            self.covered = nn.ModuleDict(convs)
        if config.gate:
            self.gate = Gate({s: width(s) for s in ((128, 256) if config.size == 256 else (128,))})
        # Mean and deviation of the id vector and the id features over many people: the encoder's
        # own units are far from unit variance.
        n_id = POOLED_SIZE + sum(STAGE_CHANNELS)
        self.register_buffer("id_mean", torch.zeros(n_id))
        self.register_buffer("id_std", torch.ones(n_id))
        if config.spectral_norm:
            add_spectral_norm(self)

    @property
    def size(self) -> int:
        """Side of its pictures, 128 or 256."""
        return self.config.size

    @property
    def takes(self) -> NetInputs:
        """Boundary map and id embedding; a reference where it was made for one."""
        return NetInputs(boundary_map=True, id_embedding=True, reference=self.config.reference)

    @property
    def composes(self) -> bool:
        """True with a gate."""
        return self.config.gate

    def swap(self, batch: FaceBatch) -> Tensor:
        """Y of a batch, which must have boundary maps and an identity."""
        assert batch.boundary_maps is not None and batch.identity is not None
        y: Tensor = self(batch.targets, batch.boundary_maps, batch.identity, batch.references)
        return y

    def for_inference(self) -> FaceNet:
        """`InferenceGenerator` where there is one: on a CPU, for the usual configuration."""
        from vidswap.models.apgan.inference import InferenceGenerator, has_inference_form

        return InferenceGenerator(self) if has_inference_form(self) else self

    def _id_block(self, in_channels: int, resolution: int) -> IdBlock:
        config = self.config
        return IdBlock(in_channels, config.width(resolution), config.id_width, config.layer_norm)

    def _pe_block(self, in_channels: int, channels: int) -> nn.Module:
        if not self.config.pe_blocks:
            return PlainBlock(in_channels, channels)
        return PeBlock(in_channels, channels, self.config.pe_width)

    def forward(
        self,
        target: Tensor,
        boundary_map: Tensor,
        identity: IdEmbedding,
        reference: Tensor | None = None,
    ) -> Tensor:
        """Swap a batch.

        `target` F_t (B, 3, S, S) RGB in [-1, 1]; `boundary_map` B_t (B, 3, S, S) in [0, 1];
        `identity` of the sources, batch B; `reference` (B, 4, S, S) of `reference_tensor`, for a
        net that was made for one. Returns Y (B, 3, S, S) in [-1, 1].
        """
        return self.compose(target, boundary_map, identity, reference).picture

    def compose(
        self,
        target: Tensor,
        boundary_map: Tensor,
        identity: IdEmbedding,
        reference: Tensor | None = None,
    ) -> Composition:
        """As `forward`, with what its answer is made of."""
        covered = mask = None
        if reference is not None and self.config.reference:
            view, mask = reference[:, :3], reference[:, 3:]
            covered = torch.cat([target * mask, mask], dim=1)
            target = target * (1.0 - mask) + view
        logits, stages = self._paint(target, covered, boundary_map, self.id_codes(identity))
        painted = torch.tanh(logits)
        if mask is None or not self.config.gate:
            return Composition(logits, painted, None)
        gate = torch.sigmoid(self.gate(stages, mask))
        # Where nothing is shown there is nothing to choose: the picture is the net's own.
        shown = mask.amax(dim=(1, 2, 3), keepdim=True) > 0
        gate = torch.where(shown, gate, torch.ones_like(gate))
        return Composition(logits, torch.lerp(target.float(), painted, gate), gate)

    def _paint(
        self,
        target: Tensor,
        covered: Tensor | None,
        boundary_map: Tensor,
        codes: dict[int, Tensor],
    ) -> tuple[Tensor, list[Tensor]]:
        """The logits (B, 3, S, S) float32 of G, and the features of the last stages, 128 first.

        `target` (B, 3, S, S) has the reference laid in already; `covered` (B, 4, S, S) is what that
        covers, and its mask.
        """
        large = self.config.size == 256
        target_128 = F.avg_pool2d(target, 2) if large else target
        map_128 = F.avg_pool2d(boundary_map, 2) if large else boundary_map
        x = self.stem(target_128)
        if covered is not None:
            x = x + self._of_covered(F.avg_pool2d(covered, 2) if large else covered)
        if large:
            skip_256 = self.stem_256(target)
            if covered is not None:
                skip_256 = skip_256 + self._of_covered(covered)
            skip_256 = F.leaky_relu(skip_256, SLOPE)
            x = x + self.down_128(skip_256)
        x = F.leaky_relu(x, SLOPE)
        skips = {128: x}
        for resolution in self.core_resolutions[1:]:
            x = self.down[str(resolution)](x)
            skips[resolution] = x
        for resolution in reversed(self.core_resolutions):
            name = str(resolution)
            if resolution > 4:
                x = torch.cat([upsample(x), skips[resolution]], dim=1)
            x = self.up[name](x, codes[resolution])
            if resolution in self.config.refined:
                x = x + self.refine[name](x, codes[resolution])
        x = self.pe_128(x, map_128)
        rgb, stages = self.to_rgb(x), [x]
        if large:
            x = self.pe_256(torch.cat([upsample(x), skip_256], dim=1), boundary_map)
            rgb = upsample_smooth(rgb) + self.to_rgb_256(x)
            stages.append(x)
        return rgb.float(), stages

    def _of_covered(self, covered: Tensor) -> Tensor:
        maps: Tensor = self.covered[str(int(covered.shape[-1]))](COVERED_RATE * covered)
        return maps

    def id_codes(self, identity: IdEmbedding) -> dict[int, Tensor]:
        """The id code (B, id_width) of every resolution that has ID blocks."""
        dtype = self.stem.weight.dtype
        raw = torch.cat([identity.vector, *identity.features], dim=1).float()
        standard = ((raw - self.id_mean.float()) / self.id_std.float()).to(dtype)
        vector, *features = standard.split([POOLED_SIZE, *STAGE_CHANNELS], dim=1)
        embedding = 8.0 * F.normalize(identity.embedding.float(), dim=1).to(dtype)
        vector = torch.cat([vector, embedding], dim=1)
        return {
            r: self.id_mapping[str(r)](vector, features[STAGE_OF_RESOLUTION[r]])
            for r in self.core_resolutions
        }
