"""The commands about people: `people` and `identity`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidswap.commands.command import PATH, Command, option_in
from vidswap.commands.messages import say
from vidswap.commands.options import options_from
from vidswap.commands.progress import PeopleBar
from vidswap.errors import BadOptionError
from vidswap.options import OUTPUT, SOURCE_AND_TARGET
from vidswap.runtime.text import shown
from vidswap.swap.options import SwapOptions

if TYPE_CHECKING:
    from vidswap.people.plan import CastPlan

_output, _source = option_in(OUTPUT), option_in(SOURCE_AND_TARGET)
MOST_LISTED = 20  # people in the summary
_output_file = partial(_output, "-o", "--output", type=PATH)


@click.command(cls=Command, modules=("vidswap.people.identity",))
@click.argument("sources", nargs=-1, required=True, type=PATH)
@_output_file(help="Identity file to write, .vsid.", required=True)
@options_from(SwapOptions, ("k_shot", "source_face", "detector"))
@_source(
    "--consent",
    metavar="TEXT|FILE",
    default="",
    help="The person's consent, recorded in the file and shown.",
)
@_output(
    "--pictures/--no-pictures",
    default=True,
    help="Keep the reference shots, or the embeddings alone.",
)
@options_from(SwapOptions, ("overwrite",))
@_output("--json", "as_json", is_flag=True, help="Print what the file holds as JSON.")
def identity(
    sources: tuple[Path, ...],
    output: Path,
    k_shot: int,
    source_face: str | Path | None,
    detector: Any,
    consent: str,
    pictures: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make an identity file of SOURCES, to be used as a source.

    SOURCES are photographs, folders of photographs or clips of one person. Shots that are blurred,
    in extreme pose, covered or of another person are left out, and the file says which and why.
    """
    from vidswap.people.identity import describe_identity, identity_as_text, make_identity

    make_identity(
        sources, output, k_shot=k_shot, choose=source_face, detector=detector, pictures=pictures,
        consent=consent, overwrite=overwrite,
    )  # fmt: skip
    facts = describe_identity(output)
    say(json.dumps(facts, indent=2) if as_json else identity_as_text(facts))


