"""A dataset of schematic faces in the format that training reads."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import cv2
import numpy as np

from tests.training.test_pairs import MESH_INDEX, schematic_points


def small_dataset(folder: Path, n_faces: int = 12, side: int = 128) -> Path:
    """Write `n_faces` faces of as many people, each of another colour, in two shards."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(3)
    rows = []
    for shard_number in range(2):
        shard = f"faces-{shard_number:02d}.zip"
        with zipfile.ZipFile(folder / shard, "w") as file:
            for i in range(shard_number, n_faces, 2):
                name = f"{i:06d}.webp"
                file.writestr(name, _face(random, side))
                rows.append((name, shard, "drawn", f"person{i}", side))
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "shard", "kind", "identity", "pixels"])
        writer.writerows(rows)
    points = np.repeat(schematic_points()[MESH_INDEX][None], n_faces, 0).astype(np.float16)
    np.savez(folder / "landmarks.npz", points=points, mesh_index=MESH_INDEX)
    return folder


def album_dataset(folder: Path, held_out: str, kind: str = "drawn") -> Path:
    """The twelve faces of `small_dataset`: two each of people 0 to 4, one of 5 and of 11.

    The people held out are named one per line.
    """
    small_dataset(folder)
    with (folder / "index.csv").open(newline="") as lines:
        head, *rows = list(csv.reader(lines))
    for row in rows:
        number = int(row[0][:6])
        person = number - 6 if 6 <= number < 11 else number
        row[2:4] = [kind, f"person{person}"]
    with (folder / "index.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([head, *rows])
    (folder / "held-out.txt").write_text(held_out)
    return folder


def _face(random: np.random.Generator, side: int) -> bytes:
    picture = np.full((side, side, 3), random.integers(20, 90), np.uint8)
    colour = [int(c) for c in random.integers(90, 230, 3)]
    cv2.ellipse(picture, (side // 2, side // 2), (side // 4, side // 3), 0, 0, 360, colour, -1)
    ok, encoded = cv2.imencode(".webp", picture)
    assert ok
    return encoded.tobytes()
