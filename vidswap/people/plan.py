"""The plan of a cast folder: who gets whose face, with which settings (people.toml).

A person edits the file; this module reads it with the tracks beside it, checks all of it, answers
who a track is at a time, and writes single values back without touching the rest.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidswap.errors import BadOptionError, CastError
from vidswap.media.output import replace_text
from vidswap.options import Option, plain_value
from vidswap.people.tracks import TRACKS, TrackRecord, Tracks, is_person_id, read_tracks
from vidswap.runtime.inputs import read_bounded
from vidswap.runtime.text import shown, word

PLAN = "people.toml"
KEEP = "keep"
_LARGEST = 2**20  # bytes
_MOST_LISTED = 40  # people with a table of their own when a plan is begun
_BRIEF = 1.0  # seconds on screen below which a person gets none
_PERSON_KEYS = ("name", "source", "same_as", "seconds", "first")
_OVERRIDE_KEYS = ("tracks", "start", "end", "person", "source")
_SHOT_KEYS = ("start", "end")
_LONGEST_NAME = 200


@dataclass(frozen=True)
class PersonPlan:
    """A person: sources, none for their own face; same_as: the person they are instead."""

    id: str
    name: str = ""
    sources: tuple[Path, ...] = ()
    same_as: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.id} ({self.name})" if self.name else self.id


@dataclass(frozen=True)
class Override:
    """What holds for some tracks, or for a time, in seconds; None: for all.

    person: with tracks, who they are; without, whom it is about. sources: None leaves them.
    """

    tracks: tuple[int, ...] = ()
    start: float = -math.inf
    end: float = math.inf
    person: str | None = None
    sources: tuple[Path, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def is_for(self, track: int, person: str, seconds: float) -> bool:
        if not self.start <= seconds < self.end:
            return False
        if self.tracks:
            return track in self.tracks
        return self.person is None or self.person == person


@dataclass(frozen=True)
class Decision:
    """What becomes of a face: whose it is, whose it gets (none: it stays), with which settings."""

    person: str
    sources: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CastPlan:
    """A cast folder as read and checked."""

    folder: Path
    tracks: Tracks
    people: Mapping[str, PersonPlan]
    overrides: tuple[Override, ...] = ()
    shots: tuple[Override, ...] = ()

    def person_of(self, person: str) -> str:
        """Who a person is in the end, where they are the same as another."""
        plan = self.people.get(person)
        return person if plan is None or plan.same_as is None else self.person_of(plan.same_as)

    def decide(self, track: int, seconds: float) -> Decision:
        """What becomes of a track's face at a time: later overrides win over earlier ones."""
        person = self.person_of(self.tracks.by_id[track].person)
        for override in self.overrides:
            if override.tracks and override.person and override.is_for(track, person, seconds):
                person = self.person_of(override.person)
        plan = self.people.get(person, PersonPlan(person))
        sources, settings = plan.sources, dict(plan.settings)
        for shot in self.shots:
            if shot.is_for(track, person, seconds):
                settings |= shot.settings
        for override in self.overrides:
            if override.is_for(track, person, seconds):
                settings |= override.settings
                sources = sources if override.sources is None else override.sources
        return Decision(person, sources, settings)

    def all_sources(self) -> list[tuple[Path, ...]]:
        """The sources that somebody gets, each once, in the order of the file."""
        given = [plan.sources for plan in self.people.values() if plan.same_as is None]
        given += [override.sources for override in self.overrides if override.sources]
        return list(dict.fromkeys(sources for sources in given if sources))

    def all_settings(self) -> list[Mapping[str, Any]]:
        """All settings that somebody, a shot or an override has."""
        found = [person.settings for person in self.people.values()]
        found += [each.settings for each in (*self.shots, *self.overrides)]
        return [settings for settings in found if settings]


def begin_plan(tracks: Tracks) -> str:
    """The people.toml of a new cast folder."""
    listed = [p for p in tracks.people if tracks.seconds_of(p) >= _BRIEF][:_MOST_LISTED]
    listed = listed or list(tracks.people[:_MOST_LISTED])
    more = len(tracks.people) - len(listed)
    lines = [
        f"# Who is in {_comment(tracks.clip.name)}, and whose face they get. "
        "sheet.html shows them.",
        '# source = "alice.vsid"            an identity file, picture, clip or folder, or several '
        "in [ ]",
        '# source = "keep", or ""           their own face',
        '# same_as = "p1"                   the same person as p1',
        '# mask = "outline", colour_match = 0.5 and the like: settings of vidswap run',
        "# Paths are relative to this folder, or else to where the command runs.",
        "#",
        "# [[override]]                     for tracks, or for a time in seconds",
        '# tracks = [3, 4]                  with person = "p2": they are p2',
        '# start = 12.0, end = 15.5         with person = "p2": p2 at that time',
        '# source = "bob/"                  and any settings',
        "#",
        "# [[shot]]                         settings for everybody at a time",
        "# start = 12.0",
        "# end = 15.5",
        "# colour_match = 0.4",
    ]
    for person in listed:
        first = tracks.of_person[person][0].start
        lines += [
            "",
            f"[{person}]",
            'name = ""',
            'source = ""',
            f"seconds = {tracks.seconds_of(person):.1f}",
            f"first = {first:.2f}",
        ]
    if more:
        lines += ["", f"# {more} more are seen briefly: see sheet.html; add a table for any."]
    return "\n".join(lines) + "\n"


