"""Aligned faces in zip shards: decoded once to memory-mapped arrays, with their id embeddings.

A dataset folder holds zip shards of pictures, `index.csv` (file, shard, kind, identity, ...),
`landmarks.npz` with `points` (N, K, 2) in pixels of the 256-pixel crop and `mesh_index` (K,), and
it may hold `held-out.txt`, the people kept for evaluation, and `exclude.txt`, pictures that are
never trained on. `docs/dataset.md` has all of it.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vidswap.errors import DatasetError, DiskFullError, InputNotFoundError
from vidswap.faces import mesh
from vidswap.faces.occlusion import visibility_maps

HELD_OUT_SHARE = 0.05
INDEX_FILE, LANDMARKS_FILE, HELD_OUT_FILE = "index.csv", "landmarks.npz", "held-out.txt"
EXCLUDE_FILE = "exclude.txt"
INDEX_COLUMNS = ("file", "shard", "kind", "identity")  # more may follow


@dataclass(frozen=True)
class FaceRecord:
    """One line of the index; faces without a known identity are each a person of their own.

    `listed_held_out` is what the dataset's held-out.txt says, None where it has none.
    """

    file: str
    shard: str
    kind: str
    identity: str
    listed_held_out: bool | None = None

    @property
    def person(self) -> str:
        return self.identity or self.file

    @property
    def held_out(self) -> bool:
        """Whether this person is kept for evaluation: as listed, else by a hash of the name."""
        if self.listed_held_out is not None:
            return self.listed_held_out
        return is_held_out(self.person)


def is_held_out(name: str) -> bool:
    """Whether a name falls into the share that is held out; the same name always does."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def read_index(folder: Path) -> list[FaceRecord]:
    """The records of a dataset folder, in the order of its landmarks.

    Raises InputNotFoundError where there is no index, DatasetError where it cannot be read.
    """
    path = folder / INDEX_FILE
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; a face dataset has an index.csv")
    listed = read_held_out(folder)
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = csv.DictReader(lines)
            missing = [name for name in INDEX_COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise DatasetError(
                    f"{path}: no column {', '.join(missing)}; its first line must name "
                    f"{', '.join(INDEX_COLUMNS)}"
                )
            return [_record(row, listed, path, rows.line_num) for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path}: not a table in UTF-8 ({error}); restore it or build the dataset anew"
        ) from error


def _record(
    row: dict[str, str | None], listed: frozenset[str] | None, path: Path, line: int
) -> FaceRecord:
    values = [row[name] for name in INDEX_COLUMNS]
    file, shard, kind, identity = (value or "" for value in values)
    if None in values or not file or not shard:
        raise DatasetError(
            f"{path}, line {line}: no file or shard is named; restore the line or build the "
            "dataset anew"
        )
    held_out = None if listed is None else (identity or file) in listed
    return FaceRecord(file, shard, kind, identity, held_out)


def read_held_out(folder: Path) -> frozenset[str] | None:
    """The people that a dataset keeps for evaluation, None where it has no held-out.txt.

    A person is an identity of the index, or the file of a face without one.
    """
    path = folder / HELD_OUT_FILE
    return _read_lines(path, "person") if path.is_file() else None


def read_excluded(folder: Path, records: list[FaceRecord]) -> NDArray[np.bool_]:
    """Which faces (N,) of the index a dataset's exclude.txt names: no run may draw them.

    It has a file name of the index per line; without one no face is left out.
    """
    path = folder / EXCLUDE_FILE
    listed = _read_lines(path, "file") if path.is_file() else frozenset()
    return np.array([record.file in listed for record in records], bool)


