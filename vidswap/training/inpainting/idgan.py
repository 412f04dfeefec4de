"""Train ID-GAN: losses of Ge et al., III.B to III.E, and the rows of its Table III."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidswap.errors import TrainingConfigError
from vidswap.faces.align import CROP_SIZE
from vidswap.identity.encoder import IdentityEncoder, dlib_crop
from vidswap.inpainting.id_gan import LOCAL_SIZE, SIZE, Discriminators, IdGanConfig, InpaintingNet
from vidswap.inpainting.parsing import ParsingNet, load_parsing
from vidswap.training.data.aligned_faces import (
    AlignedFaces,
    FaceSampler,
    FacesDrawn,
    Placing,
    read_aligned_faces,
)
from vidswap.training.data.face_shards import cached_faces
from vidswap.training.graph_readers import read_tflite
from vidswap.training.guarded_trainer import AdversarialTrainer, Losses, placed
from vidswap.training.id_targets import MobileFaceNet, cached_mobilefacenet, split_embedding
from vidswap.training.inpainting.hole_masks import discount, drawn_hole, window_in
from vidswap.training.inpainting.kinds import InpaintJob, Kind, Training, averaged
from vidswap.training.losses import random_jitter
from vidswap.training.records import rows_of_pictures

SHOWN = 12  # faces per sheet
FIXED_BATCH = 10**9  # the number of the sheet's batch, which training does not reach
# III.D: weights of the low- and high-level features and of the identity-diversity term.
ALPHA_LOW, ALPHA_HIGH, BETA = 0.5, 0.05, 0.5
TRIPLET_MARGIN = 0.2  # of squared dlib distance
IDENTITY_TERMS = ("diversity", "none", "centre", "triplet")


@dataclass(frozen=True)
class IdGanWeights:
    """Weights of eq. 7.

    Pictures are in [-1, 1] and means are taken over pixels, where the paper's Caffe has other
    units: its 300, 300, 0.05 and 0.0002 do not carry over. second: of the high-level and the last
    term of eq. 6 by a second R, of which the paper knows nothing; what pleases two face nets is
    less often a pattern that only the one sees. It needs --second-encoder.
    """

    reconstruction: float = 60.0
    adversarial_local: float = 0.08
    adversarial_global: float = 0.08
    structure: float = 1.0
    recognition: float = 2.0
    second: float = 0.0


@dataclass(frozen=True)
class IdGanTraining:
    """One training run.

    identity: the last term of eq. 6, "diversity", or what Table III has in its place: "centre",
    "triplet", or "none", which leaves the perceptual terms. blocks: share of holes that are the
    paper's squares. judged: share of a batch that S and R see, which cost a third of a step.
    warm_images: so many at first without adversaries.
    """

    net: IdGanConfig = field(default_factory=IdGanConfig)
    discriminator_width: int = 16
    weights: IdGanWeights = field(default_factory=IdGanWeights)
    identity: str = "diversity"
    blocks: float = 0.5
    judged: float = 1.0
    rotation: float = 6.0
    shift: float = 6.0
    batch: int = 16
    generator_rate: float = 6e-4
    discriminator_rate: float = 2e-4
    generator_betas: tuple[float, float] = (0.9, 0.99)
    discriminator_betas: tuple[float, float] = (0.5, 0.99)
    clip_norm: float = 20.0
    ema_images: int = 4000
    warm_images: int = 6000
    seed: int = 1

    def __post_init__(self) -> None:
        if self.identity not in IDENTITY_TERMS:
            raise TrainingConfigError(
                f"identity is {self.identity!r}; allowed: {', '.join(IDENTITY_TERMS)}"
            )
        if not 0 < self.judged <= 1 or (self.identity == "triplet" and self.judged < 1):
            raise TrainingConfigError(
                f"judged is {self.judged:g}; it must be above 0 to 1, and 1 with triplets"
            )


def paper_config() -> IdGanTraining:
    """IV.A where it is printed: blocks alone, turned by up to 15 degrees, rates of 0.0001."""
    return replace(
        IdGanTraining(), blocks=1.0, rotation=15.0, generator_rate=1e-4, discriminator_rate=1e-4,
        warm_images=0,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class SecondRecogniser:
    """A further R and eq. 5's f (N, 192) of each row's person, both of length one."""

    net: MobileFaceNet
    centres: Tensor


@dataclass(frozen=True, eq=False)
class HoledFaces:
    """A batch with its holes.

    masks, discounts: (B, 1, 128, 128), M and the W of eq. 2. windows: (B, 2), what D_l sees.
    In a batch of triplets rows come as anchors, positives, negatives, a third each.
    """

    faces: FacesDrawn
    masks: Tensor
    discounts: Tensor
    windows: Tensor


class HoleSampler:
    """Draws faces with holes: the same number is always the same batch."""

    def __init__(self, faces: FaceSampler, blocks: float, triplets: bool = False) -> None:
        self.faces, self.blocks, self.triplets = faces, blocks, triplets
        self.albums: list[NDArray[np.int64]] = []
        if triplets:
            people = faces.faces.people()[0]
            trained = faces.faces.rows
            order = trained[np.argsort(people[trained], kind="stable")]
            parts = np.split(order, np.flatnonzero(np.diff(people[order])) + 1)
            self.albums = [part for part in parts if len(part) > 1]

    def batch(self, number: int) -> HoledFaces:
        """Batch `number`."""
        if not self.triplets or not self.albums:
            return self.with_holes(self.faces.batch(number))
        random = np.random.default_rng((self.faces.seed, number))
        n = self.faces.size // 3
        chosen = [self.albums[i] for i in random.integers(len(self.albums), size=n)]
        pairs = np.array([random.choice(album, 2, replace=False) for album in chosen])
        others = random.choice(self.faces.faces.rows, n)
        rows = np.concatenate([pairs[:, 0], pairs[:, 1], others])
        return self.with_holes(self.faces.drawn(rows, random))

    def with_holes(self, drawn: FacesDrawn) -> HoledFaces:
        """Faces with a hole drawn for each."""
        masks, discounts, windows = [], [], []
        for landmarks in drawn.meshes:
            mask = drawn_hole(SIZE, landmarks, drawn.random, self.blocks)
            masks.append(mask)
            discounts.append(discount(mask))
            windows.append(window_in(mask, LOCAL_SIZE, drawn.random))
        return HoledFaces(
            drawn,
            torch.from_numpy(np.stack(masks)[:, None]).float(),
            torch.from_numpy(np.stack(discounts)[:, None]),
            torch.tensor(windows),
        )


class IdGanTrainer(AdversarialTrainer[HoledFaces]):
    """I and its adversaries D_g and D_l; S and R stay as they are."""

    nets_kept = ("generator", "average", "discriminators")

    def __init__(
        self, config: IdGanTraining, parsing: ParsingNet, centres: Tensor, device: torch.device,
        second: SecondRecogniser | None = None,
    ) -> None:  # fmt: skip
        """`centres` (N, 128) are eq. 5's f of each row's person."""
        super().__init__(config, device)
        torch.manual_seed(config.seed)
        self.generator = InpaintingNet(config.net)
        self.discriminators = Discriminators(config.discriminator_width)
        self._begin(self.generator, self.discriminators)
        self.parsing = parsing.to(device)
        self.recogniser = IdentityEncoder().to(device).requires_grad_(False)
        self.recogniser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.centres = centres.to(device)
        self.second = second
        if second is not None:
            placed(device, second.net.requires_grad_(False))

    def adam_settings(self) -> dict[str, tuple[float, tuple[float, float]]]:
        """Rate and betas of both optimisers."""
        config = self.config
        return {
            "generator_optimiser": (config.generator_rate, config.generator_betas),
            "discriminator_optimiser": (config.discriminator_rate, config.discriminator_betas),
        }

    def images_in(self, batch: HoledFaces) -> int:
        """How many faces a batch has."""
        return len(batch.faces)

    def learn(self, batch: HoledFaces) -> Losses:
        """One update of the discriminators and one of I."""
        config, device, weights = self.config, self.device, self.config.weights
        real = batch.faces.pictures.to(device, memory_format=torch.channels_last)
        masks, windows = batch.masks.to(device), batch.windows
        with torch.autocast(device.type, torch.bfloat16):
            answers = self.generator(real, masks)
            # What is known is the picture's own; so do D, S and R see it.
            filled = torch.where(masks > 0.5, answers.to(real.dtype), real)
            filled = filled.contiguous(memory_format=torch.channels_last)
            terms = {"reconstruction": discounted(answers, real, batch.discounts.to(device))}
            losses_d: Losses = {}
            if self.images >= config.warm_images:
                losses_d = self._update_discriminators(real, filled.detach(), windows)
                self.discriminators.requires_grad_(False)
                of_whole, of_local = self.discriminators(filled, windows)
                self.discriminators.requires_grad_(True)
                terms["adversarial_global"] = F.softplus(-of_whole.float()).mean()
                terms["adversarial_local"] = F.softplus(-of_local.float()).mean()
            n = max(1, round(config.judged * len(real)))
            terms["structure"] = structure(self.parsing, filled[:n], real[:n])
            rows = torch.from_numpy(batch.faces.rows[:n])
            recognised = self._recognition(filled[:n], real[:n], rows)
            terms["recognition"] = torch.stack(list(recognised.values())).sum()
            if self.second is not None and weights.second:
                terms["second"] = self._second(self.second, filled[:n], real[:n], rows)
            loss = torch.stack([getattr(weights, k) * v for k, v in terms.items()]).sum()
            norm = self.update(self.generator_optimiser, self.generator, loss)
        hole = masks.expand_as(real) > 0.5
        error = (answers.detach().float() - real)[hole].abs().mean()
        return {
            **losses_d,
            **{name: float(value.detach()) for name, value in (terms | recognised).items()},
            "hole_error": float(error),
            "gradient_norm": norm,
        }

    def _update_discriminators(self, real: Tensor, filled: Tensor, windows: Tensor) -> Losses:
        """One step of D_g and D_l against eq. 4."""
        losses = [
            F.softplus(-of_real.float()).mean() + F.softplus(of_filled.float()).mean()
            for of_real, of_filled in zip(
                self.discriminators(real, windows),
                self.discriminators(filled, windows),
                strict=True,
            )
        ]
        loss = torch.stack(losses).sum()
        norm = self.update(self.discriminator_optimiser, self.discriminators, loss)
        names = ("discriminator_global", "discriminator_local")
        told = {name: float(value.detach()) for name, value in zip(names, losses, strict=True)}
        return {**told, "discriminator_norm": norm}

    def _recognition(self, filled: Tensor, real: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The terms of eq. 6, weighted as III.D has them; their sum is L_R."""
        views = random_view(real)
        with torch.no_grad():
            low_y, high_y = self._features(real, views)
        low_x, high_x = self._features(filled, views)
        terms = {
            "low_level": ALPHA_LOW * (low_x - low_y).abs().mean(),
            "high_level": ALPHA_HIGH * (high_x - high_y).norm(dim=1).mean(),
        }
        centres = self.centres[rows.to(real.device)]
        last = identity_term(self.config.identity, high_x, high_y, centres)
        if last is not None:
            terms[self.config.identity] = BETA * last
        return terms

    def _second(
        self, second: SecondRecogniser, filled: Tensor, real: Tensor, rows: Tensor
    ) -> Tensor:
        """The high-level and the last term of eq. 6 by the second R, weighted alike."""
        views = random_view(real)
        with torch.no_grad():
            y = F.normalize(second.net(real, views).float(), dim=1)
        x = F.normalize(second.net(filled, views).float(), dim=1)
        total: Tensor = BETA * (x - y).norm(dim=1).mean()
        centres = second.centres[rows].to(x.device)
        last = identity_term(self.config.identity, x, y, centres)
        return total if last is None else total + BETA * last

    def _features(self, faces: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
        """R's features of a low and of a high level: its first stage, and the embedding."""
        stages = self.recogniser.resnet.stages(dlib_crop(faces.float(), views))
        embedding = self.recogniser.resnet.embed(self.recogniser.resnet.pooled(stages[-1]))
        return stages[0].float(), embedding.float()

    def sheet(self, batch: HoledFaces) -> NDArray[np.uint8]:
        """Faces, what is known of them, and the averaged net's fillings, a row each."""
        real = batch.faces.pictures.to(self.device, memory_format=torch.channels_last)
        masks = batch.masks.to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16):
            answers = self.average(real, masks).float()
        known = torch.where(masks > 0.5, torch.ones_like(real), real)
        return rows_of_pictures([real, known, torch.where(masks > 0.5, answers, real)])


