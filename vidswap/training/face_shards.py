"""Aligned faces in zip shards: decoded once to memory-mapped arrays, with their id embeddings.

A dataset folder holds zip shards of pictures, `index.csv` (file, shard, kind, identity, ...) and
`landmarks.npz` with `points` (N, K, 2) in pixels of the 256-pixel crop and `mesh_index` (K,).
"""

from __future__ import annotations

import csv
import hashlib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vidswap.errors import InputNotFoundError

HELD_OUT_SHARE = 0.05


@dataclass(frozen=True)
class FaceRecord:
    """One line of the index; faces without a known identity are each a person of their own."""

    file: str
    shard: str
    kind: str
    identity: str

    @property
    def person(self) -> str:
        return self.identity or self.file

    @property
    def held_out(self) -> bool:
        """Whether this person is kept for evaluation: a fixed share, by a hash of the name."""
        digest = hashlib.sha256(self.person.encode()).digest()
        return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def read_index(folder: Path) -> list[FaceRecord]:
    """The records of a dataset folder, in the order of its landmarks."""
    path = folder / "index.csv"
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; a face dataset has an index.csv")
    with path.open(newline="") as lines:
        return [
            FaceRecord(row["file"], row["shard"], row["kind"], row["identity"])
            for row in csv.DictReader(lines)
        ]


def read_landmarks(folder: Path) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Landmarks (N, K, 2) in 256-pixel crop coordinates and their mesh indices (K,)."""
    with np.load(folder / "landmarks.npz") as arrays:
        return arrays["points"], arrays["mesh_index"]


def iterate_faces(
    folder: Path, records: list[FaceRecord], size: int
) -> Iterator[NDArray[np.uint8]]:
    """Faces (size, size, 3), uint8 RGB, in the order of `records`."""
    shards: dict[str, zipfile.ZipFile] = {}
    for record in records:
        if record.shard not in shards:
            shards[record.shard] = zipfile.ZipFile(folder / record.shard)
        encoded = np.frombuffer(shards[record.shard].read(record.file), np.uint8)
        bgr: Any = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        if bgr.shape[:2] != (size, size):
            shrinks = bgr.shape[0] > size
            bgr = cv2.resize(
                bgr, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
            )
        yield np.ascontiguousarray(bgr[:, :, ::-1])


def cached_faces(folder: Path, cache: Path, size: int) -> NDArray[np.uint8]:
    """All faces (N, size, size, 3), memory-mapped from `cache`; decoded there on first use."""
    records = read_index(folder)

    def fill(faces: NDArray[np.uint8]) -> None:
        pictures = iterate_faces(folder, records, size)
        for i, face in enumerate(tqdm(pictures, f"faces at {size} px", len(records))):
            faces[i] = face

    shape = (len(records), size, size, 3)
    return cached_array(cache / f"faces-{size}.npy", shape, np.uint8, fill)


def cached_array(
    path: Path,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    fill: Callable[[NDArray[Any]], None],
) -> NDArray[Any]:
    """A read-only memory-mapped array, computed by `fill` into a temporary file when absent."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        array = np.lib.format.open_memmap(partial, "w+", dtype, shape)
        fill(array)
        array.flush()
        del array
        partial.rename(path)
    mapped: NDArray[Any] = np.load(path, mmap_mode="r")
    return mapped
