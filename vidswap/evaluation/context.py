"""Tables 1 and 8 of the context GAN: how far hallucinated pictures still show the same person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.errors import InputNotFoundError
from vidswap.evaluation.held_out import pooled_features
from vidswap.evaluation.judge import Judge
from vidswap.identity.dlib_resnet import load_dlib_resnet
from vidswap.identity.encoder import IdentityEncoder
from vidswap.inpainting.context_gan import SIZE, ContextNet
from vidswap.inpainting.hallucination import face_hull
from vidswap.inpainting.swapinpaint import to_pictures
from vidswap.metrics.fid import frechet_distance
from vidswap.metrics.image import ssim
from vidswap.people.embedding import crops_to_tensor
from vidswap.training.data.face_shards import (
    iterate_faces,
    read_excluded,
    read_index,
    read_landmarks,
    whole_meshes,
)
from vidswap.training.inpainting.context import perceptual

Picture = NDArray[np.uint8]
Surround = Callable[[Sequence[Picture], Sequence[NDArray[np.bool_]]], list[Picture]]

BATCH = 16
LFW = "lfw"


@dataclass(frozen=True, eq=False)
class HeldOutContext:
    """Held-out pictures (128, 128, 3) and the hulls (128, 128) of their faces."""

    pictures: list[Picture]
    hulls: list[NDArray[np.bool_]]


@dataclass(frozen=True)
class ContextQuality:
    """Means over pictures, as in Table 1.

    match: Pearson's correlation of the judge's features, eq. 7. fid in the features of dlib's net.
    perceptual: `vidswap.training.inpainting.context.perceptual` in the place of PieAPP.
    """

    pictures: int
    match: float
    ssim: float
    fid: float
    perceptual: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def read_held_out_context(folder: Path, n: int, kind: str = LFW, seed: int = 7) -> HeldOutContext:
    """Pictures of n people held out, one of each, the same at every call.

    Raises InputNotFoundError where nobody of that kind is held out.
    """
    records, excluded = read_index(folder), read_excluded(folder, read_index(folder))
    points, mesh_index = read_landmarks(folder)
    first: dict[str, int] = {}
    for row, record in enumerate(records):
        if record.held_out and record.kind == kind and not excluded[row]:
            first.setdefault(record.person, row)
    if not first:
        raise InputNotFoundError(f"{folder}: nobody of kind {kind} is held out")
    rows = sorted(first.values())
    chosen = sorted(np.random.default_rng(seed).permutation(rows)[:n].tolist())
    pictures = list(iterate_faces(folder, [records[row] for row in chosen], SIZE))
    meshes = whole_meshes(points[chosen], mesh_index)
    return HeldOutContext(pictures, [face_hull(each, SIZE) for each in meshes])


def by_net(net: ContextNet) -> Surround:
    """What a net makes of the faces alone."""

    def surround(pictures: Sequence[Picture], hulls: Sequence[NDArray[np.bool_]]) -> list[Picture]:
        made: list[Picture] = []
        for start in range(0, len(pictures), BATCH):
            part = slice(start, start + BATCH)
            masks = 1.0 - torch.from_numpy(np.stack(hulls[part])[:, None]).float()
            with torch.inference_mode():
                answers = net.fill(crops_to_tensor(pictures[part]), masks, None)
            made += list(to_pictures(answers))
        return made

    return surround


def nothing_around(
    pictures: Sequence[Picture], hulls: Sequence[NDArray[np.bool_]]
) -> list[Picture]:
    """The faces alone, on black: what the nets are given."""
    return [
        np.where(h[..., None], p, 0).astype(np.uint8) for p, h in zip(pictures, hulls, strict=True)
    ]


def measure_contexts(
    faces: HeldOutContext, surrounds: Mapping[str, Surround], judge: Judge
) -> Iterator[tuple[str, ContextQuality]]:
    """A row for each way to surround the faces."""
    encoder, net = IdentityEncoder(), load_dlib_resnet()
    own = judge.embed(faces.pictures)
    own_features = pooled_features(encoder, faces.pictures)
    for name, surround in surrounds.items():
        made = surround(faces.pictures, faces.hulls)
        pairs = list(zip(faces.pictures, made, strict=True))
        distances = []
        for start in range(0, len(made), BATCH):
            part = slice(start, start + BATCH)
            with torch.inference_mode():
                given, wanted = (crops_to_tensor(p[part]) for p in (made, faces.pictures))
                distances.append(float(perceptual(net, given, wanted)) * len(given))
        yield (
            name,
            ContextQuality(
                pictures=len(made),
                match=float(np.mean(pearson(own, judge.embed(made)))),
                ssim=float(np.mean([ssim(a, b) for a, b in pairs])),
                fid=frechet_distance(pooled_features(encoder, made), own_features),
                perceptual=sum(distances) / len(made),
            ),
        )


def pearson(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Correlation (N,) of the rows of two matrices (N, D), eq. 7."""
    centred = [np.asarray(x, np.float64) - x.mean(axis=1, keepdims=True) for x in (a, b)]
    norms = [np.linalg.norm(x, axis=1) for x in centred]
    correlation: NDArray[np.float64] = (centred[0] * centred[1]).sum(axis=1) / (norms[0] * norms[1])
    return correlation
