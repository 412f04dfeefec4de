"""The measuring commands of the command line: `report` and `pairs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vidswap.commands.command import OTHER, PATH, Command, option_in
from vidswap.commands.messages import say, warn
from vidswap.commands.options import options_from
from vidswap.commands.progress import ReportBar
from vidswap.errors import BadOptionError
from vidswap.options import OUTPUT, RANGE
from vidswap.runtime.text import escaped
from vidswap.swap.options import SwapOptions

if TYPE_CHECKING:
    from vidswap.metrics.record import Report
    from vidswap.people.plan import CastPlan
    from vidswap.report.cast import CastReport
    from vidswap.report.measure import ReportOptions
    from vidswap.swap.request import SwapRequest

STDOUT = Path("-")
VERDICT = "verdict"  # of --fail-on: every limit of the verdict
BROKEN = 1  # exit code
_SAID = "as the swap records"


_clip, _net, _output = option_in("Clips"), option_in("Nets and data"), option_in(OUTPUT)
_verdict, _option = option_in("Verdict"), option_in(OTHER)


@click.command(cls=Command, modules=("vidswap.report.measure",))
@click.argument("clips", nargs=-1, type=PATH)
@_clip("--target", required=True, type=PATH, help="Clip before the swap.")
@_clip("--swapped", type=PATH, help="Clip after the swap.")
@_clip("--compare", is_flag=True, help="Rank CLIPS, which are swaps of one target.")
@_clip("--source", type=PATH, metavar="PATH", multiple=True, help="Source of the swap. Repeatable.")
@_clip("--cast", type=PATH, metavar="FOLDER", help="Measure everybody whom this cast swaps.")
@options_from(
    SwapOptions,
    ("k_shot", "source_face", "face", "start", "end"),
    k_shot={"group": "Clips"},
    source_face={"group": "Clips"},
    face={
        "group": "Clips",
        "metavar": "largest|PICTURE",
        "help": "Face of the target that was swapped.",
    },
    start={"group": RANGE, "help": "Start of the swap, in seconds.", "unset": _SAID},
    end={"group": RANGE, "help": "End of the swap, in seconds.", "unset": _SAID},
)
@_verdict(
    "--fail-on",
    multiple=True,
    metavar="LIMIT",
    help="Exit with 1 if this limit is broken: NAME<=NUMBER, NAME>=NUMBER, or `verdict` for all "
    "limits of the verdict. A metric without a value breaks its limit. Repeatable.",
)
@_verdict(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace a limit of the verdict; `none` removes it. Repeatable.",
)
@_net(
    "--id-model",
    type=PATH,
    metavar="FILE",
    unset="dlib's",
    help="Face net that judges identity, ONNX.",
)
@_net("--pose-model", type=PATH, help="Head pose net, ONNX.")
@_net("--vgg", type=PATH, help="VGG-16 weights of torchvision, for DIPD.")
@_net("--gallery", type=PATH, metavar="FOLDER", help="Photographs of other people, as distractors.")
@_output("-o", "--output", type=PATH, help="HTML page to write.")
@_output(
    "--json",
    "json_file",
    type=PATH,
    metavar="FILE",
    help="Write all numbers as JSON; - prints them.",
)
@_output(
    "--csv",
    "csv_file",
    type=PATH,
    metavar="FILE",
    help="Write the curves as CSV, one row per frame.",
)
@_output("--moments", default=4, show_default=True, help="Worst and best frames to show, of each.")
@_output("--overwrite", is_flag=True, help="Replace existing outputs.")
@_output("--quiet", is_flag=True, help="Print no progress and no summary.")
def report(
    clips: tuple[Path, ...],
    target: Path,
    swapped: Path | None,
    compare: bool,
    source: tuple[Path, ...],
    cast: Path | None,
    output: Path | None,
    json_file: Path | None,
    csv_file: Path | None,
    fail_on: tuple[str, ...],
    limits: tuple[str, ...],
    overwrite: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Measure the quality of a swap, or rank several.

    Print the verdict; write an HTML page, JSON or CSV on request. Exit with 1 if a limit of
    --fail-on is broken, by anybody of a cast.

    \b
    vidswap report --target T --swapped A --source S -o report.html
    vidswap report --target T --swapped A --cast FOLDER -o report.html
    vidswap report --target T --compare A B C
    """
    from vidswap.report.measure import ReportOptions

    swaps = _swaps(swapped, clips, compare)
    outputs = [path for path in (output, json_file, csv_file) if path not in (None, STDOUT)]
    check_outputs([p for p in outputs if p is not None], [target, *swaps, *source], overwrite)
    _check_expressions(fail_on)
    options = ReportOptions(limits=_limits(limits), **settings)
    places = _Places(output, json_file, csv_file, quiet or json_file == STDOUT)
    if cast is not None:
        plan = _plan(cast, target, source, compare)
        found = _measure_cast(target, swaps[0], plan, options, quiet)
        _write_cast(found, places)
        _leave(_broken_by([(p.label, p.report) for p in found.people], fail_on))
    reports = _measure(target, swaps, source, options, quiet)
    if compare:
        _write_comparison(reports, places)
    else:
        _write_report(reports[0], places)
    names = [Path(found.swapped).name if len(reports) > 1 else "" for found in reports]
    _leave(_broken_by(list(zip(names, reports, strict=True)), fail_on))


