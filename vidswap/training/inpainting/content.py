"""Train C, SwapInpaint's content inference net (Li et al., III.B, eq. 1-5 and 11)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidswap.choices import RegionName
from vidswap.inpainting import content
from vidswap.inpainting.content import LEVELS, ContentConfig, ContentNet, Inference
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.inpainting.masks import Mask, centre_square, irregular, region_mask
from vidswap.inpainting.swapinpaint import SwapInpaint, SwapInpaintConfig
from vidswap.models.apgan.discriminator import PatchDiscriminator
from vidswap.training.data.aligned_faces import (
    FaceSampler,
    FacesDrawn,
    Placing,
    read_aligned_faces,
)
from vidswap.training.guarded_trainer import AdversarialTrainer, Losses
from vidswap.training.inpainting.kinds import InpaintJob, Kind, Training
from vidswap.training.losses import discriminator_log, generator_log
from vidswap.training.records import rows_of_pictures

SHOWN = 12  # faces per sheet
FIXED_BATCH = 10**9  # the number of the sheet's batch, which training does not reach
REGIONS: tuple[RegionName, ...] = ("eyes", "glasses", "nose", "mouth", "lower-face", "face")


@dataclass(frozen=True)
class ContentWeights:
    """lambda_1 and lambda_2 of eq. 4, IV.A, beside an adversarial loss of weight one.

    Both are of means, over pixels and channels of pictures in [-1, 1] and over the latent maps.
    """

    reconstruction: float = 20.0
    kl: float = 20.0


@dataclass(frozen=True)
class ContentTraining:
    """One training run; rates and betas are Adam's.

    centre, irregular: shares of holes that are the paper's two kinds; the rest are parts of the
    face that a user may name. warm_images: so many at first without an adversary.
    """

    net: ContentConfig = field(default_factory=ContentConfig)
    discriminator_width: int = 12
    weights: ContentWeights = field(default_factory=ContentWeights)
    centre: float = 0.35
    irregular: float = 0.3
    rotation: float = 4.0
    shift: float = 4.0
    batch: int = 8
    generator_rate: float = 4e-4
    discriminator_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.99)
    clip_norm: float = 5.0
    ema_images: int = 3000
    warm_images: int = 3000
    seed: int = 1


def paper_config() -> ContentTraining:
    """IV.A where it is printed: two kinds of holes, rates of 0.0001, adversarial from the start."""
    return replace(
        ContentTraining(), net=content.paper_config(), batch=16, centre=0.5, irregular=0.5,
        rotation=0.0, shift=0.0, generator_rate=1e-4, discriminator_rate=1e-4, warm_images=0,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class FacesWithHoles:
    """A batch, and its masks (B, 1, S, S), 1 where a face is to be filled."""

    faces: FacesDrawn
    masks: Tensor


class ContentSampler:
    """Draws faces with holes: the same number is always the same batch."""

    def __init__(self, faces: FaceSampler, centre: float, irregular: float) -> None:
        self.faces, self.shares = faces, (centre, irregular)
        self.size = faces.faces.size

    def batch(self, number: int) -> FacesWithHoles:
        """Batch `number`."""
        drawn = self.faces.batch(number)
        masks = [
            drawn_hole(self.size, points, drawn.random, *self.shares) for points in drawn.meshes
        ]
        return FacesWithHoles(drawn, torch.from_numpy(np.stack(masks)[:, None]).float())


def drawn_hole(
    size: int,
    landmarks: NDArray[np.floating],
    random: np.random.Generator,
    centre: float,
    strokes: float,
) -> Mask:
    """A hole (size, size): IV.A's centre or random one by their shares, else a part of the face."""
    kind = random.random()
    if kind < centre:
        return centre_square(size)
    if kind < centre + strokes:
        return irregular(size, random)
    mask = region_mask(landmarks, REGIONS[random.integers(len(REGIONS))], size)
    return mask if mask.any() and not mask.all() else centre_square(size)


