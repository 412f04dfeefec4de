"""The inspecting commands: `info`, `verify`, `doctor`, `bench` and `evaluate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from vidswap.commands.command import OTHER, PATH, Command, option_in
from vidswap.commands.messages import say
from vidswap.commands.options import options_from
from vidswap.errors import BadOptionError
from vidswap.swap.options import SwapOptions

_SMALLEST_SIDE, _LARGEST_SIDE = 64, 8192  # pixels of a timed clip
_MOST_FACES = 25
ONE_GROUP = {"group": OTHER}
_option = option_in(OTHER)


@click.command(cls=Command, modules=("vidswap.info",))
@click.argument("file", type=PATH)
@_option("--sheet", type=PATH, help="Write an identity file's pictures as one PNG.")
@_option("--overwrite", is_flag=True, help="Replace an existing sheet.")
@_option("--json", "as_json", is_flag=True, help="Print as JSON.")
def info(file: Path, sheet: Path | None, overwrite: bool, as_json: bool) -> None:
    """Show the streams, people and synthetic marks of a file.

    FILE is a clip, a picture or an identity file (.vsid).
    """
    from vidswap.people.identity import describe_identity, identity_as_text, write_contact_sheet
    from vidswap.people.identity_file import is_identity_file

    if is_identity_file(file):
        found = describe_identity(file)
        say(json.dumps(found, indent=2) if as_json else identity_as_text(found))
        if sheet is not None:
            count = write_contact_sheet(file, sheet, overwrite)
            if not as_json:
                say(f"{sheet}: {count} picture(s)")
        return
    if sheet is not None:
        raise BadOptionError(f"--sheet shows an identity file, and {file} is none")
    from vidswap.info import describe, describe_as_text

    description = describe(file)
    say(json.dumps(description, indent=2) if as_json else describe_as_text(description))


@click.command(cls=Command, modules=("vidswap.provenance.verify",))
@click.argument("file", type=PATH)
@_option("--trust", type=PATH, help="PEM certificates of trusted signers.")
@_option("--json", "as_json", is_flag=True, help="Print as JSON.")
def verify(file: Path, trust: Path | None, as_json: bool) -> None:
    """Check what FILE claims about its making, and who signed it.

    Read the C2PA manifest and the container's marks; download nothing.

    \b
    Exit codes:
      0   the claims hold and the signer is trusted, or they are unsigned marks
      30  FILE was changed after signing, or its manifest is damaged or missing
      31  FILE claims nothing
      32  the claims hold, but the signer is unknown: see --trust
    """
    from vidswap.provenance.verify import verification_as_text, verify_file

    verification = verify_file(file, trust)
    if as_json:
        click.echo(json.dumps(verification.to_dict(), indent=2))
    else:
        say(verification_as_text(verification))
    sys.exit(verification.exit_code)


@click.command(cls=Command)  # what is missing is for it to say
@_option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor(as_json: bool) -> None:
    """Check the installation and suggest fixes.

    Download nothing. Exit with 1 if a required part is broken.
    """
    from vidswap.doctor import examine, findings_as_text, is_broken

    findings = examine()
    if as_json:
        found = {"broken": is_broken(findings), "checks": [f.to_dict() for f in findings]}
        click.echo(json.dumps(found, indent=2))
    else:
        say(findings_as_text(findings))
    sys.exit(1 if is_broken(findings) else 0)


@click.command(cls=Command, modules=("vidswap.bench.speed",))
@_option("--frames", default=60, show_default=True, help="Frames of the timed clip.")
@_option("--size", default="1280x720", show_default=True, metavar="WxH", help="Size of the clip.")
@_option("--faces", default=1, show_default=True, help="Faces in the clip, all of them swapped.")
@_option("--face-height", type=int, metavar="PIXELS", help="Height of each face, brow to chin.")
@_option("--start-up", is_flag=True, help="Time `vidswap --help` and a run of one frame.")
@_option("--memory", is_flag=True, help="Measure the memory of 1080p and 4K clips.")
@_option("--max-memory", metavar="SIZE", help="Memory limit of the measured swaps.")
@_option("--metrics", is_flag=True, help="Time the metrics of a report.")
@_option("--minutes", default=10.0, show_default=True, help="Length of the long clip of --memory.")
@_option("--fps", default=25, show_default=True, help="Frame rate of the long clip of --memory.")
@_option("--against", type=PATH, metavar="CHECKOUT", help="Time another checkout in turns.")
@_option("--rounds", default=3, show_default=True, help="Turns of --against.")
@options_from(SwapOptions, ("checkpoint", "device"), checkpoint=ONE_GROUP, device=ONE_GROUP)
def bench(
    frames: int,
    size: str,
    faces: int,
    face_height: int | None,
    start_up: bool,
    memory: bool,
    max_memory: str | None,
    metrics: bool,
    minutes: float,
    fps: int,
    against: Path | None,
    rounds: int,
    checkpoint: Path | None,
    device: Any,
) -> None:
    """Time the stages of a swap, and print JSON.

    --memory measures peak memory instead, --metrics the time of a report, --start-up that of a
    process. --against compares two checkouts A B A B: what else the machine does falls on both
    alike.
    """
    from vidswap.bench.speed import memory_benchmark, stage_benchmark

    pixels = _pixels(size)
    if not 1 <= faces <= _MOST_FACES:
        raise BadOptionError(f"--faces {faces}; it must be from 1 to {_MOST_FACES}")
    if against is not None:
        from vidswap.bench.paired import paired_benchmark

        given = ["--frames", str(frames), "--device", str(device)]
        given += ["--checkpoint", str(checkpoint.resolve())] if checkpoint else []
        # Only what is asked for: an older checkout does not know these.
        given += ["--size", size] if pixels != (1280, 720) else []
        given += ["--faces", str(faces)] if faces != 1 else []
        given += ["--face-height", str(face_height)] if face_height is not None else []
        report = paired_benchmark(against, given, rounds)
    elif metrics:
        from vidswap.bench.metrics import metrics_benchmark

        report = metrics_benchmark(frames, checkpoint, device)
    elif memory:
        report = memory_benchmark(checkpoint, minutes, max_memory, fps)
    elif start_up:
        from vidswap.bench.start_up import start_up_benchmark

        report = start_up_benchmark(checkpoint, str(device), pixels)
    else:
        report = stage_benchmark(frames, checkpoint, device, pixels, faces, face_height)
    click.echo(json.dumps(report, indent=2))


def _pixels(size: str) -> tuple[int, int]:
    """Width and height of "1280x720". Raises BadOptionError."""
    width, _, height = size.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise BadOptionError(f"--size {size}; write it as 1280x720")
    found = int(width), int(height)
    if min(found) < _SMALLEST_SIDE or max(found) > _LARGEST_SIDE or any(n % 2 for n in found):
        raise BadOptionError(
            f"--size {size}; sides must be even and from {_SMALLEST_SIDE} to {_LARGEST_SIDE}"
        )
    return found


@click.command(cls=Command, modules=("vidswap.evaluation.evaluate",))
@_option("--faces", type=PATH, metavar="FOLDER", help="Dataset whose held-out people to swap.")
@_option("--clips", type=PATH, metavar="FOLDER", help="Folder of clips, one person each.")
@_option(
    "--judge",
    type=PATH,
    unset="dlib's, used in training",
    help="Face net that judges identity: TensorFlow.js, or of `train recogniser`.",
)
@_option(
    "--second-judge",
    type=PATH,
    unset="the packaged recogniser, if any",
    help="Another face net, shown beside the first for held-out faces; in no gate.",
)
@options_from(SwapOptions, ("checkpoint",), checkpoint=ONE_GROUP)
@_option(
    "--against",
    type=PATH,
    help="Older evaluation.json; exit with 1 if this checkpoint is worse.",
)
@_option(
    "-o",
    "--output",
    type=PATH,
    metavar="FOLDER",
    default=Path("runs/evaluation"),
    show_default=True,
    help="Folder for the results.",
)
@_option("--pairs", default=200, show_default=True, help="Held-out pairs.")
@_option("--every", default=5, show_default=True, help="Measure every n-th frame per clip.")
@_option("--max-frames", default=120, show_default=True, help="Frames per clip.")
@_option("--only", default="*", show_default=True, help="Pattern of clip names.")
@options_from(
    SwapOptions,
    ("mask", "shape", "device", "precision"),
    mask=ONE_GROUP,
    shape=ONE_GROUP,
    device=ONE_GROUP,
    precision=ONE_GROUP,
)
@_option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def evaluate(as_json: bool, **settings: Any) -> None:
    """Measure a checkpoint on held-out faces, on clips, or both.

    Print a table; write evaluation.json and contact sheets to the output folder.
    """
    from vidswap.evaluation.evaluate import EvaluationOptions, without_nan
    from vidswap.evaluation.evaluate import evaluate as run_evaluation
    from vidswap.evaluation.gate import compare, read_report
    from vidswap.evaluation.table import comparison_as_text, gate_as_text, report_as_text

    options = EvaluationOptions(**settings)
    report = run_evaluation(options, lambda line: click.echo(line, err=True))
    click.echo(json.dumps(without_nan(report), indent=1) if as_json else report_as_text(report))
    if options.against is not None:
        old = read_report(options.against)
        comparisons = compare(old, report)
        click.echo("\n" + comparison_as_text(old, report, comparisons), err=as_json)
        click.echo(f"vidswap: {gate_as_text(comparisons)}", err=True)
        if any(comparison.fails for comparison in comparisons):
            sys.exit(1)