@click.command(cls=Command, modules=("vidswap.swap.first_pass",))
@click.argument("target", type=PATH)
@click.argument("assignments", nargs=-1, metavar="[pN=SOURCE]...")
@_output_file(help="Folder for the cast.", metavar="FOLDER")
@_output("--assign", is_flag=True, help="Write sources of people into the plan: p1=a.vsid p2=b/.")
@_output(
    "--shots",
    type=PATH,
    metavar="LIST",
    help="Write the shots of LIST (.csv, or .edl of CMX 3600) into the plan.",
)
@_output("--csv", "csv_file", type=PATH, help="Write the appearances of everybody as CSV.")
@options_from(SwapOptions, ("detector", "hwaccel", "fps", "colour_space", "overwrite", "resume"))
@_output("--json", "as_json", is_flag=True, help="Print the people as JSON.")
@_output("--quiet", is_flag=True, help="Print no progress and no summary.")
def people(
    target: Path,
    assignments: tuple[str, ...],
    output: Path | None,
    assign: bool,
    shots: Path | None,
    csv_file: Path | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Find everybody in TARGET, and plan whose face they get.

    With -o, look through TARGET, a clip, picture or image sequence, and write a cast folder:
    people.toml, made to be edited; tracks.json; and sheet.html, which shows everybody. Then:
    vidswap run TARGET --cast FOLDER. Where TARGET is a cast folder, edit or show it.

    \b
    vidswap people film.mp4 -o cast/
    vidswap people cast/ --assign p1=alice.vsid p2=bob/
    vidswap people cast/ --shots edit.edl
    """
    from vidswap.people.plan import PLAN, TRACKS, read_plan
    from vidswap.swap.first_pass import find_people
    from vidswap.swap.look import look_options
    from vidswap.swap.sheet import write_sheet

    if assignments and not assign:
        raise BadOptionError(f"{shown(assignments[0])}: give --assign before the people")
    options = SwapOptions(**settings)
    is_cast = target.is_dir() and any((target / name).exists() for name in (TRACKS, PLAN))
    if is_cast or (target.is_dir() and output is None):
        if output is not None:
            raise BadOptionError(f"{target} is a folder: give -o with a clip or a picture")
        folder = target
        if assign:
            _assign(folder, assignments)
    else:
        if output is None:
            raise BadOptionError("give -o FOLDER for the cast, or name a cast folder to edit it")
        if assign:
            raise BadOptionError("--assign edits a cast folder; name it in place of the clip")
        folder = output
        with PeopleBar(silent=quiet or as_json) as bar:
            find_people(
                target, folder, options, overwrite=options.overwrite, resume=options.resume,
                progress=bar.show,
            )  # fmt: skip
    plan = read_plan(folder, look_options())
    if shots is not None:
        added = _add_shots(plan, shots, options.fps)
        plan = read_plan(folder, look_options())
        if not quiet and not as_json:
            say(f"{shots}: {added} {'shot' if added == 1 else 'shots'} added to {folder / PLAN}")
    if assign or shots is not None or not is_cast:
        write_sheet(plan)
    if csv_file is not None:
        _write_csv(plan, csv_file, options.overwrite)
    if as_json:
        say(json.dumps(_facts(plan), indent=2))
    elif not quiet:
        say("\n".join(_lines(plan)))


def _assign(folder: Path, assignments: Sequence[str]) -> None:
    """Write p1=SOURCE pairs into the plan; paths are made relative to the folder."""
    from vidswap.people.plan import KEEP, edit_plan
    from vidswap.runtime.inputs import check_readable

    if not assignments:
        raise BadOptionError("--assign p1=SOURCE p2=SOURCE: name a person and a source")
    changes: dict[str, dict[str, Any]] = {}
    for pair in assignments:
        person, sign, given = pair.partition("=")
        if not sign or not person:
            raise BadOptionError(f"--assign {shown(pair)}; write it as p1=SOURCE")
        if given not in ("", KEEP):
            check_readable(Path(given))
            given = _from(folder, Path(given))
        changes[person] = {"source": given}
    edit_plan(folder, changes)


def _add_shots(plan: CastPlan, path: Path, fps: float | None) -> int:
    """Write the shots of a list into the plan; by default the clip's own frames are counted."""
    from vidswap.people.shot_list import read_shots, write_shots
    from vidswap.swap.look import look_options

    clip = plan.tracks.clip
    if fps is None and clip.frames > 1 and clip.seconds > 0:
        fps = (clip.frames - 1) / clip.seconds
    settings = look_options()
    return write_shots(plan.folder, read_shots(path, settings, fps), settings)


def _from(folder: Path, path: Path) -> str:
    """A path as it is written into a plan in `folder`: relative where both lie together."""
    here, there = folder.resolve(), path.resolve()
    for up, parent in enumerate((here, *here.parents[:2])):
        if there.is_relative_to(parent) and parent != parent.parent:
            return str(Path(*[".."] * up) / there.relative_to(parent))
    return str(there)


def _facts(plan: CastPlan) -> dict[str, Any]:
    tracks = plan.tracks
    return {
        "folder": str(plan.folder),
        "target": tracks.clip.name,
        "shots": len(tracks.shots),
        "people": [
            {
                "id": person,
                "name": plan.people[person].name if person in plan.people else "",
                "sources": [str(s) for s in plan.people[person].sources]
                if person in plan.people
                else [],
                "same_as": plan.people[person].same_as if person in plan.people else None,
                "seconds": round(tracks.seconds_of(person), 2),
                "first": tracks.of_person[person][0].start,
                "tracks": [track.id for track in tracks.of_person[person]],
            }
            for person in tracks.people
        ],
    }


def _lines(plan: CastPlan) -> list[str]:
    tracks = plan.tracks
    n_shots, n_people = len(tracks.shots), len(tracks.people)
    lines = [
        f"{plan.folder}: {n_people} {'person' if n_people == 1 else 'people'} in "
        f"{n_shots} shot{'s' if n_shots != 1 else ''} of {shown(tracks.clip.name)}"
    ]
    for fact in _facts(plan)["people"][:MOST_LISTED]:
        count = len(fact["tracks"])
        words = f"{fact['seconds']:.1f} s on screen, first at {fact['first']:.2f} s, "
        words += f"{count} track{'s' if count != 1 else ''}"
        if fact["same_as"]:
            words += f", the same as {fact['same_as']}"
        elif fact["sources"]:
            words += f": gets {', '.join(fact['sources'])}"
        name = f" {shown(fact['name'])}" if fact["name"] else ""
        lines.append(f"  {fact['id']}{name}: {words}")
    if n_people > MOST_LISTED:
        lines.append(f"  and {n_people - MOST_LISTED} more, less on screen")
    doubtful = sum(bool(track.doubts) for track in tracks.tracks)
    if doubtful:
        lines.append(f"{doubtful} of {len(tracks.tracks)} tracks are doubtful: see sheet.html")
    if not any(person.sources for person in plan.people.values()):
        lines.append(f"next: vidswap people {plan.folder} --assign p1=SOURCE")
    return lines


def _write_csv(plan: CastPlan, path: Path, overwrite: bool) -> None:
    """Every appearance with its times, for spreadsheets and edit lists."""
    from vidswap.media.output import check_output
    from vidswap.report.html import write_text

    check_output(path, overwrite)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(
        ["person", "name", "source", "track", "shot", "start_seconds", "end_seconds", "face_pixels",
         "doubts"]
    )  # fmt: skip
    for track in sorted(plan.tracks.tracks, key=lambda track: (track.start, track.id)):
        decision = plan.decide(track.id, track.start)
        name = plan.people[decision.person].name if decision.person in plan.people else ""
        cells = [
            decision.person, name, " ".join(map(str, decision.sources)), track.id, track.shot + 1,
            f"{track.start:.3f}", f"{track.end:.3f}", round(track.pixels), "; ".join(track.doubts),
        ]  # fmt: skip
        table.writerow([_harmless(str(cell)) for cell in cells])
    write_text(text.getvalue(), path)


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "@", "\t")) else cell
