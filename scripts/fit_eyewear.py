"""Fit the probe of `vidswap.identity.eyewear` to a face dataset.

    python -m scripts.fit_eyewear FACES CACHE -o vidswap/identity/eyewear.npz

FACES is a dataset as `vidswap dataset build` writes it, CACHE the cache of a training run on it,
which holds the id features. The labels are those of `vidswap.faces.eyewear`, where it is sure: a
strong edge across the bridge of the nose, or none at all.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.faces import mesh
from vidswap.faces.eyewear import eyewear_score
from vidswap.training.face_shards import iterate_faces, read_index, read_landmarks

SURE_WITH, SURE_WITHOUT = 1.6, 0.3
DECAY = 3e-3


def scores(folder: Path) -> NDArray[np.float64]:
    """`eyewear_score` of every face of a dataset (N,)."""
    records = read_index(folder)
    points, mesh_index = read_landmarks(folder)
    found = []
    for row, picture in enumerate(iterate_faces(folder, records, 256)):
        landmarks = np.zeros((mesh.N_LANDMARKS, 2), np.float32)
        landmarks[mesh_index] = points[row]
        found.append(eyewear_score(picture, landmarks))
    return np.array(found)


def fitted(features: torch.Tensor, worn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (D,) and bias of a logistic regression; both classes weigh the same."""
    mean, deviation = features.mean(dim=0), features.std(dim=0) + 1e-3
    standard = (features - mean) / deviation
    weights = torch.zeros(features.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    balance = (~worn).sum() / worn.sum()
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=200)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(
            standard @ weights + bias, worn.float(), pos_weight=balance
        )
        value = value + DECAY * (weights**2).sum()
        value.backward()
        return value

    optimiser.step(loss)
    with torch.no_grad():
        return weights / deviation, bias - (weights * mean / deviation).sum()


@click.command()
@click.argument("faces", type=click.Path(path_type=Path, exists=True))
@click.argument("cache", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def main(faces: Path, cache: Path, output: Path) -> None:
    """Fit, say how many held-out faces it is right about, and write."""
    found = scores(faces)
    held_out = np.array([record.held_out for record in read_index(faces)])
    features = torch.from_numpy(np.load(cache / "id-dlib.npy", mmap_mode="r")[:].copy())
    sure, worn = (found > SURE_WITH) | (found < SURE_WITHOUT), found > SURE_WITH
    train, test = (torch.from_numpy(sure & chosen) for chosen in (~held_out, held_out))
    labels = torch.from_numpy(worn)
    weights, bias = fitted(features[train], labels[train])
    right = ((features[test] @ weights + bias > 0) == labels[test]).float().mean()
    click.echo(f"{int(train.sum())} faces; right for {right:.1%} of {int(test.sum())} held out")
    np.savez(output, weights=weights.numpy(), bias=bias.numpy())


if __name__ == "__main__":
    main()
