"""One step of AP-GAN's training (III.C), and the state that a resumed run goes on from exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vidswap.models.apgan.discriminator import Discriminator
from vidswap.models.apgan.gate import Composition
from vidswap.models.apgan.generator import Generator
from vidswap.training.config import TrainConfig
from vidswap.training.expression import ExpressionNet, expression_loss
from vidswap.training.growth import grow_discriminator, with_added_parts
from vidswap.training.guarded_trainer import (
    MAX_STEPS_BACK,
    AdversarialTrainer,
    Losses,
    another_architecture,
)
from vidswap.training.id_targets import split_embedding
from vidswap.training.identity_loss import IdentityLoss
from vidswap.training.losses import (
    ADVERSARIAL_LOSSES,
    Scales,
    occlusion_perceptual,
    reconstruction,
    repainted,
    saturation,
    style_perceptual,
    tone,
)
from vidswap.training.pair_batch import PairBatch

__all__ = ["MAX_STEPS_BACK", "Trainer"]


class Trainer(AdversarialTrainer[PairBatch]):
    """Generator, discriminator, their optimisers and the averaged generator.

    While the discriminator is warmed up, a step updates none of the generator, and no image counts
    as seen.
    """

    def __init__(self, config: TrainConfig, identity_loss: IdentityLoss, device: torch.device):
        super().__init__(config, device)
        self.config: TrainConfig = config
        torch.manual_seed(config.seed)
        self.generator = Generator(config.generator)
        _set_id_statistics(self.generator, identity_loss.id_rows)
        self.discriminator = Discriminator(config.discriminator)
        self._begin(self.generator, self.discriminator)
        self.identity_loss = identity_loss.to(device)
        self.id_rows = self.identity_loss.id_rows
        self.expression: ExpressionNet | None = None
        if config.weights.expression:
            self.expression = ExpressionNet.packaged().to(device)
        self.warmed = 0  # images that the discriminator alone has learnt from

    @property
    def _warming(self) -> bool:
        return self.warmed < self.config.warm_discriminator_images

    def learn(self, batch: PairBatch) -> Losses:
        """One update of the discriminator and one of the generator; the losses, for the log."""
        batch = batch.to(self.device)
        return self._warm_discriminator(batch) if self._warming else self._update_both(batch)

    def images_in(self, batch: PairBatch) -> int:
        """How many targets a batch has."""
        return len(batch.targets)

    def count(self, images: int) -> None:
        """Count what a good step has learnt from."""
        if self._warming:
            self.warmed += images
        else:
            super().count(images)

    def _warm_discriminator(self, batch: PairBatch) -> Losses:
        """An update of the discriminator against the generator as it stands."""
        device = self.device
        targets = batch.targets.to(memory_format=torch.channels_last)
        maps = batch.boundary_maps.to(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                outputs = self._composed(targets, maps, batch).picture
            self.discriminator.requires_grad_(True)
            _, losses = self._update_discriminator(targets, maps, outputs)
        return losses

    def _update_both(self, batch: PairBatch) -> Losses:
        device, weights = self.device, self.config.weights
        _, hinge_g = ADVERSARIAL_LOSSES[self.config.adversarial]
        targets = batch.targets.to(memory_format=torch.channels_last)
        maps = batch.boundary_maps.to(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            logits, outputs, gate = self._composed(targets, maps, batch)
            outputs = outputs.contiguous(memory_format=torch.channels_last)

            self.discriminator.requires_grad_(True)
            real, losses_d = self._update_discriminator(targets, maps, outputs.detach())

            self.discriminator.requires_grad_(False)
            # The real features are those of just before the discriminator's update: one pass less.
            fake = self.discriminator(outputs, maps)
            keep_views = self.discriminator.views(batch.keep.sqrt())
            # A face whose own picture is the answer has its identity by the reconstruction loss.
            n = batch.n_answered
            wanted, wanted_stages = self._wanted(targets, maps, real, batch)
            terms = {
                "adversarial": hinge_g(fake),
                "saturation": saturation(logits),
                "reconstruction": reconstruction(outputs, wanted, batch.keep),
                "tone": tone(outputs, wanted, batch.keep),
                "occlusion": occlusion_perceptual(wanted_stages, fake, keep_views),
                "style": style_perceptual(wanted_stages, fake),
            }
            if gate is not None:
                terms["gate"] = repainted(gate, batch.references[:, 3:])
            if n < len(outputs):
                terms |= self.identity_loss(outputs[n:], batch.sources[n:], batch.target_rows[n:])
                if self.expression is not None:
                    terms["expression"] = expression_loss(
                        self.expression, outputs[n:], targets[n:], batch.corners[n:]
                    )
            loss_g = torch.stack([getattr(weights, k) * v for k, v in terms.items()]).sum()
            norm_g = self.update(self.generator_optimiser, self.generator, loss_g)
        return {
            **losses_d,
            "gradient_norm": norm_g,
            **{name: value.detach() for name, value in terms.items()},
        }

    def _composed(self, targets: Tensor, maps: Tensor, batch: PairBatch) -> Composition:
        """The generator's answers to a batch."""
        identity = split_embedding(self.id_rows[batch.sources])
        shown = self._with_swaps(targets, maps, batch)
        seen = batch.references.to(memory_format=torch.channels_last)
        composition: Composition = self.generator.compose(shown, maps, identity, seen)
        return composition

    def _update_discriminator(
        self, targets: Tensor, maps: Tensor, outputs: Tensor
    ) -> tuple[Scales, Losses]:
        """One update; what the discriminator made of the targets before it, and the loss."""
        hinge_d, _ = ADVERSARIAL_LOSSES[self.config.adversarial]
        real: Scales = self.discriminator(targets, maps)
        loss = hinge_d(real, self.discriminator(outputs, maps))
        norm = self.update(self.discriminator_optimiser, self.discriminator, loss)
        return real, {"discriminator": loss.detach(), "discriminator_norm": norm}

    def _with_swaps(self, targets: Tensor, maps: Tensor, batch: PairBatch) -> Tensor:
        """The generator's inputs: targets, but for some pairs with another's face on them.

        A face put on by the averaged generator, or laid over a picture, and taken off again has a
        true answer, which eq. 7 otherwise has only where input and output are the same picture.
        """
        first, last = batch.n_same_picture + batch.n_swap_back, batch.n_answered
        shown = targets.clone()
        shown[first:last] = batch.warped
        if batch.n_swap_back:
            chosen = slice(batch.n_same_picture, first)
            with torch.no_grad():
                other = split_embedding(self.id_rows[batch.swap_back_sources])
                swapped = self.average(targets[chosen], maps[chosen], other)
            shown[chosen] = swapped.to(shown.dtype)
        return shown

    def _wanted(
        self, targets: Tensor, maps: Tensor, real: Scales, batch: PairBatch
    ) -> tuple[Tensor, Scales]:
        """What outputs are compared with, and the discriminator's features of it."""
        if not len(batch.answers):
            return targets, real
        answers = batch.answers.to(memory_format=torch.channels_last)
        answered = slice(batch.n_answered, batch.n_answered + len(answers))
        wanted = targets.clone()
        wanted[answered] = answers
        with torch.no_grad():
            stages = self.discriminator(answers, maps[answered])
        return wanted, _with_rows(real, stages, answered)

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs; the next batch is that of number `steps`."""
        return {**super().state(), "warmed": self.warmed}

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from `state()`. Weights of a 128-pixel run carry over to a 256-pixel one.

        A state without a discriminator, as that of an exported generator, gets a new one.
        Raises CheckpointError when the state is of another architecture.
        """
        try:
            if self.config.generator.reference:
                state = with_added_parts(state, self.generator)
            if state["generator"].keys() == self.generator.state_dict().keys():
                self._load_nets(state)
            else:
                self._grow_from(state)
        except (KeyError, ValueError, RuntimeError) as error:
            raise another_architecture(error) from error
        # A discriminator that comes along from elsewhere has learnt before.
        known = self.config.warm_discriminator_images if "discriminator" in state else 0
        self.warmed = int(state.get("warmed", known))
        self._load_counts(state)

    def _grow_from(self, state: dict[str, Any]) -> None:
        for name in ("generator", "average"):
            _, unexpected = getattr(self, name).load_state_dict(state[name], strict=False)
            if unexpected:
                raise ValueError(f"unexpected {unexpected[0]}")
        if "discriminator" not in state:
            return
        # What saw 128 pixels goes on seeing 128; only the finest scale is new.
        grown = grow_discriminator(self.discriminator.state_dict(), state["discriminator"])
        self.discriminator.load_state_dict(grown)


def _with_rows(scales: Scales, rows: Scales, chosen: slice) -> Scales:
    """The discriminator's features with `rows` in place of the `chosen` pictures of a batch."""
    replaced = []
    for (score, stages), (_, of_rows) in zip(scales, rows, strict=True):
        mixed = [stage.detach().clone() for stage in stages]
        for stage, row in zip(mixed, of_rows, strict=True):
            stage[chosen] = row
        replaced.append((score.detach(), mixed))
    return replaced


def _set_id_statistics(generator: Generator, id_rows: Tensor) -> None:
    identity = split_embedding(id_rows)
    raw = torch.cat([identity.vector, *identity.features], dim=1)
    generator.id_mean.copy_(raw.mean(dim=0))
    generator.id_std.copy_(raw.std(dim=0).clamp(min=1e-3))
