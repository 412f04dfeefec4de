"""Tables of the papers, printed by one command each.

AP-GAN, one training run per row, or one checkpoint with more and more shots:

python -m pipelines.tables IV --faces faces --run runs/ablation --images 20000 --clips clips
python -m pipelines.tables V --checkpoint mine.safetensors --clips clips --run runs/ablation

ID-GAN's Tables II and III, and the comparison of deep generative inpainting:

python -m pipelines.tables idgan --faces faces --run runs/tables --row with=idgan.safetensors
python -m pipelines.tables latent --faces faces --run runs/tables --checkpoint latent.safetensors

SwapInpaint's Tables I and II, and the context GAN's Tables 1 and 8:

python -m pipelines.tables swapinpaint --faces faces --run runs/tables --pairs 200 --judge net.json
python -m pipelines.tables context --faces faces --run runs/tables --row progan=progan.safetensors

The context GAN's Table 2, and how well face nets recognise people held out:

python -m pipelines.tables context --recogniser --faces faces --run runs/tables --images 150000
python -m pipelines.tables recogniser --faces faces --run runs/tables --judge net.json
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.recognition_tables import augmentation_table, recogniser_table
from pipelines.table_rows import Report, named_rows, write_lines
from vidswap.errors import BadOptionError, VidswapError
from vidswap.evaluation.context import (
    ContextQuality,
    Surround,
    by_net,
    measure_contexts,
    nothing_around,
    read_held_out_context,
)
from vidswap.evaluation.evaluate import EvaluationOptions, evaluate
from vidswap.evaluation.held_out import read_held_out
from vidswap.evaluation.inpainting import (
    SEARCHES,
    Fill,
    by_model,
    by_opencv,
    held_out_pictures,
    latent_masks,
    measure_fillings,
    measure_searches,
    read_holes,
    recognisers,
)
from vidswap.evaluation.judge import load_judge
from vidswap.evaluation.recognition import BASE
from vidswap.evaluation.swapinpaint import (
    TASKS,
    FilledMeasure,
    FilledQuality,
    fill_pairs,
    table_rows,
)
from vidswap.inpainting.context_gan import ContextNet
from vidswap.inpainting.inpainter import Inpainter
from vidswap.inpainting.search import LatentSearch
from vidswap.inpainting.swapinpaint import SwapInpaint
from vidswap.metrics.matching import Interval, interval_of
from vidswap.models.checkpoint import load_generator
from vidswap.people.source import SourceReader
from vidswap.swap.context_job import packaged_context
from vidswap.swap.inpaint_job import packaged
from vidswap.training.config import TABLE_IV_ROWS, read_config, table_iv_config
from vidswap.training.environment import prepare_process
from vidswap.training.export import export_generator
from vidswap.training.run import TrainJob, train

TABLE_V_SHOTS = (1, 5, 10, 50)


@dataclass(frozen=True)
class AblationRow:
    """One row: its name as in the table, and its evaluation (see `vidswap.evaluation.evaluate`)."""

    name: str
    report: Report


def table_iv(
    job: TrainJob, evaluation: EvaluationOptions, rows: Sequence[str] = TABLE_IV_ROWS
) -> Iterator[AblationRow]:
    """Train `job.images` images a row in folders below `job.run`, and evaluate each.

    Every row starts from the same seed; an unfinished row resumes. Raises BadOptionError when
    the job has no number of images.
    """
    if job.images is None:
        raise BadOptionError("an ablation needs --images N, the same for every row")
    for row in rows:
        run = job.run / row
        config = table_iv_config(row, job.config)
        cache = job.cache or job.run.parent / "cache"
        train(replace(job, config=config, run=run, cache=cache, resume=True))
        checkpoint = run / "generator.safetensors"
        export_generator(run, checkpoint)
        options = replace(evaluation, checkpoint=checkpoint, output=run / "evaluation")
        yield AblationRow(row, evaluate(options))


def table_v(
    evaluation: EvaluationOptions, shots: Sequence[int] = TABLE_V_SHOTS
) -> Iterator[AblationRow]:
    """Evaluate clips with the id embedding of k frames of the source, for every k."""
    if evaluation.clips is None:
        raise BadOptionError("Table V needs --clips: a photograph has one shot")
    for k in shots:
        options = replace(evaluation, k_shot=k, faces=None, output=evaluation.output / f"k-{k:02d}")
        yield AblationRow(f"k={k}", evaluate(options))


def print_rows(rows: Iterator[AblationRow], show: Callable[[str], None]) -> None:
    """Show the measures of every row as it is finished, a line each."""
    for row in rows:
        for section in ("held_out", "clips"):
            part = row.report.get(section)
            if part is not None:
                means = part["measures"]
                values = [f"{n} {v:.4g}" for n, v in means.items() if isinstance(v, float)]
                show(f"{row.name:12s} {section}: {', '.join(values)}")


def idgan_table(given: Report, show: Callable[[str], None]) -> None:
    """Print ID-GAN's Tables II and III over held-out LFW, a line per method, as Markdown.

    Behind a share its 95 % interval over people; below, how rows differ from the first model's.
    Raises BadOptionError, CheckpointError, InputNotFoundError.
    """
    fills: dict[str, Fill | None] = {
        "Telea": by_opencv(cv2.INPAINT_TELEA), "Navier-Stokes": by_opencv(cv2.INPAINT_NS),
    }  # fmt: skip
    checkpoints = named_checkpoints(given, "idgan")
    for name, path in checkpoints.items():
        fills[name] = by_model(load_inpainter(path))
    faces = read_holes(given["faces"], given["pairs"], blocks=given["blocks"])
    judges = recognisers(given["second_encoder"], given["judge"])
    show(f"{len(faces.pictures)} faces with blocks, {len(faces.pairs)} pairs")
    columns = ["PSNR", "SSIM", *(f"{judge.stated}: accuracy, regained" for judge in judges)]
    show(f"| method | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    lines, rows = [], {}
    for name, quality in measure_fillings(faces, fills, judges):
        rows[name] = quality
        values = [f"{quality.psnr:.2f}", f"{quality.ssim:.4f}"]
        for judge in judges:
            regained = quality.regained.get(judge.stated)
            share = "" if regained is None else f", {_percents(regained)}"
            values.append(f"{quality.accuracy[judge.stated].accuracy:.2%}{share}")
        show(f"| {name} | {' | '.join(values)} |")
        accuracies = {judge: v.accuracy for judge, v in quality.accuracy.items()}
        regained_by = {judge: asdict(v) for judge, v in quality.regained.items()}
        lines.append(
            {"method": name, "psnr": quality.psnr, "ssim": quality.ssim, **accuracies,
             "regained": regained_by}
        )  # fmt: skip
    write_lines(given["run"] / "idgan.jsonl", lines)
    first, *others = checkpoints
    for name in others:
        parts = [
            f"{judge} {_points(rows[name].drawn[judge] - own)}"
            for judge, own in rows[first].drawn.items()
        ]
        show(f"{name} over {first}, points of accuracy: {', '.join(parts)}")


def _percents(share: Interval) -> str:
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"


def _points(difference: NDArray[np.float64]) -> str:
    gain = interval_of(100.0 * difference)
    return f"{gain.value:+.2f} ({gain.low:+.2f} to {gain.high:+.2f})"


def latent_table(given: Report, show: Callable[[str], None]) -> None:
    """Print PSNR and SSIM of searches with and without each of the paper's additions.

    Raises BadOptionError, CheckpointError, InputNotFoundError.
    """
    model = load_inpainter(given["checkpoint"] or packaged("latent"))
    if not isinstance(model, LatentSearch):
        raise BadOptionError(f"--checkpoint holds {model.name}; latent needs a latent search")
    pictures = held_out_pictures(given["faces"], given["count"], model.size)
    holes = latent_masks(model.size, len(pictures))
    if unknown := [name for name in given["holes"] if name not in holes]:
        raise BadOptionError(f"--holes {unknown[0]!r}; allowed: {', '.join(holes)}")
    holes = {name: of for name, of in holes.items() if name in (given["holes"] or holes)}
    show(f"{len(pictures)} faces, {given['iterations']} iterations")
    show("| hole | search | PSNR | SSIM |\n|---|---|---|---|")
    lines = []
    for hole, name, quality in measure_searches(
        model, pictures, holes, SEARCHES, given["iterations"]
    ):
        show(f"| {hole} | {name} | {quality.psnr:.2f} | {quality.ssim:.4f} |")
        lines.append({"hole": hole, "search": name, "psnr": quality.psnr, "ssim": quality.ssim})
    write_lines(given["run"] / "latent.jsonl", lines)


def swapinpaint_table(given: Report, show: Callable[[str], None]) -> None:
    """Print SwapInpaint's Tables I (face, eyes) and II (centre) over held-out pairs, as Markdown.

    Raises BadOptionError, CheckpointError, InputNotFoundError.
    """
    models: dict[str, SwapInpaint] = {}
    for name, path in named_checkpoints(given, "swapinpaint").items():
        model = load_inpainter(path)
        if not isinstance(model, SwapInpaint):
            raise BadOptionError(f"{path} holds {model.name}; swapinpaint needs its own")
        models[name] = model
    if unknown := [task for task in given["holes"] if task not in TASKS]:
        raise BadOptionError(f"--holes {unknown[0]!r}; allowed: {', '.join(TASKS)}")
    faces, judge = read_held_out(given["faces"], given["pairs"]), load_judge(given["judge"])
    reader = SourceReader.load()
    lines = []
    try:
        show(f"{len(faces.targets)} pairs, judge {judge.stated}")
        measure = FilledMeasure(faces, judge, reader)
        names = [field.name for field in fields(FilledQuality) if field.name != "pairs"]
        show(f"| hole | method | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
        for hole, region in TASKS.items():
            if given["holes"] and hole not in given["holes"]:
                continue
            for name, model, what in table_rows(models, region):
                results = fill_pairs(model, reader, faces, region, what)
                quality = measure(results).to_dict()
                show(f"| {hole} | {name} | {' | '.join(f'{quality[n]:.4g}' for n in names)} |")
                lines.append({"hole": hole, "method": name, **quality})
                write_lines(given["run"] / "swapinpaint.jsonl", lines)
    finally:
        reader.close()


def context_table(given: Report, show: Callable[[str], None]) -> None:
    """Print the context GAN's Tables 1 and 8 over held-out LFW, a line per net, as Markdown.

    With --recogniser Table 2. Raises BadOptionError, CheckpointError, InputNotFoundError.
    """
    if given["recogniser"]:
        return augmentation_table(given, show)
    surrounds: dict[str, Surround] = {"face alone": nothing_around}
    if given["checkpoint"] is None and not given["checkpoints"]:
        given = {**given, "checkpoint": packaged_context("cascaded")}
    for name, path in named_checkpoints(given, "context").items():
        model = load_inpainter(path)
        if not isinstance(model, ContextNet):
            raise BadOptionError(f"{path} holds {model.name}; context needs its own")
        surrounds[name] = by_net(model)
    faces, judge = read_held_out_context(given["faces"], given["pairs"]), load_judge(given["judge"])
    show(f"{len(faces.pictures)} people, judge {judge.stated}")
    names = [field.name for field in fields(ContextQuality) if field.name != "pictures"]
    show(f"| method | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    lines = []
    for name, quality in measure_contexts(faces, surrounds, judge):
        values = quality.to_dict()
        show(f"| {name} | {' | '.join(f'{values[n]:.4g}' for n in names)} |")
        lines.append({"method": name, **values})
    write_lines(given["run"] / "context.jsonl", lines)


def named_checkpoints(given: Report, model: str) -> dict[str, Path]:
    """Rows by name: --checkpoint or the packaged one, and every --row. Raises BadOptionError."""
    rows: dict[str, Path] = {}
    if given["checkpoint"] is not None or not given["checkpoints"]:
        rows[model] = given["checkpoint"] or packaged(model)
    return rows | named_rows(given["checkpoints"])


def load_inpainter(path: Path) -> Inpainter:
    """A model that fills faces, in fp32. Raises BadOptionError, CheckpointError."""
    net = load_generator(path).net
    if not isinstance(net, Inpainter):
        raise BadOptionError(f"{path} holds {net.name}, which fills no faces")
    return net


TABLES = {
    "idgan": idgan_table, "latent": latent_table, "swapinpaint": swapinpaint_table,
    "context": context_table, "recogniser": recogniser_table,
}  # fmt: skip
PATH = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("table", type=click.Choice(["IV", "V", *TABLES]))
@click.option("--run", type=PATH, required=True, help="Folder for the runs and evaluations.")
@click.option("--faces", type=PATH, help="The dataset to train and evaluate on (IV).")
@click.option("--clips", type=PATH, help="Clips to evaluate on (V; IV as well, when given).")
@click.option("--rows", multiple=True, help="Only these rows of Table IV. [default: all]")
@click.option("--config", default="apgan-128", show_default=True, help="What IV takes from.")
@click.option("--images", type=int, help="Images to train every row of Table IV or 2 for.")
@click.option("--second-encoder", type=PATH, help="TFLite face net for the identity loss.")
@click.option("--cache", type=PATH, help="Decoded faces. [default: cache beside the run]")
@click.option("--judge", type=PATH, help="TensorFlow.js face net that judges identity.")
@click.option("--checkpoint", type=PATH, help="What is measured; default: packaged.")
@click.option(
    "--row",
    "checkpoints",
    multiple=True,
    metavar="NAME=FILE",
    help="Further rows of idgan, swapinpaint, context and recogniser.",
)
@click.option("--pairs", default=400, show_default=True, help="Pairs of faces, or people.")
@click.option("--blocks", default=1, show_default=True, help="Holes per picture of idgan.")
@click.option("--count", default=16, show_default=True, help="Faces that latent fills per hole.")
@click.option("--iterations", default=1000, show_default=True, help="Of each search of latent.")
@click.option(
    "--holes", multiple=True, help="Only these holes of latent or swapinpaint. [default: all]"
)
@click.option("--recogniser", is_flag=True, help="Table 2 of context instead of 1 and 8.")
@click.option("--augmented", type=PATH, help="What `vidswap context` made of --faces (Table 2).")
@click.option("--seeds", default=1, show_default=True, help="Trainings per row of Table 2.")
@click.option("--recogniser-config", default=BASE, show_default=True, help="What Table 2 trains.")
def main(table: str, **given: Any) -> None:
    """Make Table IV or V of AP-GAN, or the tables of another paper."""
    try:
        _make(table, **given)
    except VidswapError as error:
        click.echo(f"tables: {error}", err=True)
        raise SystemExit(error.exit_code) from error


def _make(table: str, **given: Any) -> None:
    evaluation = EvaluationOptions(
        output=given["run"], faces=given["faces"], clips=given["clips"], judge=given["judge"],
        checkpoint=given["checkpoint"],
    )  # fmt: skip
    if table in TABLES:
        if given["faces"] is None:
            raise BadOptionError(f"{table} needs --faces: people held out are filled")
        return TABLES[table](given, click.echo)
    if table == "V":
        return print_rows(table_v(evaluation), click.echo)
    if given["faces"] is None:
        raise BadOptionError("Table IV needs --faces: every row is trained")
    job = TrainJob(
        read_config(given["config"]), given["faces"], given["run"], given["second_encoder"],
        cache=given["cache"], images=given["images"],
    )  # fmt: skip
    print_rows(table_iv(job, evaluation, given["rows"] or TABLE_IV_ROWS), click.echo)


if __name__ == "__main__":
    prepare_process()
    main()
