"""The commands for many swaps: `vidswap batch ...`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidswap.commands.batch_progress import BatchBar
from vidswap.commands.command import OTHER, PATH, CommandGroup, option_in
from vidswap.commands.messages import say, say_line
from vidswap.commands.options import SizeType, options_from
from vidswap.commands.settings import settings_option
from vidswap.errors import BadOptionError, JobsFailedError, OutputExistsError
from vidswap.options import HARDWARE, OUTPUT
from vidswap.swap.options import SwapOptions

if TYPE_CHECKING:
    from vidswap.batch.run import BatchResult
    from vidswap.people.shot_list import Shot

_WATCH_SECONDS = 2.0

_jobs, _output, _option = option_in("Jobs"), option_in(OUTPUT), option_in(OTHER)
_hardware, _ray = option_in(HARDWARE), option_in("Ray")


@click.group(cls=CommandGroup)
def batch() -> None:
    """Swap many clips: plan, run, watch and resume jobs.

    \b
    vidswap batch plan alice.jpg --targets 'in/*.mov' \\
        -o 'out/{target}__{source}{ext}' > jobs.jsonl
    vidswap batch run jobs.jsonl --jobs 2
    """


@batch.command("plan", modules=("vidswap.batch.plan",))
@click.argument("sources", nargs=-1, type=PATH)
@_jobs(
    "--targets",
    multiple=True,
    required=True,
    metavar="PATTERN",
    help="Targets: a file, a folder or a pattern such as 'in/**/*.mov'. Repeatable.",
)
@_jobs(
    "--pair",
    type=click.Choice(["product", "zip", "same-name", "cast"]),
    default="product",
    show_default=True,
    help="Which sources go onto which targets: all onto all; first onto first; by equal name; or "
    "cast folders by equal name.",
)
@_jobs(
    "--shots",
    type=PATH,
    metavar="LIST",
    help="A job per row of LIST (.csv, or .edl of CMX 3600): in, out, source, target, settings.",
)
@_jobs(
    "-o",
    "--output",
    required=True,
    metavar="TEMPLATE",
    help="Output names, from {target}, {source}, {ext}, {parent} and {n}.",
)
@_output("--csv", "as_csv", is_flag=True, help="Print CSV instead of JSON lines.")
@_output("--absolute", is_flag=True, help="Print absolute paths.")
@_output("--skip-existing", is_flag=True, help="Leave out jobs whose output exists.")
@_output("--dry-run", is_flag=True, help="Plan each swap; show the sums of time, disk and losses.")
@_output("--json", "as_json", is_flag=True, help="Print the sums of --dry-run as JSON.")
@options_from(SwapOptions)
@settings_option(SwapOptions)
def plan(
    sources: tuple[Path, ...],
    targets: tuple[str, ...],
    pair: Any,
    shots: Path | None,
    output: str,
    as_csv: bool,
    absolute: bool,
    skip_existing: bool,
    dry_run: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Print a manifest of jobs, a swap per row.

    Put SOURCES onto the targets. Refuse colliding outputs, missing inputs and swaps that cannot
    be, and print nothing then.
    """
    from vidswap.batch.manifest import raise_if_any, written_csv, written_jsonl
    from vidswap.batch.plan import plan_jobs, plan_shots

    options = SwapOptions(**settings)
    if shots is not None:
        listed = _shots(shots, options, targets)
        found = plan_shots(listed, sources, targets, output, options, absolute=absolute)
    elif sources:
        found = plan_jobs(sources, targets, output, pair, options, absolute=absolute)
    else:
        raise BadOptionError("give SOURCES, or --shots LIST, whose rows name them")
    jobs, errors = found.jobs, found.errors
    if skip_existing:
        jobs = tuple(job for job in jobs if not job.request.output.exists())
        lines = {job.line for job in jobs}
        errors = tuple(error for error in errors if error[0] in lines)
    raise_if_any(errors, "the plan")
    if dry_run:
        from vidswap.batch.estimate import estimate, estimate_as_text

        with BatchBar(len(jobs), silent=as_json) as bar:
            sums = estimate(jobs, bar.planned)
        say(json.dumps(sums.to_dict(), indent=2) if as_json else estimate_as_text(sums))
        raise_if_any(sums.problems, "the plan")
        return
    written = written_csv if as_csv else written_jsonl
    for line in written(job.request for job in jobs):
        click.echo(line)


