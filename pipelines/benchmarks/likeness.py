"""How like its source each of several swaps of one clip is, by a judge: a table in Markdown.

    python -m pipelines.benchmarks.likeness SOURCE TARGET SWAPS... --judge faceres.json \
        [--every 4] [--start 1] [--end 1.8]

SOURCE, TARGET and SWAPS are clips; a swap may be another tool's. Of each clip the largest face of
every frame that counts is embedded by the judge. A swap's row has the mean cosine of its faces to
the mean of the source's and to the mean of the target's: to the source higher is better, to the
target lower. A swap that `vidswap run` made of the range alone is counted whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from vidswap.errors import BadOptionError
from vidswap.evaluation.judge import Judge, load_judge
from vidswap.media import VideoReader
from vidswap.metrics.identity import cosine
from vidswap.people.embedding import FaceEmbedder

PATH = click.Path(path_type=Path, exists=True, dir_okay=False)
SOURCE_FRAMES = 20  # every so many of a source's frames are embedded


def crops(
    clip: Path,
    embedder: FaceEmbedder,
    every: int,
    start: float | None = None,
    end: float | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """The aligned crop of the largest face of every so many frames of a range in seconds."""
    with VideoReader(clip, start, end) as reader:
        for index, frame in enumerate(reader):
            if index % every:
                continue
            rgb = frame.rgb
            for face in embedder.faces(rgb)[:1]:
                yield embedder.embed(rgb, face)[0]


def embedded(judge: Judge, faces: Iterable[NDArray[np.uint8]], clip: Path) -> NDArray[np.float32]:
    """The judge's unit embeddings (N, D) of a clip's crops."""
    found = list(faces)
    if not found:
        raise click.ClickException(f"{clip}: no face in the frames that count")
    rows = judge.embed(found)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


@click.command()
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@click.argument("swaps", type=PATH, nargs=-1, required=True)
@click.option("--judge", type=PATH, required=True, help="TensorFlow.js face net.")
@click.option("--every", type=click.IntRange(1), default=4, show_default=True, help="Frames.")
@click.option("--start", type=float, help="Seconds into target and swaps.")
@click.option("--end", type=float, help="Seconds into target and swaps.")
def main(
    source: Path,
    target: Path,
    swaps: tuple[Path, ...],
    judge: Path,
    every: int,
    start: float | None,
    end: float | None,
) -> None:
    """Print a row for each swap."""
    net = load_judge(judge)
    with closing(FaceEmbedder.load()) as embedder:
        own = embedded(net, crops(source, embedder, SOURCE_FRAMES), source).mean(axis=0)
        before = embedded(net, crops(target, embedder, every, start, end), target).mean(axis=0)
        click.echo(f"| {net.stated} | faces | to source | to target |\n|---|---|---|---|")
        click.echo(f"| source and target themselves | | {cosine(own, before):.3f} | |")
        for swap in swaps:
            try:
                faces = list(crops(swap, embedder, every, start, end))
            except BadOptionError:  # it has no such frames: it is of the range alone
                faces = list(crops(swap, embedder, every))
            rows = embedded(net, faces, swap)
            to_source = np.mean([cosine(row, own) for row in rows])
            to_target = np.mean([cosine(row, before) for row in rows])
            click.echo(f"| {swap.name} | {len(rows)} | {to_source:.3f} | {to_target:.3f} |")


if __name__ == "__main__":
    main()
