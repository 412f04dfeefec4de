"""The commands that change faces: `run`, `preview`, `inpaint`, `context` and `tune`."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from vidswap.commands.command import PATH, Command, option_in
from vidswap.commands.messages import say, say_line, warn
from vidswap.commands.options import options_from
from vidswap.commands.progress import CountBar, SwapBar, TuneBar
from vidswap.commands.report import check_outputs, report_run
from vidswap.commands.settings import settings_as_toml, settings_option
from vidswap.errors import BadOptionError
from vidswap.options import HARDWARE, OUTPUT, RANGE, SOURCE_AND_TARGET
from vidswap.runtime.text import escaped
from vidswap.swap.context_options import ContextOptions
from vidswap.swap.inpaint_options import OWN, SHARED, InpaintOptions
from vidswap.swap.options import OTHERS, SwapOptions
from vidswap.tuning.options import TuneOptions

if TYPE_CHECKING:
    from vidswap.swap.options import SwapResult

# What of a run shows in one frame.
PREVIEWED = (
    "k_shot", "source_face", "face", "cast", "detector", "checkpoint", "mask", "reference",
    "fill_source", "reference_weight", "shape", "detail", "colour_match", "fps",
    "colour_space", "device", "precision", "overwrite",
)  # fmt: skip

MOST_SPANS = 4  # of a person that the summary tells

logger = logging.getLogger(__name__)


_output, _settings = option_in(OUTPUT), option_in("Settings")
_output_file = partial(_output, "-o", "--output", type=PATH)


@click.command(cls=Command, modules=("vidswap.swap.worker",))
@click.argument("sources", nargs=-1, type=PATH, metavar="SOURCES...")
@click.argument("target", required=False, type=PATH, metavar="TARGET")
@_output_file(help="Output file; the suffix selects the container.", needed=True)
@options_from(SwapOptions)
@_output("--report", type=PATH, help="Measure the result; write an HTML report.")
@_output("--dry-run", is_flag=True, help="Show what would be done and lost; do nothing.")
@_output("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@_output("--quiet", is_flag=True, help="Print no progress and no summary.")
@option_in(HARDWARE)(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Worker processes that swap the clip's shots side by side, to the same result.",
)
@option_in(HARDWARE)(
    "--ray",
    is_flag=False,
    flag_value="auto",
    metavar="[ADDRESS|auto|local]",
    help="Have the shots swapped by a Ray cluster; give it last.",
)
@settings_option(SwapOptions)
@_settings("--print-settings", is_flag=True, help="Print the settings as TOML and exit.")
@click.pass_context
def run(
    context: click.Context,
    /,
    sources: tuple[Path, ...],
    target: Path | None,
    output: Path | None,
    report: Path | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    jobs: int,
    ray: str | None,
    print_settings: bool,
    **settings: Any,
) -> None:
    """Swap the face of SOURCES onto the face in TARGET.

    SOURCES are photographs, folders of photographs, clips or an identity file of one person. TARGET
    is a clip or a picture, and the output is the same. With --cast FOLDER the plan names the
    sources; with --cast auto each SOURCE is a person of its own. Rerun the same command to resume
    an interrupted run.
    """
    options = SwapOptions(**_flags_first(context, settings))
    if print_settings:
        click.echo(settings_as_toml(options))
        return
    needed: dict[str, Any] = {"target": target, "output": output}
    if options.cast is None:
        needed = {"sources": sources, **needed}
    target, output = _required(context, **needed)
    if dry_run:
        from vidswap.swap.plan import describe, plan_swap

        plan = plan_swap(sources, target, output, options)
        say(json.dumps(plan.to_dict(), indent=2) if as_json else describe(plan))
        return
    from vidswap.swap.request import SwapRequest
    from vidswap.swap.target import output_frames
    from vidswap.swap.worker import Worker

    if report is not None:
        check_outputs([report], [target, output, *sources], options.overwrite)
    request = SwapRequest.of(sources, target, output, options)
    with (
        Worker(_ranges_by(jobs, ray)) as worker,
        SwapBar(target, options.start, options.end, silent=quiet or as_json) as bar,
    ):
        result = worker.run(request, bar.show)
    _log_result(result)
    if report is not None:
        if (frames := output_frames(target, output)) is not None:
            request = replace(request, output=frames.folder / frames.pattern)
        report_run(request, report, worker.plan, silent=quiet or as_json)
    for warning in result.warnings:
        warn(warning, silent=as_json)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    elif not quiet:
        say(_summary(result))


def _ranges_by(jobs: int, ray: str | None) -> Any:
    """What swaps a clip's ranges; None for the process itself."""
    if ray is not None:
        from vidswap.batch.ray_film import RayRangeWorkers
        from vidswap.batch.ray_run import RayOptions

        return RayRangeWorkers(RayOptions(address=ray), jobs if jobs > 1 else None)
    if jobs == 1:
        return None
    from vidswap.batch.film import RangeWorkers

    return RangeWorkers(jobs)


