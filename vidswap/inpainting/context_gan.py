"""The multi-scale context GAN (Banerjee et al., 2020): what is around a face, from the face alone.

Five blocks, of 8 to 128 pixels, layers as Tables 3 to 7. In the cascaded variant each block gets
what the one before made, enlarged by pixel shuffling, with the face itself laid in; in the
progressively grown one block_128 works alone, its inner layers learnt by the smaller blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vidswap.identity.encoder import IdEmbedding
from vidswap.inpainting.inpainter import Inpainter, read_inpainter
from vidswap.models.checkpoint_file import CheckpointFile
from vidswap.models.registry import BuiltNet, register

SIZES = (8, 16, 32, 64, 128)  # pixels, side of each block's pictures
SIZE = SIZES[-1]
LEAST = 4  # pixels, where the encoder ends
SLOPE = 0.1  # of the generators' leaky ReLU; the discriminators have 0.2
GAIN = 1.2  # of enlarged pictures at the start: tanh comes after
VARIANTS = ("cascaded", "progan")
NORMALISED = ("batch", "spectral")
# CASIA-Net's channels (Yi et al., 2014), and after which layers it halves the picture.
CASIA_WIDTHS = (32, 64, 64, 128, 96, 192, 128, 256, 160, 320)


@dataclass(frozen=True)
class ContextConfig:
    """Channels at 64 pixels, twice as many at each coarser size; and of the code, fc1.

    refines: blocks of the cascade add to the picture that they are given, where the paper's make
    all of it anew. smooth: maps are filtered after each pixel shuffling, which leaves a grid
    otherwise, and go on beyond the picture's edges, where zeros leave a frame. `paper_config` has
    the paper's.
    """

    width: int = 8
    code: int = 128
    variant: str = "cascaded"
    refines: bool = True
    smooth: bool = True

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(f"variant is none of {', '.join(VARIANTS)}")

    @property
    def edges(self) -> Literal["replicate", "zeros"]:
        """How convolutions of maps that are not halved go on beyond a picture's edges."""
        return "replicate" if self.smooth else "zeros"


def paper_config(variant: str = "cascaded") -> ContextConfig:
    """Tables 3 to 7: 64 channels at 64 pixels, 1024 at 4, and a code of 512."""
    return ContextConfig(64, 512, variant, refines=False, smooth=False)


