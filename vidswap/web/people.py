"""The people of a cast folder as the page shows them, and whose face they get."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidswap.errors import BadOptionError, VidswapError
from vidswap.people.plan import KEEP, CastPlan, PersonPlan, edit_plan, read_plan
from vidswap.people.tracks import TRACKS, read_tracks
from vidswap.runtime.text import escaped
from vidswap.swap.first_pass import Pictures, read_pictures
from vidswap.swap.look import look_options
from vidswap.swap.sheet import write_sheet
from vidswap.web.roots import Roots

MOST_PEOPLE = 60
_MOST_SPANS = 400  # of one person


def plan_within(folder: Path, roots: Roots) -> CastPlan:
    """Read a cast folder none of whose files lies outside. Raises CastError, OutsideError."""
    plan = read_plan(folder, look_options())
    for path in _files_of(plan):
        roots.inside(os.path.abspath(path))  # noqa: PTH100, links are followed by `inside`
    return plan


def _files_of(plan: CastPlan) -> Iterator[Path]:
    """All that a plan names: sources and settings that are files."""
    for sources in plan.all_sources():
        yield from sources
    for settings in plan.all_settings():
        yield from (value for value in settings.values() if isinstance(value, Path))


def people_of(folder: Path, roots: Roots) -> dict[str, Any]:
    """Everybody, the most seen first, with when they are seen and whose face they get."""
    plan = plan_within(folder, roots)
    tracks, pictures = plan.tracks, read_pictures(folder)
    return {
        "folder": str(folder),
        "target": escaped(tracks.clip.name),
        "seconds": tracks.clip.seconds,
        "shots": [start for start, _ in tracks.shots[1:2001]],
        "people": [_person(plan, person, pictures) for person in tracks.people[:MOST_PEOPLE]],
        "more": max(0, len(tracks.people) - MOST_PEOPLE),
    }


def assign_source(folder: Path, person: str, source: Path | None, roots: Roots) -> None:
    """Write whose face a person gets into people.toml, None: their own; the sheet follows.

    A source beside the folder is written relative to it. Raises CastError, OutsideError.
    """
    plan = plan_within(folder, roots)
    if person not in plan.tracks.people:
        raise BadOptionError("no such person in the cast; open its folder again")
    text = KEEP
    if source is not None:
        beside = folder.parent
        text = os.path.relpath(source, folder) if source.is_relative_to(beside) else str(source)
    edit_plan(folder, {person: {"source": text}})
    write_sheet(read_plan(folder, look_options()))


def cast_folder_for(target: Path, beside: Path) -> tuple[Path, bool]:
    """A folder for the cast of a target, and whether that of the same name is there already."""
    for number in range(1, 1000):
        tail = "" if number == 1 else f"-{number}"
        folder = beside / f"{target.stem[:150]}-cast{tail}"
        if not folder.exists():
            return folder, False
        if is_cast_of(folder, target):
            return folder, True
    raise BadOptionError(f"{beside} is full of casts of {target.name}; remove some")


def is_cast_of(folder: Path, target: Path) -> bool:
    """Whether a folder holds the cast of a file of this content."""
    from vidswap.digest import file_sha256

    if not (folder / TRACKS).is_file():
        return False
    try:
        return read_tracks(folder).clip.sha256 == file_sha256(target)
    except VidswapError:
        return False


def _person(plan: CastPlan, person: str, pictures: Pictures) -> dict[str, Any]:
    tracks, own = plan.tracks, plan.tracks.of_person[person]
    known = plan.people.get(person, PersonPlan(person))
    best = sorted(own, key=lambda track: (bool(track.doubts), -track.frames))
    jpegs = [jpeg for track in best for jpeg in pictures.faces.get(track.id, ())]
    return {
        "id": person,
        "name": escaped(known.name),
        "same_as": known.same_as,
        "sources": [str(Path(os.path.abspath(path))) for path in known.sources],  # noqa: PTH100
        "seconds": round(tracks.seconds_of(person), 2),
        "first": round(own[0].start, 3),
        "spans": [[round(t.start, 3), round(t.end, 3)] for t in own[:_MOST_SPANS]],
        "doubtful": sum(bool(track.doubts) for track in own),
        "picture": f"data:image/jpeg;base64,{jpegs[0].decode()}" if jpegs else "",
    }
