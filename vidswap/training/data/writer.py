"""Writes a face dataset: zip shards, index, landmarks, held-out people and a report.

The folder has the format that `face_shards` reads (`docs/dataset.md`). It is written under
a temporary name and renamed when complete.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.errors import OutputExistsError
from vidswap.faces import mesh
from vidswap.faces.align import CROP_SIZE
from vidswap.media.output import check_output, writing_errors
from vidswap.metrics.geometry import LEFT_BROW, RIGHT_BROW
from vidswap.training.data.face_shards import (
    HELD_OUT_FILE,
    INDEX_COLUMNS,
    INDEX_FILE,
    LANDMARKS_FILE,
    is_held_out,
)

REPORT_FILE = "report.json"
SHARD_BYTES = 50_000_000  # at most, of a zip file
WEBP_QUALITY = 90
FULL_SIZE_SHARE = 0.75  # of 256 pixels: with more of its own, a face is stored at 256
MIN_SIDE = 96  # pixels, of a stored crop
_ZIP_ENTRY_BYTES = 180  # two headers and the name, beside the picture itself
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every zip entry: the same pictures give the same shard
_COLUMNS = (*INDEX_COLUMNS, "pixels", "upsampling", "yaw", "pitch", "source")

_NOSE_WINGS = (2, 98, 327)
# The mesh points that are kept of every face, in the order of the landmarks' columns.
MESH_INDEX = np.array(
    [
        *mesh.RIGHT_EYE, *mesh.LEFT_EYE, *mesh.OUTER_LIPS, *mesh.INNER_LIPS, *mesh.NOSE_BRIDGE,
        *_NOSE_WINGS, *RIGHT_BROW, *LEFT_BROW, *mesh.FACE_OVAL, *mesh.RIGHT_IRIS,
        *mesh.LEFT_IRIS,
    ],
    np.int16,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """One face for the dataset.

    `crop` (S, S, 3) uint8 RGB with S from `stored_side`; `landmarks` (478, 2) in pixels of the
    256-pixel crop; `identity` is empty where it is not known; `source` names the picture, or the
    clip and the second; `group`, the picture or clip, must not be split between training and
    evaluation when the identity is unknown. `upsampling` is pixels of the 256-pixel crop for one of
    the source; `yaw` and `pitch` are degrees.
    """

    crop: NDArray[np.uint8]
    landmarks: NDArray[np.floating]
    identity: str
    source: str
    group: str
    upsampling: float
    yaw: float
    pitch: float


def stored_side(upsampling: float) -> int:
    """The side that a crop is stored at: 256, or less for a face that has fewer pixels.

    Then it is near the face's own resolution, a multiple of 8, so that the index shows which
    pictures are sharp; `face_shards` enlarges it again.
    """
    natural = CROP_SIZE / upsampling
    if natural >= FULL_SIZE_SHARE * CROP_SIZE:
        return CROP_SIZE
    return max(MIN_SIDE, 8 * round(natural / 8))


class DatasetWriter:
    """Writes faces one by one; the folder appears with `publish`, without it nothing is left.

    Use it as a context manager. Memory holds at most one shard; of earlier faces the landmarks
    wait on disk, 600 bytes each.
    Raises OutputExistsError, OutputNotWritableError and DiskFullError.
    """

    def __init__(self, folder: Path, kind: str, overwrite: bool = False) -> None:
        check_dataset_output(folder, overwrite)
        self.folder, self.kind = folder, kind
        self.n_faces = 0
        self.people: Counter[str] = Counter()
        self.held_out: set[str] = set()
        self._part = folder.with_name(f".{folder.name}.part")
        self._shards = 0
        self._shard_bytes = 0
        self._begin_shard()
        with writing_errors(folder):
            shutil.rmtree(self._part, ignore_errors=True)
            self._part.mkdir()
            with (self._part / INDEX_FILE).open("w", newline="", encoding="utf-8") as index:
                csv.writer(index, lineterminator="\n").writerow(_COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._part, ignore_errors=True)

    def add(self, face: AlignedFace) -> None:
        """Append a face."""
        encoded = cv2.imencode(
            ".webp", face.crop[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY]
        )[1].tobytes()
        size = len(encoded) + _ZIP_ENTRY_BYTES
        if self._rows and self._shard_bytes + size > SHARD_BYTES:
            self._flush()
        file = f"{self.n_faces:06d}.webp"
        self._pictures.append((file, encoded))
        self._shard_bytes += size
        self._rows.append(
            [file, self._shard_name, self.kind, face.identity, face.crop.shape[0],
             f"{face.upsampling:.4g}", f"{face.yaw:.1f}", f"{face.pitch:.1f}", face.source]
        )  # fmt: skip
        self._points.append(face.landmarks[MESH_INDEX].astype(np.float16))
        person = face.identity or file
        if is_held_out(face.identity or face.group):
            self.held_out.add(person)
        self.people[person] += 1
        self.n_faces += 1

    def publish(self, report: dict[str, Any]) -> None:
        """Complete the folder with its report and give it its name."""
        self._flush()
        with writing_errors(self.folder):
            raw = np.memmap(self._points_path, np.float16, "r")
            points = raw.reshape(-1, len(MESH_INDEX), 2)
            np.savez_compressed(self._part / LANDMARKS_FILE, points=points, mesh_index=MESH_INDEX)
            self._points_path.unlink()
            people = "".join(f"{name}\n" for name in sorted(self.held_out))
            (self._part / HELD_OUT_FILE).write_text(people, encoding="utf-8")
            text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
            (self._part / REPORT_FILE).write_text(text, encoding="utf-8")
            _replace(self._part, self.folder)

    @property
    def _shard_name(self) -> str:
        return f"faces-{self._shards:02d}-{self.kind}.zip"

    @property
    def _points_path(self) -> Path:
        return self._part / "landmarks.raw"

    def _begin_shard(self) -> None:
        self._shard_bytes = 0
        self._pictures: list[tuple[str, bytes]] = []
        self._rows: list[list[Any]] = []
        self._points: list[NDArray[np.float16]] = []

    def _flush(self) -> None:
        """Write the shard, then the lines and landmarks of its faces."""
        if not self._rows:
            return
        with writing_errors(self.folder):
            (self._part / self._shard_name).write_bytes(_zipped(self._pictures))
            with (self._part / INDEX_FILE).open("a", newline="", encoding="utf-8") as index:
                csv.writer(index, lineterminator="\n").writerows(self._rows)
            with self._points_path.open("ab") as raw:
                raw.write(np.stack(self._points).tobytes())
        self._shards += 1
        self._begin_shard()


def _zipped(pictures: list[tuple[str, bytes]]) -> bytes:
    """A zip file of named pictures, made in memory: on a full disk it could not be closed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as shard:
        for file, encoded in pictures:
            shard.writestr(zipfile.ZipInfo(file, _EPOCH), encoded)
    return buffer.getvalue()


