"""Train AEI-Net as SwapInpaint's G, C and I as they are (Li et al., III.C, eq. 6-10)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidswap.errors import CheckpointError, TrainingConfigError
from vidswap.identity.encoder import IdentityEncoder, dlib_crop
from vidswap.inpainting.aei_net import SIZE, AeiConfig, AeiNet
from vidswap.inpainting.content import ContentNet
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.inpainting.swapinpaint import SwapInpaint, SwapInpaintConfig
from vidswap.models.apgan.discriminator import PatchDiscriminator
from vidswap.models.checkpoint import load_generator
from vidswap.training.data.aligned_faces import (
    AlignedFaces,
    FaceSampler,
    Placing,
    read_aligned_faces,
)
from vidswap.training.guarded_trainer import AdversarialTrainer, Losses
from vidswap.training.id_targets import split_embedding
from vidswap.training.inpainting.content import ContentSampler, FacesWithHoles
from vidswap.training.inpainting.kinds import InpaintJob, Kind, Training
from vidswap.training.losses import (
    discriminator_log,
    generator_log,
    random_degradation,
    random_jitter,
)
from vidswap.training.records import rows_of_pictures

SHOWN = 12  # faces per sheet
FIXED_BATCH = 10**9  # the number of the sheet's batch, which training does not reach
GIVEN = ("inferred", "incomplete", "complete")


@dataclass(frozen=True)
class SwapInpaintWeights:
    """lambda_1 to lambda_3 of eq. 6, IV.A, beside an adversarial loss of weight one.

    Distances are means over pixels and channels, where the paper does not say.
    """

    reconstruction: float = 10.0
    identity: float = 5.0
    attributes: float = 10.0


@dataclass(frozen=True)
class SwapInpaintTraining:
    """One training run; rates and betas are Adam's.

    given: what G is trained on, X^ or, for the rows of Table II, the "incomplete" faces or the
    "complete" ones. double: eq. 10 for L_att, or eq. 8. same: share of a batch whose reference is
    the face itself, S = 1.
    """

    net: AeiConfig = field(default_factory=AeiConfig)
    discriminator_width: int = 12
    weights: SwapInpaintWeights = field(default_factory=SwapInpaintWeights)
    given: str = "inferred"
    double: bool = True
    same: float = 0.3
    centre: float = 0.5
    irregular: float = 0.3
    batch: int = 12
    generator_rate: float = 4e-4
    discriminator_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.99)
    clip_norm: float = 5.0
    ema_images: int = 4000
    seed: int = 1

    def __post_init__(self) -> None:
        if self.given not in GIVEN:
            raise TrainingConfigError(f"given is {self.given!r}; allowed: {', '.join(GIVEN)}")


@dataclass(frozen=True, eq=False)
class PairsWithHoles:
    """Faces with holes, and the rows (B,) of whom they are to be filled as; `same` (B,) is S."""

    holed: FacesWithHoles
    references: NDArray[np.int64]
    same: Tensor


class ReferenceSampler:
    """Draws a reference for each face: itself, or anybody's."""

    def __init__(self, faces: ContentSampler, same: float) -> None:
        self.faces, self.same = faces, same

    def batch(self, number: int) -> PairsWithHoles:
        """Batch `number`."""
        holed = self.faces.batch(number)
        drawn = holed.faces
        same = drawn.random.random(len(drawn)) < self.same
        others = drawn.random.choice(self.faces.faces.faces.rows, len(drawn))
        same |= others == drawn.rows
        rows = np.where(same, drawn.rows, others)
        return PairsWithHoles(holed, rows, torch.from_numpy(same).float())


