"""The training commands of the command line: `vidswap train ...` and `vidswap dataset ...`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vidswap.commands.command import OTHER, PATH, CommandGroup, option_in
from vidswap.commands.messages import say_line

_run, _training = option_in("Run"), option_in("Training")
_output, _option = option_in("Output"), option_in(OTHER)


_RUN_OPTIONS = (
    _run("--faces", type=PATH, metavar="FOLDER", required=True, help="Dataset of `dataset build`."),
    _run(
        "--run",
        type=PATH,
        metavar="FOLDER",
        required=True,
        help="Folder for state, log and pictures.",
    ),
    _run("--resume", is_flag=True, help="Resume the run exactly where it stopped."),
    _run("--cache", type=PATH, metavar="FOLDER", unset="beside the run", help="Decoded faces."),
    _run(
        "--minutes", type=float, default=float("inf"), unset="never", help="Stop after this time."
    ),
    _run("--images", type=int, unset="never", help="Stop after this many images."),
    _run(
        "--workers",
        type=click.IntRange(min=0),
        unset="0 on a CPU, 2 less than its cores with a GPU",
        help="Processes that draw batches; 0: threads. The batches are the same.",
    ),
    _run("--quiet", is_flag=True, help="Print no losses."),
)


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every training run has."""
    for option in reversed(_RUN_OPTIONS):
        command = option(command)
    return command


@click.group(cls=CommandGroup)
def train() -> None:
    """Train a generator on a dataset of aligned faces."""


@train.command("apgan")  # imports its modules itself, once the process is prepared for them
@_run_options
@_training(
    "--config",
    default="apgan-256",
    show_default=True,
    metavar="NAME|FILE",
    help="apgan-128, apgan-256, apgan-256-ref, apgan-256-gate, paper-128, paper-256, or a JSON "
    "file of changes.",
)
@_training(
    "--start-from",
    type=PATH,
    help="state.pt of another run, possibly of another resolution, or a checkpoint.",
)
@_training("--second-encoder", type=PATH, help="TFLite face net for the identity loss.")
def train_apgan(config: str, quiet: bool, **settings: Any) -> None:
    """Train AP-GAN.

    Ctrl-C or SIGTERM saves the state and stops. The state is also saved every eight minutes; a
    kill at any moment leaves the last one intact.

    \b
    With several GPUs or processor cores:
      torchrun --nproc-per-node N -m -- vidswap train apgan ...
    """
    from vidswap.training.environment import prepare_process

    prepare_process()
    from vidswap.training.config import read_config
    from vidswap.training.run import TrainJob, train

    def show(line: dict[str, float]) -> None:
        if not quiet:
            click.echo(json.dumps(line))

    settings = {name: value for name, value in settings.items() if value is not None}
    result = train(TrainJob(config=read_config(config), **settings), show)
    if not quiet and os.environ.get("RANK", "0") == "0":
        say_line(
            f"{settings['run']}: {result.images} images in {result.steps} steps, "
            f"{result.seconds / 60:.1f} min, stepped back {result.steps_back} times"
        )


@train.command("inpainter")  # imports its modules itself, as `train apgan` does
@_run_options
@_training(
    "--config",
    required=True,
    metavar="NAME|FILE",
    help="content-64, content-128, context-128, context-128-progan, dcgan-64, idgan-128, "
    "parsing-128, swapinpaint-128, or a JSON file of changes to a `base`.",
)
@_training("--start-from", type=PATH, help="state.pt of another run of the same nets.")
@_training("--parsing", type=PATH, help="Checkpoint of a face parsing net, which idgan needs.")
@_training("--content", type=PATH, help="Checkpoint of `content-128`, which swapinpaint needs.")
@_training("--second-encoder", type=PATH, help="TFLite face net, a second recogniser for idgan.")
def train_inpainter_command(quiet: bool, **settings: Any) -> None:
    """Train a model that fills faces.

    The configuration says which; `train export` writes its checkpoint. Ctrl-C or SIGTERM saves the
    state and stops; it is also saved every eight minutes.
    """
    _train_in_the_loop(quiet, **settings)


@train.command("recogniser")  # imports its modules itself, as `train apgan` does
@_run_options
@_training(
    "--config",
    default="recogniser-64",
    show_default=True,
    metavar="NAME|FILE",
    help="recogniser-64, or a JSON file of changes to a `base`.",
)
@_training("--start-from", type=PATH, help="state.pt of another run of the same net.")
@_training(
    "--augmented",
    type=PATH,
    metavar="FOLDER",
    help="Dataset that `vidswap context` made of --faces, to learn from as well.",
)
def train_recogniser_command(quiet: bool, **settings: Any) -> None:
    """Train a face recogniser that judges swaps.

    It is a judge for `vidswap evaluate`, in no loss of a swap. It learns from people with two
    photographs or more, and a little from the others. `train export` writes its checkpoint. Ctrl-C
    or SIGTERM saves the state and stops; it is also saved every eight minutes.
    """
    _train_in_the_loop(quiet, **settings)