class ContentTrainer(AdversarialTrainer[FacesWithHoles]):
    """C and its discriminator."""

    def __init__(self, config: ContentTraining, device: torch.device) -> None:
        super().__init__(config, device)
        torch.manual_seed(config.seed)
        self.generator = ContentNet(config.net)
        self.discriminator = PatchDiscriminator(config.discriminator_width, in_channels=3)
        self._begin(self.generator, self.discriminator)

    def images_in(self, batch: FacesWithHoles) -> int:
        """How many faces a batch has."""
        return len(batch.faces)

    def learn(self, batch: FacesWithHoles) -> Losses:
        """One update of the discriminator and one of C, eq. 4."""
        config, device = self.config, self.device
        real = batch.faces.pictures.to(device, memory_format=torch.channels_last)
        masks = batch.masks.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            inferred = self.generator(real, masks, sampled=True)
            answer = inferred.pictures[-1].float()
            # D sees what a user sees: the known pixels are the face's own.
            filled = torch.where(masks > 0.5, answer, real)
            filled = filled.contiguous(memory_format=torch.channels_last)
            terms = {
                "reconstruction": config.weights.reconstruction * multilevel(inferred, real),
                "kl": config.weights.kl * kl_divergence(inferred),
            }
            losses_d: Losses = {}
            if self.images >= config.warm_images:
                losses_d = self._update_discriminator(real, filled.detach())
                self.discriminator.requires_grad_(False)
                terms["adversarial"] = generator_log([self.discriminator(filled)])
                self.discriminator.requires_grad_(True)
            loss = torch.stack(list(terms.values())).sum()
            norm = self.update(self.generator_optimiser, self.generator, loss)
        hole = masks.expand_as(real) > 0.5
        return {
            **losses_d,
            **{name: float(value.detach()) for name, value in terms.items()},
            "hole_error": float((answer.detach() - real)[hole].abs().mean()),
            "gradient_norm": norm,
        }

    def _update_discriminator(self, real: Tensor, filled: Tensor) -> Losses:
        """One step of D against eq. 2."""
        loss = discriminator_log([self.discriminator(real)], [self.discriminator(filled)])
        norm = self.update(self.discriminator_optimiser, self.discriminator, loss)
        return {"discriminator": float(loss.detach()), "discriminator_norm": norm}

    def sheet(self, batch: FacesWithHoles) -> NDArray[np.uint8]:
        """Faces, what is known of them, and the averaged net's fillings, a row each."""
        real = batch.faces.pictures.to(self.device, memory_format=torch.channels_last)
        masks = batch.masks.to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16):
            filled = self.average.content(real, masks)  # type: ignore[operator]
        known = torch.where(masks > 0.5, torch.ones_like(real), real)
        return rows_of_pictures([real, known, filled])


def multilevel(inferred: Inference, real: Tensor) -> Tensor:
    """L_rec, eq. 11: mean L1 distances to the face at each of four sizes, summed."""
    losses = []
    for picture in inferred.pictures:
        factor = real.shape[-1] // picture.shape[-1]
        wanted = F.avg_pool2d(real, factor) if factor > 1 else real
        losses.append((picture.float() - wanted).abs().mean())
    assert len(losses) == LEVELS
    return torch.stack(losses).sum()


def kl_divergence(inferred: Inference) -> Tensor:
    """KL(P(z | incomplete face) || N(0, I)), eq. 5 with the sign that makes it a loss; a mean."""
    mean, log_variance = inferred.mean, inferred.log_variance
    return 0.5 * (mean**2 + log_variance.exp() - log_variance - 1.0).mean()


def begin(job: InpaintJob, config: ContentTraining, device: torch.device) -> Training:
    """Nets and data of a run."""
    faces = read_aligned_faces(job.faces, job.cache_folder, config.net.size)
    trainer = ContentTrainer(config, device)
    drawn = FaceSampler(
        faces, config.batch, config.seed, Placing(0.5, config.rotation, config.shift)
    )
    sampler = ContentSampler(drawn, config.centre, config.irregular)
    fixed = ContentSampler(FaceSampler(faces, SHOWN, 12345, Placing()), 0.5, 0.2).batch(FIXED_BATCH)
    return Training(trainer, sampler, lambda: trainer.sheet(fixed))


def export(state: dict[str, Any], config: ContentTraining, output: Path) -> None:
    """Write C as a SwapInpaint whose G is AP-GAN."""
    net = SwapInpaint(SwapInpaintConfig(config.net.widths, config.net.latent, config.net.size))
    net.content.load_state_dict(state["average"])
    save_inpainter(net, output, int(state["images"]))


def small_config() -> ContentTraining:
    """A quarter of the work; what it learns is a start for 128 pixels (`--start-from`)."""
    return replace(ContentTraining(), net=ContentConfig(size=64), batch=16)


KIND = Kind(
    {
        "content-64": small_config,
        "content-128": ContentTraining,
        "content-128-paper": paper_config,
    },
    begin,
    export,
)
