"""The command line: a thin skin over `vidswap.swap_video` and the pipelines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Two thread pools share few cores here: a pool that spins while it waits starves the other. Must be
# set before the first import of torch. mediapipe's native log would write over the progress bar.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GLOG_minloglevel", "3")

import click

from vidswap.commands.checks import bench, doctor, evaluate, verify
from vidswap.commands.progress import SwapBar, TuneBar
from vidswap.commands.report import check_outputs, pairs, report_run
from vidswap.commands.report import report as report_command
from vidswap.commands.train import dataset, train
from vidswap.errors import VidswapError
from vidswap.version import __version__

if TYPE_CHECKING:
    from vidswap.swap.options import SwapResult

INTERRUPTED = 130  # as shells report SIGINT
PATH = click.Path(path_type=Path)


class _Commands(click.Group):
    """Turns the library's errors into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        debug = "--debug" in sys.argv
        try:
            return super().invoke(ctx)
        except VidswapError as error:
            if debug:
                raise
            _fail(" ".join(str(error).split()), error.exit_code)
        except KeyboardInterrupt as error:
            if debug:
                raise
            _fail(f"interrupted; {error or 'nothing was written'}", INTERRUPTED)


def _fail(message: str, exit_code: int) -> None:
    click.echo(f"vidswap: {message}", err=True)
    sys.exit(exit_code)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vidswap")
@click.pass_context
def main(context: click.Context) -> None:
    """Swap a face in a real video: the source's identity on the target's face.

    Pose, expression, gaze, light, hair, background and sound stay the target's. Every output says
    in its metadata that it is synthetic.
    """
    if context.invoked_subcommand == "doctor":
        return  # what is missing is for it to say
    from vidswap.faces.system_libraries import check_system_libraries

    check_system_libraries()
    import cv2

    # The stages are threads already; a pool inside each call would only contend with them.
    cv2.setNumThreads(1)


main.add_command(train)
main.add_command(verify)
main.add_command(doctor)
main.add_command(bench)
main.add_command(evaluate)
main.add_command(dataset)
main.add_command(report_command)
main.add_command(pairs)


