"""Fit the net that reads expression (`vidswap/training/expression.py`) to meshes of photographs.

    python -m pipelines.fitting.expression FACES CACHE [-o FILE]

FACES is a dataset as `vidswap dataset build` writes it, CACHE the folder of its decoded faces. The
correlation of what is read with the meshes of held-out people is printed.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from vidswap.faces.pose import eye_openings, iris_offsets, lip_gap
from vidswap.training.data.face_shards import (
    cached_faces,
    read_index,
    read_landmarks,
    whole_meshes,
)
from vidswap.training.expression import (
    CORNERS,
    WEIGHTS,
    ExpressionNet,
    corner_points,
    jittered,
    patches,
)
from vidswap.training.losses import random_degradation

BATCH, EPOCHS, RATE = 128, 4, 2e-3
PATH = click.Path(path_type=Path)


def expression_of(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Opening, gaze inwards and gaze down of the right and the left eye; opening of the mouth (7,).

    In widths of the eyes and of the mouth between their corners.
    """
    right, left = eye_openings(landmarks)
    of_right, of_left = iris_offsets(landmarks)
    width = np.linalg.norm(np.subtract(*landmarks[list(CORNERS[2])]))
    mouth = lip_gap(landmarks) / max(float(width), 1e-6)
    # To the picture's right is inwards for the right eye, outwards for the left one.
    inwards = of_left * [-1.0, 1.0]
    return np.array([right, *of_right, left, *inwards, mouth], np.float32)


def read(net: ExpressionNet, pictures: Tensor, corners: Tensor) -> Tensor:
    """What the net reads, (B, 7), as `expression_of` orders it."""
    eyes, mouths = patches(pictures, corners)
    of_eyes, of_mouths = net(random_degradation(eyes), random_degradation(mouths))
    right, left = of_eyes.chunk(2)
    return torch.cat([right, left, of_mouths], dim=1)


@click.command()
@click.argument("faces", type=PATH)
@click.argument("cache", type=PATH)
@click.option("-o", "--output", type=PATH, default=WEIGHTS)
def main(faces: Path, cache: Path, output: Path) -> None:
    """Fit, print the correlations, and write the weights as fp16."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    pictures = cached_faces(faces, cache, 256)
    meshes = whole_meshes(*read_landmarks(faces))
    held_out = np.array([record.held_out for record in read_index(faces)])
    corners = torch.from_numpy(np.stack([corner_points(m) for m in meshes]))
    wanted = torch.from_numpy(np.stack([expression_of(m) for m in meshes]))
    # Both eyes are read by one net, so both have one scale.
    pooled = torch.cat([wanted[:, :3], wanted[:, 3:6]])
    mean = torch.cat([pooled.mean(0).repeat(2), wanted[:, 6:].mean(0)])
    deviation = torch.cat([pooled.std(0).repeat(2), wanted[:, 6:].std(0)])
    wanted = ((wanted - mean) / deviation).clamp(-4.0, 4.0)

    def shown(rows: NDArray[np.int64]) -> Tensor:
        stacked = torch.from_numpy(np.stack([pictures[row] for row in rows]))
        return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1.0

    net = ExpressionNet()
    rows = np.flatnonzero(~held_out)
    steps = EPOCHS * (len(rows) // BATCH)
    optimiser = torch.optim.Adam(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in tqdm(range(steps)):
        chosen = random.choice(rows, BATCH)
        given = shown(chosen) * (1.0 + 0.3 * (2.0 * torch.rand(BATCH, 1, 1, 1) - 1.0))
        with torch.autocast("cpu", torch.bfloat16):
            answer = read(net, given, jittered(corners[chosen])).float()
        loss = torch.nn.functional.smooth_l1_loss(answer, wanted[chosen], beta=0.5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    rows = np.flatnonzero(held_out)
    with torch.inference_mode():
        parts = np.array_split(rows, max(1, len(rows) // BATCH))
        answer = torch.cat([read(net, shown(part), corners[part]) for part in parts])
    names = ("right eye", "right gaze in", "right gaze down", "left eye", "left gaze in")
    for i, name in enumerate((*names, "left gaze down", "mouth")):
        agreed = np.corrcoef(answer[:, i].numpy(), wanted[rows, i].numpy())[0, 1]
        click.echo(f"{name}: correlation with the meshes of held-out people {agreed:.3f}")
    save_file({k: v.half() for k, v in net.state_dict().items()}, output)


if __name__ == "__main__":
    main()
