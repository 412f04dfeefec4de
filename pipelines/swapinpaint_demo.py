"""Fill eyes, mouth and inner face of a packaged portrait as another one, and the eyes of a clip.

    python -m pipelines.swapinpaint_demo -o demo-swapinpaint

The portraits show people who do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from pipelines.inpaint_demo import in_rows
from vidswap.animation.clip import load_portrait, make_clip, portrait_names, portrait_path
from vidswap.animation.motion import talking
from vidswap.errors import VidswapError
from vidswap.faces.system_libraries import check_system_libraries
from vidswap.media.marks import read_marks
from vidswap.media.output import writing_errors
from vidswap.media.picture import read_picture, write_picture
from vidswap.swap.inpaint_job import inpaint_file
from vidswap.swap.inpaint_options import InpaintOptions, InpaintResult
from vidswap.swap.preview import read_frame

TARGET, SOURCE = "mei", "clara"
REGIONS = ("eyes", "mouth", "face")
MOMENTS = (0.1, 0.4, 0.7)  # parts of the clip, shown in the side-by-side picture


@dataclass(frozen=True)
class SwapInpaintDemo:
    """Files of a demo, and what filling did: a picture per region, and a clip."""

    pictures: tuple[InpaintResult, ...]
    clip: InpaintResult
    side_by_side: Path


def run_demo(
    folder: Path, target: str = TARGET, source: str = SOURCE, seconds: float = 1.0
) -> SwapInpaintDemo:
    """Fill `REGIONS` of a packaged portrait as another, and the eyes of a clip of it.

    Raises a VidswapError as `inpaint_file` does.
    """
    with writing_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    photo, shown = portrait_path(target), portrait_path(source)
    pictures = []
    for region in REGIONS:
        options = InpaintOptions(model="swapinpaint", region=region, overwrite=True)
        pictures.append(inpaint_file(photo, folder / f"{region}.png", options, [shown]))
    clip, filled = folder / "clip.mp4", folder / "filled.mp4"
    make_clip(clip, load_portrait(target), talking, seconds)
    options = InpaintOptions(model="swapinpaint", region="eyes", overwrite=True)
    of_clip = inpaint_file(clip, filled, options, [shown])
    made = [read_picture(Path(result.output)).rgb for result in pictures]
    rows = [[load_portrait(source), load_portrait(target), *made]]
    for path in (clip, filled):
        rows.append([np.asarray(read_frame(path, m * seconds).rgb, np.uint8) for m in MOMENTS])
    sheet = folder / "side-by-side.png"
    write_picture(sheet, in_rows(rows), read_marks(filled), overwrite=True)
    return SwapInpaintDemo(tuple(pictures), of_clip, sheet)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-o", "--output", default=Path("demo-swapinpaint"), show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for pictures and clips; an earlier demo there is replaced.",
)  # fmt: skip
@click.option(
    "--target", type=click.Choice(portrait_names()), default=TARGET, show_default=True,
    help="The portrait that is filled.",
)  # fmt: skip
@click.option(
    "--source", type=click.Choice(portrait_names()), default=SOURCE, show_default=True,
    help="The portrait that it is filled as.",
)  # fmt: skip
@click.option(
    "--seconds", default=1.0, show_default=True, type=click.FloatRange(min=0.2),
    help="Length of the clip.",
)  # fmt: skip
def main(output: Path, target: str, source: str, seconds: float) -> None:
    """Fill parts of a portrait and of a clip as another person, and show both."""
    try:
        check_system_libraries()
        result = run_demo(output, target, source, seconds)
    except VidswapError as error:
        click.echo(f"swapinpaint_demo: {' '.join(str(error).split())}", err=True)
        raise SystemExit(error.exit_code) from error
    for picture in result.pictures:
        click.echo(f"picture: {picture.output}")
    click.echo(f"clip:    {result.clip.output}\nside by side: {result.side_by_side}")


if __name__ == "__main__":
    main()
