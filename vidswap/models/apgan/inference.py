"""The generator's inference form for the CPU: the same function in fewer operations.

Enlarged maps are convolved before they are enlarged (`UpConv`), pictures are painted in blocks of
pixels (`painting`), weights lie in oneDNN's own layout, and what is between the convolutions is
passes in place over their results: no map is enlarged or joined with another in memory.
"""

from __future__ import annotations

import platform
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.identity.encoder import IdEmbedding
from vidswap.models.apgan import inference_kernels
from vidswap.models.apgan.generator import SLOPE, Down, Generator, IdBlock, PeBlock
from vidswap.models.apgan.inference_layers import (
    Affine,
    Conv,
    DownConv,
    Norm,
    PeMaps,
    UpConv,
    empty_map,
    halved,
    painting,
    pixels,
    seeing_covered,
)
from vidswap.models.face_net import FaceBatch, FaceNet, NetInputs
from vidswap.runtime.memory import CPU_BATCH
from vidswap.runtime.processor import cpu_computes_bf16


def has_inference_form(net: Generator) -> bool:
    """Whether `InferenceGenerator` does what this net does, on its device and in its format."""
    weight, config = net.stem.weight, net.config
    fits = config.size == 256 and config.reference and config.pe_blocks
    formats = (torch.float32, torch.bfloat16) if cpu_computes_bf16() else (torch.float32,)
    return (
        fits
        and weight.device.type == "cpu"
        and weight.dtype in formats
        and platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")
    )


M = TypeVar("M", bound=nn.Module)


def _part(net: nn.Module, name: str, kind: type[M]) -> M:
    part = net.get_submodule(name)
    assert isinstance(part, kind)
    return part