def _shots(path: Path, options: SwapOptions, targets: Sequence[str]) -> Sequence[Shot]:
    """The shots of a list; by default time codes count the first target's own frames."""
    from vidswap.batch.plan import targets_of
    from vidswap.media.probing import probe
    from vidswap.people.shot_list import read_shots
    from vidswap.swap.look import look_options

    fps = options.fps
    if fps is None and (found := targets_of(targets)) and found[0].is_file():
        fps = probe(found[0]).fps or None
    return read_shots(path, look_options(), fps)


@batch.command("run", modules=("vidswap.batch.run",))
@click.argument("manifest", type=PATH)
@_jobs("--shard", metavar="I/N", unset="by Slurm or Kubernetes", help="Do every N-th job from I.")
@_jobs("--retries", default=2, show_default=True, help="Further attempts where they may help.")
@_jobs(
    "--keep-going/--fail-fast",
    default=True,
    show_default=True,
    help="After a failed job go on, or stop.",
)
@_jobs(
    "--timeout-per-job",
    "timeout",
    type=float,
    metavar="SECONDS",
    unset="none",
    help="Time limit of an attempt.",
)
@_jobs("--no-wait", is_flag=True, help="Do not wait at the end for jobs of other runs.")
@_hardware("-j", "--jobs", type=int, unset="one per GPU, or 1", help="Worker processes.")
@_hardware("--gpus", metavar="N,...", unset="those of CUDA", help="GPUs that workers take in turn.")
@_hardware("--max-memory", type=SizeType(), unset="none", help="Memory limit of all workers.")
@_hardware("--max-vram", type=SizeType(), unset="none", help="Memory limit on each GPU.")
@_ray(
    "--ray",
    "address",
    is_flag=False,
    flag_value="auto",
    metavar="[ADDRESS|auto|local]",
    help="Run on a Ray cluster: vidswap batch run jobs.jsonl --ray.",
)
@_ray("--worker-cpus", default=1.0, show_default=True, help="CPUs per worker.")
@_ray("--worker-gpus", default=0.0, show_default=True, help="GPUs per worker, such as 0.25.")
@_ray("--storage", metavar="URL", help="Store of all files, such as s3://bucket/film.")
@_output("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
@_output("--quiet", is_flag=True, help="Print no progress and no summary.")
def run(
    manifest: Path,
    shard: str | None,
    gpus: str | None,
    no_wait: bool,
    address: str | None,
    worker_cpus: float,
    worker_gpus: float,
    storage: str | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Do the jobs of MANIFEST; rerun to go on.

    Jobs that are done, with the same inputs, settings and weights, are skipped, and an interrupted
    clip resumes. Several runs, on hosts that share the disk, may be at one manifest: its state lies
    beside it.
    """
    from vidswap.batch.run import BatchOptions, run_batch
    from vidswap.batch.shards import parse_shard, shard_of

    part = shard_of(os.environ) if shard is None else parse_shard(shard)
    options = BatchOptions(shard=part, gpus=_gpus(gpus), wait=not no_wait, **settings)
    if storage is not None and address is None:
        raise BadOptionError("--storage goes with --ray, whose workers fetch the files; give both")
    with BatchBar(None, silent=quiet or as_json, events=as_json) as bar:
        if address is None:
            result = run_batch(manifest, options, bar.show)
        else:
            from vidswap.batch.ray_run import RayOptions, run_batch_on_ray
            from vidswap.batch.storage import Storage

            cluster = RayOptions(
                address=address, cpus=worker_cpus, gpus=worker_gpus,
                storage=Storage(storage) if storage is not None else None,
            )  # fmt: skip
            result = run_batch_on_ray(manifest, cluster, options, bar.show)
    if as_json:
        click.echo(json.dumps(result.to_dict()))
    elif not quiet:
        say(_result_line(result))
    if not result.is_done and _has_failed(result):
        raise JobsFailedError(_failed_line(manifest, result))


def _gpus(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    numbers = [part.strip() for part in text.split(",")]
    if not all(number.isascii() and number.isdecimal() for number in numbers):
        raise BadOptionError(f"--gpus {text}; give numbers such as 0,1")
    return tuple(int(number) for number in numbers)


def _has_failed(result: BatchResult) -> bool:
    return bool(result.counts["failed"] or result.counts["cancelled"])


def _result_line(result: BatchResult) -> str:
    parts = [f"{number} {state}" for state, number in result.counts.items() if number]
    skipped = f"; {result.skipped} of them before this run" if result.skipped else ""
    return f"{sum(result.counts.values())} jobs: {', '.join(parts)}{skipped}"


def _failed_line(manifest: Path, result: BatchResult) -> str:
    failed, total = result.counts["failed"], sum(result.counts.values())
    lines = ", ".join(str(record.line) for record in result.failed[:10])
    more = f" and {failed - 10} more" if failed > 10 else ""
    named = f" (line {lines}{more})" if failed else ""
    cancelled = f", {result.counts['cancelled']} cancelled" if result.counts["cancelled"] else ""
    return (
        f"{failed} of {total} jobs failed{named}{cancelled}; see vidswap batch status {manifest}, "
        f"and vidswap batch retry {manifest} queues them anew"
    )


@batch.command("status", modules=("vidswap.batch.status",))
@click.argument("manifest", type=PATH)
@_option("--json", "as_json", is_flag=True, help="Print as JSON.")
@_option("--watch", is_flag=True, help="Show it again and again until all is finished.")
def status(manifest: Path, as_json: bool, watch: bool) -> None:
    """Show the jobs of MANIFEST and how far they are."""
    from vidswap.batch.status import counts_of, status_as_text, status_of, summary

    while True:
        jobs = status_of(manifest)
        if as_json:
            told = {"counts": counts_of(jobs), "jobs": [job.to_dict() for job in jobs]}
            click.echo(json.dumps(told, indent=None if watch else 2))
        elif not watch:
            say(status_as_text(jobs))
        elif sys.stdout.isatty():
            click.clear()
            say(_of_terminal(status_as_text(jobs)))
        else:
            say(summary(jobs))
        if not watch or all(job.record.is_finished for job in jobs):
            return
        time.sleep(_WATCH_SECONDS)


def _of_terminal(text: str) -> str:
    """As many of the last lines as the terminal has, under the head."""
    import shutil

    lines, height = text.split("\n"), shutil.get_terminal_size().lines - 1
    return text if len(lines) <= height else "\n".join([lines[0], *lines[1 - height :]])


@batch.command("retry", modules=("vidswap.batch.status",))
@click.argument("manifest", type=PATH)
@click.argument("jobs", nargs=-1)
def retry(manifest: Path, jobs: tuple[str, ...]) -> None:
    """Queue failed and cancelled jobs of MANIFEST anew.

    JOBS are ids or lines of the manifest; none means all. `batch run` then does them.
    """
    from vidswap.batch.status import retry_jobs

    queued = retry_jobs(manifest, jobs)
    say_line(f"{len(queued)} jobs queued; do them with vidswap batch run {manifest}")


@batch.command("cancel", modules=("vidswap.batch.status",))
@click.argument("manifest", type=PATH)
@click.argument("jobs", nargs=-1)
def cancel(manifest: Path, jobs: tuple[str, ...]) -> None:
    """Give up unfinished jobs of MANIFEST.

    JOBS are ids or lines of the manifest; none means all. A job under way ends within seconds, and
    its work is kept for `batch retry`.
    """
    from vidswap.batch.status import cancel_jobs

    say(f"{len(cancel_jobs(manifest, jobs))} jobs cancelled")


@batch.command("report", modules=("vidswap.batch.report",))
@click.argument("manifest", type=PATH)
@_output("-o", "--output", type=PATH, required=True, help="HTML page to write.")
@_output("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
@_output("--overwrite", is_flag=True, help="Replace an existing page.")
@_output("--quiet", is_flag=True, help="Print no progress and no summary.")
@option_in("Verdict")(
    "--fail-on",
    multiple=True,
    metavar="LIMIT",
    help="Exit with 1 if a swap breaks this limit: NAME<=NUMBER, NAME>=NUMBER, or `verdict`. "
    "Repeatable.",
)
def report(
    manifest: Path,
    output: Path,
    as_json: bool,
    overwrite: bool,
    quiet: bool,
    fail_on: tuple[str, ...],
) -> None:
    """Measure the finished jobs of MANIFEST; write one page over all.

    The worst come first, with links to a page of each. What was measured before, of the same
    output, is not measured again.
    """
    from vidswap.batch.report import report_as_text, report_batch

    if output.exists() and not overwrite:
        raise OutputExistsError(f"{output} exists; give --overwrite or name another file")
    with BatchBar(None, silent=quiet or as_json) as bar:
        found = report_batch(manifest, output, fail_on, bar.measured)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2, allow_nan=False))
    elif not quiet:
        say(report_as_text(found))
    sys.exit(1 if found.broken else 0)


@batch.command("watch", modules=("vidswap.batch.watch",))
@click.argument("folder", type=PATH)
@_jobs("--source", "sources", multiple=True, required=True, type=PATH, help="Source. Repeatable.")
@_jobs("-o", "--output", required=True, type=PATH, metavar="FOLDER", help="Folder for the results.")
@_jobs(
    "--name",
    "template",
    default="{target}{ext}",
    show_default=True,
    help="Output names, from {target}, {source}, {ext}, {parent} and {n}.",
)
@_jobs(
    "--settle",
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="A file is complete when it has stayed as it is for this time.",
)
@_jobs("--once", is_flag=True, help="Stop when all that is there is done.")
@_jobs("--retries", default=2, show_default=True, help="Further attempts where they may help.")
@_hardware("-j", "--jobs", type=int, unset="one per GPU, or 1", help="Worker processes.")
@_hardware("--gpus", metavar="N,...", unset="those of CUDA", help="GPUs that workers take in turn.")
@_output("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
@_output("--quiet", is_flag=True, help="Print no progress and no summary.")
@options_from(SwapOptions)
@settings_option(SwapOptions)
def watch(
    folder: Path,
    sources: tuple[Path, ...],
    output: Path,
    template: str,
    settle: float,
    once: bool,
    retries: int,
    jobs: int | None,
    gpus: str | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Swap the clips that arrive in FOLDER, until Ctrl-C.

    A clip is taken when it is complete. One that is replaced by another is swapped again.
    """
    from vidswap.batch.run import BatchOptions
    from vidswap.batch.watch import WatchOptions, watch_folder

    watched = WatchOptions(
        folder=folder, sources=sources, output=output, options=SwapOptions(**settings),
        template=template, settle=settle,
    )  # fmt: skip
    options = BatchOptions(jobs=jobs, gpus=_gpus(gpus), retries=retries)
    with BatchBar(None, silent=quiet or as_json, events=as_json, row="clip") as bar:
        result = watch_folder(watched, options, bar.show, once=once)
    if as_json:
        click.echo(json.dumps(result.to_dict()))
    elif not quiet:
        say(_result_line(result))
    if _has_failed(result):
        raise JobsFailedError(f"{result.counts['failed']} clips could not be swapped; see {output}")


@click.command("exit-codes", cls=CommandGroup.command_class)
@_option("--json", "as_json", is_flag=True, help="Print as JSON.")
def exit_codes(as_json: bool) -> None:
    """List the exit codes, and which are worth a retry."""
    from vidswap.exit_codes import exit_codes as listed

    found = listed()
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in found], indent=2))
        return
    for each in found:
        say(f"{each.code:3}  {each.outcome:7}  {each.meaning}")
