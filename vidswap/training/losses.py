"""AP-GAN's training losses (III.C, eq. 4-11)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Scales = Sequence[tuple[Tensor, list[Tensor]]]


def discriminator_hinge(real: Scales, fake: Scales) -> Tensor:
    """Adversarial loss of the discriminators, mean over scales, in the hinge form of eq. 4-5."""
    losses = [
        F.relu(1.0 - r.float()).mean() + F.relu(1.0 + f.float()).mean()
        for (r, _), (f, _) in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).mean()


def generator_hinge(fake: Scales) -> Tensor:
    """Adversarial loss of the generator, mean over scales."""
    return -torch.stack([score.float().mean() for score, _ in fake]).mean()


def discriminator_log(real: Scales, fake: Scales) -> Tensor:
    """Adversarial loss of the discriminators, mean over scales, as eq. 5 has it."""
    losses = [
        F.softplus(-r.float()).mean() + F.softplus(f.float()).mean()
        for (r, _), (f, _) in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).mean()


def generator_log(fake: Scales) -> Tensor:
    """-log D instead of eq. 5's log(1 - D): the same fixed point, and a gradient from the start."""
    return torch.stack([F.softplus(-score.float()).mean() for score, _ in fake]).mean()


# The discriminators' loss and the generator's, by the form of eq. 5.
ADVERSARIAL_LOSSES = {
    "hinge": (discriminator_hinge, generator_hinge),
    "log": (discriminator_log, generator_log),
}


def reconstruction(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Eq. 7 with lambda_1 as a map: `weight` (B, 1, S, S) is 1 where the target must come back."""
    return (weight * (output.float() - target.float()) ** 2).mean()


def tone(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean distance of the colours of squares of a sixteenth of the side; `weight` as in eq. 7.

    Squared distances hardly see the faint blotches that identity losses paint on skin; this does.
    """
    squares = output.shape[-1] // 16
    difference = F.avg_pool2d(output.float() - target.float(), squares)
    return (F.avg_pool2d(weight, squares) * difference.abs()).mean()


def occlusion_perceptual(real: Scales, fake: Scales, weights: Sequence[Tensor]) -> Tensor:
    """L_op, eq. 8, mean over scales; `weights` (B, 1, S, S), as each scale sees them, say where
    content must be kept."""
    losses = []
    for (_, real_stages), (_, fake_stages), weight in zip(real, fake, weights, strict=True):
        for r, f in zip(real_stages, fake_stages, strict=True):
            local = F.interpolate(weight, size=r.shape[2:], mode="area")
            losses.append((local * (r.detach().float() - f.float()) ** 2).mean())
    return torch.stack(losses).sum() / len(real)


def style_perceptual(real: Scales, fake: Scales) -> Tensor:
    """L_sp, eq. 9-10, mean over scales; Gram matrices in float32, normalised by H W.

    Eq. 9 divides by (C H W)^2 and sums over C^2 entries; here each entry is an average over
    positions and the entries are averaged, the same up to a constant a stage.
    """
    losses = []
    for (_, real_stages), (_, fake_stages) in zip(real, fake, strict=True):
        for r, f in zip(real_stages, fake_stages, strict=True):
            losses.append(F.mse_loss(gram(f), gram(r.detach())))
    return torch.stack(losses).sum() / len(real)


def saturation(logits: Tensor, limit: float = 3.0) -> Tensor:
    """Penalty on values before the tanh beyond `limit`, where its gradient dies.

    Instance normalisation tempts a net to spend a few spots of huge value on steering a map's
    statistics; behind a tanh they are black holes that no other loss can move.
    """
    return (F.relu(logits.abs() - limit) ** 2).mean()


def repainted(gate: Tensor, mask: Tensor) -> Tensor:
    """Mean of a gate (B, 1, S, S) in [0, 1] where the reference's mask (B, 1, S, S) counts.

    Zero where nothing is shown to any sample.
    """
    weight = mask.float()
    return (gate.float() * weight).sum() / weight.sum().clamp(min=1.0)


def apart_from_target(output: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Cosine of output to target embeddings (B, D), as far as it exceeds the source's own.

    Eq. 6 pulls to the source alone; a face can be near to both.
    """
    own = F.cosine_similarity(source, target)
    return F.relu(F.cosine_similarity(output, target) - own).mean()


def gram(features: Tensor) -> Tensor:
    """Gram matrices (B, C, C) of features (B, C, H, W), divided by H W, in float32."""
    flat = features.float().flatten(2)
    with torch.autocast(features.device.type, enabled=False):
        return flat @ flat.transpose(1, 2) / flat.shape[2]


def random_jitter(batch: int, scale: float, rotation: float, shift: float) -> Tensor:
    """Random similarity transforms (B, 2, 3) around identity, in units of half the picture's side.

    Applied before the identity encoders so that a pattern painted for one fixed grid of pixels
    gains nothing.
    """
    scales = 1.0 + scale * (2.0 * torch.rand(batch) - 1.0)
    angles = rotation * (2.0 * torch.rand(batch) - 1.0)
    cosine, sine = scales * torch.cos(angles), scales * torch.sin(angles)
    offset = shift * (2.0 * torch.rand(batch, 2) - 1.0)
    rows = [
        torch.stack([cosine, -sine, offset[:, 0]], 1),
        torch.stack([sine, cosine, offset[:, 1]], 1),
    ]
    return torch.stack(rows, dim=1)


def random_degradation(faces: Tensor, noise: float = 0.04) -> Tensor:
    """Blur half of the faces (B, 3, S, S) and add noise: hidden high frequencies gain nothing."""
    blurred = F.interpolate(
        F.avg_pool2d(faces, 2, ceil_mode=True),
        size=faces.shape[2:],
        mode="bilinear",
        align_corners=False,
    )
    chosen = (torch.rand(faces.shape[0], 1, 1, 1, device=faces.device) < 0.5).to(faces.dtype)
    faces = chosen * blurred + (1.0 - chosen) * faces
    return faces + noise * torch.randn_like(faces)
