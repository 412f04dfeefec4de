"""Whole clips, each swapped with the face of the clip before it as in a run, and measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import InputNotFoundError, VidswapError
from vidswap.evaluation.judge import Judge
from vidswap.faces.align import align_face, face_affine
from vidswap.faces.detection import Face
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.metrics.flow import FlowArea, flow_quality
from vidswap.metrics.geometry import meshes_in_one_region
from vidswap.metrics.summaries import mean_of_known
from vidswap.metrics.swap_quality import FrameEmbeddings, SwapQuality, measure_frame, summarise
from vidswap.nets import Nets
from vidswap.people.source import SourceReader
from vidswap.swap.job import read_source
from vidswap.swap.options import SwapOptions
from vidswap.swap.path import swap_frames

Picture = NDArray[np.uint8]
SHEET_MOMENTS = 5


@dataclass(frozen=True, eq=False)
class MeasuredPair:
    """A frame's face before and after the swap, and both crops, aligned by the first."""

    before: Face
    after: Face
    crops: tuple[Picture, Picture]


@dataclass
class ClipFaces:
    """What is kept of a clip: its measured frames, and the flow area of every frame."""

    pairs: list[MeasuredPair] = field(default_factory=list)
    lost: int = 0  # measured frames with a face before the swap and none after it
    areas: list[tuple[Picture, Picture]] = field(default_factory=list)


def find_clips(folder: Path, only: str = "*") -> list[Path]:
    """The clips of a folder, by name. Raises InputNotFoundError for fewer than two."""
    if not folder.is_dir():
        raise InputNotFoundError(f"{folder}: no such folder; give --clips a folder of clips")
    paths = sorted(p for p in folder.glob(only) if p.is_file())
    if len(paths) < 2:
        raise InputNotFoundError(
            f"{folder}: {len(paths)} file(s) match {only!r}; each clip gets the face of another, "
            "so at least two are needed"
        )
    return paths


def clips_sha256(paths: Sequence[Path]) -> str:
    """Digest of the clips' names and contents, in order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:".encode())
        with path.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def evaluate_clips(
    paths: Sequence[Path],
    nets: Nets,
    judge: Judge,
    every: int,
    max_frames: int,
    options: SwapOptions | None = None,
) -> Iterator[tuple[str, SwapQuality, Picture]]:
    """Name, measures and row of pictures of every clip with the face of the clip before it."""
    for source, target in zip(paths, [*paths[1:], paths[0]], strict=True):
        quality, row = evaluate_pair(source, target, nets, judge, every, max_frames, options)
        yield f"{source.stem} on {target.stem}", quality, row


def evaluate_pair(
    source: Path,
    target: Path,
    nets: Nets,
    judge: Judge,
    every: int,
    max_frames: int,
    options: SwapOptions | None = None,
) -> tuple[SwapQuality, Picture]:
    """Swap `source` onto `target`; the measures, and a row of pictures (source, then pairs).

    Identity and geometry are measured on every `every`-th frame, the flow on all of them. Raises
    VidswapError where no frame shows a face both before and after.
    """
    options = options or SwapOptions()
    source_face = read_source(nets, [source], options)
    originals: list[Frame] = []

    def remembered() -> Iterator[Frame]:
        with VideoReader(target) as clip:
            for frame in islice(clip, max_frames):
                originals.append(frame)
                yield frame

    # A reader of its own: the swap's nets are busy in the pipeline's threads.
    with closing(SourceReader.load()) as reader:
        swapped = swap_frames(remembered(), source_face, nets, options)
        frames = ((originals[i].rgb, after.rgb) for i, after in enumerate(swapped))
        seen = watch(frames, reader, every)
    if not seen.pairs:
        where = f" after the swap, in any of {seen.lost} frames" if seen.lost else ""
        raise VidswapError(f"{target}: no face was found{where}; nothing can be measured")
    source_id = judge.embed(source_face.crops).mean(axis=0)
    before_ids = judge.embed([pair.crops[0] for pair in seen.pairs])
    after_ids = judge.embed([pair.crops[1] for pair in seen.pairs])
    target_id = before_ids.mean(axis=0)
    measured = [
        measure_frame(
            pair.before, pair.after, pair.crops, FrameEmbeddings(source_id, target_id, own, after)
        )
        for pair, own, after in zip(seen.pairs, before_ids, after_ids, strict=True)
    ]
    flow = flow_quality([a for a, _ in seen.areas], [b for _, b in seen.areas])
    quality = summarise(measured, flow, seen.lost)
    return quality, picture_row(source_face.crops[0], seen.pairs)


def watch(frames: Iterator[tuple[Picture, Picture]], reader: SourceReader, every: int) -> ClipFaces:
    """Go through a clip's frames before and after the swap.

    A face is searched in every `every`-th frame, and the flow's area taken from all of them.
    """
    seen, area = ClipFaces(), FlowArea()
    for index, (before, after) in enumerate(frames):
        if index % every == 0:
            faces = reader.faces(before)
            if faces:
                pair = measured_pair(before, after, faces[0], reader)
                seen.lost += pair is None
                seen.pairs += [pair] if pair else []
            area.look(faces[0].box if faces else None)
        affine = area.affine
        if affine is not None:
            seen.areas.append((align_face(before, affine), align_face(after, affine)))
    return seen


def measured_pair(
    before: Picture, after: Picture, face: Face, reader: SourceReader
) -> MeasuredPair | None:
    """A frame's face before and after, or None where the swap shows none."""
    found = meshes_alike(before, after, face, reader)
    if found is None:
        return None
    affine = face_affine(face.landmarks)
    return MeasuredPair(*found, (align_face(before, affine), align_face(after, affine)))


def meshes_alike(
    before: Picture, after: Picture, face: Face, reader: SourceReader
) -> tuple[Face, Face] | None:
    """`meshes_in_one_region`; None where either mesh is missing."""
    first, second = meshes_in_one_region(before, after, face, reader.landmark_finder)
    return None if first is None or second is None else (first, second)


def picture_row(source: Picture, pairs: Sequence[MeasuredPair]) -> Picture:
    """The source, then five moments of the clip, before above after: (512, 6 x 256, 3) uint8."""
    moments = np.linspace(0, len(pairs) - 1, SHEET_MOMENTS).round().astype(int)
    columns = [np.concatenate([source, np.full_like(source, 255)], axis=0)]
    columns += [np.concatenate(pairs[i].crops, axis=0) for i in moments]
    return np.concatenate(columns, axis=1)


def mean_quality(qualities: Sequence[SwapQuality]) -> dict[str, float]:
    """Each measure's mean over the clips that have a value."""
    return {
        field.name: mean_of_known(float(getattr(quality, field.name)) for quality in qualities)
        for field in fields(SwapQuality)
    }
