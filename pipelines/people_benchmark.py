"""How well people are told apart: B-cubed F1 of clustering, on albums and on clips cut together.

    python -m pipelines.people_benchmark albums FOLDER     (a dataset with index.csv)
    python -m pipelines.people_benchmark clips CLIP...     (one person each)
    python -m pipelines.people_benchmark size 20000        (seconds and memory of so many tracks)

Prints a line of JSON per threshold, or per clip made.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.identity.encoder import IdentityEncoder
from vidswap.media.decoder import VideoReader
from vidswap.people.clustering import b_cubed, cluster
from vidswap.people.embedding import embed_crops
from vidswap.swap.first_pass import find_people, with_people

THRESHOLDS = (0.32, 0.34, 0.36, 0.38, 0.4, 0.42, 0.44)
SIZE = (360, 288)  # of a clip that is cut together


def albums(folder: Path, kind: str, people: int, pictures: int, seed: int) -> None:
    """Every picture as a track of its own: the hardest case, with nothing to average."""
    rows, names = _embedded(folder, kind, people, pictures, seed)
    for threshold in THRESHOLDS:
        found = cluster(rows, threshold=threshold)
        precision, recall, f1 = b_cubed(found, names)
        print(json.dumps({
            "albums": people, "pictures": len(rows), "threshold": threshold,
            "precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4),
        }), flush=True)  # fmt: skip


def clips(paths: Sequence[Path], pieces: int, seconds: float, seed: int) -> None:
    """Pieces of clips in any order, found as in `vidswap people`."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        truth = _cut_together(paths, film, pieces, seconds, seed)
        began = time.monotonic()
        tracks = find_people(film, Path(folder) / "cast")
        took = time.monotonic() - began
    starts = [start for start, _ in truth]
    names = [truth[int(np.searchsorted(starts, t.start + 1e-3)) - 1][1] for t in tracks.tracks]
    for threshold in THRESHOLDS:
        found = [track.person for track in with_people(tracks, threshold).tracks]
        precision, recall, f1 = b_cubed([int(person[1:]) for person in found], names)
        print(json.dumps({
            "people": len(set(names)), "shots": len(truth), "tracks": len(names),
            "threshold": threshold, "precision": round(precision, 4), "recall": round(recall, 4),
            "f1": round(f1, 4), "frames_per_second": round(tracks.clip.frames / took, 1),
        }), flush=True)  # fmt: skip


def size(count: int, people: int = 300, seed: int = 0) -> None:
    """Seconds, processor seconds and memory for so many made-up tracks."""
    dice = np.random.default_rng(seed)
    centres = dice.normal(size=(people, 128))
    centres *= 0.6 / np.linalg.norm(centres, axis=1, keepdims=True)
    names = dice.integers(0, people, count)
    rows = (centres[names] + 0.012 * dice.normal(size=(count, 128))).astype(np.float32)
    apart = {(n, n + 1) for n in range(0, count - 1, 2) if names[n] != names[n + 1]}
    began, before = time.monotonic(), time.process_time()
    f1 = b_cubed(cluster(rows, apart), names)[2]
    print(json.dumps({
        "tracks": count, "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(time.process_time() - before, 1), "f1": round(f1, 4),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }))  # fmt: skip


def _embedded(
    folder: Path, kind: str, people: int, pictures: int, seed: int
) -> tuple[NDArray[np.float32], list[str]]:
    with (folder / "index.csv").open() as file:
        by_name = defaultdict(list)
        for row in csv.DictReader(file):
            if row["kind"] == kind and row["identity"]:
                by_name[row["identity"]].append(row)
    names = sorted(name for name, rows in by_name.items() if len(rows) >= 3)
    np.random.default_rng(seed).shuffle(names)
    chosen = [row for name in names[:people] for row in by_name[name][:pictures]]
    encoder, rows, shards = IdentityEncoder(), [], {}
    for row in chosen:
        shard = shards.setdefault(row["shard"], zipfile.ZipFile(folder / row["shard"]))
        crop = cv2.imdecode(np.frombuffer(shard.read(row["file"]), np.uint8), cv2.IMREAD_COLOR)
        crop = cv2.resize(crop, (256, 256), interpolation=cv2.INTER_LINEAR)[:, :, ::-1]
        embedded = embed_crops(encoder, [np.ascontiguousarray(crop)])
        rows.append(embedded.embedding[0].numpy())
    return np.stack(rows), [row["identity"] for row in chosen]


def _cut_together(
    paths: Sequence[Path], film: Path, pieces: int, seconds: float, seed: int
) -> list[tuple[float, str]]:
    """Write pieces of all clips in any order; gives when each begins and whose it is."""
    order = [(path, piece) for path in paths for piece in range(pieces)]
    np.random.default_rng(seed).shuffle(order)  # type: ignore[arg-type]
    truth, index = [], 0
    with av.open(str(film), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for path, piece in order:
            truth.append((index / 25, path.stem))
            for rgb in _piece(Path(path), float(piece) * seconds, seconds):
                frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                output.mux(stream.encode(frame))
                index += 1
        output.mux(stream.encode(None))
    return truth


def _piece(path: Path, start: float, seconds: float) -> Iterator[NDArray[np.uint8]]:
    with VideoReader(path, start=start) as reader:
        for frame in islice(reader, round(seconds * 25)):
            height, width = frame.rgb.shape[:2]
            scale = max(SIZE[0] / width, SIZE[1] / height)
            small = cv2.resize(frame.rgb, (round(width * scale + 0.5), round(height * scale + 0.5)))
            yield np.ascontiguousarray(small[: SIZE[1], : SIZE[0]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    of_albums = commands.add_parser("albums")
    of_albums.add_argument("folder", type=Path)
    of_albums.add_argument("--kind", default="lfw")
    of_albums.add_argument("--people", type=int, default=150)
    of_albums.add_argument("--pictures", type=int, default=8)
    of_clips = commands.add_parser("clips")
    of_clips.add_argument("paths", type=Path, nargs="+")
    of_clips.add_argument("--pieces", type=int, default=3)
    of_clips.add_argument("--seconds", type=float, default=0.8)
    of_size = commands.add_parser("size")
    of_size.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.command == "albums":
        albums(given.folder, given.kind, given.people, given.pictures, given.seed)
    elif given.command == "clips":
        clips(given.paths, given.pieces, given.seconds, given.seed)
    else:
        size(given.count)


if __name__ == "__main__":
    main()