class SwapInpaintTrainer(AdversarialTrainer[PairsWithHoles]):
    """G and its discriminator; C, and dlib's net as I, do not learn."""

    nets_kept = ("generator", "average", "discriminator", "content")

    def __init__(
        self, config: SwapInpaintTraining, content: ContentNet, id_rows: Tensor,
        device: torch.device,
    ) -> None:  # fmt: skip
        super().__init__(config, device)
        torch.manual_seed(config.seed)
        self.generator = AeiNet(config.net)
        self.discriminator = PatchDiscriminator(config.discriminator_width, in_channels=3)
        self.content = content.requires_grad_(False)
        self.recogniser = IdentityEncoder().requires_grad_(False)
        self._begin(self.generator, self.discriminator, self.content, self.recogniser)
        self.embeddings = split_embedding(id_rows).embedding.to(device)
        # dlib's embeddings all point to one side: cosines say more about their mean.
        self.centre = self.embeddings.mean(dim=0)

    def images_in(self, batch: PairsWithHoles) -> int:
        """How many faces a batch has."""
        return len(batch.references)

    def learn(self, batch: PairsWithHoles) -> Losses:
        """One update of the discriminator and one of G, eq. 6."""
        config, device = self.config, self.device
        real = batch.holed.faces.pictures.to(device, memory_format=torch.channels_last)
        masks, same = batch.holed.masks.to(device), batch.same.to(device)
        wanted = self.embeddings[torch.from_numpy(batch.references).to(device)]
        with torch.autocast(device.type, torch.bfloat16):
            given = self._given(real, masks)
            of_given = self.generator.attributes(given)
            swapped = self.generator.generate(of_given, wanted).float()
            swapped = swapped.contiguous(memory_format=torch.channels_last)
            losses_d = self._update_discriminator(real, swapped.detach())
            self.discriminator.requires_grad_(False)
            pasted = torch.where(masks > 0.5, swapped, given)  # Y
            terms = {
                "adversarial": generator_log([self.discriminator(swapped)]),
                "reconstruction": known_distance(swapped, given, masks, same),
                "identity": self._identity(swapped, wanted),
                "attributes": attribute_loss(
                    of_given,
                    self.generator.attributes(swapped),
                    self.generator.attributes(pasted) if config.double else None,
                ),
            }
            self.discriminator.requires_grad_(True)
            loss = terms["adversarial"] + sum(
                getattr(config.weights, name) * value
                for name, value in terms.items()
                if name != "adversarial"
            )
            norm = self.update(self.generator_optimiser, self.generator, loss)
        return {
            **losses_d,
            **{name: float(value.detach()) for name, value in terms.items()},
            "gradient_norm": norm,
        }

    def state(self) -> dict[str, Any]:
        """The state, with the size of C, which its weights do not tell."""
        return {**super().state(), "content_size": self.content.size}

    def _given(self, real: Tensor, masks: Tensor) -> Tensor:
        """What G gets of a batch."""
        if self.config.given == "complete":
            return real
        if self.config.given == "incomplete":
            return real * (1.0 - masks)
        with torch.no_grad():
            return self.content.content(real, masks)

    def _update_discriminator(self, real: Tensor, swapped: Tensor) -> Losses:
        loss = discriminator_log([self.discriminator(real)], [self.discriminator(swapped)])
        norm = self.update(self.discriminator_optimiser, self.discriminator, loss)
        return {"discriminator": float(loss.detach()), "discriminator_norm": norm}

    def _identity(self, swapped: Tensor, wanted: Tensor) -> Tensor:
        """L_id, eq. 7: through jittered, degraded views, which no hidden pattern pleases."""
        views = random_jitter(len(swapped), scale=0.06, rotation=0.08, shift=0.05)
        faces = random_degradation(dlib_crop(swapped, views.to(swapped.device)))
        made = self.recogniser.embed_faces(faces).embedding.float()
        return (1.0 - F.cosine_similarity(made - self.centre, wanted - self.centre)).mean()

    def sheet(self, batch: PairsWithHoles, faces: AlignedFaces) -> NDArray[np.uint8]:
        """References, what is known of faces, what G gets of them, and its answer laid in."""
        real = batch.holed.faces.pictures.to(self.device, memory_format=torch.channels_last)
        masks = batch.holed.masks.to(self.device)
        wanted = self.embeddings[torch.from_numpy(batch.references).to(self.device)]
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16):
            given = self._given(real, masks)
            swapped = self.average(given, wanted).float()
        shown = torch.from_numpy(faces.pictures[batch.references]).permute(0, 3, 1, 2).float()
        known = torch.where(masks > 0.5, torch.ones_like(real), real)
        pasted = torch.where(masks > 0.5, swapped, real)
        return rows_of_pictures([shown / 127.5 - 1.0, known, given, swapped, pasted])