class ContextNet(Inpainter):
    """All blocks and the upscalers between them; an `Inpainter` of everything but the face."""

    name: ClassVar[str] = "context"

    def __init__(self, config: ContextConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ContextConfig()
        self.blocks = nn.ModuleList(ContextBlock(size, config) for size in SIZES)
        edges = config.edges
        self.upscale = nn.ModuleList(
            nn.Conv2d(3, 4 * 3, 3, padding=1, padding_mode=edges) for _ in SIZES[1:]
        )
        if config.refines:
            self.upscale.apply(_begin_bilinear)

    @property
    def size(self) -> int:
        """Side of its pictures in pixels."""
        return SIZE

    def fill(self, pictures: Tensor, masks: Tensor, identity: IdEmbedding | None) -> Tensor:
        """`Inpainter.fill`: masks are 1 everywhere but on the face."""
        faces = 1.0 - masks
        if self.config.variant == "progan":
            return self.alone(pictures, faces, SIZE)
        return self.cascade(pictures, faces)[-1]

    def cascade(self, pictures: Tensor, faces: Tensor) -> list[Tensor]:
        """G(I^M) of every block, smallest first, (B, 3, N, N) in [-1, 1], the face laid in.

        `pictures` (B, 3, 128, 128) of which `faces` (B, 1, 128, 128), 1 on the face, is known.
        """
        answers: list[Tensor] = []
        given: Tensor | None = None
        for index, (size, block) in enumerate(zip(SIZES, self.blocks, strict=True)):
            masked, face = masked_at(pictures, faces, size)
            if given is None:
                answer = block(masked)
            else:
                rough = with_face(torch.tanh(given), masked, face)
                answer = block(rough, given if self.config.refines else None)
            answer = with_face(answer, masked, face)
            answers.append(answer)
            if size != SIZE:
                given = F.pixel_shuffle(self.upscale[index](answer), 2)
                given = _smoothed(given) if self.config.smooth else given
        return answers

    def alone(self, pictures: Tensor, faces: Tensor, size: int) -> Tensor:
        """G(I^M) of one block by itself, as the progressively grown variant has it."""
        masked, face = masked_at(pictures, faces, size)
        return with_face(self.blocks[SIZES.index(size)](masked), masked, face)

    def grow(self, size: int) -> None:
        """Start a block from the layers that it shares with the next smaller one."""
        index = SIZES.index(size)
        small, large = self.blocks[index - 1].state_dict(), self.blocks[index].state_dict()
        for name, tensor in small.items():
            if name in large and large[name].shape == tensor.shape:
                large[name].copy_(tensor)


class ContextBlock(nn.Module):
    """block_N: encoder with residual blocks, a code, and a decoder of pixel shuffles.

    Layers are named by their side in pixels, so that blocks share names where they share layers.
    Where encoder and decoder have maps of one shape the decoder adds the encoder's.
    """

    def __init__(self, size: int, config: ContextConfig) -> None:
        super().__init__()
        width, self.smooth = config.width, config.smooth
        sides = [size >> i for i in range(1, int(math.log2(size // LEAST)) + 1)]
        self.sides = sides  # of the strided convolutions, finest first
        wide = {side: _channels(side, width) for side in (*sides, LEAST)}
        first = 2 * width
        edges = config.edges
        self.conv0 = nn.Conv2d(3, first, 3, padding=2, dilation=2, padding_mode=edges)
        self.down, self.residual, self.up = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        given = first
        for side in sides:
            self.down[str(side)] = nn.Conv2d(given, wide[side], 3, 2, 1)
            self.residual[str(side)] = _Residual(wide[side])
            given = wide[side]
        self.fc1 = nn.Linear(given * LEAST**2, config.code)
        self.fc2 = nn.Linear(config.code, given * LEAST**2)
        for side in [*reversed(sides[:-1]), size]:
            finer = _channels(side, width)
            self.up[str(side)] = nn.Conv2d(given, 4 * finer, 3, padding=1, padding_mode=edges)
            given = finer
        self.to_rgb = nn.Conv2d(given, 3, 5, padding=2, padding_mode=edges)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, SLOPE)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        if config.smooth:
            self.up.apply(_begin_alike)
        # From noise around grey, not from black and white.
        if not self.to_rgb.weight.is_meta:
            nn.init.normal_(self.to_rgb.weight, std=0.02)

    def forward(self, masked: Tensor, refined: Tensor | None = None) -> Tensor:
        """G (B, 3, N, N) in [-1, 1], of a picture that is masked or filled roughly already.

        What is `refined`, before its tanh, is added to.
        """
        x = _act(self.conv0(masked))
        seen: dict[int, Tensor] = {}
        for side in self.sides:
            x = self.residual[str(side)](_act(self.down[str(side)](x)))
            seen[side] = x
        code = _act(self.fc1(x.flatten(1)))
        x = x + _act(self.fc2(code)).reshape(x.shape)
        for name, up in self.up.items():
            x = F.pixel_shuffle(up(x), 2)
            x = _act(_smoothed(x) if self.smooth else x)
            skip = seen.get(int(name))
            if skip is not None and skip.shape == x.shape:
                x = x + skip
        answer = self.to_rgb(x)
        made: Tensor = torch.tanh(answer if refined is None else answer + refined)
        return made


class ContextDiscriminator(nn.Module):
    """D of one block: CASIA-Net without pooling and fully connected layers (3.1).

    Strided convolutions stand where pooling was, for as long as pictures are larger than 4 pixels.
    "batch" normalisation of all layers but the first and a sigmoid at the end are the paper's: D
    then tells photographs from pictures by the batch they are in, and is soon so sure that the
    sigmoid passes no gradient. "spectral" normalisation has neither, and answers of any size.
    """

    def __init__(self, size: int, width: int, normalised: str = "spectral") -> None:
        """`width` of 32 has CASIA-Net's own channels; `normalised` is one of `NORMALISED`."""
        super().__init__()
        self.batch = normalised == "batch"
        widths = [max(4, round(c * width / 32)) for c in CASIA_WIDTHS]
        layers: list[nn.Module] = []
        given, side = 3, size
        for index, wide in enumerate(widths):
            stride = 2 if index % 2 and side > LEAST else 1
            side //= stride
            if self.batch:
                layers.append(nn.Conv2d(given, wide, 3, stride, 1, bias=index == 0))
                if index:
                    layers.append(nn.BatchNorm2d(wide))
            else:
                layers.append(spectral_norm(nn.Conv2d(given, wide, 3, stride, 1)))
            layers.append(nn.LeakyReLU(0.2, True))
            given = wide
        layers.append(nn.Conv2d(given, 1, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        """How real pictures (B, 3, N, N) are, (B, 1, h, w), about 0 to 1."""
        real: Tensor = self.layers(pictures).float()
        return torch.sigmoid(real) if self.batch else real


class _Residual(nn.Module):
    def __init__(self, wide: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(wide, wide, 3, padding=1)
        self.second = nn.Conv2d(wide, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return _act(x + self.second(_act(self.first(x))))


def masked_at(pictures: Tensor, faces: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """I^M at a size, black but for the face, and the face's part of it (B, 1, N, N), 0 or 1."""
    masked = faces * pictures - (1.0 - faces)
    if size == pictures.shape[-1]:
        return masked, faces
    share = F.interpolate(faces, (size, size), mode="area")
    return F.interpolate(masked, (size, size), mode="area"), (share > 0.999).to(faces.dtype)


def with_face(context: Tensor, masked: Tensor, face: Tensor) -> Tensor:
    """A picture with the pixels of the face in their place (3.1)."""
    return torch.where(face > 0.5, masked.to(context.dtype), context)


def _channels(side: int, width: int) -> int:
    """Of the layers at a side: twice as many at half the side; at 128 pixels as at 64."""
    return width * 64 // min(side, 64)


def _begin_alike(module: nn.Module) -> None:
    """Start a convolution before pixel shuffling with four times the same, so without a grid."""
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
        one = module.weight.detach()[::4].clone()
        with torch.no_grad():
            module.weight.copy_(one.repeat_interleave(4, dim=0))


def _begin_bilinear(module: nn.Module) -> None:
    """Start one that enlarges pictures as bilinear interpolation, a little stretched for tanh."""
    if not isinstance(module, nn.Conv2d) or module.weight.is_meta:
        return
    taps = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])
    assert module.bias is not None
    with torch.no_grad():
        module.weight.zero_()
        module.bias.zero_()
        for channel in range(3):
            for part in range(4):
                weight = GAIN * torch.outer(taps[part // 2], taps[part % 2])
                module.weight[4 * channel + part, channel] = weight


def _smoothed(x: Tensor) -> Tensor:
    """Maps filtered by (1 2 1) / 4 both ways, which passes nothing of a grid of two pixels."""
    channels = x.shape[1]
    taps = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    kernel = torch.outer(taps, taps).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


@register(ContextNet.name)
def build_context(file: CheckpointFile) -> BuiltNet:
    """The blocks from a checkpoint. Raises CheckpointError."""
    return BuiltNet(read_inpainter(file, ContextNet, ContextConfig), file.count("images_trained"))
