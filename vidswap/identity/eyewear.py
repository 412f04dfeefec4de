"""Whether a face wears glasses, by what the identity encoder sees of them.

A linear probe on dlib's id features. It was fitted by `scripts/fit_eyewear.py` to 9,516 aligned
faces that `vidswap.faces.eyewear` is sure of, and is right for 98.5 % of 538 such held-out ones. Of
200 held-out people it says so of 41; looked at, about a dozen of these have deep lines or caps
instead, and two or three with rimless glasses are missed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidswap.identity.encoder import IdEmbedding

WEIGHTS = Path(__file__).with_suffix(".npz")


@cache
def _probe() -> tuple[Tensor, Tensor]:
    with np.load(WEIGHTS) as file:
        return torch.from_numpy(file["weights"]), torch.from_numpy(file["bias"])


def eyewear_logits(identity: IdEmbedding) -> Tensor:
    """(B,) for a batch of faces: above zero with glasses, more likely than not."""
    weights, bias = _probe()
    return identity.rows().float().cpu() @ weights + bias


def wears_glasses(identity: IdEmbedding) -> Tensor:
    """(B,) bool."""
    return eyewear_logits(identity) > 0.0
