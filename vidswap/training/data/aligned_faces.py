"""Single aligned faces for training: the people to train on, and batches drawn by number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidswap.errors import DatasetError
from vidswap.faces.align import CROP_SIZE, warp_points
from vidswap.identity.encoder import IdentityEncoder
from vidswap.training.data.face_shards import (
    FaceRecord,
    cached_faces,
    read_excluded,
    read_index,
    read_landmarks,
    whole_meshes,
)
from vidswap.training.id_targets import cached_id_embeddings, shows_held_out
from vidswap.training.pair_draws import mirrored_mesh


@dataclass(frozen=True, eq=False)
class AlignedFaces:
    """A dataset as training reads it.

    pictures: (N, S, S, 3) uint8 RGB, memory-mapped. landmarks: (N, K, 2) in pixels of the 256-pixel
    crop, the mesh points `mesh_index`; mirror: (478,) the other side's point of each. id_rows:
    (N, 1120) float32 of `cached_id_embeddings`. rows: those that may be trained on, which neither
    show people held out nor are listed in exclude.txt; held_out: those of people held out.
    """

    pictures: NDArray[np.uint8]
    records: list[FaceRecord]
    landmarks: NDArray[np.float16]
    mesh_index: NDArray[np.int64]
    mirror: NDArray[np.int64]
    id_rows: NDArray[np.float32]
    rows: NDArray[np.int64]
    held_out: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Side S of the pictures in pixels."""
        return int(self.pictures.shape[1])

    def meshes(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Meshes (B, 478, 2) in pixels of the 256-pixel crop; zero where no point is known."""
        return whole_meshes(self.landmarks[rows], self.mesh_index)

    def people(self) -> tuple[NDArray[np.int64], int]:
        """The number of each face's person (N,), counted from zero, and how many people."""
        numbers: dict[str, int] = {}
        people = [numbers.setdefault(record.person, len(numbers)) for record in self.records]
        return np.array(people, np.int64), len(numbers)


def read_aligned_faces(folder: Path, cache: Path, size: int) -> AlignedFaces:
    """A dataset at `size` pixels; what is computed of it is kept in `cache`.

    Raises InputNotFoundError, DatasetError, DiskFullError.
    """
    records = read_index(folder)
    full_size = cached_faces(folder, cache, CROP_SIZE)
    pictures = cached_faces(folder, cache, size)
    landmarks, mesh_index = read_landmarks(folder)
    id_rows = cached_id_embeddings(full_size, IdentityEncoder(), cache)
    held_out = np.array([record.held_out for record in records], bool)
    copies = shows_held_out(torch.from_numpy(np.array(id_rows)), records)
    excluded = read_excluded(folder, records)
    rows = np.flatnonzero(~(held_out | copies | excluded))
    if not len(rows):
        raise DatasetError(
            f"{folder}: every face is held out or excluded; none is left to train on"
        )
    return AlignedFaces(
        pictures, records, landmarks, mesh_index, mirrored_mesh(landmarks, mesh_index), id_rows,
        rows, np.flatnonzero(held_out & ~excluded),
    )  # fmt: skip


@dataclass(frozen=True)
class Placing:
    """How drawn faces are moved: the share that is mirrored, degrees and pixels of 256 at most."""

    mirrored: float = 0.5
    rotation: float = 0.0
    shift: float = 0.0


@dataclass(frozen=True, eq=False)
class FacesDrawn:
    """A batch: pictures (B, 3, S, S) float32 RGB in [-1, 1], and what belongs to each.

    rows: (B,) of the dataset. meshes: (B, 478, 2) of the pictures as they are shown, in pixels of
    256. random: for what else is drawn for this batch.
    """

    pictures: Tensor
    rows: NDArray[np.int64]
    meshes: NDArray[np.float32]
    random: np.random.Generator

    def __len__(self) -> int:
        return len(self.rows)


class FaceSampler:
    """Draws faces of the training people: batch number i of a seed is always the same."""

    def __init__(
        self, faces: AlignedFaces, batch: int, seed: int, placing: Placing = Placing()
    ) -> None:
        self.faces, self.size, self.seed, self.placing = faces, batch, seed, placing

    def batch(self, number: int) -> FacesDrawn:
        """Batch `number`."""
        random = np.random.default_rng((self.seed, number))
        return self.drawn(random.choice(self.faces.rows, self.size), random)

    def drawn(self, rows: NDArray[np.int64], random: np.random.Generator) -> FacesDrawn:
        """The faces `rows`, each placed at random."""
        faces, placing = self.faces, self.placing
        meshes = faces.meshes(rows)
        pictures = np.empty((len(rows), faces.size, faces.size, 3), np.uint8)
        for i, row in enumerate(rows):
            picture = faces.pictures[row]
            if random.random() < placing.mirrored:
                picture = picture[:, ::-1]
                meshes[i] = meshes[i][faces.mirror]
                meshes[i, :, 0] = CROP_SIZE - 1 - meshes[i, :, 0]
            if placing.rotation or placing.shift:
                affine = _moved(random, placing)
                picture = _warped(picture, affine)
                meshes[i] = warp_points(affine, meshes[i])
            pictures[i] = picture
        return FacesDrawn(to_tensor(pictures), rows, meshes, random)


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures (B, S, S, 3) uint8 as (B, 3, S, S) float32 in [-1, 1], channels last in memory."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def _moved(random: np.random.Generator, placing: Placing) -> NDArray[np.float64]:
    """A random turn about the crop's centre and a shift, (2, 3) in pixels of 256."""
    angle = np.radians(random.uniform(-placing.rotation, placing.rotation))
    shift = random.uniform(-placing.shift, placing.shift, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.full(2, (CROP_SIZE - 1) / 2)
    return np.column_stack([turn, centre - turn @ centre + shift])


def _warped(picture: NDArray[np.uint8], affine: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A picture (S, S, 3) moved by an affine (2, 3) of 256 pixels; its edges are mirrored."""
    scale = picture.shape[0] / CROP_SIZE
    half = (scale - 1.0) / 2.0
    offset = scale * affine[:, 2] + half - affine[:, :2] @ np.full(2, half)
    moved = np.column_stack([affine[:, :2], offset])
    warped = cv2.warpAffine(
        np.ascontiguousarray(picture), moved, picture.shape[1::-1], flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    return np.asarray(warped, np.uint8)