def _required(context: click.Context, **values: Any) -> tuple[Path, Path]:
    """Target and output; only --print-settings does without. Raises click.MissingParameter."""
    for parameter in context.command.params:
        if parameter.name in values and not values[parameter.name]:
            raise click.MissingParameter(ctx=context, param=parameter)
    return values["target"], values["output"]


def _flags_first(context: click.Context, settings: dict[str, Any]) -> dict[str, Any]:
    """A quality by flag takes the place of a bit rate in the file, and the reverse."""
    given = {
        name for name in ("crf", "match_bitrate")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }  # fmt: skip
    if given == {"crf"}:
        return settings | {"match_bitrate": False}
    if given == {"match_bitrate"} and settings["match_bitrate"]:
        return settings | {"crf": None}
    return settings


def _log_result(result: SwapResult) -> None:
    stages = ", ".join(f"{name} {took:.2f}" for name, took in result.seconds_by_stage.items())
    logger.debug("seconds by stage: %s", stages)


def _summary(result: SwapResult) -> str:
    made = result.frames - result.frames_kept
    rate = made / result.seconds if result.seconds else 0.0
    lines = [
        f"{result.output}: {result.frames} frames, {result.faces_swapped} faces swapped, "
        f"{result.frames_without_face} frames without a face, {result.seconds:.1f} s "
        f"({rate:.1f} frames/s), peak memory {result.peak_memory_mib:.0f} MiB",
        f"source: {len(result.source_frames_used)} frame(s) used",
    ]
    lines += people_lines(result)
    if result.frames_kept:
        lines.append(f"resumed after {result.frames_kept} frames of an earlier run")
    left_out = result.source_frames_left_out
    lines += [f"  left out {name}: {reason}" for name, reason in left_out]
    return "\n".join(map(escaped, lines))


def people_lines(result: SwapResult) -> list[str]:
    """Who was swapped from when to when, where not one face was throughout."""
    lines = []
    for found in result.people:
        spans = [f"{start:.2f} to {end:.2f} s" for start, end in found.spans[:MOST_SPANS]]
        if len(found.spans) > MOST_SPANS:
            spans.append(f"and {len(found.spans) - MOST_SPANS} more times")
        times = ", ".join(spans)
        if found.person == OTHERS:
            lines.append(f"left alone: other faces, {times}")
        elif not found.person:
            lines.append(f"swapped: {times}")
        else:
            who = f"{found.person} ({found.name})" if found.name else found.person
            lines.append(f"swapped: {who} with {', '.join(found.sources)}, {times}")
    return lines


@click.command(cls=Command, modules=("vidswap.swap.preview",))
@click.argument("sources", nargs=-1, type=PATH, metavar="SOURCES...")
@click.argument("target", type=PATH)
@_output_file(help="PNG to write.", required=True)
@options_from(SwapOptions, PREVIEWED)
@option_in(RANGE)(
    "--at",
    type=float,
    metavar="SECONDS",
    unset="middle",
    help="Time of the frame, in seconds of the target.",
)
@settings_option(SwapOptions)
@click.pass_context
def preview(
    context: click.Context,
    /,
    sources: tuple[Path, ...],
    target: Path,
    output: Path,
    at: float | None,
    **settings: Any,
) -> None:
    """Swap one frame of TARGET; show it before and after as PNG.

    With --cast, show each person before and after in each shot.
    """
    from vidswap.swap.preview import preview_cast, preview_frame

    if settings["cast"] is not None:
        if at is not None:
            raise BadOptionError("--at shows one frame, and --cast a frame of each shot; give one")
        shown, left_out = preview_cast(sources, target, output, SwapOptions(**settings))
        more = f"; {left_out} more are not shown" if left_out else ""
        say_line(f"{output}: {shown} appearance(s), before and after{more}")
        return
    _required(context, sources=sources, target=target, output=output)
    seconds = preview_frame(sources, target, output, at, SwapOptions(**settings))
    say_line(f"{output}: {target} at {seconds:.2f} s, before and after")


