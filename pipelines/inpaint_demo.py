"""Scratch a packaged portrait and a clip of it, and fill both again.

    python -m pipelines.inpaint_demo -o demo-inpaint --checkpoint idgan.safetensors

The portrait shows a person who does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.animation.clip import find_face, load_portrait, make_clip, portrait_names
from vidswap.animation.motion import talking
from vidswap.errors import VidswapError
from vidswap.faces.align import face_affine
from vidswap.faces.system_libraries import check_system_libraries
from vidswap.inpainting.masks import irregular
from vidswap.media.marks import read_marks
from vidswap.media.output import writing_errors
from vidswap.media.picture import read_picture, write_picture
from vidswap.swap.holes import hole_in_frame
from vidswap.swap.inpaint_job import inpaint_file
from vidswap.swap.inpaint_options import InpaintOptions, InpaintResult
from vidswap.swap.preview import read_frame

Image = NDArray[np.uint8]

PORTRAIT = "mei"
SCRATCHED = 0.12  # of the aligned face, about
MOMENTS = (0.2, 0.7)  # parts of the clip, shown in the side-by-side picture
PANEL_HEIGHT = 360
SEED = 4


@dataclass(frozen=True)
class InpaintDemo:
    """Files of a demo, and what filling the picture and the clip did."""

    picture: InpaintResult
    clip: InpaintResult
    side_by_side: Path


def run_demo(
    folder: Path, portrait: str = PORTRAIT, seconds: float = 2.0, checkpoint: Path | None = None
) -> InpaintDemo:
    """Scratch the portrait, fill the scratches, and fill the mouth of a clip of it.

    Raises a VidswapError as `inpaint_file` does, BadOptionError for a portrait that is none.
    """
    with writing_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    photo = load_portrait(portrait)
    scratches = irregular(256, np.random.default_rng(SEED), SCRATCHED, SCRATCHED)
    mask = hole_in_frame(scratches, face_affine(find_face(photo).landmarks), photo.shape[:2])
    scratched = np.where(mask[..., None], np.uint8(255), photo)
    given, mask_file, filled = (folder / f"{n}.png" for n in ("scratched", "mask", "filled"))
    write_picture(given, scratched, overwrite=True)
    white = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
    write_picture(mask_file, white, overwrite=True)
    options = InpaintOptions(checkpoint=checkpoint, region=mask_file, overwrite=True)
    of_picture = inpaint_file(given, filled, options)
    clip, filled_clip = folder / "clip.mp4", folder / "filled.mp4"
    make_clip(clip, photo, talking, seconds)
    options = InpaintOptions(checkpoint=checkpoint, region="mouth", overwrite=True)
    of_clip = inpaint_file(clip, filled_clip, options)
    rows = [[photo, scratched, read_picture(filled).rgb]]
    for share in MOMENTS:
        before, after = (read_frame(path, share * seconds).rgb for path in (clip, filled_clip))
        rows.append([before, after])
    sheet = folder / "side-by-side.png"
    write_picture(sheet, _in_rows(rows), read_marks(filled), overwrite=True)
    return InpaintDemo(of_picture, of_clip, sheet)


def _in_rows(rows: list[list[Image]]) -> Image:
    """Pictures of one height, side by side, white where a row is shorter."""
    drawn = []
    for row in rows:
        panels = [
            cv2.resize(p, (round(p.shape[1] * PANEL_HEIGHT / p.shape[0]), PANEL_HEIGHT),
                       interpolation=cv2.INTER_AREA)
            for p in row
        ]  # fmt: skip
        drawn.append(np.concatenate(panels, axis=1))
    width = max(row.shape[1] for row in drawn)
    padded = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in drawn
    ]
    return np.concatenate(padded, axis=0)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-o", "--output", default=Path("demo-inpaint"), show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for pictures and clips; an earlier demo there is replaced.",
)  # fmt: skip
@click.option(
    "--portrait", type=click.Choice(portrait_names()), default=PORTRAIT, show_default=True,
    help="The portrait that is scratched.",
)  # fmt: skip
@click.option(
    "--seconds", default=2.0, show_default=True, type=click.FloatRange(min=0.2),
    help="Length of the clip.",
)  # fmt: skip
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Weights of ID-GAN. [default: packaged]"
)
def main(output: Path, portrait: str, seconds: float, checkpoint: Path | None) -> None:
    """Fill the scratches of a portrait and the mouth of a clip, and show both."""
    try:
        check_system_libraries()
        result = run_demo(output, portrait, seconds, checkpoint)
    except VidswapError as error:
        click.echo(f"inpaint_demo: {' '.join(str(error).split())}", err=True)
        raise SystemExit(error.exit_code) from error
    click.echo(f"picture: {result.picture.output}\nclip:    {result.clip.output}")
    click.echo(f"side by side: {result.side_by_side}")


if __name__ == "__main__":
    main()
