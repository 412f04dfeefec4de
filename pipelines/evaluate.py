"""Evaluate a checkpoint on clips: swap each onto another and let a judge net compare.

    python -m pipelines.evaluate --clips FOLDER --judge faceres.json --checkpoint FILE -o FOLDER

The judge is a TensorFlow.js face net that must have had no part in training; without --judge it is
dlib's net, which had, and the table says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.nets import Nets, load_nets
from pipelines.source import SourceReader
from pipelines.swap import SwapOptions, read_source, swap_frames
from vidswap.errors import InputNotFoundError
from vidswap.faces.align import align_face, face_affine
from vidswap.faces.detection import Face
from vidswap.identity.encoder import IdentityEncoder
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.metrics.swap_quality import FrameEmbeddings, SwapQuality, measure_frame, summarise
from vidswap.training.graph_readers import read_tfjs
from vidswap.training.id_targets import arcface_crop

Judge = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
_JUDGE_INPUT = 224
_JUDGE_OUTPUT = "global_pooling/Mean"


def load_judge(path: Path | None) -> tuple[str, Judge]:
    """A judge's name, and its embedding (D,) of an aligned crop (256, 256, 3) uint8."""
    if path is None:
        encoder = IdentityEncoder()

        def dlib(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
            embedding: NDArray[np.float32] = encoder(_tensor(crop)).embedding[0].numpy()
            return embedding

        return "dlib ResNet (took part in training)", dlib
    net = read_tfjs(path, _JUDGE_OUTPUT)

    def graph(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            faces = (arcface_crop(_tensor(crop), size=_JUDGE_INPUT) + 1.0) * 127.5
            embedding: NDArray[np.float32] = net(faces)[0].numpy()
        return embedding

    return path.stem, graph


def _tensor(crop: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 127.5 - 1.0


def evaluate_pair(
    source: Path, target: Path, nets: Nets, judge: Judge, every: int, max_frames: int
) -> tuple[SwapQuality, NDArray[np.uint8]]:
    """Swap `source` onto `target`; the measures, and a row of pictures (source, then pairs)."""
    options = SwapOptions()
    source_face = read_source(nets, [source], options)
    originals: list[Frame] = []

    def remembered() -> Iterator[Frame]:
        with VideoReader(target) as clip:
            for frame in islice(clip, max_frames):
                originals.append(frame)
                yield frame

    # A reader of its own: the swap's nets are busy in the pipeline's threads.
    pairs: list[MeasuredPair] = []
    with closing(SourceReader.load()) as reader:
        swapped = swap_frames(remembered(), source_face.identity, nets, options)
        for index, after in enumerate(swapped):
            if index % every == 0:
                pairs += measured_pair(originals[index].rgb, after.rgb, reader)
    source_id = np.mean([judge(crop) for crop in source_face.crops], axis=0)
    before_ids = [judge(pair.crops[0]) for pair in pairs]
    target_id = np.mean(before_ids, axis=0)
    frames = [
        measure_frame(
            pair.before,
            pair.after,
            FrameEmbeddings(source_id, target_id, own, judge(pair.crops[1])),
        )
        for pair, own in zip(pairs, before_ids, strict=True)
    ]
    return summarise(frames), picture_row(source_face.crops[0], pairs)


@dataclass(frozen=True, eq=False)
class MeasuredPair:
    """A frame's face before and after the swap, and both crops by the alignment of the first."""

    before: Face
    after: Face
    crops: tuple[NDArray[np.uint8], NDArray[np.uint8]]


def measured_pair(
    before: NDArray[np.uint8], after: NDArray[np.uint8], reader: SourceReader
) -> list[MeasuredPair]:
    """The largest face of a frame before and after, or nothing where either shows none."""
    faces = reader.faces(before)
    again = reader.landmark_finder.landmarks(after, faces[0]) if faces else None
    if again is None:
        return []
    affine = face_affine(faces[0].landmarks)
    return [MeasuredPair(faces[0], again, (align_face(before, affine), align_face(after, affine)))]


def picture_row(source: NDArray[np.uint8], pairs: list[MeasuredPair]) -> NDArray[np.uint8]:
    """The source, then five moments of the clip, before above after: (512, 6 x 256, 3) uint8."""
    chosen = [pairs[i].crops for i in np.linspace(0, len(pairs) - 1, 5).round().astype(int)]
    columns = [np.concatenate([source, np.full_like(source, 255)], axis=0)]
    columns += [np.concatenate(crops, axis=0) for crops in chosen]
    return np.concatenate(columns, axis=1)


@click.command()
@click.option("--clips", type=click.Path(path_type=Path), required=True)
@click.option("--judge", "judge_path", type=click.Path(path_type=Path))
@click.option("--checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--every", default=5, show_default=True, help="Measure every n-th frame.")
@click.option("--max-frames", default=120, show_default=True, help="Frames of each clip.")
@click.option("--only", default="*", show_default=True, help="Pattern of clip names.")
def main(
    clips: Path,
    judge_path: Path | None,
    checkpoint: Path | None,
    output: Path,
    every: int,
    max_frames: int,
    only: str,
) -> None:
    """Swap every clip with its neighbour's face; print a table, write it and a picture sheet."""
    paths = sorted(p for p in clips.glob(only) if p.is_file())
    if len(paths) < 2:
        raise click.ClickException(str(InputNotFoundError(f"{clips}: fewer than two clips")))
    output.mkdir(parents=True, exist_ok=True)
    name, judge = load_judge(judge_path)
    results: dict[str, dict[str, float]] = {}
    rows = []
    with closing(load_nets(checkpoint)) as nets:
        for source, target in zip(paths, paths[1:] + paths[:1], strict=True):
            quality, row = evaluate_pair(source, target, nets, judge, every, max_frames)
            results[f"{source.stem} on {target.stem}"] = asdict(quality)
            rows.append(row)
            click.echo(_line(f"{source.stem} on {target.stem}", asdict(quality)))
        digest, images = nets.generator.sha256, nets.generator.images_trained
    mean = {
        key: float(np.nanmean([r[key] for r in results.values()]))
        for key in next(iter(results.values()))
    }
    click.echo(_line("mean", mean))
    report = {
        "judge": name, "checkpoint_sha256": digest, "images_trained": images,
        "mean": mean, "pairs": results,
    }  # fmt: skip
    (output / "evaluation.json").write_text(json.dumps(report, indent=1))
    sheet = np.concatenate(rows, axis=0)
    cv2.imwrite(str(output / "sheet.png"), np.ascontiguousarray(sheet[:, :, ::-1]))


def _line(name: str, values: dict[str, float]) -> str:
    return (
        f"{name:32s} nearer to source {values['nearer_to_source']:4.0%} "
        f"(than own frame {values['nearer_than_frame']:4.0%})  "
        f"cos source {values['cosine_to_source']:.3f} target {values['cosine_to_target']:.3f} "
        f"frame {values['cosine_to_frame']:.3f} "
        f"(untouched {values['target_to_source']:.3f})  pose {values['pose_degrees']:.2f} deg  "
        f"eyes r {values['eye_correlation']:.2f}  mouth r {values['mouth_correlation']:.2f}"
    )


if __name__ == "__main__":
    main()
