"""Train the multi-scale context GAN: losses of Banerjee et al., 3.2, and the rows of Table 8."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import EllipsisType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.errors import TrainingConfigError
from vidswap.identity.dlib_resnet import DlibResNet, load_dlib_resnet
from vidswap.identity.encoder import dlib_crop
from vidswap.inpainting import context_gan
from vidswap.inpainting.context_gan import (
    NORMALISED,
    SIZE,
    SIZES,
    ContextConfig,
    ContextDiscriminator,
    ContextNet,
    masked_at,
)
from vidswap.inpainting.masks import background_mask
from vidswap.training.data.aligned_faces import (
    FaceSampler,
    FacesDrawn,
    Placing,
    read_aligned_faces,
)
from vidswap.training.guarded_trainer import AdversarialTrainer, Losses
from vidswap.training.inpainting.kinds import InpaintJob, Kind, Training, averaged
from vidswap.training.records import rows_of_pictures

SHOWN = 12  # faces per sheet
FIXED_BATCH = 10**9  # the number of the sheet's batch, which training does not reach
FROM_IDENTITY = 128  # pixels, the smallest block that has L_id: below, a face net sees no face
PIXEL_LOSSES = ("l1", "l2")
View = tuple[EllipsisType, slice, slice]  # rows and columns of pictures that a net is shown
_FIRST_STAGE = 3  # blocks of dlib's net whose features L_pc compares


@dataclass(frozen=True)
class ContextWeights:
    """lambda_1 to lambda_4 of eq. 6, beside a pixel loss of weight one.

    identity stands before squared distances of dlib's embeddings, which are in the tenths, where
    the paper's 10 stands before those of VGG-Face's fc7.
    """

    perceptual: float = 1.0
    adversarial: float = 0.2
    identity: float = 5.0
    variation: float = 1e-6


@dataclass(frozen=True)
class ContextTraining:
    """One training run; rates and betas are Adam's.

    discriminator: how D is normalised, one of `context_gan.NORMALISED`. pixel: eq. 1 with "l1", or
    Table 8's "l2". perceptual_from: pixels, the smallest block that has L_pc. judged: share of a
    batch that L_id sees. views: whether D and L_pc see parts of pictures that begin anywhere.
    grow_images: after how many the progressively grown variant goes on to the next block.
    real_label: what D is to say of a photograph.
    """

    net: ContextConfig = field(default_factory=ContextConfig)
    discriminator_width: int = 8
    discriminator: str = "spectral"
    weights: ContextWeights = field(default_factory=ContextWeights)
    pixel: str = "l1"
    perceptual_from: int = 64
    judged: float = 0.4
    views: bool = True
    grow_images: int = 10000
    real_label: float = 0.9
    batch: int = 16
    generator_rate: float = 6e-4
    discriminator_rate: float = 4e-4
    betas: tuple[float, float] = (0.5, 0.99)
    clip_norm: float = 5.0
    ema_images: int = 3000
    seed: int = 1

    def __post_init__(self) -> None:
        if self.pixel not in PIXEL_LOSSES:
            raise TrainingConfigError(
                f"pixel is {self.pixel!r}; allowed: {', '.join(PIXEL_LOSSES)}"
            )
        if self.discriminator not in NORMALISED:
            raise TrainingConfigError(
                f"discriminator is {self.discriminator!r}; allowed: {', '.join(NORMALISED)}"
            )
        if not 0 < self.judged <= 1:
            raise TrainingConfigError(f"judged is {self.judged:g}; it must be above 0 to 1")


def paper_config() -> ContextTraining:
    """3 and 4 as printed: Tables 3 to 7, batch normalisation, batches of 10, both rates."""
    return replace(
        ContextTraining(), net=context_gan.paper_config(), discriminator_width=32,
        discriminator="batch", weights=ContextWeights(adversarial=0.1, identity=1.0),
        perceptual_from=32, judged=1.0, views=False, batch=10, generator_rate=1e-4,
        discriminator_rate=2e-4, grow_images=631100,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class FacesAlone:
    """A batch, and where its faces are: (B, 1, 128, 128), 1 in the hull of the face's oval."""

    drawn: FacesDrawn
    faces: Tensor


class ContextSampler:
    """Draws faces and their hulls: the same number is always the same batch."""

    def __init__(self, faces: FaceSampler) -> None:
        self.faces = faces

    def batch(self, number: int) -> FacesAlone:
        """Batch `number`."""
        drawn = self.faces.batch(number)
        hulls = np.stack([~background_mask(points, SIZE) for points in drawn.meshes])
        return FacesAlone(drawn, torch.from_numpy(hulls[:, None]).float())


