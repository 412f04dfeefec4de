"""From folders to jobs: which sources meet which targets, where results go, and what cannot be."""

from __future__ import annotations

import glob
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from vidswap.batch.manifest import Job, collisions
from vidswap.errors import BadOptionError, InputNotFoundError, VidswapError
from vidswap.people.shot_list import Shot
from vidswap.runtime.text import shown
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest

PairName = Literal["product", "zip", "same-name", "cast"]
MOST_JOBS = 1_000_000
_FIELDS = ("target", "source", "ext", "parent", "n")
_WILD = re.compile(r"[*?\[]")

Sources = tuple[Path, ...]


def targets_of(patterns: Sequence[str]) -> list[Path]:
    """The files that the patterns name, each once, by name; `**` goes into folders.

    Raises InputNotFoundError for a pattern that names none.
    """
    found = dict[Path, None]()
    for pattern in patterns:
        if _WILD.search(pattern) and not Path(pattern).exists():
            named = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
            files = [path for path in named if path.is_file()]
        elif Path(pattern).is_dir():
            files = sorted(p for p in Path(pattern).iterdir() if p.is_file())
            files = [path for path in files if not path.name.startswith(".")]
        else:
            files = [Path(pattern)]  # is checked with its row
        if not files:
            raise InputNotFoundError(f"--targets {pattern}: no file has such a name")
        found.update(dict.fromkeys(files))
    return list(found)


def paired(
    sources: Sequence[Path], targets: Sequence[Path], pair: PairName
) -> list[tuple[Sources, Path]]:
    """Sources and target of every job.

    product: every source, a photograph, a folder or a clip of one person, onto every target.
    zip: the first onto the first and so on. same-name: the source of the target's name onto it;
    `sources` may be folders, of which what lies in them is meant. cast: as same-name, of the
    folders of casts that `vidswap people` makes. Raises BadOptionError.
    """
    if pair == "product":
        return [((source,), target) for target in targets for source in sources]
    if pair == "zip":
        if len(sources) != len(targets):
            raise BadOptionError(
                f"--pair zip of {len(sources)} sources and {len(targets)} targets; give as many "
                "of each"
            )
        return [((source,), target) for source, target in zip(sources, targets, strict=True)]
    named = _by_name(sources)
    found = [(named[target.stem], target) for target in targets if target.stem in named]
    bare = [target for target in targets if target.stem not in named]
    if bare:
        raise BadOptionError(
            f"--pair {pair}: no source has the name of {bare[0]}"
            f"{f' and {len(bare) - 1} more targets' if len(bare) > 1 else ''}; the sources are "
            f"{', '.join(sorted(named)[:8])}"
        )
    return found


def _by_name(sources: Sequence[Path]) -> dict[str, Sources]:
    """Sources by name: a folder names one with each folder and file in it."""
    named: dict[str, Sources] = {}
    for source in sources:
        for path in sorted(source.iterdir()) if source.is_dir() else [source]:
            if path.name.startswith("."):
                continue
            name = path.name if path.is_dir() else path.stem
            named[name] = (*named.get(name, ()), path)
    if not named:
        raise InputNotFoundError("the sources are empty folders; fill them")
    return named


def output_of(template: str, sources: Sources, target: Path, number: int) -> Path:
    """A job's output: {target}, {source}: names without suffix, {ext}: the target's suffix,
    {parent}: the name of its folder, {n}: the job's number. Raises BadOptionError.
    """
    values = {
        "target": target.stem,
        "source": _stem(sources[0]),
        "ext": target.suffix,
        "parent": target.absolute().parent.name,
        "n": number,
    }
    try:
        parts = list(string.Formatter().parse(template))
        for _, name, _, conversion in parts:
            if name is not None and (name not in _FIELDS or conversion):
                raise ValueError(f"{{{name}}} is not known")
        return Path(template.format_map(values))
    except (ValueError, IndexError) as error:
        allowed = ", ".join(f"{{{name}}}" for name in _FIELDS)
        raise BadOptionError(f"-o {shown(template)}: {error}; allowed: {allowed}") from error


def _stem(path: Path) -> str:
    path = path.absolute()
    return path.name if path.is_dir() else path.stem


@dataclass(frozen=True)
class BatchPlan:
    """The jobs of a plan, and what is wrong with some: row, and the words."""

    jobs: tuple[Job, ...]
    errors: tuple[tuple[int, str], ...]