def _read_lines(path: Path, what: str) -> frozenset[str]:
    """The lines of a list, of which each names a `what`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: not text in UTF-8 ({error.reason}); name one {what} per line"
        ) from error
    return frozenset(line.strip() for line in lines if line.strip())


def read_landmarks(folder: Path) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Landmarks (N, K, 2) in 256-pixel crop coordinates and their mesh indices (K,).

    Raises InputNotFoundError where the file is missing, DatasetError where it cannot be read or
    has another number of rows than the index.
    """
    path = folder / LANDMARKS_FILE
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; a face dataset has a {LANDMARKS_FILE}")
    try:
        with np.load(path) as arrays:
            points, mesh_index = arrays["points"], arrays["mesh_index"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(
            f"{path}: cannot be read ({_words(error)}); it must hold points and mesh_index: "
            "restore it or build the dataset anew"
        ) from error
    if points.shape[1:] != (len(mesh_index), 2):
        raise DatasetError(
            f"{path}: points of shape {points.shape} do not fit {len(mesh_index)} mesh indices; "
            "restore it or build the dataset anew"
        )
    n_records = len(read_index(folder))
    if len(points) != n_records:
        raise DatasetError(
            f"{path}: landmarks of {len(points)} faces, but {INDEX_FILE} lists {n_records}; "
            "restore the one that was changed or build the dataset anew"
        )
    return points, mesh_index


def iterate_faces(
    folder: Path, records: list[FaceRecord], size: int
) -> Iterator[NDArray[np.uint8]]:
    """Faces (size, size, 3), uint8 RGB, in the order of `records`.

    Raises DatasetError naming the shard and the picture that cannot be read.
    """
    with ExitStack() as opened:
        shards: dict[str, zipfile.ZipFile] = {}
        for record in records:
            if record.shard not in shards:
                shards[record.shard] = opened.enter_context(_open_shard(folder / record.shard))
            bgr = _decoded(shards[record.shard], folder / record.shard, record.file)
            if bgr.shape[:2] != (size, size):
                shrinks = bgr.shape[0] > size
                bgr = cv2.resize(
                    bgr, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
                )
            yield np.ascontiguousarray(bgr[:, :, ::-1])


def _open_shard(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise DatasetError(f"{path}: the shard is missing; copy it back beside {INDEX_FILE}")
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DatasetError(
            f"{path}: not a zip file that can be read ({_words(error)}); it may have been cut "
            "short: copy it again"
        ) from error


def _decoded(shard: zipfile.ZipFile, path: Path, file: str) -> Any:
    """A picture (H, W, 3) uint8 BGR of a shard."""
    try:
        encoded = np.frombuffer(shard.read(file), np.uint8)
    except KeyError as error:
        raise DatasetError(
            f"{path}: holds no {file}, which {INDEX_FILE} lists; copy the shard again"
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise DatasetError(
            f"{path}: {file} is damaged ({_words(error)}); copy the shard again"
        ) from error
    bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
    if bgr is None:
        raise DatasetError(
            f"{path}: {file} is not a picture that decodes; copy the shard again, or take the "
            f"picture out of {INDEX_FILE} and {LANDMARKS_FILE}"
        )
    return bgr


def _words(error: Exception) -> str:
    """An error's own words on one line."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def whole_meshes(
    points: NDArray[np.floating], mesh_index: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Meshes (N, 478, 2) of the points (N, K, 2) of `read_landmarks`; zero where none is known."""
    meshes = np.zeros((len(points), mesh.N_LANDMARKS, 2), np.float32)
    meshes[:, mesh_index] = points
    return meshes


def cached_faces(folder: Path, cache: Path, size: int) -> NDArray[np.uint8]:
    """All faces (N, size, size, 3), memory-mapped from `cache`; decoded there on first use.

    Those of 256 pixels, where the cache has them, are reduced to a smaller size without decoding.
    """
    records = read_index(folder)
    decoded = cache / "faces-256.npy"

    def fill(faces: NDArray[np.uint8]) -> None:
        if size < 256 and decoded.is_file():
            whole = cached_faces(folder, cache, 256)
            for i in tqdm(range(len(whole)), f"faces at {size} px"):
                faces[i] = cv2.resize(whole[i], (size, size), interpolation=cv2.INTER_AREA)
            return
        pictures = iterate_faces(folder, records, size)
        for i, face in enumerate(tqdm(pictures, f"faces at {size} px", len(records))):
            faces[i] = face

    shape = (len(records), size, size, 3)
    return cached_array(cache / f"faces-{size}.npy", shape, np.uint8, fill)


def cached_visibility(faces: NDArray[np.uint8], cache: Path) -> NDArray[np.uint8]:
    """Where each face is not occluded (N, 128, 128), 0 to 255, computed once."""

    def fill(visibility: NDArray[np.uint8]) -> None:
        for start in tqdm(range(0, len(faces), 32), "occlusion of faces"):
            parts = visibility_maps(list(faces[start : start + 32]))
            visibility[start : start + 32] = np.rint(255.0 * parts).astype(np.uint8)

    return cached_array(cache / "visibility.npy", (len(faces), 128, 128), np.uint8, fill)


def cached_array(
    path: Path,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    fill: Callable[[NDArray[Any]], None],
) -> NDArray[Any]:
    """A read-only memory-mapped array, computed by `fill` into a temporary file when absent.

    Raises DatasetError where the file is of another shape, DiskFullError where it has no room.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        _check_room(path, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        array = np.lib.format.open_memmap(partial, "w+", dtype, shape)
        try:
            fill(array)
        except BaseException:
            partial.unlink()
            raise
        array.flush()
        del array
        partial.rename(path)
    try:
        mapped: NDArray[Any] = np.load(path, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise DatasetError(
            f"{path}: cannot be read ({_words(error)}); delete it, it is made anew"
        ) from error
    if mapped.shape != shape or mapped.dtype != dtype:
        raise DatasetError(
            f"{path}: made of another dataset ({mapped.dtype} of shape {mapped.shape}, wanted "
            f"{np.dtype(dtype)} of shape {shape}); delete it or name another cache folder"
        )
    return mapped


def _check_room(path: Path, size: int) -> None:
    """Raise unless the disk has room: a memory-mapped write to a full one ends the program."""
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise DiskFullError(
            f"no space left for {path}: {size / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free; "
            "free some or name a cache folder on another disk"
        )
