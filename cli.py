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

from vidswap.errors import VidswapError
from vidswap.version import __version__

if TYPE_CHECKING:
    from pipelines.swap import SwapCounts, SwapResult

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
        except KeyboardInterrupt:
            if debug:
                raise
            _fail("interrupted; nothing was written", INTERRUPTED)


def _fail(message: str, exit_code: int) -> None:
    click.echo(f"vidswap: {message}", err=True)
    sys.exit(exit_code)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vidswap")
def main() -> None:
    """Swap a face in a real video: the source's identity on the target's face.

    Pose, expression, gaze, light, hair, background and sound stay the target's. Every output says
    in its metadata that it is synthetic.
    """
    from vidswap.faces.system_libraries import check_system_libraries

    check_system_libraries()
    import cv2

    # The stages are threads already; a pool inside each call would only contend with them.
    cv2.setNumThreads(1)


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
            type=click.Choice(["face", "square"]),
            default="face",
            show_default=True,
            help="Blend within the face's outline, or over the whole crop as the paper does.",
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
@click.option("--start", type=float, help="Seconds of the target to begin at.")
@click.option("--end", type=float, help="Seconds of the target to stop at.")
@click.option("--batch-size", type=int, help="Faces a generator call. [default: by device]")
@click.option("--codec", help="h264, hevc, av1, vp9, prores or ffv1. [default: by container]")
@click.option("--crf", default=18, show_default=True, help="Quality, 0 is best.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
def run(
    sources: tuple[Path, ...],
    target: Path,
    output: Path,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **settings: Any,
) -> None:
    """Swap the face of SOURCES onto the face in TARGET.

    SOURCES are photographs, folders of photographs or clips of one person. TARGET is a clip, or a
    picture; then so is the output.
    """
    from pipelines.swap import SwapOptions, swap_video

    options = SwapOptions(**_with_faces(settings))
    with _ProgressBar(target, options.start, options.end, silent=quiet or as_json) as bar:
        result = swap_video(sources, target, output, options, bar.show)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        for warning in result.warnings:
            click.echo(f"vidswap: warning: {warning}", err=True)
        if not quiet:
            click.echo(_summary(result))


def _with_faces(settings: dict[str, Any]) -> dict[str, Any]:
    """The options as SwapOptions takes them: a face is a keyword or the path of a picture."""
    for name in ("face", "source_face"):
        if settings[name] not in (None, "largest", "all"):
            settings[name] = Path(settings[name])
    return settings


def _summary(result: SwapResult) -> str:
    rate = result.frames / result.seconds if result.seconds else 0.0
    lines = [
        f"{result.output}: {result.frames} frames, {result.faces_swapped} faces swapped, "
        f"{result.frames_without_face} frames without a face, {result.seconds:.1f} s "
        f"({rate:.1f} frames/s), peak memory {result.peak_memory_mib:.0f} MiB",
        f"source: {len(result.source_frames_used)} frame(s) used",
    ]
    lines += [f"  left out {name}: {reason}" for name, reason in result.source_frames_left_out]
    return "\n".join(lines)


class _ProgressBar:
    """Frames done, frames a second and time left, on standard error when that is a terminal."""

    def __init__(self, target: Path, start: float | None, end: float | None, silent: bool) -> None:
        self._target, self._start, self._end = target, start, end
        self._silent = silent
        self._bar: Any = None

    def show(self, counts: SwapCounts) -> None:
        """Called after every frame; the bar appears with the first, when errors are behind."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=None if self._silent else self._expected_frames(),
                unit="frame",
                disable=True if self._silent else None,  # None: off unless a terminal
                dynamic_ncols=True,
            )
        self._bar.update(counts.frames - self._bar.n)

    def _expected_frames(self) -> int:
        """How many frames the range should have, by the clip's header."""
        from vidswap.media.probe import probe

        info = probe(self._target)
        if self._start is None and self._end is None:
            return info.frames
        seconds = min(self._end or info.duration, info.duration) - (self._start or 0.0)
        return max(1, round(seconds * info.fps))

    def __enter__(self) -> _ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


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
    from pipelines.preview import preview_frame
    from pipelines.swap import SwapOptions

    options = SwapOptions(**_with_faces(settings))
    seconds = preview_frame(sources, target, output, at, options)
    click.echo(f"{output}: {target} at {seconds:.2f} s, before and after")


@main.command()
@click.argument("file", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def info(file: Path, as_json: bool, debug: bool) -> None:
    """Say what a clip or picture is, who is in it, and whether it is marked as synthetic."""
    from pipelines.info import describe, describe_as_text

    description = describe(file)
    click.echo(json.dumps(description, indent=2) if as_json else describe_as_text(description))


@main.command()
@click.option("--frames", default=60, show_default=True, help="Frames of the timed clip.")
@click.option("--memory", is_flag=True, help="Peak memory of a short and a long 1080p clip.")
@click.option("--minutes", default=10.0, show_default=True, help="Length of the long clip.")
@click.option("--checkpoint", type=PATH, help="Generator weights; default: the packaged.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def bench(
    frames: int,
    memory: bool,
    minutes: float,
    checkpoint: Path | None,
    device: Any,
    debug: bool,
) -> None:
    """Time every stage at 1280x720 with one face, or measure memory; prints JSON."""
    from pipelines.bench import memory_benchmark, stage_benchmark

    if memory:
        report = memory_benchmark(checkpoint, minutes)
    else:
        report = stage_benchmark(frames, checkpoint, device)
    click.echo(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
