"""Tables IV and V of AP-GAN: one training run per row, or one checkpoint with more and more shots.

python -m pipelines.tables IV --faces faces --run runs/ablation --images 20000 --clips clips
python -m pipelines.tables V --checkpoint mine.safetensors --clips clips --run runs/ablation
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from vidswap.errors import BadOptionError, VidswapError
from vidswap.evaluation.evaluate import EvaluationOptions, evaluate
from vidswap.training.config import TABLE_IV_ROWS, read_config, table_iv_config
from vidswap.training.environment import prepare_process
from vidswap.training.export import export_generator
from vidswap.training.run import TrainJob, train

TABLE_V_SHOTS = (1, 5, 10, 50)
Report = dict[str, Any]


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


PATH = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("table", type=click.Choice(["IV", "V"]))
@click.option("--run", type=PATH, required=True, help="Folder for the runs and evaluations.")
@click.option("--faces", type=PATH, help="The dataset to train and evaluate on (IV).")
@click.option("--clips", type=PATH, help="Clips to evaluate on (V; IV as well, when given).")
@click.option("--rows", multiple=True, help="Only these rows of Table IV. [default: all]")
@click.option("--config", default="apgan-128", show_default=True, help="What IV takes from.")
@click.option("--images", type=int, help="Images to train every row of Table IV for.")
@click.option("--second-encoder", type=PATH, help="TFLite face net for the identity loss.")
@click.option("--cache", type=PATH, help="Decoded faces. [default: cache beside the run]")
@click.option("--judge", type=PATH, help="TensorFlow.js face net that judges identity.")
@click.option("--checkpoint", type=PATH, help="What V evaluates; default: the packaged.")
def main(table: str, **given: Any) -> None:
    """Make Table IV (components taken away) or Table V (1, 5, 10 and 50 shots) of the paper."""
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
