"""Tables of face recognisers: the context GAN's Table 2 in small, and how well judges recognise."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.table_rows import Report, named_rows, write_lines
from vidswap.errors import BadOptionError
from vidswap.evaluation.inpainting import recognisers
from vidswap.evaluation.judge import load_judge, second_judge
from vidswap.evaluation.recognition import (
    read_held_out_albums,
    recognise,
    train_with_and_without,
)
from vidswap.metrics.matching import Interval
from vidswap.swap.context_job import hallucinate_faces
from vidswap.swap.context_options import ContextOptions
from vidswap.training.inpainting.kinds import InpaintJob


def augmentation_table(given: Report, show: Callable[[str], None]) -> None:
    """Print the context GAN's Table 2 in small: a recogniser without and with augmented pictures.

    These are --augmented, or are made with --checkpoint. Raises BadOptionError, CheckpointError,
    DatasetError, InputNotFoundError.
    """
    run, augmented = given["run"], given["augmented"]
    if given["images"] is None:
        raise BadOptionError("Table 2 needs --images N, the same for both rows")
    if augmented is None:
        augmented = run / "augmented"
        if not augmented.is_dir():
            run.mkdir(parents=True, exist_ok=True)
            options = ContextOptions(checkpoint=given["checkpoint"])
            hallucinate_faces([given["faces"]], augmented, options)
    job = InpaintJob(
        given["recogniser_config"], given["faces"], run, given["cache"], augmented=augmented,
        images=given["images"],
    )  # fmt: skip
    faces = read_held_out_albums(given["faces"])
    show(f"{len(faces.pictures)} pictures of {len(set(faces.people))} people, all against all")
    show("| trained on | photographs | augmented | people | TPR at FPR 0.01 | 95 % interval |")
    show("|---|---|---|---|---|---|")
    seeds = range(1, given["seeds"] + 1)
    without, with_augmented, gain = train_with_and_without(job, faces, seeds=seeds)
    lines = []
    for row in (without, with_augmented):
        found = row.found
        counts = f"{row.photographs} | {row.augmented} | {row.people}"
        show(f"| {row.name} | {counts} | {found.value:.4f} | {_ends(found)} |")
        lines.append(
            {"trained_on": row.name, "photographs": row.photographs, "augmented": row.augmented,
             "people": row.people, "tpr": found.value, "low": found.low, "high": found.high}
        )  # fmt: skip
    show(f"| gain | | | | {gain.value:+.4f} | {_ends(gain)} |")
    lines.append({"gain": gain.value, "low": gain.low, "high": gain.high})
    write_lines(run / "augmentation.jsonl", lines)


def recogniser_table(given: Report, show: Callable[[str], None]) -> None:
    """Print how well face nets recognise people of LFW held out, a line per net, as Markdown.

    Raises BadOptionError, CheckpointError, InputNotFoundError.
    """
    judges = recognisers(given["second_encoder"], given["judge"])
    if (own := second_judge(given["checkpoint"])) is not None:
        judges.append(own)
    judges += [load_judge(path) for path in named_rows(given["checkpoints"]).values()]
    faces = read_held_out_albums(given["faces"])
    people = len(set(faces.people))
    show(f"{len(faces.pairs)} balanced pairs; {len(faces.pictures)} pictures of {people} people")
    # Names alone: whether a net took part in training differs from model to model.
    show("| face net | accuracy | 95 % interval | AUC | TPR at FPR 0.01 | 95 % interval |")
    show("|---|---|---|---|---|---|")
    lines = []
    for judge in judges:
        quality = recognise(faces, judge)
        accuracy, found = quality.accuracy, quality.found
        show(
            f"| {judge.name} | {accuracy.value:.4f} | {_ends(accuracy)} "
            f"| {quality.verified.auc:.4f} | {found.value:.4f} | {_ends(found)} |"
        )
        lines.append(
            {"net": judge.name, "accuracy": accuracy.value, "auc": quality.verified.auc,
             "tpr": found.value, "low": found.low, "high": found.high}
        )  # fmt: skip
    write_lines(given["run"] / "recogniser.jsonl", lines)


def _ends(interval: Interval) -> str:
    """The ends of an interval."""
    return f"{interval.low:.4f} to {interval.high:.4f}"
