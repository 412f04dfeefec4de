"""Train the DCGAN whose latent numbers are searched (deep generative inpainting, eq. 1, III.D)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.inpainting.dcgan import (
    N_LATENT,
    SIZE,
    DcganConfig,
    DcganDiscriminator,
    DcganGenerator,
)
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.inpainting.search import LatentSearch, SearchRanges, search_ranges
from vidswap.training.data.aligned_faces import (
    AlignedFaces,
    FaceSampler,
    FacesDrawn,
    Placing,
    read_aligned_faces,
    to_tensor,
)
from vidswap.training.guarded_trainer import AdversarialTrainer, Losses
from vidswap.training.inpainting.kinds import InpaintJob, Kind, Training
from vidswap.training.records import rows_of_pictures

SHOWN = 12  # faces per row of a sheet
RANGE_FACES = 64  # photographs that generated faces are compared with, III.B
CALIBRATION_BATCHES = 40  # at most, that the averaged generator's statistics are taken over


@dataclass(frozen=True)
class DcganTraining:
    """One training run; rates and betas are Adam's, as Radford et al. have them.

    real_label: what D is to say of a photograph, below 1 so that it is never too sure.
    range_samples: generated faces that the ranges of eq. 5 and 6 are taken from.
    """

    nets: DcganConfig = field(default_factory=lambda: DcganConfig(48, 48))
    batch: int = 64
    generator_rate: float = 2e-4
    discriminator_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.99)
    clip_norm: float = 100.0
    ema_images: int = 10000
    real_label: float = 0.9
    range_samples: int = 3200
    seed: int = 1


class DcganTrainer(AdversarialTrainer[FacesDrawn]):
    """G and D of eq. 1, G in the form that has a gradient from the start."""

    nets_kept = ("generator", "average", "discriminator", "ranges")

    def __init__(self, config: DcganTraining, faces: AlignedFaces, device: torch.device) -> None:
        super().__init__(config, device)
        torch.manual_seed(config.seed)
        self.faces = faces
        self.generator = DcganGenerator(config.nets.generator_width)
        self.discriminator = DcganDiscriminator(config.nets.discriminator_width)
        self.ranges = SearchRanges()
        self._begin(self.generator, self.discriminator)

    def images_in(self, batch: FacesDrawn) -> int:
        """How many faces a batch has."""
        return len(batch)

    def learn(self, batch: FacesDrawn) -> Losses:
        """One update of D and one of G."""
        real = batch.pictures.to(self.device, memory_format=torch.channels_last)
        z = torch.randn(len(real), N_LATENT, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            generated = self.generator(z)
            of_real = self.discriminator(real).float()
            of_generated = self.discriminator(generated.detach()).float()
            label = torch.full_like(of_real, self.config.real_label)
            loss_d = F.binary_cross_entropy_with_logits(of_real, label)
            loss_d = loss_d + F.softplus(of_generated).mean()
            norm_d = self.update(self.discriminator_optimiser, self.discriminator, loss_d)
            self.discriminator.requires_grad_(False)
            loss_g = F.softplus(-self.discriminator(generated).float()).mean()
            norm_g = self.update(self.generator_optimiser, self.generator, loss_g)
            self.discriminator.requires_grad_(True)
        return {
            "discriminator": float(loss_d.detach()),
            "generator": float(loss_g.detach()),
            "real": float(of_real.detach().sigmoid().mean()),
            "generated": float(of_generated.detach().sigmoid().mean()),
            "discriminator_norm": norm_d,
            "generator_norm": norm_g,
        }

    def state(self) -> dict[str, Any]:
        """The state, with the ranges of eq. 5 and 6 for the generator as it stands."""
        random_before = torch.get_rng_state()
        torch.manual_seed(self.config.seed)
        generator = ready_to_generate(self.average, self.config.range_samples)
        random = np.random.default_rng(self.config.seed)
        # Of people not trained on; a dataset that holds none out has others to give.
        rows = self.faces.held_out if len(self.faces.held_out) else self.faces.rows
        chosen = random.permutation(rows)[:RANGE_FACES]
        pictures = to_tensor(self.faces.pictures[np.sort(chosen)])
        self.ranges.load_state_dict(
            search_ranges(generator, pictures, self.config.range_samples).state_dict()
        )
        torch.set_rng_state(random_before)
        return super().state()

    def sheet(self, z: Tensor) -> NDArray[np.uint8]:
        """What the averaged generator makes of latent numbers, `SHOWN` to a row."""
        generator = ready_to_generate(self.average, self.config.range_samples)
        with torch.inference_mode():
            return rows_of_pictures(list(generator(z.to(self.device)).split(SHOWN)))


def ready_to_generate(average: nn.Module, samples: int) -> DcganGenerator:
    """A copy with the statistics of batch normalisation that belong to averaged weights.

    They are taken over at most `samples` generated faces.
    """
    generator: DcganGenerator = copy.deepcopy(average)  # type: ignore[assignment]
    device = next(generator.parameters()).device
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over batches
    generator.train()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(max(1, min(CALIBRATION_BATCHES, samples // 64))):
            generator(torch.randn(64, N_LATENT, generator=random).to(device))
    return generator.eval()


def begin(job: InpaintJob, config: DcganTraining, device: torch.device) -> Training:
    """Nets and data of a run."""
    faces = read_aligned_faces(job.faces, job.cache_folder, SIZE)
    trainer = DcganTrainer(config, faces, device)
    z = torch.randn(4 * SHOWN, N_LATENT, generator=torch.Generator().manual_seed(12345))
    sampler = FaceSampler(faces, config.batch, config.seed, Placing())
    return Training(trainer, sampler, lambda: trainer.sheet(z))


def export(state: dict[str, Any], config: DcganTraining, output: Path) -> None:
    """Write G, D and the ranges as a checkpoint of architecture "latent"."""
    search = LatentSearch(config.nets)
    average = DcganGenerator(config.nets.generator_width)
    average.load_state_dict(state["average"])
    search.generator.load_state_dict(ready_to_generate(average, config.range_samples).state_dict())
    search.discriminator.load_state_dict(state["discriminator"])
    search.ranges.load_state_dict(state["ranges"])
    save_inpainter(search, output, int(state["images"]))


KIND = Kind({"dcgan-64": DcganTraining}, begin, export)