def plan_jobs(
    sources: Sequence[Path],
    targets: Sequence[str],
    output: str,
    pair: PairName = "product",
    options: SwapOptions | None = None,
    *,
    absolute: bool = False,
) -> BatchPlan:
    """Jobs of all pairs, row after row, checked. Raises BadOptionError, InputNotFoundError."""
    pairs = paired(sources, targets_of(targets), pair)
    if len(pairs) > MOST_JOBS:
        raise BadOptionError(
            f"{len(pairs)} jobs; a manifest holds up to {MOST_JOBS}: plan in parts"
        )
    options = options or SwapOptions()
    jobs = []
    for number, (own, target) in enumerate(pairs, 1):
        made = output_of(output, own, target, number)
        if pair == "cast":  # which names its sources itself
            request = SwapRequest((), target, made, replace(options, cast=own[0]))
        else:
            request = SwapRequest(own, target, made, options)
        jobs.append(Job(number, _absolute(request) if absolute else request))
    return BatchPlan(tuple(jobs), tuple(sorted([*collisions(jobs), *impossible(jobs)])))


def plan_shots(
    shots: Sequence[Shot],
    sources: Sequence[Path],
    targets: Sequence[str],
    output: str,
    options: SwapOptions | None = None,
    *,
    absolute: bool = False,
) -> BatchPlan:
    """A job per shot of a list: its range of its target, with its source and settings.

    A row that names no source gets `sources`; one that names no target needs a single one in
    `targets`. Raises BadOptionError, InputNotFoundError.
    """
    found = targets_of(targets)
    by_name = {name: target for target in found for name in (target.stem, target.name, str(target))}
    from vidswap.media.sequence import is_sequence

    options = options or SwapOptions()
    jobs = []
    for number, shot in enumerate(shots, 1):
        if shot.person:
            raise BadOptionError(
                f"line {shot.line} is about {shown(shot.person)}, and a job swaps one person; "
                "write the list into a cast (vidswap people CAST --shots LIST), and plan that with "
                "--pair cast"
            )
        target = by_name.get(shot.target) if shot.target else found[0]
        if target is None or (not shot.target and len(found) > 1):
            raise BadOptionError(
                f"line {shot.line}: target {shown(shot.target)} is not one of --targets; name one "
                f"of {', '.join(t.name for t in found[:8])}"
            )
        own = tuple(sources) if shot.sources is None else shot.sources
        if not own:
            raise BadOptionError(f"line {shot.line} has no source; name one there, or SOURCES")
        # The frame rate of the list's time codes is no option of a clip.
        fps = options.fps if is_sequence(target) else None
        settings = replace(options, fps=fps, start=shot.start, end=shot.end, **shot.settings)
        request = SwapRequest(own, target, output_of(output, own, target, number), settings)
        jobs.append(Job(number, _absolute(request) if absolute else request))
    return BatchPlan(tuple(jobs), tuple(sorted([*collisions(jobs), *impossible(jobs)])))


def _absolute(request: SwapRequest) -> SwapRequest:
    paths = tuple(path.absolute() for path in request.sources)
    target, output = request.target.absolute(), request.output.absolute()
    return replace(request, sources=paths, target=target, output=output)


def impossible(jobs: Iterable[Job]) -> Iterator[tuple[int, str]]:
    """The rows that a swap would refuse before its work: row and words.

    An output's folder need not be there: it is made when it is needed.
    """
    check = _checker()
    for job in jobs:
        try:
            check(job.request)
        except VidswapError as error:
            yield job.line, str(error)


def _checker() -> Callable[[SwapRequest], None]:
    from vidswap.media.output import check_output
    from vidswap.media.probing import probe
    from vidswap.media.sequence import is_pattern, is_sequence
    from vidswap.swap.job import check_inputs

    @cache
    def probed(target: Path) -> None:
        probe(target)

    # The same sources and targets are in many rows; of an output only its suffix matters.
    @cache
    def check(sources: Sources, target: Path, name: str, options: SwapOptions) -> str | None:
        try:
            check_inputs(sources, target, Path(name), options)
            if not is_sequence(target):
                probed(target)
        except VidswapError as error:
            return str(error)
        return None

    def checked(request: SwapRequest) -> None:
        output = request.output
        name = output.name if is_pattern(output) else f"output{output.suffix}"
        words = check(request.sources, request.target, name, request.options)
        if words is not None:
            raise BadOptionError(words.replace(name, str(output)))
        if output.parent.is_dir() and not is_sequence(request.target) and not is_pattern(output):
            check_output(output, request.options.overwrite)

    return checked