def read_plan(folder: Path, settings: Mapping[str, Option]) -> CastPlan:
    """Read a cast folder and check that all it names is there.

    settings: those that a person, a shot or an override may have, by name. Raises CastError, with
    the line where that is known, and InputNotFoundError for a source that is not there.
    """
    tracks = read_tracks(folder)
    path = folder / PLAN
    try:
        text = read_bounded(path, _LARGEST).decode()
        plain = tomllib.loads(text)
    except FileNotFoundError as error:
        raise CastError(f"{folder} holds no {PLAN}; make it with vidswap people") from error
    except (OSError, ValueError, RecursionError) as error:
        # tomllib names the line and column itself.
        raise CastError(f"{path}: {shown(str(error))[1:-1]}") from error
    return _Reader(path, text, tracks, settings).plan(plain)


def assign(folder: Path, assignments: Mapping[str, str | Sequence[str]]) -> None:
    """Write sources of people into people.toml; comments and everything else stay as they are.

    Values are as in the file; paths that are relative are relative to the folder. Raises CastError
    for people who are not there, DiskFullError and OutputNotWritableError.
    """
    edit_plan(folder, {person: {"source": source} for person, source in assignments.items()})


def edit_plan(folder: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Set keys of people's tables in people.toml, adding tables that are not there yet."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    path, known = folder / PLAN, read_tracks(folder).people
    if unknown := next((person for person in changes if person not in known), None):
        raise CastError(
            f"{word(unknown)} is nobody in {folder}; there are {_listed(known)}: see sheet.html"
        )
    try:
        document = tomlkit.parse(read_bounded(path, _LARGEST).decode())
    except (OSError, ValueError, TOMLKitError, RecursionError) as error:
        raise CastError(f"{path} cannot be edited: {shown(str(error))[1:-1]}") from error
    for person, values in changes.items():
        if person not in document:
            document.add(person, tomlkit.table())
        table: Any = document[person]
        if not isinstance(table, dict):
            raise CastError(f"{path}: {person} is no table; write [{person}] above its keys")
        for key, value in values.items():
            table[key] = list(value) if isinstance(value, tuple) else value
    replace_text(path, tomlkit.dumps(document))


class _Reader:
    """Checks the values of a people.toml."""

    def __init__(
        self, path: Path, text: str, tracks: Tracks, settings: Mapping[str, Option]
    ) -> None:
        self._path, self._lines, self._tracks = path, text.splitlines(), tracks
        self._settings = settings

    def plan(self, plain: Mapping[str, Any]) -> CastPlan:
        people: dict[str, PersonPlan] = {}
        for key, value in plain.items():
            if key in ("override", "shot"):
                continue
            if not is_person_id(key):
                raise self._error(key, f"{word(key)} is not allowed; tables are p1, p2, ..., "
                                  "[[override]] and [[shot]]")  # fmt: skip
            if key not in self._tracks.people:
                raise self._error(
                    key, f"{key} is nobody here; there are {_listed(self._tracks.people)}"
                )
            people[key] = self._person(key, value)
        shots = tuple(
            self._range("shot", table, _SHOT_KEYS) for table in self._tables(plain, "shot")
        )
        overrides = tuple(
            self._range("override", table, _OVERRIDE_KEYS)
            for table in self._tables(plain, "override")
        )
        plan = CastPlan(self._path.parent, self._tracks, people, overrides, shots)
        self._check_merges(plan)
        return plan

    def _person(self, person: str, given: Any) -> PersonPlan:
        if not isinstance(given, dict):
            raise self._error(person, f"{person} is no table; write [{person}] above its keys")
        where = f"[{person}]"
        settings = self._settings_of(where, given, _PERSON_KEYS)
        name = given.get("name", "")
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise self._error("name", f"{where} name is a text of at most {_LONGEST_NAME} "
                              "characters")  # fmt: skip
        same_as = given.get("same_as") or None
        if same_as is not None:
            if same_as not in self._tracks.people or same_as == person:
                raise self._error(
                    "same_as", f"{where} same_as = {shown(same_as)}; it must be another of "
                    f"{_listed(self._tracks.people)}",
                )  # fmt: skip
            if given.get("source"):
                raise self._error(
                    "same_as", f"{where} has same_as and source; {same_as}'s source counts for "
                    "both, so remove one",
                )  # fmt: skip
        sources = self._sources(where, given.get("source", ""))
        return PersonPlan(person, name, sources or (), same_as, settings)

    def _range(self, kind: str, table: Any, keys: tuple[str, ...]) -> Override:
        where = f"[[{kind}]]"
        if not isinstance(table, dict):
            raise self._error(kind, f"{where} is a table of keys")
        settings = self._settings_of(where, table, keys)
        start, end = (
            self._seconds(where, table, key, none)
            for key, none in (("start", -math.inf), ("end", math.inf))
        )
        if start >= end:
            raise self._error("start", f"{where} from {start:g} to {end:g} s: end after it starts")
        tracks = table.get("tracks", [])
        if not isinstance(tracks, list):
            raise self._error("tracks", f"{where} tracks is a list of numbers, such as [3, 4]")
        for track in tracks:
            if type(track) is not int or track not in self._tracks.by_id:
                raise self._error(
                    "tracks", f"{where} there is no track {shown(track)}; sheet.html shows them"
                )
        person = table.get("person")
        if person is not None and person not in self._tracks.people:
            raise self._error(
                "person", f"{where} {shown(person)} is nobody here; there are "
                f"{_listed(self._tracks.people)}",
            )  # fmt: skip
        if kind == "override" and not tracks and math.isinf(start) and math.isinf(end):
            raise self._error("override", f"{where} needs tracks, or start and end")
        sources = self._sources(where, table["source"]) if "source" in table else None
        return Override(tuple(tracks), start, end, person, sources, settings)

    def _settings_of(
        self, where: str, table: Mapping[str, Any], keys: tuple[str, ...]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, raw in table.items():
            if key in keys:
                continue
            each = self._settings.get(key.replace("-", "_"))
            if each is None:
                names = ", ".join((*keys, *self._settings))
                raise self._error(key, f"{where} unknown key {word(key)}; allowed: {names}")
            try:
                value = plain_value(each, raw, f"{where} {key} = {shown(raw)}")
            except BadOptionError as error:
                raise self._error(key, str(error)) from error
            found[each.name] = self._file(where, key, value) if isinstance(value, Path) else value
        return found

    def _sources(self, where: str, given: Any) -> tuple[Path, ...] | None:
        texts = given if isinstance(given, list) else [given]
        if not all(isinstance(text, str) for text in texts):
            raise self._error("source", f"{where} source is a path in quotes, a list of them, or "
                              f'"{KEEP}"')  # fmt: skip
        if not any(texts) or texts == [KEEP]:
            return ()
        return tuple(self._file(where, "source", Path(text)) for text in texts)

    def _file(self, where: str, key: str, path: Path) -> Path:
        """A path as it is found: beside the plan, or from where the command runs."""
        beside = self._path.parent / path
        for place in (beside, path):
            try:
                if place.exists():
                    return place
            except (OSError, ValueError):
                break
        raise self._error(
            key, f"{where} {key} = {shown(path)}: no such file, neither in {self._path.parent} "
            "nor here",
        )  # fmt: skip

    def _seconds(self, where: str, table: Mapping[str, Any], key: str, none: float) -> float:
        value = table.get(key, none)
        if type(value) not in (int, float) or math.isnan(value):
            raise self._error(key, f"{where} {key} is a time in seconds, such as 12.5")
        return float(value)

    def _tables(self, plain: Mapping[str, Any], kind: str) -> list[Any]:
        tables = plain.get(kind, [])
        if not isinstance(tables, list):
            raise self._error(kind, f"write [[{kind}]], in two brackets")
        return tables

    def _check_merges(self, plan: CastPlan) -> None:
        """Refuse circles, and people who are seen together and would be one."""
        for person in plan.people:
            seen, at = {person}, plan.people[person].same_as
            while at is not None:
                if at in seen:
                    raise self._error("same_as", f"[{person}] same_as goes round in a circle")
                seen.add(at)
                at = plan.people[at].same_as if at in plan.people else None
        people = {track.id: self._merged(plan, track) for track in self._tracks.tracks}
        for (a, b), seconds in self._tracks.together.items():
            one, other = people[a], people[b]
            if one == other and self._tracks.by_id[a].person != self._tracks.by_id[b].person:
                raise self._error(
                    "same_as", f"tracks {a} and {b} would both be {one}, and are seen together at "
                    f"{seconds:.2f} s; give both the same source instead",
                )  # fmt: skip

    def _merged(self, plan: CastPlan, track: TrackRecord) -> str:
        person = plan.person_of(track.person)
        for override in plan.overrides:
            if override.person and track.id in override.tracks:
                person = plan.person_of(override.person)
        return person

    def _error(self, key: str, words: str) -> CastError:
        """With the first line that sets the key or begins the table."""
        pattern = re.compile(rf"\s*(\[+\s*)?[\"']?{re.escape(key)}[\"']?\s*(=|\])")
        at = next((n for n, line in enumerate(self._lines, 1) if pattern.match(line)), None)
        place = f"{self._path}, line {at}" if at else str(self._path)
        return CastError(f"{place}: {words}")


def _listed(people: Sequence[str], most: int = 8) -> str:
    if not people:
        return "nobody"
    names = ", ".join(people[:most])
    return f"{names}, ... {people[-1]}" if len(people) > most else names


def _comment(text: str) -> str:
    """A foreign name as it may stand in a comment."""
    return shown(text)


__all__ = [
    "KEEP", "PLAN", "TRACKS", "CastPlan", "Decision", "Override", "PersonPlan", "assign",
    "begin_plan", "edit_plan", "read_plan",
]  # fmt: skip
