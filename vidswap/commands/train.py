"""The training commands of the command line: `vidswap train ...` and `vidswap dataset ...`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)


@click.group()
def train() -> None:
    """Train a generator on a dataset of aligned faces."""


@train.command("apgan")
@click.option("--faces", type=PATH, required=True, help="A dataset (see `dataset build`).")
@click.option("--run", type=PATH, required=True, help="Folder of the run: state, log, sheets.")
@click.option(
    "--config",
    default="apgan-256",
    show_default=True,
    help="apgan-128, apgan-256, apgan-256-ref, paper-128, paper-256, or a JSON file of changes.",
)
@click.option("--resume", is_flag=True, help="Go on with the run, exactly where it stopped.")
@click.option("--start-from", type=PATH, help="state.pt of another run, as of 128 pixels for 256.")
@click.option("--second-encoder", type=PATH, help="TFLite face net for the identity loss.")
@click.option("--cache", type=PATH, help="Decoded faces. [default: cache beside the run]")
@click.option("--minutes", type=float, default=float("inf"), help="Stop after. [default: never]")
@click.option("--images", type=int, help="Stop when so many have been seen. [default: never]")
@click.option("--quiet", is_flag=True, help="Print no losses.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def train_apgan(config: str, quiet: bool, debug: bool, **settings: Any) -> None:
    """Train AP-GAN; Ctrl-C or SIGTERM saves the state and stops.

    With several GPUs, or processor cores:
    `torchrun --nproc-per-node N -m -- vidswap train apgan ...`.

    The state is saved every eight minutes, and a kill at any moment leaves the last one whole.
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
        click.echo(
            f"{settings['run']}: {result.images} images in {result.steps} steps, "
            f"{result.seconds / 60:.1f} min, stepped back {result.steps_back} times"
        )


@train.command("export")
@click.argument("run", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The .safetensors to write.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def train_export(run: Path, output: Path, debug: bool) -> None:
    """Write the averaged generator of RUN as a checkpoint for `run --checkpoint`."""
    from vidswap.training.export import export_generator

    click.echo(f"{output}: {export_generator(run, output)} images")


@train.command("pack")
@click.option("--faces", type=PATH, required=True, help="The dataset of the run.")
@click.option("--run", type=PATH, required=True, help="The run to go on with elsewhere.")
@click.option("--second-encoder", type=PATH, help="TFLite face net for the identity loss.")
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the packs.")
@click.option("--pack-mib", default=60.0, show_default=True, help="Largest pack, in MiB.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def train_pack(output: Path, debug: bool, **settings: Any) -> None:
    """Copy what a run needs into small folders, for `pipelines/remote_training` elsewhere."""
    from vidswap.training.parts import pack_training

    for pack in pack_training(output=output, **settings):
        size = sum(path.stat().st_size for path in pack.rglob("*") if path.is_file())
        click.echo(f"{pack}: {size / 2**20:.1f} MiB")


@train.command("export-state")
@click.argument("run", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the parts.")
@click.option("--part-mib", default=15.0, show_default=True, help="Largest part, in MiB.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def train_export_state(run: Path, output: Path, part_mib: float, debug: bool) -> None:
    """Write the weights of RUN in parts, to be carried to another machine."""
    from vidswap.training.parts import export_state

    for path in export_state(run, output, part_mib):
        click.echo(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


@train.command("import-state")
@click.argument("parts", type=PATH)
@click.option("--run", type=PATH, required=True, help="The run that goes on with them.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def train_import_state(parts: Path, run: Path, debug: bool) -> None:
    """Make the weights in PARTS the state of a run, in place of its own."""
    from vidswap.training.parts import import_state

    click.echo(f"{run}: {import_state(parts, run)} images")


@click.group()
def dataset() -> None:
    """Make datasets of aligned faces for training."""


@dataset.command("build")
@click.argument("folders", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="The dataset folder to make.")
@click.option(
    "--identity",
    type=click.Choice(["folder", "file", "none"]),
    help="Who a picture shows: the name of its sub-folder, its own, or not known; a clip is one "
    "person. [default: folder if all photographs lie in sub-folders, else none]",
)
@click.option("--kind", default="own", show_default=True, help="Name of this kind of picture.")
@click.option("--every", default=1.0, show_default=True, help="Seconds between a clip's frames.")
@click.option("--per-clip", default=20, show_default=True, help="Most frames of a clip.")
@click.option("--min-face", default=80.0, show_default=True, help="Smallest face, in pixels.")
@click.option("--max-yaw", default=45.0, show_default=True, help="Farthest turn, in degrees.")
@click.option(
    "--all-faces",
    is_flag=True,
    help="Keep all faces of a picture; several of one have no identity.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing dataset.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def dataset_build(
    folders: tuple[Path, ...],
    output: Path,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **settings: Any,
) -> None:
    """Find, judge and align the faces in FOLDERS of photographs and clips.

    FOLDERS may be files as well. Pictures that cannot be used are counted, with the reason, in the
    dataset's report.json.
    """
    from vidswap.training.data.build import DatasetOptions, build_dataset, describe_report

    report = build_dataset(folders, output, DatasetOptions(**settings), quiet or as_json)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    elif not quiet:
        click.echo(describe_report(report, output))
