"""Train the face parsing net S that ID-GAN's structure loss needs."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidswap.inpainting.parsing import PARTS, SIZE, ParsingConfig, ParsingNet
from vidswap.training.data.aligned_faces import (
    FaceSampler,
    FacesDrawn,
    Placing,
    read_aligned_faces,
)
from vidswap.training.guarded_trainer import GuardedTrainer, Losses, placed
from vidswap.training.inpainting.face_labels import face_labels, persons
from vidswap.training.inpainting.kinds import InpaintJob, Kind, Training, averaged
from vidswap.training.records import rows_of_pictures

SHOWN = 12  # faces per sheet
FIXED_BATCH = 10**9  # the number of the sheet's batch, which training does not reach
_COLOURS = torch.tensor(
    [(0, 0, 0), (120, 70, 30), (230, 180, 150), (60, 40, 160), (40, 160, 220), (240, 160, 60),
     (220, 40, 80), (255, 255, 255)]
)  # fmt: skip


@dataclass(frozen=True)
class ParsingTraining:
    """One training run; rate and betas are Adam's."""

    net: ParsingConfig = field(default_factory=ParsingConfig)
    batch: int = 32
    generator_rate: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 5.0
    ema_images: int = 6000
    rotation: float = 10.0
    shift: float = 10.0
    seed: int = 1


@dataclass(frozen=True, eq=False)
class LabelledFaces:
    """A batch and its labels (B, 128, 128) int64."""

    faces: FacesDrawn
    labels: Tensor


class LabelSampler:
    """Draws faces with their labels: the same number is always the same batch."""

    def __init__(self, faces: FaceSampler) -> None:
        self.faces = faces

    def batch(self, number: int) -> LabelledFaces:
        """Batch `number`."""
        drawn = self.faces.batch(number)
        uint8 = ((drawn.pictures + 1.0) * 127.5).round().to(torch.uint8)
        pictures = uint8.permute(0, 2, 3, 1).numpy()
        labels = [
            face_labels(np.ascontiguousarray(picture), landmarks, person)
            for picture, landmarks, person in zip(
                pictures, drawn.meshes, persons(drawn.pictures), strict=True
            )
        ]
        return LabelledFaces(drawn, torch.from_numpy(np.stack(labels)).long())


class ParsingTrainer(GuardedTrainer[LabelledFaces]):
    """Cross-entropy against `face_labels`."""

    nets_kept = ("generator", "average")
    optimisers_kept = ("optimiser",)

    def __init__(self, config: ParsingTraining, device: torch.device) -> None:
        super().__init__(config, device)
        torch.manual_seed(config.seed)
        self.generator = ParsingNet(config.net)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        placed(device, self.generator, self.average)
        self.optimiser = torch.optim.Adam(
            self.generator.parameters(), config.generator_rate, config.betas
        )

    def adam_settings(self) -> dict[str, tuple[float, tuple[float, float]]]:
        """Rate and betas of the optimiser."""
        return {"optimiser": (self.config.generator_rate, self.config.betas)}

    def images_in(self, batch: LabelledFaces) -> int:
        """How many faces a batch has."""
        return len(batch.faces)

    def learn(self, batch: LabelledFaces) -> Losses:
        """One update."""
        pictures = batch.faces.pictures.to(self.device, memory_format=torch.channels_last)
        labels = batch.labels.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.generator(pictures).float()
            loss = F.cross_entropy(logits, labels)
            norm = self.update(self.optimiser, self.generator, loss)
        right = (logits.argmax(dim=1) == labels).float().mean()
        return {"cross_entropy": float(loss.detach()), "right": float(right), "norm": norm}

    def sheet(self, batch: LabelledFaces) -> NDArray[np.uint8]:
        """Faces, the averaged net's answers and the labels, a row each."""
        with torch.inference_mode():
            answers = self.average.eval()(batch.faces.pictures.to(self.device)).argmax(dim=1)
        return rows_of_pictures([batch.faces.pictures, coloured(answers), coloured(batch.labels)])


def coloured(labels: Tensor) -> Tensor:
    """Labels (B, S, S) as pictures (B, 3, S, S) in [-1, 1]."""
    assert len(_COLOURS) == len(PARTS)
    return _COLOURS[labels.cpu()].permute(0, 3, 1, 2).float() / 127.5 - 1.0


def begin(job: InpaintJob, config: ParsingTraining, device: torch.device) -> Training:
    """Nets and data of a run."""
    faces = read_aligned_faces(job.faces, job.cache_folder, SIZE)
    placing = Placing(0.5, config.rotation, config.shift)
    trainer = ParsingTrainer(config, device)
    fixed = LabelSampler(FaceSampler(faces, SHOWN, 12345, placing)).batch(FIXED_BATCH)
    sampler = LabelSampler(FaceSampler(faces, config.batch, config.seed, placing))
    return Training(trainer, sampler, lambda: trainer.sheet(fixed))


KIND = Kind({"parsing-128": ParsingTraining}, begin, averaged(ParsingNet))
