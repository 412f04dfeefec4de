"""How far eyes and mouth are open and where the eyes look, read from pixels: a loss against it.

Identity losses and photographs of the source pull lids and lips to where the source's are. A small
net that reads expression keeps them where the target's are; `pipelines/fitting/expression.py` makes
its weights from meshes of photographs.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from vidswap.faces import mesh
from vidswap.training.losses import random_degradation

WEIGHTS = Path(__file__).with_name("expression.safetensors")
# Outer and inner corner of the right and of the left eye, right and left corner of the mouth.
CORNERS = (
    mesh.RIGHT_EYE_CORNERS,
    mesh.LEFT_EYE_CORNERS,
    (mesh.RIGHT_MOUTH_CORNER, mesh.LEFT_MOUTH_CORNER),
)
EYE_SHAPE, MOUTH_SHAPE = (32, 48), (40, 40)  # rows and columns of the patches that are read
EYE_REACH, MOUTH_REACH = 1.0, 0.8  # half a patch's width in widths of the eye, of the mouth
N_EYE, N_MOUTH = 3, 1  # opening, gaze inwards, gaze down; opening


def corner_points(landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """The points (3, 2, 2) of `CORNERS` of a mesh (478, 2)."""
    return np.asarray(landmarks[np.array(CORNERS)], np.float32)


def patches(pictures: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Eyes (2B, 3, 32, 48), all right ones first, and mouths (B, 3, 40, 40) of pictures.

    `pictures` (B, 3, S, S); `corners` (B, 3, 2, 2) in pixels of the 256-pixel crop. Left eyes are
    mirrored.
    """
    middles = (2.0 * corners.mean(dim=2) + 1.0) / 256.0 - 1.0  # as affine_grid has them
    across = (corners[:, :, 1] - corners[:, :, 0]) / 256.0  # half of it, in the same units
    down = torch.stack([-across[..., 1], across[..., 0]], dim=-1)
    mirrored = torch.tensor([1.0, -1.0, 1.0], dtype=across.dtype)[None, :, None]
    down = down * mirrored.to(across.device, non_blocking=True)

    def cut(which: int, reach: float, shape: tuple[int, int]) -> Tensor:
        rows, columns = shape
        right, below = across[:, which], rows / columns * down[:, which]
        affine = torch.stack([2.0 * reach * right, 2.0 * reach * below, middles[:, which]], dim=2)
        grid = F.affine_grid(affine, [len(pictures), 3, rows, columns], align_corners=False)
        return F.grid_sample(pictures, grid, align_corners=False, padding_mode="border")

    eyes = torch.cat([cut(0, EYE_REACH, EYE_SHAPE), cut(1, EYE_REACH, EYE_SHAPE)])
    return eyes, cut(2, MOUTH_REACH, MOUTH_SHAPE)


def jittered(corners: Tensor, amount: float = 0.06) -> Tensor:
    """Corners (B, 3, 2, 2), each moved by up to `amount` of the distance to its neighbour."""
    width = (corners[:, :, :1] - corners[:, :, 1:]).norm(dim=3, keepdim=True)
    moved: Tensor = corners + amount * width * (2.0 * torch.rand_like(corners) - 1.0)
    return moved


class ExpressionNet(nn.Module):
    """Reads patches of eyes and mouths, in deviations from the mean over photographs."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = _reader(EYE_SHAPE, N_EYE)
        self.mouth = _reader(MOUTH_SHAPE, N_MOUTH)

    @classmethod
    def packaged(cls) -> ExpressionNet:
        """The net with the weights that come with the project; nothing in it learns."""
        net = cls()
        net.load_state_dict({k: v.float() for k, v in load_file(WEIGHTS).items()})
        return net.requires_grad_(False)

    def forward(self, eyes: Tensor, mouths: Tensor) -> tuple[Tensor, Tensor]:
        """(2B, 3) and (B, 1) of patches in [-1, 1] as `patches` cuts them."""
        return self.eye(eyes), self.mouth(mouths)


def _reader(shape: tuple[int, int], n_values: int) -> nn.Sequential:
    widths = (3, 16, 32, 48, 64)
    layers: list[nn.Module] = []
    for given, wide in pairwise(widths):
        layers += [nn.Conv2d(given, wide, 3, 1 if given == 3 else 2, 1), nn.LeakyReLU(0.1)]
    n_features = widths[-1] * (shape[0] // 8) * (shape[1] // 8)
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(n_features, 64), nn.LeakyReLU(0.1), nn.Linear(64, n_values)
    )


def expression_loss(
    net: ExpressionNet, outputs: Tensor, targets: Tensor, corners: Tensor
) -> Tensor:
    """Mean distance of what the net reads in outputs and in targets (B, 3, S, S).

    Both are seen through the same jittered cuts, each with blur and noise of its own.
    """
    n = len(outputs)
    corners = jittered(corners).repeat(2, 1, 1, 1)
    eyes, mouths = patches(torch.cat([outputs, targets]).float(), corners)
    read_eyes, read_mouths = net(random_degradation(eyes), random_degradation(mouths))
    of_eyes = read_eyes.float().view(2, 2, n, N_EYE)  # right and left; outputs and targets
    of_mouths = read_mouths.float().view(2, n, N_MOUTH)
    eye_loss = (of_eyes[:, 0] - of_eyes[:, 1].detach()).abs().mean()
    loss: Tensor = eye_loss + (of_mouths[0] - of_mouths[1].detach()).abs().mean()
    return loss