class ContextTrainer(AdversarialTrainer[FacesAlone]):
    """All blocks with a discriminator each; one after the other in the grown variant."""

    nets_kept = ("generator", "average", "discriminators")

    def __init__(self, config: ContextTraining, device: torch.device) -> None:
        super().__init__(config, device)
        torch.manual_seed(config.seed)
        self.generator = ContextNet(config.net)
        self.discriminators = nn.ModuleList(
            ContextDiscriminator(size, config.discriminator_width, config.discriminator)
            for size in SIZES
        )
        self._begin(self.generator, self.discriminators)
        self.recogniser = load_dlib_resnet().to(device)
        self.recogniser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.grown = 0  # the number of the block that learns, in the grown variant

    def images_in(self, batch: FacesAlone) -> int:
        """How many faces a batch has."""
        return len(batch.drawn)

    def learn(self, batch: FacesAlone) -> Losses:
        """One update of every discriminator and of the generator, eq. 6 summed over the blocks."""
        weights = self.config.weights
        real = batch.drawn.pictures.to(self.device, memory_format=torch.channels_last)
        faces = batch.faces.to(self.device)
        self._grow()
        with torch.autocast(self.device.type, torch.bfloat16):
            answers = self._answers(real, faces)
            wanted = {size: reduced(real, size) for size in answers}
            views = {size: drawn_view(size, self.config.views) for size in answers}
            losses_d: Losses = {}
            if weights.adversarial:
                losses_d = self._update_discriminators(wanted, answers, views)
            terms: dict[str, list[Tensor]] = {"pixel": []}
            self.discriminators.requires_grad_(False)
            for size, answer in answers.items():
                for name, term in self._terms(answer, wanted[size], views[size]).items():
                    terms.setdefault(name, []).append(term)
            sums = {name: torch.stack(parts).sum() for name, parts in terms.items()}
            loss = sums["pixel"] + sum(
                getattr(weights, name) * value for name, value in sums.items() if name != "pixel"
            )
            norm = self.update(self.generator_optimiser, self.generator, loss)
            self.discriminators.requires_grad_(True)
        largest = max(answers)
        around = 1.0 - masked_at(real, faces, largest)[1]
        off = (answers[largest].detach().float() - wanted[largest]).abs().mean(dim=1, keepdim=True)
        error = (off * around).sum() / around.sum()
        return {
            **losses_d,
            **{name: float(value.detach()) for name, value in sums.items()},
            "context_error": float(error),
            "block": float(largest),
            "gradient_norm": norm,
        }

    def _grow(self) -> None:
        """Go on to the next block of the grown variant when its time has come."""
        if self.config.net.variant != "progan":
            return
        due = min(self.images // max(self.config.grow_images, 1), len(SIZES) - 1)
        while self.grown < due:
            self.grown += 1
            for net in (self.generator, self.average):
                net.grow(SIZES[self.grown])  # type: ignore[operator]

    def _answers(self, real: Tensor, faces: Tensor) -> dict[int, Tensor]:
        """What the blocks that learn make of a batch, by their size."""
        if self.config.net.variant == "progan":
            size = SIZES[self.grown]
            return {size: self.generator.alone(real, faces, size)}
        return dict(zip(SIZES, self.generator.cascade(real, faces), strict=True))

    def _discriminator(self, size: int) -> nn.Module:
        return self.discriminators[SIZES.index(size)]

    def _update_discriminators(
        self, wanted: dict[int, Tensor], answers: dict[int, Tensor], views: dict[int, View]
    ) -> Losses:
        """One step of each against LSGAN's loss, the label of photographs smoothed."""
        losses = []
        for size, answer in answers.items():
            judge, view = self._discriminator(size), views[size]
            of_real = (judge(wanted[size][view]) - self.config.real_label) ** 2
            losses.append(of_real.mean() + (judge(answer.detach()[view]) ** 2).mean())
        loss = torch.stack(losses).sum()
        norm = self.update(self.discriminator_optimiser, self.discriminators, loss)
        return {"discriminator": float(loss.detach()) / len(losses), "discriminator_norm": norm}

    def _terms(self, answer: Tensor, wanted: Tensor, view: View) -> dict[str, Tensor]:
        """The losses of one block, unweighted."""
        weights, size = self.config.weights, answer.shape[-1]
        difference = answer.float() - wanted
        terms = {
            "pixel": difference.abs().mean() if self.config.pixel == "l1"
            else (difference**2).mean(),
            "variation": total_variation(answer.float()),
        }  # fmt: skip
        if weights.adversarial:
            terms["adversarial"] = ((self._discriminator(size)(answer[view]) - 1.0) ** 2).mean()
        if weights.perceptual and size >= self.config.perceptual_from:
            terms["perceptual"] = perceptual(self.recogniser, answer[view], wanted[view])
        if weights.identity and size >= FROM_IDENTITY:
            n = max(1, round(self.config.judged * len(wanted)))
            terms["identity"] = self._identity(answer[:n], wanted[:n])
        return terms

    def _identity(self, answer: Tensor, wanted: Tensor) -> Tensor:
        """L_id, eq. 4, with dlib's embedding for F; a squared distance."""
        with torch.no_grad():
            own = self.recogniser(dlib_crop(wanted)).float()
        made = self.recogniser(dlib_crop(answer.float())).float()
        distance: Tensor = ((made - own) ** 2).sum(dim=1)
        return distance.mean()

    def state(self) -> dict[str, Any]:
        """The state, with the block that learns."""
        return {**super().state(), "grown": self.grown}

    def _load_counts(self, state: dict[str, Any]) -> None:
        super()._load_counts(state)
        self.grown = int(state.get("grown", 0))

    def sheet(self, batch: FacesAlone) -> NDArray[np.uint8]:
        """Pictures, their faces alone, and what the averaged blocks make of them, a row each."""
        real = batch.drawn.pictures.to(self.device, memory_format=torch.channels_last)
        faces = batch.faces.to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16):
            if self.config.net.variant == "progan":
                made = self.average.alone(real, faces, SIZES[self.grown])  # type: ignore[operator]
            else:
                made = self.average.cascade(real, faces)[-1]  # type: ignore[operator]
        shown = F.interpolate(made.float(), (SIZE, SIZE))
        return rows_of_pictures([real, masked_at(real, faces, SIZE)[0], shown])


