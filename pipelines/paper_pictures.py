"""Pictures and curves for the papers' tables: what each row's net makes of the packaged portraits.

python -m pipelines.paper_pictures fillings -o idgan.jpg --row with=with.safetensors
python -m pipelines.paper_pictures contexts -o context.jpg --row cascaded=cascaded.safetensors
python -m pipelines.paper_pictures curves -o curves.png --row with=runs/with --measure hole_error

The portraits show people who do not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from pipelines.context_demo import aligned_portrait
from pipelines.inpaint_demo import Image
from pipelines.table_rows import named_rows
from pipelines.tables import load_inpainter
from vidswap.animation.clip import portrait_names
from vidswap.errors import BadOptionError, VidswapError
from vidswap.evaluation.context import by_net, nothing_around
from vidswap.evaluation.inpainting import by_model, by_opencv, occluded
from vidswap.inpainting.context_gan import ContextNet
from vidswap.inpainting.hallucination import face_hull
from vidswap.inpainting.masks import Mask, random_block, region_mask
from vidswap.media.marks import synthetic_metadata
from vidswap.media.output import writing_errors
from vidswap.media.picture import write_picture
from vidswap.training.records import LOG_FILE, blank_figure, read_log
from vidswap.version import __version__

SIZE = 128  # pixels of the papers' crops
SEED = 5  # of the blocks
HOLES = ("one eye", "eyes", "mouth", "block")  # in turn
NAMES = 180  # pixels at the left, for the names of the rows
WINDOW = 3  # lines of a log, averaged

Rows = dict[str, Path]
Shown = dict[str, Sequence[Image]]


def fillings(rows: Rows) -> Shown:
    """Portraits with a hole each, and what OpenCV and every row's net fill it with."""
    crops, meshes = _portraits()
    random = np.random.default_rng(SEED)
    masks = [_hole(HOLES[i % len(HOLES)], mesh, random) for i, mesh in enumerate(meshes)]
    shown: Shown = {"picture": crops, "hidden": occluded(crops, masks)}
    shown["Telea"] = by_opencv(cv2.INPAINT_TELEA)(crops, masks)
    for name, path in rows.items():
        shown[name] = by_model(load_inpainter(path))(crops, masks)
    return shown


def contexts(rows: Rows) -> Shown:
    """Portraits, their faces alone, and what every row's net hallucinates around these."""
    crops, meshes = _portraits()
    hulls = [face_hull(mesh, SIZE) for mesh in meshes]
    shown: Shown = {"picture": crops, "given": nothing_around(crops, hulls)}
    for name, path in rows.items():
        net = load_inpainter(path)
        if not isinstance(net, ContextNet):
            raise BadOptionError(f"{path} holds {net.name}; contexts needs a context GAN")
        shown[name] = by_net(net)(crops, hulls)
    return shown


def write_rows(shown: Shown, output: Path) -> None:
    """One picture of all, a row per name, with the marks of what is synthetic."""
    drawn = []
    for name, pictures in shown.items():
        label = Pictures.new("RGB", (NAMES, SIZE), "white")
        font = ImageFont.load_default(15)
        ImageDraw.Draw(label).text((6, SIZE // 2), name, "black", font, anchor="lm")
        drawn.append(np.concatenate([np.asarray(label), *pictures], axis=1))
    sheet = np.concatenate(drawn, axis=0).astype(np.uint8)
    write_picture(output, sheet, synthetic_metadata(__version__, "", {}), overwrite=True)


def write_curves(runs: Rows, measure: str, output: Path) -> None:
    """Draw a column of the logs of several runs into one plot, averaged over a few lines.

    Raises BadOptionError for a run without it, InputNotFoundError for none, MissingLibraryError.
    """
    figure = blank_figure(7, 3.4)
    plot = figure.add_subplot()
    for name, run in runs.items():
        known = [(line["images"], line[measure]) for line in read_log(run) if measure in line]
        if len(known) < WINDOW:
            raise BadOptionError(f"{run / LOG_FILE}: {len(known)} lines have {measure!r}")
        images, values = np.array(known).T
        kernel = np.full(WINDOW, 1 / WINDOW)
        plot.plot(
            np.convolve(images, kernel, "valid"), np.convolve(values, kernel, "valid"), lw=1.2,
            label=name,
        )  # fmt: skip
    plot.set_xlabel("images")
    plot.set_ylabel(measure.replace("_", " "))
    plot.grid(alpha=0.3)
    plot.legend()
    with writing_errors(output):
        figure.savefig(output, dpi=100)


def _portraits() -> tuple[list[Image], list[NDArray[np.float32]]]:
    """The packaged portraits, aligned at 128 pixels, and their meshes at 256."""
    crops, meshes = [], []
    for name in portrait_names():
        whole, mesh = aligned_portrait(name)
        crops.append(np.asarray(cv2.resize(whole, (SIZE, SIZE), interpolation=cv2.INTER_AREA)))
        meshes.append(mesh)
    return crops, meshes


def _hole(kind: str, landmarks: NDArray[np.float32], random: np.random.Generator) -> Mask:
    if kind == "block":
        return random_block(SIZE, random)
    if kind == "one eye":
        mask = region_mask(landmarks, "eyes", SIZE)
        mask[:, SIZE // 2 :] = False
        return mask
    return region_mask(landmarks, "eyes" if kind == "eyes" else "mouth", SIZE)


PATH = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("what", type=click.Choice(["fillings", "contexts", "curves"]))
@click.option("-o", "--output", type=PATH, required=True, help="The picture, replaced.")
@click.option("--row", "rows", multiple=True, required=True, metavar="NAME=FILE",
              help="A checkpoint; with curves the folder of a run.")  # fmt: skip
@click.option("--measure", default="hole_error", show_default=True, help="What curves show.")
def main(what: str, output: Path, rows: tuple[str, ...], measure: str) -> None:
    """Show what each row of a table makes of the packaged portraits, or how it learnt."""
    try:
        named = named_rows(rows)
        if what == "curves":
            write_curves(named, measure, output)
        else:
            write_rows(fillings(named) if what == "fillings" else contexts(named), output)
    except VidswapError as error:
        click.echo(f"paper_pictures: {error}", err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
