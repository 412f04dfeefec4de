"""A batch of training pairs, and how pairs are drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class PairBatch:
    """A batch, drawn on the CPU.

    `targets` (B, 3, S, S) in [-1, 1]; `boundary_maps` (B, 3, S, S) in [0, 1]; `sources` and
    `target_rows` (B,) are rows of the id embeddings; `same_person` (B,) whether target and source
    are one person's; `keep` (B, 1, S, S) how much of the target's picture must come back (eq. 7's
    lambda_1). The first `n_same_picture` pairs have the target's own picture as source, and so have
    the `n_swap_back` after them, which the generator gets with the face of `swap_back_sources`
    (n_swap_back,) already swapped onto them. After these the generator gets `warped`
    (n_warped, 3, S, S), the targets with somebody else's photographed face laid over theirs. The
    pairs after these have `answers` (n_across, 3, S, S): the source's photographed face laid over
    the target's, which is near to what a swap should be, but not it. `references` (B, 4, S, S) are
    what the generator is shown of the source's face, zero for some. `corners` (B, 3, 2, 2) are
    those of the target's eyes and mouth, as `expression.corner_points` has them.
    """

    targets: Tensor
    boundary_maps: Tensor
    sources: Tensor
    target_rows: Tensor
    same_person: Tensor
    keep: Tensor
    n_same_picture: int
    n_swap_back: int
    swap_back_sources: Tensor
    warped: Tensor
    answers: Tensor
    references: Tensor
    corners: Tensor

    @property
    def n_answered(self) -> int:
        """How many pairs, the first ones, have the target's picture as their true answer."""
        return self.n_same_picture + self.n_swap_back + len(self.warped)

    def to(self, device: torch.device) -> PairBatch:
        """On a device; what is in pinned memory is on its way there while others go on."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                moved[field.name] = value.to(device, non_blocking=True)
        return replace(self, **moved)


@dataclass(frozen=True)
class PairConfig:
    """How pairs are drawn and augmented. Angles in degrees, shifts in 256ths of the crop."""

    size: int = 128
    batch: int = 16
    same_picture: float = 0.125  # share of a batch with source = target
    swap_back: float = 0.125  # share whose own face must be given back to a swap of it
    warped: float = 0.25  # share whose own face must replace a photographed one warped onto it
    across: float = 0.375  # share of two people in like pose, the one's face warped onto the other
    referenced: float = 0.0  # share shown a reference, of those that can be; for nets made for it
    light_noise: float = 0.0  # share of the references in a light and a camera of their own
    same_person: float = 0.0  # share with another picture of the same person
    bare_sources: bool = True  # glasses are the target's: nothing rewards drawing the source's
    rotation: float = 5.0
    scale: float = 0.05
    shift: float = 5.0
    brightness: float = 0.12
    occluded: float = 0.25  # share with something drawn before the face
    degraded: float = 0.2  # share shown as a poorer recording
    sharp_targets: float = 0.6  # share of targets stored at the full size
    shut_eyes: float = 0.12  # share of targets with shut eyes, which photographs seldom show
    keep_face: float = 0.04  # lambda_1 inside the face of another person ...
    keep_across: float = 0.6  # ... of another person whose warped face is the answer ...
    keep_features: float = 0.8  # ... in eyes and mouth, which carry gaze and speech ...
    keep_outside: float = 1.0  # ... and around the face

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """How many of a batch are of the same picture, to be swapped back, warped, and across.

        The last are as many as the others leave room for.
        """
        shares = (self.same_picture, self.swap_back, self.warped, self.across)
        same, back, warped, across = (round(share * self.batch) for share in shares)
        return same, back, warped, min(across, self.batch - same - back - warped)