class InferenceGenerator(FaceNet):
    """A generator for which `has_inference_form`, its weights as they are now.

    Levels of 128 and 256 pixels work on one face at a time, whose maps stay in the processor's
    cache; the others, whose weights are larger than their maps, on the whole batch.
    """

    name = Generator.name

    def __init__(self, net: Generator) -> None:
        super().__init__()
        self.plain, width = net, net.config.width
        self._blocks = {f"up.{r}": _part(net, f"up.{r}", IdBlock) for r in net.core_resolutions}
        self._blocks |= {
            f"refine.{r}": _part(net, f"refine.{r}", IdBlock) for r in net.config.refined
        }
        weights = {name: block.conv.weight for name, block in self._blocks.items()}
        self._norms = {name: Norm(block.norm.rho) for name, block in self._blocks.items()}
        pe_128, pe_256 = _part(net, "pe_128", PeBlock), _part(net, "pe_256", PeBlock)
        covered = (_part(net, f"covered.{side}", nn.Conv2d) for side in (128, 256))
        stem_128, stem_256 = map(seeing_covered, (net.stem, net.stem_256), covered)
        self._stem_256 = Conv(stem_256, net.stem_256.bias, 256, activate=True)
        self._stem_128 = Conv(stem_128, net.stem.bias, 128)
        self._down_128 = Conv(net.down_128.weight, net.down_128.bias, 256, stride=2)
        self._down = {
            r: DownConv(_part(net, f"down.{r}", Down), r, CPU_BATCH)
            for r in net.core_resolutions[1:]
        }
        self._first = Conv(weights["up.4"], None, 4, CPU_BATCH)
        self._up = {
            r: UpConv(weights[f"up.{r}"], width(r // 2), r, 1 if r == 128 else CPU_BATCH)
            for r in net.core_resolutions[:-1]
        }
        self._refine = {
            r: Conv(weights[f"refine.{r}"], None, r, CPU_BATCH) for r in net.config.refined
        }
        self._pe_128 = Conv(pe_128.conv.weight, None, 128)
        self._pe_256 = UpConv(pe_256.conv.weight, width(128), 256)
        self._maps_128, self._maps_256 = PeMaps(pe_128, 128), PeMaps(pe_256, 256)
        self._norm_128, self._norm_256 = Norm(pe_128.norm.rho), Norm(pe_256.norm.rho)
        self._paint_128, self._paint_256 = painting(net.to_rgb, 128), painting(net.to_rgb_256, 256)
        # Most runs have one source: what was made of it last is kept, and found by its rows.
        self._last: tuple[Tensor, dict[str, Affine]] = torch.empty(0), {}

    @property
    def size(self) -> int:
        """Side of its pictures."""
        return self.plain.size

    @property
    def takes(self) -> NetInputs:
        """As the plain form."""
        return self.plain.takes

    @property
    def composes(self) -> bool:
        """As the plain form."""
        return self.plain.composes

    @torch.no_grad()
    def swap(self, batch: FaceBatch) -> Tensor:
        """Y of a batch, which must have boundary maps and an identity."""
        assert batch.boundary_maps is not None and batch.identity is not None
        targets, maps, references = batch.targets, batch.boundary_maps, batch.references
        if references is None:
            references = targets.new_zeros(len(batch), 4, self.size, self.size)
        targets, maps, references = (
            x.to(self.plain.stem.weight.dtype).contiguous(memory_format=torch.channels_last)
            for x in (targets, maps, references)
        )
        affines = self._affines(batch.identity)
        faces = [slice(n, n + 1) for n in range(len(batch))]
        entered = [self._enter(targets[n], references[n]) for n in faces]
        skips_128 = torch.cat([skip for skip, _, _ in entered])
        x_64 = self._core(skips_128, affines)
        pictures = torch.empty(len(batch), self.size, self.size, 3)
        for n, (_, skip_256, shown) in zip(faces, entered, strict=True):
            affine = affines["up.128"].of(n)
            stages = self._leave(x_64[n], skips_128[n], skip_256, maps[n], affine)
            coarse, fine = self._paint_128(stages[0]), self._paint_256(stages[1])
            inference_kernels.paint(pixels(coarse), pixels(fine), pictures[n].numpy())
            # Where nothing is shown there is nothing to choose.
            if self.composes and bool((mask := references[n, 3:]).any()):
                gate = torch.sigmoid(self.plain.gate(stages, mask))
                painted = pictures[n].permute(0, 3, 1, 2)
                painted.copy_(torch.lerp(shown[:, :3].float(), painted, gate))
        return pictures.permute(0, 3, 1, 2)

    def _affines(self, identity: IdEmbedding) -> dict[str, Affine]:
        """What follows each ID block's normalisation; one row where all faces have one source."""
        if identity.vector.stride(0) == 0:
            identity = identity.map(lambda rows: rows[:1])
        rows, (known, affines) = identity.rows(), self._last
        if not torch.equal(rows, known):
            codes, affines = self.plain.id_codes(identity), {}
            for name, block in self._blocks.items():
                of_block = block.affine(codes[int(name.rpartition(".")[2])]).float()
                gamma, beta = of_block.chunk(2, dim=1)
                affines[name] = Affine((1.0 + gamma).numpy(), beta.contiguous().numpy())
            self._last = rows, affines
        return affines

    def _enter(self, target: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The maps of a face at 128 and at 256 pixels, and the seven channels that they are of."""
        shown = empty_map(1, 7, self.size, target.dtype)
        inference_kernels.lay_in(pixels(target), pixels(reference), pixels(shown))
        x_256 = self._stem_256(shown)
        x_128 = self._stem_128(halved(shown)).add_(self._down_128(x_256))
        return F.leaky_relu_(x_128, SLOPE), x_256, shown

    def _core(self, x: Tensor, affines: dict[str, Affine]) -> Tensor:
        """Down to 4 pixels and up to 64, all faces together."""
        skips = {}
        for resolution, down in self._down.items():
            x = skips[resolution] = down(x)
        x = self._norms["up.4"].scale_shift(self._first(x), affines["up.4"])
        for resolution in sorted(self._up)[:-1]:
            y, sums = self._up[resolution](x, skips[resolution])
            x = self._norms[f"up.{resolution}"].scale_shift(y, affines[f"up.{resolution}"], sums)
            if resolution in self._refine:
                name = f"refine.{resolution}"
                x += self._norms[name].scale_shift(self._refine[resolution](x), affines[name])
        return x

    def _leave(
        self, x_64: Tensor, skip_128: Tensor, skip_256: Tensor, maps: Tensor, affine: Affine
    ) -> list[Tensor]:
        """The features of a face's two finest levels, which paint it, the coarser first."""
        x, sums = self._up[128](x_64, skip_128)
        x = self._norms["up.128"].scale_shift(x, affine, sums)
        x = self._norm_128.modulate(self._pe_128(x), self._maps_128(halved(maps)))
        finest, sums = self._pe_256(x, skip_256)
        return [x, self._norm_256.modulate(finest, self._maps_256(maps), sums)]