def drawn_view(size: int, somewhere: bool) -> View:
    """A part of pictures of a size that lacks a few rows and columns, drawn at random; or all.

    Strides of a net that judges them would leave a grid if they always fell on the same pixels.
    """
    left_out = size // 32
    if not somewhere:
        return ..., slice(size), slice(size)
    top, left = torch.randint(left_out + 1, (2,)).tolist()
    rows, columns = (slice(at, at + size - left_out) for at in (top, left))
    return ..., rows, columns


def reduced(pictures: Tensor, size: int) -> Tensor:
    """Pictures at a smaller size."""
    if pictures.shape[-1] == size:
        return pictures
    return F.interpolate(pictures, (size, size), mode="area")


def total_variation(pictures: Tensor) -> Tensor:
    """L_tv, eq. 5: squared differences of neighbours, summed; a mean over the batch."""
    across: Tensor = (pictures[..., :, 1:] - pictures[..., :, :-1]) ** 2
    down: Tensor = (pictures[..., 1:, :] - pictures[..., :-1, :]) ** 2
    return (across.sum() + down.sum()) / len(pictures)


def perceptual(net: DlibResNet, made: Tensor, wanted: Tensor) -> Tensor:
    """L_pc, eq. 2, by the first stage of dlib's face net in the place of LPIPS' AlexNet.

    As LPIPS has it without its learnt weights: features at every place scaled to length one, their
    squared distances averaged over places.
    """
    with torch.no_grad():
        own = _first_stage(net, wanted)
    distance: Tensor = ((_first_stage(net, made) - own) ** 2).sum(dim=1)
    return distance.mean()


def _first_stage(net: DlibResNet, pictures: Tensor) -> Tensor:
    x = ((pictures.float() + 1.0) * 127.5 - net.mean) / 256.0
    x = F.max_pool2d(F.relu(net.stem_affine(net.stem(x))), 3, stride=2)
    for block in net.blocks[:_FIRST_STAGE]:
        x = block(x)
    return F.normalize(x.float(), dim=1)


def begin(job: InpaintJob, config: ContextTraining, device: torch.device) -> Training:
    """Nets and data of a run."""
    faces = read_aligned_faces(job.faces, job.cache_folder, SIZE)
    trainer = ContextTrainer(config, device)
    sampler = ContextSampler(FaceSampler(faces, config.batch, config.seed, Placing(0.5)))
    fixed = ContextSampler(FaceSampler(faces, SHOWN, 12345)).batch(FIXED_BATCH)
    return Training(trainer, sampler, lambda: trainer.sheet(fixed))


def _without(**weights: float) -> ContextTraining:
    config = ContextTraining()
    return replace(config, weights=replace(config.weights, **weights))


KIND = Kind(
    {
        "context-128": ContextTraining,
        "context-128-progan": lambda: replace(
            ContextTraining(), net=ContextConfig(variant="progan")
        ),
        "context-128-l2": lambda: replace(ContextTraining(), pixel="l2"),
        "context-128-no-adversarial": lambda: _without(adversarial=0.0),
        "context-128-no-identity": lambda: _without(identity=0.0),
        "context-128-no-perceptual": lambda: _without(perceptual=0.0),
        "context-128-paper": paper_config,
    },
    begin,
    averaged(ContextNet),
)
