"""Animate two packaged portraits and swap the face of one onto the clip of the other.

    python -m pipelines.demo -o demo

The portraits show people who do not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

import vidswap
from vidswap.animation.clip import FPS, load_portrait, make_clip, portrait_names
from vidswap.animation.motion import looking_around, talking
from vidswap.errors import VidswapError
from vidswap.faces.system_libraries import check_system_libraries
from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.media.marks import read_marks
from vidswap.media.output import writing_errors
from vidswap.media.picture import write_picture
from vidswap.people.source import SourceReader
from vidswap.swap.options import SwapCounts, SwapOptions, SwapResult
from vidswap.swap.preview import read_frame

Image = NDArray[np.uint8]

MOMENTS = (0.10, 0.32, 0.80)  # parts of the clip, shown in the side-by-side picture
PANEL_SIZE = (480, 360)
HEADING_HEIGHT = 36
SOURCE, TARGET = "clara", "mei"


@dataclass(frozen=True)
class DemoResult:
    """Files of a demo, what the swap did, and mean dlib distances to the source's identity."""

    swap: SwapResult
    side_by_side: Path
    target_distance: float
    result_distance: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-o",
    "--output",
    default=Path("demo"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the clips and the picture; an earlier demo there is replaced.",
)
@click.option(
    "--target",
    type=click.Choice(portrait_names()),
    default=TARGET,
    show_default=True,
    help="The portrait whose face is replaced.",
)
@click.option(
    "--source",
    type=click.Choice(portrait_names()),
    default=SOURCE,
    show_default=True,
    help="The portrait whose face is taken.",
)
@click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0.2),
    help="Length of the clips.",
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Generator weights. [default: packaged]"
)
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def main(
    output: Path, source: str, target: str, seconds: float, checkpoint: Path | None, debug: bool
) -> None:
    """Make a source and a target clip of two portraits, swap the face, and show it."""
    try:
        check_system_libraries()
        result = run_demo(output, source, target, seconds, checkpoint)
    except VidswapError as error:
        if debug:
            raise
        click.echo(f"demo: {' '.join(str(error).split())}", err=True)
        raise SystemExit(error.exit_code) from error
    for warning in result.swap.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"result:       {result.swap.output}")
    click.echo(f"side by side: {result.side_by_side}")
    click.echo(
        f"identity distance to the source (dlib, same person below {SAME_PERSON_DISTANCE}): "
        f"target {result.target_distance:.2f}, result {result.result_distance:.2f}"
    )


def run_demo(
    folder: Path,
    source: str = SOURCE,
    target: str = TARGET,
    seconds: float = 5.0,
    checkpoint: Path | None = None,
) -> DemoResult:
    """Make both clips in `folder`, swap, and draw the side-by-side picture.

    `source` and `target` name packaged portraits. Raises a VidswapError as `swap_video` does.
    """
    with writing_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    source_clip, target_clip = folder / "source.mp4", folder / "target.mp4"
    make_clip(source_clip, load_portrait(source), looking_around, seconds)
    make_clip(target_clip, load_portrait(target), talking, seconds)
    result_clip, picture = folder / "result.mp4", folder / "side-by-side.png"
    options = SwapOptions(checkpoint=checkpoint, overwrite=True)
    with tqdm(total=round(seconds * FPS), unit="frame", desc="swap") as bar:

        def show(counts: SwapCounts) -> None:
            bar.update(counts.frames - bar.n)

        swapped = vidswap.swap_video([source_clip], target_clip, result_clip, options, show)
    clips = [source_clip, target_clip, result_clip]
    write_picture(picture, side_by_side(clips, seconds), read_marks(result_clip), overwrite=True)
    before, after = identity_distances(source_clip, [target_clip, result_clip])
    return DemoResult(swapped, picture, before, after)


def side_by_side(
    clips: Iterable[Path], seconds: float, moments: Sequence[float] = MOMENTS
) -> Image:
    """Source, target and result in columns, moments of the clips in rows."""
    headings = [_heading(text) for text in ("source", "target", "result")]
    columns = [
        np.concatenate([heading, *(_panel(clip, share * seconds) for share in moments)], axis=0)
        for heading, clip in zip(headings, clips, strict=True)
    ]
    return np.concatenate(columns, axis=1)


def _panel(clip: Path, seconds: float) -> Image:
    frame = read_frame(clip, seconds).rgb
    return np.asarray(cv2.resize(frame, PANEL_SIZE, interpolation=cv2.INTER_AREA), np.uint8)


def _heading(text: str) -> Image:
    bar = np.full((HEADING_HEIGHT, PANEL_SIZE[0], 3), 255, np.uint8)
    place, grey = (12, HEADING_HEIGHT - 11), (40, 40, 40)
    cv2.putText(bar, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, grey, 1, cv2.LINE_AA)
    return bar


def identity_distances(source: Path, others: Iterable[Path]) -> list[float]:
    """Distance of each clip's mean dlib embedding to the source's."""
    with closing(SourceReader.load()) as reader:

        def embedding(clip: Path) -> torch.Tensor:
            return reader.read([clip]).identity.embedding[0]

        wanted = embedding(source)
        return [float(torch.dist(wanted, embedding(clip))) for clip in others]


if __name__ == "__main__":
    main()
