"""Held-out pairs of source and target: fixed in a file, or drawn by hash for other datasets."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidswap.errors import InputNotFoundError
from vidswap.training.data.face_shards import FaceRecord

PAIRS_FILE = Path(__file__).with_name("held-out-pairs.csv")
N_PAIRS = 200


@dataclass(frozen=True)
class HeldOutPair:
    """Rows of the dataset's index; `another` is a second picture of the source's person, if any."""

    source: int
    target: int
    another: int | None


def held_out_pairs(
    records: Sequence[FaceRecord], n: int = N_PAIRS, file: Path = PAIRS_FILE
) -> tuple[list[HeldOutPair], bool]:
    """The first `n` pairs of `file` if it fits the dataset, else of `draw_pairs`; and if it fits.

    Fewer if there are no more. Raises InputNotFoundError where the dataset has fewer
    than two held-out people.
    """
    fixed = _fits(records, file)
    return (read_pairs(records, file)[:n] if fixed else draw_pairs(records, n)), fixed


def draw_pairs(
    records: Sequence[FaceRecord], n: int, leave_out: Collection[int] = ()
) -> list[HeldOutPair]:
    """Up to `n` pairs of held-out people, the same at every call: each source another person.

    Everything is ordered by hashes of the names. People with several pictures come first, so that
    retrieval by another picture of a person can be measured. Targets are other people than any
    source for as long as there are enough. Rows in `leave_out` are not drawn.
    """
    albums: dict[str, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        if record.held_out and row not in leave_out:
            albums[record.person].append(row)
    if len(albums) < 2:
        raise InputNotFoundError(
            f"{len(albums)} held-out people among {len(records)} pictures; evaluation needs 2 or "
            "more people that were never trained on"
        )
    for album in albums.values():
        album.sort(key=lambda row: _hash("picture", records[row].file))
    people = sorted(albums, key=lambda person: (len(albums[person]) < 2, _hash("person", person)))
    n = min(n, len(people))
    step = n if n < len(people) else 1
    pairs = []
    for i, person in enumerate(people[:n]):
        target = people[(i + step) % len(people)]
        album = albums[person]
        pairs.append(HeldOutPair(album[0], albums[target][0], album[1] if len(album) > 1 else None))
    # Every beginning of the list is a mixture of the whole.
    return sorted(pairs, key=lambda pair: _hash("pair", records[pair.source].file))


def read_pairs(records: Sequence[FaceRecord], file: Path = PAIRS_FILE) -> list[HeldOutPair]:
    """The pairs of a file (columns source, target). Raises KeyError for a picture not there."""
    rows = {picture_key(record.file): row for row, record in enumerate(records)}
    albums: dict[str, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        albums[record.person].append(row)
    pairs = []
    with file.open(newline="") as lines:
        for line in csv.DictReader(lines):
            source, target = rows[line["source"]], rows[line["target"]]
            album = [row for row in albums[records[source].person] if row != source]
            album.sort(key=lambda row: _hash("picture", records[row].file))
            pairs.append(HeldOutPair(source, target, album[0] if album else None))
    return pairs


def write_pairs(
    records: Sequence[FaceRecord], pairs: Sequence[HeldOutPair], file: Path = PAIRS_FILE
) -> None:
    """Write pairs to a file, which `read_pairs` reads."""
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["source", "target"])
        for pair in pairs:
            keys = [picture_key(records[row].file) for row in (pair.source, pair.target)]
            writer.writerow(keys)


def picture_key(file: str) -> str:
    """How the file of pairs names a picture: by its number, any other name as a hash.

    File names of face datasets often are people's names.
    """
    stem = Path(file).stem
    return stem if stem.isdecimal() else hashlib.sha256(file.encode()).hexdigest()[:16]


def _fits(records: Sequence[FaceRecord], file: Path) -> bool:
    """Whether every pair of `file` is of two held-out people of this dataset, each source once."""
    try:
        pairs = read_pairs(records, file)
    except (OSError, KeyError):
        return False
    people = {records[pair.source].person for pair in pairs}
    return len(people) == len(pairs) >= 2 and all(
        records[pair.source].held_out
        and records[pair.target].held_out
        and records[pair.source].person != records[pair.target].person
        for pair in pairs
    )


def _hash(purpose: str, name: str) -> str:
    return hashlib.sha256(f"{purpose}:{name}".encode()).hexdigest()