def _source_options(command: Any) -> Any:
    options = [
        click.option("--k-shot", default=10, show_default=True, help="Frames of a source clip."),
        click.option(
            "--source-face",
            metavar="largest|PICTURE",
            help="Which face, when the source shows several people.",
        ),
        click.option(
            "--face",
            default="largest",
            show_default=True,
            metavar="largest|all|PICTURE",
            help="Which face of the target; PICTURE: the one nearest to the person in it.",
        ),
        click.option(
            "--detector",
            type=click.Choice(["mediapipe", "face-alignment"]),
            default="mediapipe",
            show_default=True,
            help="Face and landmark nets; face-alignment downloads its weights.",
        ),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
            default="auto",
            show_default=True,
            help="Number format of the generator.",
        ),
        click.option(
            "--mask",
            type=click.Choice(["face", "outline", "square"]),
            default="face",
            show_default=True,
            help="Blend within the face's outline but for glasses, hands and hair before it, or "
            "within the whole outline, or over the whole crop as the paper does.",
        ),
        click.option("--checkpoint", type=PATH, help="Generator weights; default: the packaged."),
        click.option("--debug", is_flag=True, help="Show the full traceback of an error."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.argument("sources", nargs=-1, required=True, type=PATH)
@click.argument("target", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="The result; its suffix decides.")
@_source_options
@click.option(
    "--reference/--no-reference",
    default=True,
    show_default=True,
    help="Show the generator a photograph of the source, warped onto the target, or the id alone.",
)
@click.option("--start", type=float, help="Seconds of the target to begin at.")
@click.option("--end", type=float, help="Seconds of the target to stop at.")
@click.option(
    "--colour-match",
    default=0.7,
    show_default=True,
    help="How far the face takes on the colour of the target's skin, 0 to 1.",
)
@click.option(
    "--temporal-smoothing",
    "--steadiness",  # its name in 0.1.0
    default=0.85,
    show_default=True,
    help="Weight of the previous frame in what is changed, 0 to below 1; follows optical flow.",
)
@click.option(
    "--hwaccel",
    metavar="DEVICE",
    help="Decode the target on cuda, vaapi or another that `doctor` finds, or on one of several "
    "(cuda:1). [default: the software decoder, exact and portable]",
)
@click.option("--batch-size", type=int, help="Faces a generator call. [default: by device]")
@click.option("--max-memory", metavar="SIZE", help="Memory to keep within, such as 2G.")
@click.option("--max-vram", metavar="SIZE", help="The same of the GPU's memory.")
@click.option(
    "--codec",
    help="h264, hevc, av1, vp9, prores, ffv1, or a hardware one: `doctor`. [default: by container]",
)
@click.option("--crf", type=int, help="Quality, 0 is best. [default: 18]")
@click.option("--match-bitrate", is_flag=True, help="The target's bit rate instead of a quality.")
@click.option("--sign-key", type=PATH, help="PEM key for the C2PA manifest. [default: local one]")
@click.option("--sign-cert", type=PATH, help="PEM certificates of that key, its own first.")
@click.option("--no-provenance", metavar="REASON", help="No C2PA manifest; the reason is recorded.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Go on with what an earlier run of the same settings finished, or remove it.",
)
@click.option("--report", type=PATH, help="Measure the result and write a page of it, HTML.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and lost; do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
def run(
    sources: tuple[Path, ...],
    target: Path,
    output: Path,
    report: Path | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **settings: Any,
) -> None:
    """Swap the face of SOURCES onto the face in TARGET.

    SOURCES are photographs, folders of photographs or clips of one person. TARGET is a clip, or a
    picture; then so is the output.
    """
    from vidswap.swap.job import swap_video
    from vidswap.swap.options import SwapOptions

    options = SwapOptions(**_with_faces(settings))
    if dry_run:
        from vidswap.swap.plan import describe, plan_swap

        plan = plan_swap(sources, target, output, options)
        click.echo(json.dumps(plan.to_dict(), indent=2) if as_json else describe(plan))
        return
    if report is not None:
        check_outputs([report], [target, output, *sources], options.overwrite)
    with SwapBar(target, options.start, options.end, silent=quiet or as_json) as bar:
        result = swap_video(sources, target, output, options, bar.show)
    if report is not None:
        report_run(sources, target, output, report, options, silent=quiet or as_json)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        for warning in result.warnings:
            click.echo(f"vidswap: warning: {warning}", err=True)
        if not quiet:
            click.echo(_summary(result))


def _with_faces(settings: dict[str, Any]) -> dict[str, Any]:
    """The options as SwapOptions takes them: a face is a keyword or a path, a size is in bytes."""
    from vidswap.runtime.sizes import parse_size

    for name in ("face", "source_face"):
        if settings[name] not in (None, "largest", "all"):
            settings[name] = Path(settings[name])
    for name in ("max_memory", "max_vram"):
        if settings.get(name) is not None:
            settings[name] = parse_size(settings[name])
    return settings


def _summary(result: SwapResult) -> str:
    made = result.frames - result.frames_kept
    rate = made / result.seconds if result.seconds else 0.0
    lines = [
        f"{result.output}: {result.frames} frames, {result.faces_swapped} faces swapped, "
        f"{result.frames_without_face} frames without a face, {result.seconds:.1f} s "
        f"({rate:.1f} frames/s), peak memory {result.peak_memory_mib:.0f} MiB",
        f"source: {len(result.source_frames_used)} frame(s) used",
    ]
    if result.frames_kept:
        lines.append(f"went on after {result.frames_kept} frames that an earlier run finished")
    lines += [f"  left out {name}: {reason}" for name, reason in result.source_frames_left_out]
    return "\n".join(lines)


@main.command()
@click.argument("sources", nargs=-1, required=True, type=PATH)
@click.argument("target", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="The PNG to write.")
@click.option("--at", default=None, type=float, help="Second of the target. [default: its middle]")
@_source_options
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def preview(
    sources: tuple[Path, ...],
    target: Path,
    output: Path,
    at: float | None,
    debug: bool,
    **settings: Any,
) -> None:
    """Swap one frame of TARGET and write it before and after, side by side, as PNG."""
    from vidswap.swap.options import SwapOptions
    from vidswap.swap.preview import preview_frame

    options = SwapOptions(**_with_faces(settings))
    seconds = preview_frame(sources, target, output, at, options)
    click.echo(f"{output}: {target} at {seconds:.2f} s, before and after")


@main.command()
@click.argument("file", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def info(file: Path, as_json: bool, debug: bool) -> None:
    """Say what a clip or picture is, who is in it, and whether it is marked as synthetic."""
    from vidswap.info import describe, describe_as_text

    description = describe(file)
    click.echo(json.dumps(description, indent=2) if as_json else describe_as_text(description))


@main.command()
@click.argument("sources", nargs=-1, required=True, type=PATH)
@click.argument("target", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="The .safetensors to write.")
@click.option("--minutes", default=10.0, show_default=True, help="Time of training.")
@click.option("--k-shot", default=10, show_default=True, help="Frames of a source's id embedding.")
@click.option(
    "--source-face",
    metavar="largest|PICTURE",
    help="Which face, when the source shows several people.",
)
@click.option(
    "--face",
    default="largest",
    show_default=True,
    metavar="largest|PICTURE",
    help="Which face of the target.",
)
@click.option(
    "--detector",
    type=click.Choice(["mediapipe", "face-alignment"]),
    default="mediapipe",
    show_default=True,
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--checkpoint", type=PATH, help="Generator to start from; default: the packaged.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def tune(
    sources: tuple[Path, ...],
    target: Path,
    output: Path,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **settings: Any,
) -> None:
    """Adapt the generator to SOURCES on TARGET, and write what was learnt to a small file.

    Give that file to `run` as --checkpoint, with the same sources and target. Ctrl-C keeps what was
    learnt so far.
    """
    from vidswap.tuning.tune import TuneOptions, tune_pair

    options = TuneOptions(**_with_faces(settings))
    if sys.stderr.isatty() and not (quiet or as_json):
        click.echo("reading the faces of source and target", err=True)
    with TuneBar(options.minutes, silent=quiet or as_json) as bar:
        result = tune_pair(sources, target, output, options, bar.show)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
        return
    for warning in result.warnings:
        click.echo(f"vidswap: warning: {warning}", err=True)
    if not quiet:
        stopped = ", interrupted" if result.interrupted else ""
        click.echo(
            f"{result.output}: {result.images} images in {result.minutes:.1f} min{stopped}, from "
            f"{result.source_shots} faces of the source and {result.target_shots} of the target\n"
            f"use it: vidswap run {' '.join(map(str, sources))} {target} -o OUTPUT "
            f"--checkpoint {result.output}"
        )


if __name__ == "__main__":
    main()