def _leave(broken: Sequence[str]) -> NoReturn:
    """Say what is broken, and exit with 1 if anything is."""
    for line in broken:
        click.echo(f"vidswap: {escaped(line)}", err=True)
    sys.exit(BROKEN if broken else 0)


def _plan(folder: Path, target: Path, source: Sequence[Path], compare: bool) -> CastPlan:
    """The plan of --cast, which is the target's."""
    from vidswap.swap.cast import plan_of

    if source or compare:
        raise BadOptionError(
            "--cast names everybody's sources, of one swap; leave --source and --compare out"
        )
    plan = plan_of(target, (), SwapOptions(cast=folder))
    assert plan is not None
    return plan


def report_run(
    request: SwapRequest, page: Path, plan: CastPlan | None = None, *, silent: bool
) -> None:
    """The page of a swap that has just been made, of everybody whom its plan swapped."""
    from vidswap.report.measure import ReportOptions

    options = ReportOptions.of_swap(request.options)
    if plan is not None:
        cast = _measure_cast(request.target, request.output, plan, options, silent)
        _write_cast(cast, _Places(page, silent=silent))
        return
    (found,) = _measure(request.target, [request.output], request.sources, options, silent)
    _write_report(found, _Places(page, silent=silent))


def _swaps(swapped: Path | None, clips: Sequence[Path], compare: bool) -> list[Path]:
    from vidswap.report.compare import MOST_SWAPS

    if compare:
        if swapped is not None:
            raise BadOptionError("give the swaps to --compare alone, without --swapped")
        if not 2 <= len(clips) <= MOST_SWAPS:
            raise BadOptionError(
                f"--compare got {len(clips)} of the clips to compare; give 2 to {MOST_SWAPS}: "
                "report --target T --compare A B"
            )
        return list(clips)
    if clips:
        raise BadOptionError(
            f"{clips[0]}: name the swap with --swapped, or several after --compare"
        )
    if swapped is None:
        raise BadOptionError("nothing to measure: give --swapped CLIP, or --compare A B")
    return [swapped]


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path], overwrite: bool) -> None:
    """All that can be refused is refused before the work."""
    from vidswap.media.output import check_output

    names = [path.resolve() for path in outputs]
    for path, name in zip(outputs, names, strict=True):
        if names.count(name) > 1:
            raise BadOptionError(f"{path} is named for two outputs; give each its own file")
        if any(name == given.resolve() for given in inputs):
            raise BadOptionError(f"{path} would overwrite what it is made from; name another file")
        check_output(path, overwrite)


def _check_expressions(fail_on: Sequence[str]) -> None:
    from vidswap.metrics.registry import metric_names
    from vidswap.report.tables import parse_limit

    for expression in fail_on:
        if expression != VERDICT:
            parse_limit(expression, metric_names())


def _limits(given: Sequence[str]) -> dict[str, float | None]:
    limits: dict[str, float | None] = {}
    for text in given:
        name, sign, value = (part.strip() for part in text.partition("="))
        try:
            if not sign:
                raise ValueError
            limits[name] = None if value == "none" else float(value)
        except ValueError as error:
            raise BadOptionError(
                f"--limit {text!r}; it must be NAME=NUMBER or NAME=none"
            ) from error
    return limits


def _measure(
    target: Path,
    swaps: Sequence[Path],
    source: Sequence[Path],
    options: ReportOptions,
    quiet: bool,
) -> list[Report]:
    """Every swap's report; the nets are loaded once."""
    from contextlib import closing

    from vidswap.media.container import check_input
    from vidswap.media.sequence import is_pattern
    from vidswap.report.measure import load_report_nets, measure_clip

    for path in (target, *swaps, *source):
        if not path.is_dir() and not is_pattern(path):
            check_input(path)
    with closing(load_report_nets(options)) as nets:
        reports = []
        for swap in swaps:
            with ReportBar(swap.name if len(swaps) > 1 else None, quiet) as bar:
                reports.append(measure_clip(target, swap, source, options, bar.show, nets))
        return reports


@dataclass(frozen=True)
class _Places:
    """Where the answer goes: a page, JSON (`STDOUT` prints it), CSV; silent: and not in words."""

    page: Path | None = None
    json_file: Path | None = None
    csv_file: Path | None = None
    silent: bool = False

    def write(
        self,
        page: Callable[[Path], None],
        values: Callable[[], dict[str, Any]],
        table: Callable[[], str],
        warnings: Iterable[str],
        words: Callable[[], str],
    ) -> None:
        """Write what was measured, by what makes each form of it, and say the warnings."""
        from vidswap.report.html import write_text

        if self.page is not None:
            page(self.page)
        _write_values(values, self.json_file)
        if self.csv_file is not None:
            write_text(table(), self.csv_file)
        for warning in warnings:
            warn(warning)
        if not self.silent:
            say(words())