def _train_in_the_loop(quiet: bool, **settings: Any) -> None:
    """A run of the kind that its configuration names."""
    from vidswap.training.environment import prepare_process

    prepare_process()
    from vidswap.training.inpainting.kinds import InpaintJob
    from vidswap.training.inpainting.run import train_inpainter

    def show(line: dict[str, float]) -> None:
        if not quiet:
            click.echo(json.dumps(line))

    settings = {name: value for name, value in settings.items() if value is not None}
    result = train_inpainter(InpaintJob(**settings), show)
    if not quiet and os.environ.get("RANK", "0") == "0":
        say_line(
            f"{settings['run']}: {result.images} images in {result.steps} steps, "
            f"{result.seconds / 60:.1f} min, stepped back {result.steps_back} times"
        )


@train.command("export", modules=("vidswap.training.export",))
@click.argument("run", type=PATH)
@_option("-o", "--output", type=PATH, required=True, help="Checkpoint, .safetensors.")
def train_export(run: Path, output: Path) -> None:
    """Export the averaged generator of RUN as a checkpoint.

    Use it with `vidswap run --checkpoint`, one of `train inpainter` with `vidswap inpaint`, one of
    `train recogniser` with `vidswap evaluate --second-judge`.
    """
    from vidswap.training.export import export_generator
    from vidswap.training.inpainting.run import export_inpainter

    images = export_inpainter(run, output)
    if images is None:
        images = export_generator(run, output)
    say_line(f"{output}: {images} images")


@train.command("pack", modules=("vidswap.training.parts",))
@_option("--faces", type=PATH, metavar="FOLDER", required=True, help="Dataset of the run.")
@_option("--run", type=PATH, metavar="FOLDER", required=True, help="Run to continue.")
@_option("--second-encoder", type=PATH, help="TFLite face net for the identity loss.")
@_option("-o", "--output", type=PATH, metavar="FOLDER", required=True, help="Folder to write.")
@_option("--pack-mib", default=60.0, show_default=True, help="Maximum size per pack, in MiB.")
def train_pack(output: Path, **settings: Any) -> None:
    """Pack a run and its dataset to continue on another machine.

    Writes several folders of limited size, for `pipelines/remote_training`.
    """
    from vidswap.training.parts import pack_training

    for pack in pack_training(output=output, **settings):
        size = sum(path.stat().st_size for path in pack.rglob("*") if path.is_file())
        say_line(f"{pack}: {size / 2**20:.1f} MiB")


@train.command("export-state", modules=("vidswap.training.parts",))
@click.argument("run", type=PATH)
@_option("-o", "--output", type=PATH, metavar="FOLDER", required=True, help="Folder to write.")
@_option("--part-mib", default=15.0, show_default=True, help="Maximum size per part, in MiB.")
def train_export_state(run: Path, output: Path, part_mib: float) -> None:
    """Write the weights of RUN in parts, for another machine."""
    from vidswap.training.parts import export_state

    for path in export_state(run, output, part_mib):
        say_line(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


@train.command("import-state", modules=("vidswap.training.parts",))
@click.argument("parts", type=PATH)
@_option("--run", type=PATH, metavar="FOLDER", required=True, help="Run to continue.")
def train_import_state(parts: Path, run: Path) -> None:
    """Replace the state of a run by the weights in PARTS."""
    from vidswap.training.parts import import_state

    say_line(f"{run}: {import_state(parts, run)} images")


@click.group(cls=CommandGroup)
def dataset() -> None:
    """Build datasets of aligned faces for training."""


@dataset.command("build", modules=("vidswap.training.data.build",))
@click.argument("folders", nargs=-1, required=True, type=PATH)
@_output(
    "-o", "--output", required=True, type=PATH, metavar="FOLDER", help="Dataset folder to write."
)
@_option(
    "--identity",
    type=click.Choice(["folder", "file", "none"]),
    unset="folder if all photographs are in sub-folders, else none",
    help="Identity of a picture: its sub-folder, its own file, or unknown; a clip shows one "
    "person.",
)
@_option("--kind", default="own", show_default=True, help="Name of this kind of picture.")
@_option("--every", default=1.0, show_default=True, help="Seconds between frames of a clip.")
@_option("--per-clip", default=20, show_default=True, help="Maximum frames per clip.")
@_option("--min-face", default=80.0, show_default=True, help="Minimum face size, in pixels.")
@_option("--max-yaw", default=45.0, show_default=True, help="Maximum head yaw, in degrees.")
@_option(
    "--all-faces",
    is_flag=True,
    help="Keep all faces of a picture; several faces have no identity.",
)
@_output("--overwrite", is_flag=True, help="Replace an existing dataset.")
@_output("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@_output("--quiet", is_flag=True, help="Print no progress and no summary.")
def dataset_build(
    folders: tuple[Path, ...], output: Path, as_json: bool, quiet: bool, **settings: Any
) -> None:
    """Detect, select and align the faces in FOLDERS of photographs and clips.

    FOLDERS may also be files. Rejected pictures are counted by reason in report.json of the
    dataset.
    """
    from vidswap.training.data.build import DatasetOptions, build_dataset, describe_report

    report = build_dataset(folders, output, DatasetOptions(**settings), quiet or as_json)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    elif not quiet:
        click.echo(describe_report(report, output))
