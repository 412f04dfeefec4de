"""Train the face recogniser: margin softmax over albums, and contrast between all people."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.identity.recogniser import PICTURE_SIZE, Recogniser, RecogniserConfig
from vidswap.training.data.aligned_faces import read_aligned_faces
from vidswap.training.guarded_trainer import GuardedTrainer, Losses, placed
from vidswap.training.inpainting.kinds import InpaintJob, Kind, Training, averaged
from vidswap.training.recogniser.albums import read_albums
from vidswap.training.recogniser.views import PeopleDrawn, PeopleSampler, ViewConfig
from vidswap.training.records import rows_of_pictures

SHOWN = 12  # people on the sheet
FIXED_BATCH = 10**9  # the number of the sheet's batch, which training does not reach
LEAST_RATE = 0.01  # of the rate, at the end


@dataclass(frozen=True)
class RecogniserTraining:
    """One training run.

    kind: of the faces to learn from, all where empty. singles: share of the people drawn of whom
    there is one photograph. margin, scale: of CosFace. contrast: weight of the contrastive loss,
    temperature its divisor. The rate rises over `warm_images` and falls to a hundredth by
    `images`, along half a cosine; the margin grows over `warm_margin` of them.
    """

    net: RecogniserConfig = field(default_factory=RecogniserConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    kind: str = ""
    batch: int = 128
    singles: float = 0.25
    margin: float = 0.2
    scale: float = 24.0
    contrast: float = 2.0
    temperature: float = 0.1
    generator_rate: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.05
    clip_norm: float = 5.0
    warm_images: int = 12800
    warm_margin: float = 0.2
    images: int = 300_000
    ema_images: int = 4000
    seed: int = 1


class RecogniserTrainer(GuardedTrainer[PeopleDrawn]):
    """CosFace (Wang et al. 2018) over people of several photographs, who have a row of `centres`;
    supervised contrast (Khosla et al. 2020) between everybody in a batch.
    """

    nets_kept = ("generator", "average", "centres")
    optimisers_kept = ("optimiser",)

    def __init__(self, config: RecogniserTraining, people: int, device: torch.device) -> None:
        super().__init__(config, device)
        torch.manual_seed(config.seed)
        self.generator = Recogniser(config.net)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.centres = nn.Linear(config.net.embedding, people, bias=False)
        nn.init.normal_(self.centres.weight)
        placed(device, self.generator, self.average, self.centres)
        self.learning = nn.ModuleList([self.generator, self.centres])
        self.optimiser = torch.optim.AdamW(
            self.learning.parameters(),
            config.generator_rate,
            config.betas,
            weight_decay=config.weight_decay,
        )

    def adam_settings(self) -> dict[str, tuple[float, tuple[float, float]]]:
        """Rate and betas of the optimiser, by what has been seen."""
        rate = self.config.generator_rate * rate_share(self.config, self.images)
        return {"optimiser": (rate, self.config.betas)}

    def images_in(self, batch: PeopleDrawn) -> int:
        """How many views a batch has."""
        return len(batch.views)

    def learn(self, batch: PeopleDrawn) -> Losses:
        """One update."""
        config = self.config
        rate = self.adam_settings()["optimiser"][0]
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        views = batch.views.to(self.device, memory_format=torch.channels_last)
        people = batch.people.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            embeddings = F.normalize(self.generator.train()(views).float())
        margin = config.margin * min(1.0, self.images / (config.warm_margin * config.images))
        known = people < self.centres.out_features
        cosines = embeddings[known] @ F.normalize(self.centres.weight).T
        softmax = margin_softmax(cosines, people[known], margin, config.scale)
        contrast = supervised_contrast(embeddings, people, config.temperature)
        norm = self.update(self.optimiser, self.learning, softmax + config.contrast * contrast)
        right = (cosines.detach().argmax(dim=1) == people[known]).float().mean()
        return {
            "softmax": float(softmax.detach()),
            "contrast": float(contrast.detach()),
            "right": float(right),
            "rate": rate,
            "gradient_norm": norm,
        }

    def sheet(self, batch: PeopleDrawn) -> NDArray[np.uint8]:
        """Both views of people, a row each."""
        return rows_of_pictures([batch.views[: len(batch.views) // 2],
                                 batch.views[len(batch.views) // 2 :]])  # fmt: skip


def margin_softmax(cosines: Tensor, people: Tensor, margin: float, scale: float) -> Tensor:
    """CosFace: cross-entropy of cosines (B, people) with a `margin` taken off a view's own."""
    own = F.one_hot(people, cosines.shape[1])
    return F.cross_entropy(scale * (cosines - margin * own), people)


def supervised_contrast(embeddings: Tensor, people: Tensor, temperature: float) -> Tensor:
    """Every unit embedding (B, D) against all others: those of its person are to be the nearest.

    The mean over a person's other views is outside the logarithm, as Khosla et al. 2020, eq. 2.
    """
    itself = torch.eye(len(people), dtype=torch.bool, device=people.device)
    alike = (embeddings @ embeddings.T / temperature).masked_fill(itself, float("-inf"))
    chance = alike - alike.logsumexp(dim=1, keepdim=True)
    same = (people[:, None] == people) & ~itself
    of_own = chance.masked_fill(~same, 0.0).sum(dim=1) / same.sum(dim=1)
    return -of_own.mean()


def rate_share(config: RecogniserTraining, images: int) -> float:
    """The share of the rate after `images`."""
    warm = min(1.0, (images + config.batch) / max(config.warm_images, 1))
    done = min(1.0, images / max(config.images, 1))
    return warm * (LEAST_RATE + (1.0 - LEAST_RATE) * (1.0 + math.cos(math.pi * done)) / 2.0)


def begin(job: InpaintJob, config: RecogniserTraining, device: torch.device) -> Training:
    """Net and data of a run."""
    faces = read_aligned_faces(job.faces, job.cache_folder, PICTURE_SIZE)
    albums = read_albums(faces, config.kind, job.augmented, job.cache_folder)
    trainer = RecogniserTrainer(config, len(albums.several), device)
    sampler = PeopleSampler(albums, config.batch, config.singles, config.seed, config.views)
    shown = PeopleSampler(albums, 2 * SHOWN, config.singles, 12345, config.views)
    fixed = shown.batch(FIXED_BATCH)
    return Training(trainer, sampler, lambda: trainer.sheet(fixed))


KIND = Kind({"recogniser-64": RecogniserTraining}, begin, averaged(Recogniser))
