"""Tables IV and V of AP-GAN: a run a row, or a checkpoint with another number of shots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.evaluate import EvaluationOptions, evaluate
from pipelines.export_generator import export_generator
from pipelines.train import TrainJob, train
from vidswap.errors import BadOptionError
from vidswap.training.config import TABLE_IV_ROWS, table_iv_config

TABLE_V_SHOTS = (1, 5, 10, 50)
Report = dict[str, Any]


@dataclass(frozen=True)
class AblationRow:
    """One row: its name as in the table, and its evaluation (see `pipelines.evaluate`)."""

    name: str
    report: Report


def table_iv(
    job: TrainJob, evaluation: EvaluationOptions, rows: Sequence[str] = TABLE_IV_ROWS
) -> Iterator[AblationRow]:
    """Train `job.images` images a row in folders below `job.run`, and evaluate each.

    Every row starts from the same seed; a row that was begun goes on. Raises BadOptionError when
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
