"""The gate with which the generator composes: its own picture here, what it was given there."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

# The gate starts as sigmoid(4 - 4.4 mask): 0.98 outside the reference, 0.40 where it counts.
GATE_OUTSIDE, GATE_FALL = 4.0, 4.4


class Gate(nn.Module):
    """The gate's logits, from the features of the last stages and the reference's mask.

    It depends on the mask alone until the features' weights, which start at zero, have learnt.
    """

    def __init__(self, widths: dict[int, int]) -> None:
        """`widths`: the channels of the features by resolution, the coarser first."""
        super().__init__()
        convs = {str(r): nn.Conv2d(w, 1, 3, padding=1, bias=False) for r, w in widths.items()}
        for conv in convs.values():
            nn.init.zeros_(conv.weight)
        self.features = nn.ModuleDict(convs)
        self.mask = nn.Conv2d(1, 1, 1)
        nn.init.constant_(self.mask.weight, -GATE_FALL / GATE_OUTSIDE)
        assert self.mask.bias is not None
        nn.init.ones_(self.mask.bias)

    def forward(self, stages: list[Tensor], mask: Tensor) -> Tensor:
        """Logits (B, 1, S, S) float32 of features (B, C, R, R) and the mask (B, 1, S, S)."""
        logits: Tensor = self.mask(mask).float()
        for features in stages:
            of_stage = self.features[str(features.shape[-1])](features).float()
            if of_stage.shape != mask.shape:
                of_stage = upsample_smooth(of_stage)
            logits = logits + of_stage
        # From zero on, with the rate of the other weights, this would take thousands of steps.
        return GATE_OUTSIDE * logits


class Composition(NamedTuple):
    """What the generator makes of a batch, float32.

    `logits` (B, 3, S, S): what its own picture G is the hyperbolic tangent of. `picture` Y
    (B, 3, S, S) in [-1, 1]: G, or with a gate `gate * G + (1 - gate) * base`, where base is the
    target with the reference laid in. `gate` (B, 1, S, S) in [0, 1], one for samples without a
    reference; None for a net without a gate, and where no reference was given.
    """

    logits: Tensor
    picture: Tensor
    gate: Tensor | None


def upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def upsample_smooth(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