def discounted(answers: Tensor, real: Tensor, discounts: Tensor) -> Tensor:
    """L_I, eq. 2: the mean over pixels and channels of ((X - Y) W) squared."""
    return (((answers.float() - real.float()) * discounts) ** 2).mean()


def structure(parsing: ParsingNet, filled: Tensor, real: Tensor) -> Tensor:
    """L_S, eq. 3: cross-entropy of S(X) to the likeliest part of S(Y) at every pixel."""
    with torch.no_grad():
        parts = parsing(real).argmax(dim=1)
    return F.cross_entropy(parsing(filled).float(), parts)


def identity_term(name: str, filled: Tensor, real: Tensor, centres: Tensor) -> Tensor | None:
    """The term of eq. 6 beside the perceptual ones, or one of Table III's in its place.

    Features (B, 128) of X and of Y and the centres f. "diversity": [|X - f| - |Y - f|, 0]+;
    "centre": |X - f| squared; "triplet": that of FaceNet over thirds of the batch; "none": None.
    """
    if name == "none":
        return None
    if name == "centre":
        return ((filled - centres) ** 2).sum(dim=1).mean()
    if name == "triplet":
        n = len(filled) // 3
        anchor, positive, negative = filled[:n], filled[n : 2 * n], filled[2 * n : 3 * n]
        near = ((anchor - positive) ** 2).sum(dim=1)
        far = ((anchor - negative) ** 2).sum(dim=1)
        return F.relu(near - far + TRIPLET_MARGIN).mean()
    to_centre = (filled - centres).norm(dim=1) - (real - centres).norm(dim=1)
    return F.relu(to_centre).mean()


