"""Training batches: target faces with boundary maps, and the id embeddings of their sources."""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidswap.faces import mesh
from vidswap.faces.boundary_map import draw_boundary_map
from vidswap.training.augmentation import add_occluder, degrade
from vidswap.training.face_shards import INDEX_FILE, FaceRecord

SHARP_PIXELS = 200  # side as stored of a picture that shows skin


@dataclass(frozen=True)
class PairBatch:
    """A batch on the CPU.

    `targets` (B, 3, S, S) in [-1, 1]; `boundary_maps` (B, 3, S, S) in [0, 1]; `sources` and
    `target_rows` (B,) are rows of the id embeddings; `same_person` (B,) whether target and source
    are one person's; `keep` (B, 1, S, S) how much of the target's picture must come back (eq. 7's
    lambda_1). The first `n_same_picture` pairs have the target's own picture as source, and so have
    the `n_swap_back` after them, which the generator gets with the face of `swap_back_sources`
    (n_swap_back,) already swapped onto them.
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


@dataclass(frozen=True)
class PairConfig:
    """How pairs are drawn and augmented. Angles in degrees, shifts in 256ths of the crop."""

    size: int = 128
    batch: int = 16
    same_picture: float = 0.125  # share of a batch with source = target
    swap_back: float = 0.25  # share whose own face must be given back to a swap of it
    same_person: float = 0.12  # share with another picture of the same person
    rotation: float = 5.0
    scale: float = 0.05
    shift: float = 5.0
    brightness: float = 0.12
    occluded: float = 0.25  # share with something drawn before the face
    degraded: float = 0.2  # share shown as a poorer recording
    sharp_targets: float = 0.6  # share of targets stored at the full size
    keep_face: float = 0.04  # lambda_1 inside the face of another person ...
    keep_features: float = 0.8  # ... in eyes and mouth, which carry gaze and speech ...
    keep_outside: float = 1.0  # ... and around the face


class PairSampler:
    """Draws batches from the training people: batch number i of a seed is always the same.

    `sides` (N,) are the pictures' sides as stored, where they differ; `excluded` (N,) pictures are
    never drawn, as those of held-out people never are.
    """

    def __init__(
        self,
        faces: NDArray[np.uint8],
        landmarks: NDArray[np.float16],
        mesh_index: NDArray[np.int64],
        records: list[FaceRecord],
        config: PairConfig,
        seed: int,
        sides: NDArray[np.int64] | None = None,
        excluded: NDArray[np.bool_] | None = None,
    ) -> None:
        self.faces, self.landmarks, self.mesh_index = faces, landmarks, mesh_index
        self.config = config
        self.seed = seed
        self.rows = np.array([i for i, r in enumerate(records) if not r.held_out])
        if excluded is not None:
            self.rows = self.rows[~excluded[self.rows]]
        sharp = self.rows if sides is None else self.rows[sides[self.rows] >= SHARP_PIXELS]
        self.sharp_rows = sharp if len(sharp) else self.rows
        people: dict[str, list[int]] = defaultdict(list)
        for row in self.rows:
            people[records[row].person].append(int(row))
        self.albums = [album for album in people.values() if len(album) > 1]
        self.mirror = mirrored_mesh(landmarks, mesh_index)

    def batch(self, number: int) -> PairBatch:
        """Batch `number`; may be called from several threads."""
        config, random = self.config, np.random.default_rng((self.seed, number))
        targets, sources, same = self._draw_pairs(random)
        pictures, maps, keeps = [], [], []
        for target, is_same in zip(targets, same, strict=True):
            picture, landmarks = self._augmented(int(target), random)
            keep = keep_map(landmarks, bool(is_same), config)
            if random.random() < config.occluded:
                picture, occluder = add_occluder(picture, landmarks, random)
                keep = np.maximum(keep, occluder)
            if random.random() < config.degraded:
                picture = degrade(picture, random)
            pictures.append(picture)
            maps.append(draw_boundary_map(landmarks, config.size))
            keeps.append(keep)
        n_swap_back = round(config.swap_back * config.batch)
        to_tensor = np.stack(pictures).transpose(0, 3, 1, 2)
        return PairBatch(
            torch.from_numpy(np.ascontiguousarray(to_tensor)).float() / 127.5 - 1.0,
            torch.from_numpy(np.stack(maps).transpose(0, 3, 1, 2).copy()).float() / 255.0,
            torch.from_numpy(sources),
            torch.from_numpy(targets),
            torch.from_numpy(same),
            torch.from_numpy(np.stack(keeps))[:, None],
            round(config.same_picture * config.batch),
            n_swap_back,
            torch.from_numpy(random.choice(self.rows, n_swap_back)),
        )

    def _draw_pairs(
        self, random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        config = self.config
        n_picture = round(config.same_picture * config.batch)
        n_picture += round(config.swap_back * config.batch)
        n_person = round(config.same_person * config.batch) if self.albums else 0
        targets = random.choice(self.rows, config.batch)
        sharp = random.random(config.batch) < config.sharp_targets
        targets[sharp] = random.choice(self.sharp_rows, int(sharp.sum()))
        sources = random.choice(self.rows, config.batch)
        sources[:n_picture] = targets[:n_picture]
        for i in range(n_picture, n_picture + n_person):
            album = self.albums[random.integers(len(self.albums))]
            targets[i], sources[i] = random.choice(album, 2, replace=False)
        same = np.zeros(config.batch, bool)
        same[: n_picture + n_person] = True
        return targets, sources, same

    def _augmented(
        self, row: int, random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """A picture at the batch's size and its mesh (478, 2) in 256-pixel coordinates."""
        config = self.config
        landmarks = np.zeros((mesh.N_LANDMARKS, 2), np.float32)
        landmarks[self.mesh_index] = self.landmarks[row]
        angle = random.uniform(-config.rotation, config.rotation)
        turn = cv2.getRotationMatrix2D(
            (127.5, 127.5), angle, 1.0 + random.uniform(-config.scale, config.scale)
        )
        matrix = np.asarray(turn, np.float64)
        matrix[:, 2] += random.uniform(-config.shift, config.shift, 2)
        if random.random() < 0.5:
            landmarks = landmarks[self.mirror]
            matrix = matrix @ np.array([[-1, 0, 255], [0, 1, 0], [0, 0, 1]])
        moved = landmarks @ matrix[:, :2].T + matrix[:, 2]
        picture = _warp_between_sizes(self.faces[row], matrix, config.size)
        gain = 1.0 + random.uniform(-config.brightness, config.brightness, 3) * [1, 0.3, 0.3]
        colour = gain[0] * (1.0 + np.array([gain[1] - 1.0, 0.0, gain[2] - 1.0]))
        picture = cv2.convertScaleAbs(picture * colour.astype(np.float32))
        return picture, moved.astype(np.float32)


