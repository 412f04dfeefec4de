"""Tuning a generator to one pair of people: the losses, and one step of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vidswap.blending.warping import FaceCrop
from vidswap.identity.dlib_resnet import DlibResNet
from vidswap.identity.encoder import IdEmbedding, IdentityEncoder, dlib_crop
from vidswap.models.adapter import DEFAULT_RANK, Adapter
from vidswap.models.apgan.generator import Generator
from vidswap.training.losses import (
    gram,
    random_degradation,
    random_jitter,
    reconstruction,
    saturation,
)
from vidswap.tuning.pair_examples import ExampleConfig, ExampleMaker

FACE_ROWS, FACE_COLUMNS = slice(48, 240), slice(32, 224)  # of the crop
DECODER = ("up.", "refine.", "pe_")  # the generator's parts whose maps are watched for peaks
STAGE_ENDS = (2, 6)  # the last blocks of dlib's first two stages


@dataclass(frozen=True)
class TuneWeights:
    """Weights of the losses."""

    answer: float = 10.0  # absolute difference from the true answer
    perceptual: float = 4.0  # the same in early features of the identity encoder
    style: float = 2.0  # difference of the same features' Gram matrices: sharpness, not place
    across: float = 3.0  # as `answer`, `perceptual` and `style`, on frames of the target
    across_perceptual: float = 1.0
    across_style: float = 2.0
    identity: float = 2.0  # eq. 6, on frames of the target
    keep: float = 30.0  # eq. 7 with lambda_1 as a map, on frames of the target
    saturation: float = 1.0
    peaks: float = 0.3


@dataclass(frozen=True)
class TuneConfig:
    """How a pair is tuned. Rates are Adam's; `ema_images`: the average weights' horizon."""

    rank: int = DEFAULT_RANK
    low_rank_rate: float = 3e-3
    free_rate: float = 1e-3
    ema_images: int = 300
    warm_up_images: int = 60
    clip_norm: float = 1.0
    examples: ExampleConfig = field(default_factory=ExampleConfig)
    weights: TuneWeights = field(default_factory=TuneWeights)
    seed: int = 1


class PairTuner:
    """The generator with its adapter, the examples, the optimiser and the averaged adapter."""

    def __init__(
        self,
        net: Generator,
        encoder: IdentityEncoder,
        sources: Sequence[FaceCrop],
        targets: Sequence[FaceCrop],
        source_id: IdEmbedding,
        config: TuneConfig | None = None,
        compute: torch.dtype = torch.float32,
        photograph: FaceCrop | None = None,
    ) -> None:
        """`net`, in float32, is taken over; the id is a batch of one, on the net's device.

        `compute` is the number format of the nets' arithmetic, not of what is learnt;
        `photograph` the source's that a run shows to `net`, for one that takes it.
        """
        self.config = config = config or TuneConfig()
        self.device = next(net.parameters()).device
        torch.manual_seed(config.seed)
        self.net, self.encoder, self.source_id, self.compute = net, encoder, source_id, compute
        for part in (net, encoder):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        shown = photograph if net.config.reference else None
        self.maker = ExampleMaker(sources, targets, config.examples, shown)
        self.adapter = Adapter(net, config.rank)
        self.peaks = PeakWatch(net)
        groups = [
            {"params": self.adapter.parameters(low_rank=True), "lr": config.low_rank_rate},
            {"params": self.adapter.parameters(low_rank=False), "lr": config.free_rate},
        ]
        self.rates = [config.low_rank_rate, config.free_rate]
        self.optimiser = torch.optim.Adam(groups, betas=(0.5, 0.99))
        self.average = {k: t.detach().clone() for k, t in self.adapter.tensors().items()}
        self.images = 0

    def step(self, progress: float = 0.0) -> dict[str, float]:
        """One update; the losses by name. `progress` in [0, 1] lowers the rates to its end."""
        examples, device, weights = self.maker.batch(), self.device, self.config.weights
        inputs = examples.inputs.to(device)
        n = len(inputs) - examples.n_across
        with (
            torch.autocast(device.type, self.compute, enabled=self.compute != torch.float32),
            parametrize.cached(),
        ):
            identity = self.source_id.expand(len(inputs))
            maps, references = examples.boundary_maps.to(device), examples.references
            if references is not None:
                references = references.to(device)
            logits, outputs, _ = self.net.compose(inputs, maps, identity, references)
            outputs = outputs.contiguous(memory_format=torch.channels_last)
            answers, where = examples.answers.to(device), examples.weights.to(device)
            # Another moment's eyes and mouth are no answer: there the target's own stand in.
            near = F.relu(1.0 - where[n:] / self.config.examples.keep.keep_features)
            across = inputs[n:].lerp(answers[n:], near)
            same, style = feature_differences(self.encoder.resnet, outputs[:n], answers[:n])
            near_same, near_style = feature_differences(self.encoder.resnet, outputs[n:], across)
            terms = {
                "answer": (where[:n] * (outputs[:n] - answers[:n]).abs()).mean(),
                "perceptual": same,
                "style": style,
                "across": (outputs[n:] - across).abs().mean(),
                "across_perceptual": near_same,
                "across_style": near_style,
                "identity": self._identity(outputs[n:]),
                "keep": reconstruction(outputs[n:], inputs[n:], where[n:]),
                "saturation": saturation(logits),
                "peaks": self.peaks.loss(),
            }
            loss = torch.stack([getattr(weights, k) * v.float() for k, v in terms.items()]).sum()
        self._update(loss, progress)
        self.images += len(inputs)
        self._move_average(len(inputs))
        return {name: float(value.detach()) for name, value in terms.items()}

    def _identity(self, outputs: Tensor) -> Tensor:
        """Eq. 6 on jittered and degraded views: patterns drawn for one encoder do not survive."""
        views = random_jitter(len(outputs), scale=0.06, rotation=0.08, shift=0.05)
        faces = random_degradation(dlib_crop(outputs, views.to(outputs.device)))
        embedding = self.encoder.embed_faces(faces).embedding.float()
        return ((embedding - self.source_id.embedding) ** 2).sum(dim=1).mean()

    def _update(self, loss: Tensor, progress: float) -> None:
        warm = min(1.0, (self.images + self.config.examples.batch) / self.config.warm_up_images)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * warm * (0.1 + 0.9 * math.cos(0.5 * math.pi * min(progress, 1.0)))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = list(self.adapter.tensors().values())
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm))
        if math.isfinite(norm):
            self.optimiser.step()

    def _move_average(self, batch: int) -> None:
        # Short at first: the horizon is at most a fifth of what has been seen.
        horizon = max(min(self.config.ema_images, self.images // 5), batch)
        with torch.no_grad():
            for key, current in self.adapter.tensors().items():
                self.average[key].lerp_(current, batch / horizon)


class PeakWatch:
    """Watches a generator's decoder for peaks: single places that outweigh the rest of a map.

    Instance normalisation tempts a net to steer a map's statistics by one place of huge value
    (StyleGAN's droplets: Karras et al. 2020); it shows as a coloured speck, which losses on
    the picture remove too slowly.
    """

    def __init__(self, net: Generator, limit: float = 12.0) -> None:
        """`limit`: the height, in standard deviations of the map, from which a place is a peak."""
        self.limit = limit
        self._heights: list[Tensor] = []
        for name, module in net.named_modules():
            if name.startswith(DECODER) and name.endswith(".conv"):
                module.register_forward_hook(self._watch)

    def _watch(self, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        with torch.no_grad():
            variance, mean = torch.var_mean(output.float(), dim=(2, 3), keepdim=True)
        distance = (output - mean.to(output.dtype)).abs().amax(dim=(2, 3)).float()
        self._heights.append(distance * torch.rsqrt(variance[..., 0, 0] + 1e-5))

    def loss(self) -> Tensor:
        """How far the maps since the last call peak beyond the limit, summed over layers."""
        beyond = [(F.relu(h / self.limit - 1.0) ** 2).mean() for h in self._heights]
        self._heights = []
        return torch.stack(beyond).sum()


def feature_differences(
    resnet: DlibResNet, outputs: Tensor, answers: Tensor
) -> tuple[Tensor, Tensor]:
    """Relative differences of early features of dlib's net over the face's part, and of their Gram
    matrices (as eq. 9-10, but of a fixed net).

    Both (B, 3, 256, 256) in [-1, 1]. Early features only: they say what is there, not who.
    """
    found = _early_features(resnet, outputs)
    with torch.no_grad():
        wanted = _early_features(resnet, answers.to(outputs.dtype))
    local, style = [], []
    for f, w in zip(found, wanted, strict=True):
        local.append((f.float() - w.float()).abs().mean() / w.float().abs().mean())
        gram_f, gram_w = gram(f), gram(w)
        style.append((gram_f - gram_w).abs().mean() / gram_w.abs().mean())
    return torch.stack(local).mean(), torch.stack(style).mean()


def _early_features(resnet: DlibResNet, faces: Tensor) -> list[Tensor]:
    """Output of the stem and of the first two stages, (B, C, H, W) each."""
    x = ((faces[..., FACE_ROWS, FACE_COLUMNS] + 1.0) * 127.5 - resnet.mean) / 256.0
    features = [F.relu(resnet.stem_affine(resnet.stem(x)))]
    x = F.max_pool2d(features[0], 3, stride=2)
    for index, block in enumerate(resnet.blocks[: STAGE_ENDS[1] + 1]):
        x = block(x)
        if index in STAGE_ENDS:
            features.append(x)
    return features