def check_dataset_output(folder: Path, overwrite: bool = False) -> None:
    """Raise unless a dataset can be made at `folder`; nothing is written.

    Only a dataset or an empty folder is ever overwritten.
    """
    if folder.is_dir():
        if not overwrite:
            raise OutputExistsError(f"{folder} exists; give --overwrite or name another folder")
        if any(folder.iterdir()) and not (folder / INDEX_FILE).is_file():
            raise OutputExistsError(
                f"{folder} is not empty and holds no {INDEX_FILE}, so it is no dataset to "
                "overwrite; name another folder"
            )
        check_output(folder / INDEX_FILE, overwrite=True)
    # The folder's name is given to it in the folder above.
    check_output(folder.with_name(f".{folder.name}.new"))
    if folder.is_file():
        raise OutputExistsError(f"{folder} is a file; name a folder")


def _replace(part: Path, folder: Path) -> None:
    """Rename `part` to `folder`; what was there is deleted only after that."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    replaced = folder.is_dir()
    if replaced:
        folder.rename(old)
    try:
        part.rename(folder)
    except OSError:
        if replaced:
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


# A copy of a photograph in JPEG of quality 50, or at half its size, differs from it in at most 32
# of the 512 bits, the most alike portraits of two people in 57 (of 3 million pairs), and frames of
# a speaker one second apart in 40 to 60.
MAX_COPY_BITS = 32
# Eyes, nose and mouth in parts of the crop's side: top, bottom, left, right. A talking face changes
# there, its surroundings do not.
_INNER_FACE = (0.344, 0.781, 0.281, 0.719)
_GRID = 16


def fingerprint(crop: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """512 bits (8,) of a crop (S, S, 3): where the inner face gets brighter to the right or down.

    The difference hash of Krawetz on a grid of 16 by 16, in both directions.
    """
    top, bottom, left, right = (round(part * crop.shape[0]) for part in _INNER_FACE)
    inner = np.ascontiguousarray(crop[top:bottom, left:right])
    grey = cv2.cvtColor(inner, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_GRID + 1, _GRID + 1), interpolation=cv2.INTER_AREA)
    rightward = small[:_GRID, 1:] > small[:_GRID, :-1]
    downward = small[1:, :_GRID] > small[:-1, :_GRID]
    bits = np.packbits(np.concatenate([rightward.ravel(), downward.ravel()]))
    return np.frombuffer(bits.tobytes(), np.uint64)


class SeenCrops:
    """Fingerprints of the crops kept so far: 64 bytes each."""

    def __init__(self) -> None:
        self._bits = np.empty((256, 8), np.uint64)
        self._n = 0

    def has_copy_of(self, bits: NDArray[np.uint64]) -> bool:
        """Whether a crop with nearly these bits was kept."""
        different = np.bitwise_count(self._bits[: self._n] ^ bits).sum(axis=1)
        return bool((different <= MAX_COPY_BITS).any())

    def keep(self, bits: NDArray[np.uint64]) -> None:
        """Remember a crop."""
        if self._n == len(self._bits):
            self._bits = np.concatenate([self._bits, np.empty_like(self._bits)])
        self._bits[self._n] = bits
        self._n += 1
