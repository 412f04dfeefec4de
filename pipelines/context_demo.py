"""Keep the faces of packaged portraits, and hallucinate everything around them.

    python -m pipelines.context_demo -o demo-context

The portraits show people who do not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.inpaint_demo import Image, in_rows
from vidswap.animation.clip import find_face, load_portrait, portrait_names, portrait_path
from vidswap.errors import VidswapError
from vidswap.faces.align import CROP_SIZE, align_face, face_affine, warp_points
from vidswap.faces.system_libraries import check_system_libraries
from vidswap.inpainting.hallucination import face_hull
from vidswap.media.marks import read_marks
from vidswap.media.output import writing_errors
from vidswap.media.picture import read_picture, write_picture
from vidswap.swap.context_job import hallucinate_faces
from vidswap.swap.context_options import BLUR, ContextOptions, ContextResult

COLOUR = "#7a8fa6"
LAMPS = np.array([(255, 196, 120), (255, 120, 90), (120, 170, 255)], np.float32)
BACKGROUND_SIZE = 256  # pixels


@dataclass(frozen=True)
class ContextDemo:
    """Files of a demo: a result per kind of background, by its name, and all side by side."""

    results: dict[str, ContextResult]
    side_by_side: Path


def run_demo(
    folder: Path, checkpoint: Path | None = None, portraits: Sequence[str] = ()
) -> ContextDemo:
    """Hallucinate around packaged portraits' faces, all by default, over four backgrounds.

    Raises a VidswapError as `hallucinate_faces` does.
    """
    with writing_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    portraits = portraits or list(portrait_names())
    lights = folder / "lights.png"
    write_picture(lights, lights_at_night(BACKGROUND_SIZE), overwrite=True)
    backgrounds = {"hallucinated": None, "colour": COLOUR, "blur": BLUR, "picture": lights}
    results = {}
    for name, background in backgrounds.items():
        options = ContextOptions(background=background, checkpoint=checkpoint, overwrite=True)
        paths = [portrait_path(portrait) for portrait in portraits]
        results[name] = hallucinate_faces(paths, folder / name, options)
    rows = []
    for portrait in portraits:
        made = [read_picture(folder / name / f"{portrait}-1.png").rgb for name in backgrounds]
        rows.append([*_aligned(portrait), *(np.asarray(each, np.uint8) for each in made)])
    sheet = folder / "side-by-side.png"
    marks = read_marks(folder / "hallucinated" / f"{portraits[0]}-1.png")
    write_picture(sheet, in_rows(rows), marks, overwrite=True)
    return ContextDemo(results, sheet)


def lights_at_night(size: int) -> Image:
    """A picture (size, size, 3) of a street out of focus, drawn: discs of light before dusk."""
    random = np.random.default_rng(2)
    dusk = np.linspace((46, 52, 84), (24, 22, 34), size)[:, None]
    picture = np.broadcast_to(dusk, (size, size, 3)).astype(np.float32)
    for x, y, radius in random.uniform((0, 0, 0.02), (1, 1, 0.07), (40, 3)):
        light = np.zeros((size, size), np.float32)
        cv2.circle(
            light, (round(x * size), round(y * size)), round(radius * size), 1.0, -1, cv2.LINE_AA
        )
        picture = picture + light[..., None] * random.uniform(0.2, 0.7) * LAMPS[random.integers(3)]
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), size / 200).clip(0, 255), np.uint8)


def aligned_portrait(portrait: str) -> tuple[Image, NDArray[np.float32]]:
    """A portrait as `vidswap context` aligns it (256, 256, 3), and its mesh (478, 2) in that."""
    photo = load_portrait(portrait)
    landmarks = find_face(photo).landmarks
    affine = face_affine(landmarks)
    return align_face(photo, affine), np.asarray(warp_points(affine, landmarks), np.float32)


def _aligned(portrait: str) -> tuple[Image, Image]:
    """A portrait, aligned, and what the net is given of it."""
    crop, landmarks = aligned_portrait(portrait)
    hull = face_hull(landmarks, CROP_SIZE)
    return crop, np.where(hull[..., None], crop, 0).astype(np.uint8)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-o", "--output", default=Path("demo-context"), show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the pictures; an earlier demo there is replaced.",
)  # fmt: skip
@click.option(
    "--checkpoint", type=click.Path(path_type=Path),
    help="Weights of the context GAN. [default: packaged]",
)  # fmt: skip
def main(output: Path, checkpoint: Path | None) -> None:
    """Hallucinate around the faces of all packaged portraits, and show them side by side."""
    try:
        check_system_libraries()
        result = run_demo(output, checkpoint)
    except VidswapError as error:
        click.echo(f"context_demo: {' '.join(str(error).split())}", err=True)
        raise SystemExit(error.exit_code) from error
    for name, made in result.results.items():
        click.echo(f"{name + ':':13s} {made.pictures} pictures in {made.output}")
    click.echo(f"side by side: {result.side_by_side}")


if __name__ == "__main__":
    main()