@click.command(cls=Command, modules=("vidswap.swap.inpaint_job",))
@click.argument("target", type=PATH)
@_output_file(help="Output file; the suffix selects the container.", required=True)
@options_from(InpaintOptions, (*OWN, *SHARED))
@option_in(SOURCE_AND_TARGET)(
    "--source",
    "sources",
    multiple=True,
    type=PATH,
    help="Photograph or clip of the person to fill the face as; for models that take one.",
)
@_output("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@_output("--quiet", is_flag=True, help="Print no progress and no summary.")
def inpaint(
    target: Path,
    output: Path,
    sources: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Fill what is missing of a face in TARGET, or unwanted before it.

    TARGET is a clip or a picture, and the output is the same. Pixels outside of the region are not
    changed.

    \b
    Regions that follow the face:
      eyes, mouth, nose, lower-face, face (brows to lips), centre
      glasses, occluders (glasses, hands, hair), found by a net
    Regions that stay where they are in the frames:
      the white of a picture or clip of the target's size
      a colour such as '#ff00ff'
    """
    from vidswap.swap.inpaint_job import inpaint_file

    options = InpaintOptions(**settings)
    with SwapBar(target, options.start, options.end, silent=quiet or as_json) as bar:
        result = inpaint_file(target, output, options, sources, bar.show)
    for warning in result.warnings:
        warn(warning, silent=as_json)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    elif not quiet:
        say_line(
            f"{result.output}: {result.frames} frames, {result.faces_filled} faces filled by "
            f"{result.model}, {result.frames_without_face} frames without, {result.seconds:.1f} s, "
            f"peak memory {result.peak_memory_mib:.0f} MiB"
        )


@click.command(cls=Command, modules=("vidswap.swap.context_job",))
@click.argument("faces", nargs=-1, required=True, type=PATH)
@_output("-o", "--output", type=PATH, required=True, help="Picture, folder, or dataset to write.")
@options_from(ContextOptions)
@_output("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@_output("--quiet", is_flag=True, help="Print no progress and no summary.")
def context(
    faces: tuple[Path, ...], output: Path, as_json: bool, quiet: bool, **settings: Any
) -> None:
    """Hallucinate hair, clothes and background around FACES.

    FACES are pictures, folders of pictures, or one dataset of `dataset build`. Only the inner face
    is looked at, and it stays as it is. One picture becomes one picture of 256 pixels, a dataset a
    dataset of the same people for `train`, anything else a folder of pictures.
    """
    from vidswap.swap.context_job import hallucinate_faces

    with CountBar("picture", silent=quiet or as_json) as bar:
        result = hallucinate_faces(faces, output, ContextOptions(**settings), bar.show)
    for name, reason in result.left_out:
        warn(f"{name}: {reason}", silent=as_json)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    elif not quiet:
        say_line(
            f"{result.output}: {result.pictures} pictures of {result.faces} faces, "
            f"{result.variant}, {result.seconds:.1f} s"
        )


@click.command(cls=Command, modules=("vidswap.tuning.tune",))
@click.argument("sources", nargs=-1, required=True, type=PATH)
@click.argument("target", type=PATH)
@_output_file(help="Checkpoint to write, .safetensors.", required=True)
@options_from(TuneOptions)
@_output("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@_output("--quiet", is_flag=True, help="Print no progress and no summary.")
def tune(
    sources: tuple[Path, ...],
    target: Path,
    output: Path,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Fine-tune the generator to SOURCES and TARGET.

    Give the result to `run --checkpoint`, with the same sources and target. Ctrl-C ends the
    training early and writes the result so far.
    """
    from vidswap.tuning.tune import tune_pair

    options = TuneOptions(**settings)
    if sys.stderr.isatty() and not (quiet or as_json):
        click.echo("reading the faces of source and target", err=True)
    with TuneBar(options.minutes, silent=quiet or as_json) as bar:
        result = tune_pair(sources, target, output, options, bar.show)
    for warning in result.warnings:
        warn(warning, silent=as_json)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    elif not quiet:
        stopped = ", interrupted" if result.interrupted else ""
        say_line(
            f"{result.output}: {result.images} images in {result.minutes:.1f} min{stopped}, from "
            f"{result.source_shots} faces of the source and {result.target_shots} of the target"
        )
        say_line(
            f"use it: vidswap run {' '.join(map(str, sources))} {target} -o OUTPUT "
            f"--checkpoint {result.output}"
        )