def _warp_between_sizes(
    picture: NDArray[np.uint8], matrix: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    """Warp a stored picture by a matrix given in 256-pixel coordinates; pixel edges correspond."""

    def scaling(factor: float) -> NDArray[np.float64]:
        shift = (factor - 1.0) / 2.0
        return np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1]])

    full = np.vstack([matrix, [0, 0, 1]])
    full = scaling(size / 256.0) @ full @ scaling(256.0 / picture.shape[0])
    warped = cv2.warpAffine(
        picture, full[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return warped.astype(np.uint8, copy=False)


def keep_map(
    landmarks: NDArray[np.float32], same_person: bool, config: PairConfig
) -> NDArray[np.float32]:
    """Eq. 7's lambda_1 as a map (S, S): one for the same person, lower inside another's face."""
    size = config.size
    if same_person:
        return np.ones((size, size), np.float32)
    # Drawn at 128: the map is smooth.
    points = np.rint((landmarks + 0.5) / 2.0 * 16.0 - 8.0).astype(np.int32)
    keep: Any = np.full((128, 128), config.keep_outside, np.float32)
    oval = points[list(mesh.FACE_OVAL)]
    cv2.fillPoly(keep, [oval], config.keep_face, cv2.LINE_8, 4)
    keep = cv2.GaussianBlur(keep, (0, 0), 3.0)
    features = np.zeros((128, 128), np.uint8)
    for contour in (mesh.RIGHT_EYE, mesh.LEFT_EYE, mesh.INNER_LIPS):
        cv2.fillPoly(features, [points[list(contour)]], 255, cv2.LINE_8, 4)
    # The lids and the rim of the lips as well: a wink is in the lids.
    features = cv2.dilate(features, np.ones((5, 5), np.uint8)).astype(np.uint8)
    keep[features > 0] = config.keep_features
    if size != 128:
        keep = cv2.resize(keep, (size, size), interpolation=cv2.INTER_LINEAR)
    smooth: NDArray[np.float32] = keep
    return smooth


def mirrored_mesh(
    landmarks: NDArray[np.float16], mesh_index: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For every mesh point the one on the other side (478,), from the mean face's symmetry."""
    mean = landmarks[:4096].astype(np.float64).mean(axis=0)
    centred = mean - [mean[:, 0].mean(), 0]
    distance = np.linalg.norm(centred[:, None] - centred[None] * [-1, 1], axis=2)
    mirror = np.arange(mesh.N_LANDMARKS)
    mirror[mesh_index] = mesh_index[distance.argmin(axis=1)]
    mirror[list(mesh.RIGHT_IRIS[:1] + mesh.LEFT_IRIS[:1])] = [473, 468]
    return mirror


def read_sides(folder: Path) -> NDArray[np.int64]:
    """The side of every picture of a dataset as stored (N,), where its index tells; else 256."""
    with (folder / INDEX_FILE).open(newline="", encoding="utf-8") as lines:
        return np.array([int(row.get("pixels") or 256) for row in csv.DictReader(lines)])


def prefetched(
    sampler: PairSampler, first: int = 0, stride: int = 1, threads: int = 2
) -> Iterator[PairBatch]:
    """Batches number `first`, `first + stride`, ... in order, drawn ahead of the training step."""
    numbers = itertools.count(first, stride)
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(sampler.batch, next(numbers)) for _ in range(2 * threads))
        try:
            while True:
                batch = ahead.popleft().result()
                ahead.append(pool.submit(sampler.batch, next(numbers)))
                yield batch
        finally:
            for waiting in ahead:
                waiting.cancel()
