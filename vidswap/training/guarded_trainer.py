"""What all training runs have in common: nets, an averaged one, a guard, and an exact state."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vidswap.errors import CheckpointError, TrainingDivergedError
from vidswap.training.distributed import average_gradients, n_processes, same_everywhere

GOOD_STATE_STEPS = 100  # between two states that the guard can step back to
MAX_STEPS_BACK = 5  # in a row, before a run gives up

BatchT = TypeVar("BatchT")
# By name. Those that are still tensors are fetched all at once, for which a GPU is waited for.
Losses = Mapping[str, float | Tensor]


class StepConfig(Protocol):
    """What a configuration says of the steps themselves."""

    @property
    def generator_rate(self) -> float:
        """Adam's rate of the net that is averaged."""

    @property
    def clip_norm(self) -> float:
        """The largest norm of a net's gradient."""

    @property
    def ema_images(self) -> int:
        """How many images the averaged weights look back over."""


class GuardedTrainer(ABC, Generic[BatchT]):
    """Nets and their optimisers as attributes; `learn` is all that a kind of training adds.

    `nets_kept` and `optimisers_kept` name the attributes that a state holds. Of the net `averaged`
    the attribute `average` is a copy that follows it over `ema_images` images. A step whose values
    are not finite brings back the nets of the last good state.
    """

    nets_kept: ClassVar[tuple[str, ...]]
    optimisers_kept: ClassVar[tuple[str, ...]]
    averaged: ClassVar[str] = "generator"
    average: nn.Module

    def __init__(self, config: Any, device: torch.device) -> None:
        self.config, self.device = config, device
        self.images = 0
        self.steps = 0
        self.steps_back = 0
        self._steps_back_in_a_row = 0
        self._good_state: dict[str, Any] | None = None

    @abstractmethod
    def learn(self, batch: BatchT) -> Losses:
        """One update of every net from a batch; the losses, for the log."""

    @abstractmethod
    def images_in(self, batch: BatchT) -> int:
        """How many images a batch of this process has."""

    @abstractmethod
    def adam_settings(self) -> dict[str, tuple[float, tuple[float, float]]]:
        """Rate and betas of each optimiser, by the attribute's name."""

    def step(self, batch: BatchT) -> dict[str, float] | None:
        """One update; the losses, for the log.

        None where a value was not finite: the nets are then those of the last good state, and the
        batch is left out. Raises TrainingDivergedError when that does not help.
        """
        if self._good_state is None:
            self._good_state = copy.deepcopy(self.nets())
        losses = as_numbers(self.learn(batch))
        self.steps += 1
        if not all(math.isfinite(value) for value in losses.values()):
            self._step_back(losses)
            return None
        self._steps_back_in_a_row = 0
        self.count(self.images_in(batch) * n_processes())
        if self.steps % GOOD_STATE_STEPS == 0:
            self._good_state = copy.deepcopy(self.nets())
        return losses

    def count(self, images: int) -> None:
        """Take in the average, and count, what a good step has learnt from."""
        self._move_average(images)
        self.images += images

    def update(
        self, optimiser: torch.optim.Optimizer, net: nn.Module, loss: Tensor
    ) -> float | Tensor:
        """One step of an optimiser along the gradient of a loss; the gradient's norm.

        No step is taken where that is not finite. A fused optimiser sees to it by itself, and what
        has been asked of a GPU need not be waited for.
        """
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(net)
        norm = nn.utils.clip_grad_norm_(net.parameters(), self.config.clip_norm)
        if optimiser.defaults.get("fused"):
            optimiser.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
            optimiser.step()
            return norm
        if math.isfinite(norm):
            optimiser.step()
        return float(norm)

    def nets(self) -> dict[str, Any]:
        """Weights and optimisers."""
        kept = self.nets_kept + self.optimisers_kept
        return {name: getattr(self, name).state_dict() for name in kept}

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs; the next batch is that of number `steps`."""
        state = {
            **self.nets(),
            "images": self.images,
            "steps": self.steps,
            "torch_rng": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from `state()`. Raises CheckpointError where it is of another architecture."""
        try:
            self._load_nets(state)
        except (KeyError, ValueError, RuntimeError) as error:
            raise another_architecture(error) from error
        self._load_counts(state)

    def _load_nets(self, state: dict[str, Any]) -> None:
        # Weights that were moved between machines come without the optimisers' moments.
        # An exported generator comes without the discriminator too.
        given = [self.averaged, "average"]
        kept = self.nets_kept + self.optimisers_kept
        given += [name for name in kept if name not in given and name in state]
        for name in given:
            kept = getattr(self, name)
            if isinstance(kept, torch.optim.Optimizer):
                kept.load_state_dict(fused_as(kept, state[name]))
            else:
                kept.load_state_dict(state[name])
        for name, (rate, betas) in self.adam_settings().items():
            for group in getattr(self, name).param_groups:
                group["lr"], group["betas"] = rate, betas

    def _load_counts(self, state: dict[str, Any]) -> None:
        self.images = int(state["images"])
        self.steps = int(state.get("steps", 0))
        if "torch_rng" in state:
            torch.set_rng_state(state["torch_rng"])
        if "cuda_rng" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        self._good_state = None

    def _step_back(self, losses: dict[str, float]) -> None:
        self.steps_back += 1
        self._steps_back_in_a_row += 1
        if self._good_state is None or self._steps_back_in_a_row > MAX_STEPS_BACK:
            bad = [name for name, value in losses.items() if not math.isfinite(value)]
            raise TrainingDivergedError(
                f"{', '.join(bad)} not finite {self._steps_back_in_a_row} times in a row from the "
                f"last good state; lower generator_rate ({self.config.generator_rate:g}) and "
                "resume"
            )
        self._load_nets(copy.deepcopy(self._good_state))

    def _move_average(self, batch: int) -> None:
        # Short at first: the horizon is at most a fifth of what has been seen.
        horizon = min(self.config.ema_images, max(batch, self.images // 5))
        decay = 1.0 - batch / max(horizon, batch + 1)
        net: nn.Module = getattr(self, self.averaged)
        with torch.no_grad():
            means, current = list(self.average.parameters()), list(net.parameters())
            get_ema_multi_avg_fn(decay)(means, current, self.steps)
            # Spectral normalisation keeps its singular vectors in buffers.
            for kept, buffer in zip(self.average.buffers(), net.buffers(), strict=True):
                kept.copy_(buffer)


class AdversarialTrainer(GuardedTrainer[BatchT]):
    """A generator and what judges it, each with Adam at its own rate.

    A subclass builds its nets and hands them to `_begin`.
    """

    nets_kept: ClassVar[tuple[str, ...]] = ("generator", "average", "discriminator")
    optimisers_kept: ClassVar[tuple[str, ...]] = ("generator_optimiser", "discriminator_optimiser")

    def adam_settings(self) -> dict[str, tuple[float, tuple[float, float]]]:
        """Rate and betas of both optimisers."""
        config = self.config
        return {
            "generator_optimiser": (config.generator_rate, config.betas),
            "discriminator_optimiser": (config.discriminator_rate, config.betas),
        }

    def _begin(self, generator: nn.Module, judge: nn.Module, *fixed: nn.Module) -> None:
        """Place both and the nets that do not learn, and make the average and the optimisers."""
        self.average = copy.deepcopy(generator).requires_grad_(False)
        placed(self.device, generator, self.average, judge, *fixed)
        rates = self.adam_settings()
        fused = self.device.type == "cuda" or None  # None is torch's own choice
        self.generator_optimiser = torch.optim.Adam(
            generator.parameters(), *rates["generator_optimiser"], fused=fused
        )
        self.discriminator_optimiser = torch.optim.Adam(
            judge.parameters(), *rates["discriminator_optimiser"], fused=fused
        )


def placed(device: torch.device, *nets: nn.Module) -> None:
    """Move nets to a device, channels last, the same in every process."""
    for net in nets:
        net.to(device=device)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        same_everywhere(net)


def as_numbers(losses: Losses) -> dict[str, float]:
    """Losses by name, in their order; a GPU is waited for once."""
    tensors = [value.detach().double() for value in losses.values() if isinstance(value, Tensor)]
    fetched = iter(torch.stack(tensors).tolist() if tensors else ())
    return {
        name: next(fetched) if isinstance(value, Tensor) else value
        for name, value in losses.items()
    }


def fused_as(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A state, as of another kind of device, for an optimiser that goes on as it was made."""
    fused = optimiser.defaults.get("fused")
    groups = [{**group, "fused": fused} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


def another_architecture(error: Exception) -> CheckpointError:
    """The error that a state does not fit the nets of its configuration."""
    return CheckpointError(
        "the state is of another architecture than the configuration "
        f"({str(error).splitlines()[0]}); give another run folder, or the configuration "
        "it was trained with"
    )