def known_distance(swapped: Tensor, given: Tensor, masks: Tensor, same: Tensor) -> Tensor:
    """L_rec, eq. 9: half the squared distance where the face was known, for S = 1 alone.

    The paper's M marks no side; C has redrawn what lies under the mask, which is the reason it
    gives for M, so that the known pixels are meant.
    """
    distance = ((swapped - given.float()) ** 2 * (1.0 - masks)).mean(dim=(1, 2, 3))
    return 0.5 * (same * distance).mean()


def attribute_loss(
    given: list[Tensor], swapped: list[Tensor], pasted: list[Tensor] | None
) -> Tensor:
    """L_att of attributes A(X^), A(Y_sp) and A(Y): eq. 10, or eq. 8 without the last.

    Means over each map, summed over sizes. A(X^) is what the others are to be like.
    """
    losses = []
    for others in (swapped, pasted):
        for own, other in zip(given, others or [], strict=others is not None):
            losses.append(((other.float() - own.detach().float()) ** 2).mean())
    return 0.5 * torch.stack(losses).sum()


def load_content(path: Path | None) -> ContentNet:
    """C of a checkpoint. Raises TrainingConfigError without one, CheckpointError for another."""
    if path is None:
        raise TrainingConfigError(
            "swapinpaint needs --content FILE.safetensors, the content inference net; train one "
            "with --config content-128 and export it"
        )
    net = load_generator(path).net
    if not isinstance(net, SwapInpaint):
        raise CheckpointError(f"{path}: holds {net.name}, not the content inference net")
    return net.content


def begin(job: InpaintJob, config: SwapInpaintTraining, device: torch.device) -> Training:
    """Nets and data of a run."""
    content = load_content(job.content)
    faces = read_aligned_faces(job.faces, job.cache_folder, SIZE)
    id_rows = torch.from_numpy(np.array(faces.id_rows))
    trainer = SwapInpaintTrainer(config, content, id_rows, device)

    def sampler(n: int, seed: int, placing: Placing, same: float) -> ReferenceSampler:
        drawn = ContentSampler(
            FaceSampler(faces, n, seed, placing), config.centre, config.irregular
        )
        return ReferenceSampler(drawn, same)

    fixed = sampler(SHOWN, 12345, Placing(), 0.0).batch(FIXED_BATCH)
    drawn = sampler(config.batch, config.seed, Placing(0.5), config.same)
    return Training(trainer, drawn, lambda: trainer.sheet(fixed, faces))


def export(state: dict[str, Any], config: SwapInpaintTraining, output: Path) -> None:
    """Write C and the averaged G."""
    widths, latent = content_shape(state["content"])
    given = "inferred" if config.given == "inferred" else "incomplete"
    size = int(state["content_size"])
    net = SwapInpaint(SwapInpaintConfig(widths, latent, size, "aei", config.net.widths, given))
    assert net.aei is not None
    net.content.load_state_dict(state["content"])
    net.aei.load_state_dict(state["average"])
    save_inpainter(net, output, int(state["images"]))


def content_shape(state: dict[str, Tensor]) -> tuple[tuple[int, int, int, int], int]:
    """Channels and latent maps of C by its weights."""
    widths = [state["stem.bias"].numel()]
    widths += [state[f"down.{i}.second.bias"].numel() for i in range(3)]
    fine, half, quarter, eighth = widths
    return (fine, half, quarter, eighth), state["distribution.bias"].numel() // 2


KIND = Kind(
    {
        "swapinpaint-128": SwapInpaintTraining,
        "swapinpaint-128-original": lambda: replace(SwapInpaintTraining(), given="complete"),
        "swapinpaint-128-without-c": lambda: replace(SwapInpaintTraining(), given="incomplete"),
    },
    begin,
    export,
)
