"""Who is learnt from: the pictures of each person, photographs and, if given, augmented ones."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import DatasetError
from vidswap.training.data.aligned_faces import AlignedFaces
from vidswap.training.data.face_shards import INDEX_FILE, cached_faces
from vidswap.training.data.writer import REPORT_FILE

Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Albums:
    """The people of a dataset that may be trained on, and where their pictures are.

    several: people of two or more photographs, single: those of one; each the numbers of its
    person's pictures. Numbers from `len(photographs)` on are those of `augmented`. photographs_of:
    (len(several),) how many of each are photographs.
    """

    photographs: NDArray[np.uint8]
    augmented: NDArray[np.uint8]
    several: list[NDArray[np.int64]]
    single: list[NDArray[np.int64]]
    photographs_of: NDArray[np.int64]

    def picture(self, number: int) -> Picture:
        """A picture (S, S, 3) by its number."""
        n = len(self.photographs)
        picture: Picture = self.photographs[number] if number < n else self.augmented[number - n]
        return picture


def read_albums(
    faces: AlignedFaces, kind: str = "", augmented: Path | None = None, cache: Path | None = None
) -> Albums:
    """The albums of a dataset's training people, of one `kind` of picture or of all.

    `augmented` is a dataset that `vidswap context` made of it, whose decoded pictures are kept
    below `cache`: each joins the album of the photograph it was made of, if that one may be trained
    on. Raises DatasetError where nobody has two photographs, or where an augmented dataset was
    made of other faces.
    """
    rows = [int(row) for row in faces.rows if kind in ("", faces.records[row].kind)]
    albums: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        albums[faces.records[row].person].append(row)
    counts = {person: len(album) for person, album in albums.items()}
    pictures: NDArray[np.uint8] = np.zeros((0, *faces.pictures.shape[1:]), np.uint8)
    if augmented is not None:
        pictures = cached_faces(augmented, (cache or augmented) / _digest(augmented), faces.size)
        _add_augmented(albums, faces, rows, augmented)
    several = [person for person in albums if counts[person] > 1]
    if not several:
        raise DatasetError(
            "nobody to train on has two photographs" + (f" of kind {kind}" if kind else "")
        )
    return Albums(
        faces.pictures,
        pictures,
        [np.array(albums[person], np.int64) for person in several],
        [np.array(albums[person], np.int64) for person in albums if counts[person] == 1],
        np.array([counts[person] for person in several], np.int64),
    )


def _digest(folder: Path) -> str:
    """A name for what is decoded of an augmented dataset: another one has another."""
    digest = hashlib.sha256((folder / INDEX_FILE).read_bytes())
    if (report := folder / REPORT_FILE).is_file():
        digest.update(report.read_bytes())
    return f"augmented-{digest.hexdigest()[:12]}"


def _add_augmented(
    albums: dict[str, list[int]], faces: AlignedFaces, rows: list[int], folder: Path
) -> None:
    """Add the pictures of an augmented dataset to the albums, by the photographs they show."""
    row_of = {faces.records[row].file: row for row in rows}
    known = {record.file for record in faces.records}
    n = len(faces.pictures)
    with (folder / INDEX_FILE).open(newline="", encoding="utf-8") as lines:
        for number, line in enumerate(csv.DictReader(lines)):
            file = (line.get("source") or "").rpartition(", ")[0]
            if file not in known:
                raise DatasetError(
                    f"{folder / INDEX_FILE}, line {number + 2}: made of {file!r}, which the "
                    "dataset does not have; give what `vidswap context` made of this dataset"
                )
            if (row := row_of.get(file)) is not None:
                albums[faces.records[row].person].append(n + number)