def random_view(faces: Tensor) -> Tensor:
    """How a recogniser is shown faces (B, 3, H, W): slightly moved, turned and scaled."""
    views = random_jitter(len(faces), scale=0.03, rotation=0.04, shift=0.03)
    return views.to(faces.device)


def second_recogniser(job: InpaintJob, faces: AlignedFaces) -> SecondRecogniser:
    """The job's second R and its centres. Raises TrainingConfigError where the job has none."""
    if job.second_encoder is None:
        raise TrainingConfigError(
            "weights.second is set but there is no second recogniser; give --second-encoder "
            "FILE.tflite, or set the weight to 0"
        )
    net = MobileFaceNet(read_tflite(job.second_encoder))
    pictures = cached_faces(job.faces, job.cache_folder, CROP_SIZE)
    rows = np.array(cached_mobilefacenet(pictures, net, job.cache_folder))
    centres = identity_centres(faces, F.normalize(torch.from_numpy(rows), dim=1))
    return SecondRecogniser(net, F.normalize(centres, dim=1))


def identity_centres(faces: AlignedFaces, embeddings: Tensor | None = None) -> Tensor:
    """Eq. 5 (N, D): the mean of R over the training pictures of each row's person.

    By default of dlib's embeddings, 128 numbers. Rows that are never trained on have their own
    feature.
    """
    if embeddings is None:
        embeddings = split_embedding(torch.from_numpy(np.array(faces.id_rows))).embedding
    people, n = faces.people()
    rows = torch.from_numpy(faces.rows)
    of = torch.from_numpy(people)[rows]
    sums = torch.zeros(n, embeddings.shape[1]).index_add_(0, of, embeddings[rows])
    counts = torch.bincount(of, minlength=n)
    centres = embeddings.clone()
    centres[rows] = sums[of] / counts[of, None]
    return centres