def _write_report(found: Report, places: _Places) -> None:
    from vidswap.report.page import write_page
    from vidswap.report.tables import to_csv, to_json
    from vidswap.report.verdict import verdict_as_text

    places.write(
        lambda path: write_page(found, path),
        lambda: to_json(found),
        lambda: to_csv(found),
        found.warnings,
        lambda: verdict_as_text(found),
    )


def _write_comparison(reports: Sequence[Report], places: _Places) -> None:
    from vidswap.report import compare_page as page
    from vidswap.report.compare import compare

    found = compare(reports)
    places.write(
        lambda path: page.write_comparison(found, path),
        lambda: page.comparison_to_json(found),
        lambda: page.comparison_to_csv(found),
        (f"{swap.name}: {line}" for swap in found.swaps for line in swap.report.warnings),
        lambda: page.describe_comparison(found),
    )


def _measure_cast(
    target: Path, swapped: Path, plan: CastPlan, options: ReportOptions, quiet: bool
) -> CastReport:
    from vidswap.media.container import check_input
    from vidswap.report.cast import measure_cast

    for path in (target, swapped):
        check_input(path)
    with ReportBar(None, quiet) as bar:
        return measure_cast(target, swapped, plan, options, bar.show)


def _write_cast(found: CastReport, places: _Places) -> None:
    from vidswap.report.cast import cast_to_csv, cast_to_json, describe_cast
    from vidswap.report.cast_page import write_cast_page

    own = (f"{person.title}: {line}" for person in found.people for line in person.report.warnings)
    places.write(
        lambda path: write_cast_page(found, path),
        lambda: cast_to_json(found),
        lambda: cast_to_csv(found),
        (*found.warnings, *own),
        lambda: describe_cast(found),
    )


def _write_values(values: Callable[[], dict[str, Any]], path: Path | None) -> None:
    from vidswap.report.html import write_text

    if path is None:
        return
    text = json.dumps(values(), indent=2, allow_nan=False)
    if path == STDOUT:
        click.echo(text)
    else:
        write_text(text + "\n", path)


def _broken_by(reports: Sequence[tuple[str, Report]], fail_on: Sequence[str]) -> list[str]:
    """What is broken, a line each, with the name of the swap where it has one."""
    from vidswap.report.tables import check_limits
    from vidswap.report.verdict import broken_limits

    lines = []
    for name, found in reports:
        own = [str(b) for b in check_limits(found, [e for e in fail_on if e != VERDICT])]
        if VERDICT in fail_on:
            own += [line for line in broken_limits(found) if line not in own]
        lines += [f"{name}: {line}" if name else line for line in own]
    return lines


@click.command(cls=Command, modules=("vidswap.report.measure", "vidswap.report.pairs"))
@click.argument("pairs_file", type=PATH)
@click.argument("folder", type=PATH)
@_option("--altered", type=PATH, metavar="FOLDER", help="Pictures that replace each pair's first.")
@_option(
    "--occlude",
    type=click.IntRange(1, 127),
    metavar="N",
    help="Hide a square of N of 128 pixels on every face; print a table.",
)
@_option("--inpaint", type=PATH, metavar="MODEL|FILE", help="Model that fills the square.")
@_option("--id-model", type=PATH, unset="dlib's", help="Face net that judges identity, ONNX.")
@_option("--json", "as_json", is_flag=True, help="Print as JSON, with the ROC curve.")
@_option("--quiet", is_flag=True, help="Print no progress.")
def pairs(
    pairs_file: Path,
    folder: Path,
    altered: Path | None,
    occlude: int | None,
    inpaint: Path | None,
    id_model: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure face verification on pairs of pictures.

    PAIRS_FILE lists the pairs in LFW's format, FOLDER holds the pictures. With --altered, measure
    how well people are recognised in their altered pictures. With --occlude, measure what hiding a
    square costs and what filling it regains; --inpaint takes idgan, latent or a checkpoint.
    """
    from contextlib import closing

    if (inpaint and not occlude) or (altered and occlude):
        raise BadOptionError("--inpaint goes with --occlude, and neither with --altered")

    from vidswap.report.measure import ReportOptions, load_report_nets
    from vidswap.report.pairs import (
        occluded_as_text,
        result_as_text,
        verify_folder,
        verify_occluded,
    )
    from vidswap.swap.inpaint_job import CHECKPOINTS, packaged

    if inpaint is not None and str(inpaint) in CHECKPOINTS:
        inpaint = packaged(str(inpaint))
    nets = load_report_nets(ReportOptions(id_model=id_model))
    if occlude is not None:
        with closing(nets), ReportBar(None, quiet or as_json) as bar:
            rows = verify_occluded(pairs_file, folder, nets, occlude, inpaint, bar.show)
        table = [row.to_dict() for row in rows]
        say(json.dumps(table, indent=1) if as_json else occluded_as_text(rows))
        return
    with closing(nets), ReportBar(None, quiet or as_json) as bar:
        result = verify_folder(pairs_file, folder, nets, altered, bar.show)
    say(json.dumps(result.to_dict(), indent=1) if as_json else result_as_text(result))
