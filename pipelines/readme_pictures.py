"""Make the pictures of the README: the demo's swap as one row of stills and as a looping clip.

python -m pipelines.readme_pictures -o docs/images
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click
import cv2
import numpy as np
from PIL import Image as Pictures
from PIL.Image import Exif

from pipelines.demo import Image, run_demo, side_by_side
from vidswap.media.decoder import VideoReader
from vidswap.media.marks import read_marks
from vidswap.media.output import temporary_path, writing_errors
from vidswap.media.picture import write_picture

SECONDS = 4.2  # one turn of the head to both sides and back, so that the loop closes
STILL = (0.38,)  # part of the clip: mouth open, head turned
LOOP_SIZE = (400, 300)  # of each of the two columns
LOOP_EVERY = 2  # frames of the clip per frame of the loop
LOOP_QUALITY = 62  # of 100
FPS = 25
EXIF_DESCRIPTION = 0x010E  # where vidswap's own pictures carry their marks


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-o",
    "--output",
    default=Path("docs/images"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for before-after.jpg and swap.webp, which are replaced.",
)
def main(output: Path) -> None:
    """Swap the demo's clip and write the README's pictures of it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run_demo(folder, seconds=SECONDS)
        clips = [folder / f"{name}.mp4" for name in ("source", "target", "result")]
        marks = read_marks(clips[2])
        with writing_errors(output):
            output.mkdir(parents=True, exist_ok=True)
        stills = side_by_side(clips, SECONDS, STILL)
        write_picture(output / "before-after.jpg", stills, marks, overwrite=True)
        write_loop(output / "swap.webp", clips[1], clips[2], marks)
    for path in (output / "before-after.jpg", output / "swap.webp"):
        click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def write_loop(path: Path, target: Path, result: Path, marks: dict[str, str]) -> None:
    """An animated WebP, played forever: target on the left, result on the right."""
    with VideoReader(target) as before, VideoReader(result) as after:
        pairs = [
            np.concatenate([_reduced(one.rgb), _reduced(other.rgb)], axis=1)
            for index, (one, other) in enumerate(zip(before, after, strict=True))
            if index % LOOP_EVERY == 0
        ]
    first, *rest = (Pictures.fromarray(picture) for picture in pairs)
    exif = Exif()
    exif[EXIF_DESCRIPTION] = json.dumps(marks)
    part = temporary_path(path)
    with writing_errors(path):
        first.save(
            part,
            "WEBP",
            save_all=True,
            append_images=rest,
            duration=round(1000 * LOOP_EVERY / FPS),
            loop=0,
            quality=LOOP_QUALITY,
            method=6,
            exif=exif,
        )
        part.replace(path)


def _reduced(rgb: Image) -> Image:
    return np.asarray(cv2.resize(rgb, LOOP_SIZE, interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == "__main__":
    main()