def begin(job: InpaintJob, config: IdGanTraining, device: torch.device) -> Training:
    """Nets and data of a run. Raises TrainingConfigError without a parsing net."""
    if job.parsing is None:
        raise TrainingConfigError(
            "idgan needs --parsing FILE.safetensors, the face parsing net of eq. 3; train one with "
            "--config parsing-128 and export it"
        )
    faces = read_aligned_faces(job.faces, job.cache_folder, SIZE)
    placing = Placing(0.5, config.rotation, config.shift)
    second = second_recogniser(job, faces) if config.weights.second else None
    trainer = IdGanTrainer(
        config, load_parsing(job.parsing), identity_centres(faces), device, second
    )
    drawn = FaceSampler(faces, config.batch, config.seed, placing)
    sampler = HoleSampler(drawn, config.blocks, config.identity == "triplet")
    fixed = HoleSampler(FaceSampler(faces, SHOWN, 12345, Placing()), 0.5).batch(FIXED_BATCH)
    return Training(trainer, sampler, lambda: trainer.sheet(fixed))


KIND = Kind(
    {
        "idgan-128": IdGanTraining,
        "idgan-128-none": lambda: replace(IdGanTraining(), identity="none"),
        "idgan-128-centre": lambda: replace(IdGanTraining(), identity="centre"),
        "idgan-128-triplet": lambda: replace(IdGanTraining(), identity="triplet", batch=15),
        "idgan-128-paper": paper_config,
    },
    begin,
    averaged(InpaintingNet),
)
