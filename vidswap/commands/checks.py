"""The checking commands of the command line: `verify`, `doctor`, `bench` and `evaluate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=PATH)
@click.option("--trust", type=PATH, help="PEM certificates whose signers you trust.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def verify(file: Path, trust: Path | None, as_json: bool, debug: bool) -> None:
    """Say what FILE claims of its making, whether that still holds, and who signed it.

    Reads the C2PA manifest and the container's marks; fetches nothing. Exit code 0: the claims
    hold, or are marks that nobody signed. 30: the file was changed after signing, or its manifest
    is damaged or gone. 31: the file claims nothing.
    """
    from vidswap.provenance.verify import verification_as_text, verify_file

    verification = verify_file(file, trust)
    if as_json:
        click.echo(json.dumps(verification.to_dict(), indent=2))
    else:
        click.echo(verification_as_text(verification))
    sys.exit(verification.exit_code)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def doctor(as_json: bool, debug: bool) -> None:
    """Check what vidswap needs on this computer, a line each, and say how to mend it.

    Downloads nothing. Exit code 1 when something needed is broken.
    """
    from vidswap.doctor import examine, findings_as_text, is_broken

    findings = examine()
    if as_json:
        found = {"broken": is_broken(findings), "checks": [f.to_dict() for f in findings]}
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(findings_as_text(findings))
    sys.exit(1 if is_broken(findings) else 0)


@click.command()
@click.option("--frames", default=60, show_default=True, help="Frames of the timed clip.")
@click.option("--memory", is_flag=True, help="Memory of 1080p clips, short and long, and of 4K.")
@click.option("--max-memory", metavar="SIZE", help="Limit of the swaps that are measured.")
@click.option("--metrics", is_flag=True, help="Time of every metric of a report.")
@click.option("--minutes", default=10.0, show_default=True, help="Length of the long clip.")
@click.option("--fps", default=25, show_default=True, help="Frames a second of the long clip.")
@click.option("--checkpoint", type=PATH, help="Generator weights; default: the packaged.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def bench(
    frames: int,
    memory: bool,
    max_memory: str | None,
    metrics: bool,
    minutes: float,
    fps: int,
    checkpoint: Path | None,
    device: Any,
    debug: bool,
) -> None:
    """Time every stage at 1280x720 with one face, or measure memory or metrics; prints JSON."""
    from vidswap.bench.speed import memory_benchmark, stage_benchmark

    if metrics:
        from vidswap.bench.metrics import metrics_benchmark

        report = metrics_benchmark(frames, checkpoint, device)
    elif memory:
        report = memory_benchmark(checkpoint, minutes, max_memory, fps)
    else:
        report = stage_benchmark(frames, checkpoint, device)
    click.echo(json.dumps(report, indent=2))


@click.command()
@click.option("--faces", type=PATH, help="Face dataset; its held-out people are swapped.")
@click.option("--clips", type=PATH, help="Folder of clips, one person each.")
@click.option("--judge", type=PATH, help="TensorFlow.js face net. [default: dlib's, trained with]")
@click.option("--checkpoint", type=PATH, help="Generator weights; default: the packaged.")
@click.option("--against", type=PATH, help="Older evaluation.json; exit 1 when this one is worse.")
@click.option("-o", "--output", type=PATH, default=Path("runs/evaluation"), show_default=True)
@click.option("--pairs", default=200, show_default=True, help="Held-out pairs.")
@click.option("--every", default=5, show_default=True, help="Measure every n-th frame of a clip.")
@click.option("--max-frames", default=120, show_default=True, help="Frames of each clip.")
@click.option("--only", default="*", show_default=True, help="Pattern of clip names.")
@click.option(
    "--mask",
    type=click.Choice(["face", "outline", "square"]),
    default="face",
    show_default=True,
    help="Where to blend, as for `run`.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def evaluate(as_json: bool, debug: bool, **settings: Any) -> None:
    """Measure a checkpoint on held-out faces, on clips, or both.

    Prints a table; writes evaluation.json and sheets of pictures to OUTPUT.
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
