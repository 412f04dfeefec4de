"""Shot lists of an edit: who gets whose face from when to when, as CSV or as an EDL (CMX 3600).

A CSV has the columns in, out, person, source and settings by their names; an EDL says person,
source and settings in comments below its event:

    001  AX  V  C  00:00:10:00 00:00:12:00 01:00:03:00 01:00:05:00
    * PERSON: p1
    * SOURCE: alice.vsid
    * COLOUR_MATCH: 0.4
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidswap.errors import BadOptionError, CastError, InputNotFoundError
from vidswap.media.output import replace_text
from vidswap.options import Option, plain_value
from vidswap.people.plan import KEEP, PLAN, read_plan
from vidswap.runtime.inputs import check_readable, read_bounded
from vidswap.runtime.text import shown, word

_LARGEST = 2**24  # bytes
_MOST_SHOTS = 10_000
_FIELDS = ("in", "out", "person", "source", "target")
_TIMECODE = re.compile(r"(\d{2}):(\d{2}):(\d{2})([:;.])(\d{2,3})")
# Number, reel, track, transition with its length, source in and out, record in and out.
_EVENT = re.compile(
    r"(\d{1,6})\s+(\S+)\s+(\S+)\s+(?:C|D|W\d{3}|K[BO]?)(?:\s+\d{1,4})?"
    r"\s+\S+\s+\S+\s+(\S+)\s+(\S+)"
)
_COMMENT = re.compile(r"\*\s*([A-Za-z_-]+)\s*:\s*(.*)")
_DROPPING = {30: 2, 60: 4}  # numbers that a minute of drop-frame time code leaves out


@dataclass(frozen=True)
class Shot:
    """A row of a list. start, end: seconds of the film, the end is not in it. person: an id or a
    name, "" for everybody. sources: None where the row names none, () for their own face.
    """

    line: int
    start: float
    end: float
    person: str = ""
    sources: tuple[Path, ...] | None = None
    target: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_shots(path: Path, settings: Mapping[str, Option], fps: float | None) -> tuple[Shot, ...]:
    """The shots of a list; `settings` are those that a row may have.

    fps: frames a second of time codes, which count from the full hour of the list's first: films
    begin at one. Raises CastError with the line, InputNotFoundError, BadOptionError without `fps`.
    """
    check_readable(path)
    try:
        text = read_bounded(path, _LARGEST).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise CastError(f"{path} is no shot list: {shown(str(error))[1:-1]}") from error
    rows = _edl_rows(path, text) if path.suffix.lower() == ".edl" else _csv_rows(path, text)
    reader = _Reader(path, settings, fps)
    found = tuple(reader.shot(line, row) for line, row in rows)
    if not found:
        raise CastError(f"{path} holds no shots; write a row for each, with in and out")
    return found


def write_shots(folder: Path, shots: Sequence[Shot], settings: Mapping[str, Option]) -> int:
    """Add shots to the plan of a cast folder, and return how many it did not have yet.

    What is about a person or a source becomes an [[override]], settings alone a [[shot]]. Nothing
    is written where the plan would not be sound. Raises CastError.
    """
    import tomlkit

    plan, path = read_plan(folder, settings), folder / PLAN
    by_name = {each.name: each.id for each in plan.people.values() if each.name}
    text = read_bounded(path, _LARGEST).decode()
    document = tomlkit.parse(text)
    added = 0
    for shot in shots:
        person = by_name.get(shot.person, shot.person)
        if person and person not in plan.tracks.people:
            raise CastError(
                f"line {shot.line}: {word(person)} is nobody in {folder}: see sheet.html"
            )
        kind = "override" if person or shot.sources is not None else "shot"
        values: dict[str, Any] = {"start": shot.start, "end": shot.end}
        values |= {"person": person} if person else {}
        if shot.sources is not None:
            names = [str(source.resolve()) for source in shot.sources]
            values["source"] = names[0] if len(names) == 1 else names or KEEP
        values |= {k: str(v) if isinstance(v, Path) else v for k, v in shot.settings.items()}
        there = document.get(kind)
        if any(dict(table.unwrap()) == values for table in there or ()):
            continue
        if there is None:
            document.add(kind, tomlkit.aot())
        table = tomlkit.table()
        table.update(values)
        document[kind].append(table)
        added += 1
    replace_text(path, tomlkit.dumps(document))
    try:
        read_plan(folder, settings)
    except (CastError, InputNotFoundError):
        replace_text(path, text)
        raise
    return added


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip().lower().replace("-", "_") for name in reader.fieldnames or ()]
        if not {"in", "out"} <= set(names) or len(set(names)) < len(names):
            raise CastError(
                f"{path}, line 1: a shot list has the columns in, out, and person, source or "
                "settings, each once"
            )
        reader.fieldnames = names
        for row in reader:
            cells = [*row.values()]
            if None in row or None in cells:
                raise CastError(f"{path}, line {reader.line_num}: it has not {len(names)} cells")
            yield reader.line_num, {name: cell.strip() for name, cell in row.items()}
    except csv.Error as error:
        raise CastError(f"{path}, line {reader.line_num}: {error}") from error


def _edl_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Events of the picture that say something in their comments, with their record times."""
    row: dict[str, str] = {}
    at = 0
    for line, words in enumerate(text.splitlines(), 1):
        words = words.strip()
        if words[:1].isdigit():
            if len(row) > 2:
                yield at, row
            event = _EVENT.fullmatch(words)
            if event is None:
                raise CastError(
                    f"{path}, line {line}: {shown(words)} is no event of CMX 3600; write number, "
                    "reel, track, transition and four time codes"
                )
            is_picture = "V" in event[3].upper() or event[3].upper() == "B"
            row, at = {"in": event[4], "out": event[5]} if is_picture else {}, line
        elif row and (comment := _COMMENT.fullmatch(words)):
            row[comment[1].lower().replace("-", "_")] = comment[2].strip()
    if len(row) > 2:
        yield at, row


class _Reader:
    """Makes shots of the rows of a list."""

    def __init__(self, path: Path, settings: Mapping[str, Option], fps: float | None) -> None:
        self._path, self._settings, self._fps = path, settings, fps
        self._is_edl = path.suffix.lower() == ".edl"
        self._zero: int | None = None  # number of the frame at which the film begins
        self._count = 0

    def shot(self, line: int, row: Mapping[str, str]) -> Shot:
        self._count += 1
        if self._count > _MOST_SHOTS:
            raise self._error(line, f"a list holds up to {_MOST_SHOTS} shots; split it")
        start, end = (self._seconds(line, name, row[name]) for name in ("in", "out"))
        if start >= end:
            raise self._error(line, f"from {row['in']} to {row['out']}: out must be after in")
        settings = {}
        for name, cell in row.items():
            if name in _FIELDS or not cell:
                continue
            each = self._settings.get(name)
            if each is None:
                if self._is_edl:
                    continue  # a comment about something else
                allowed = ", ".join((*_FIELDS, *self._settings))
                raise self._error(line, f"unknown column {word(name)}; allowed: {allowed}")
            settings[name] = self._value(line, each, cell)
        given = row.get("source", "")
        return Shot(
            line, start, end, row.get("person", ""), self._sources(line, given) if given else None,
            row.get("target", ""), settings,
        )  # fmt: skip

    def _seconds(self, line: int, name: str, given: str) -> float:
        code = _TIMECODE.fullmatch(given)
        if code is None:
            try:
                seconds = float(given)
            except ValueError:
                seconds = math.nan
            if self._is_edl or not math.isfinite(seconds) or seconds < 0:
                raise self._error(
                    line, f"{name} = {shown(given)}; write a time code such as 01:00:03:12"
                    f"{'' if self._is_edl else ', or seconds'}",
                )  # fmt: skip
            return seconds
        if self._fps is None:
            raise BadOptionError(
                f"{self._path} has time codes; give --fps, their frames per second"
            )
        number = self._frame(line, code)
        if self._zero is None:
            self._zero = number - number % self._in_an_hour(code[4])
        if number < self._zero:
            raise self._error(line, f"{given} is before the hour of the list's first time code")
        # Half a frame earlier, so that rounding moves no frame over the boundary.
        return max(0.0, round((number - self._zero - 0.5) / self._fps, 4))

    def _frame(self, line: int, code: re.Match[str]) -> int:
        assert self._fps is not None
        rate = round(self._fps)
        hours, minutes, seconds, frames = (int(code[group]) for group in (1, 2, 3, 5))
        if minutes > 59 or seconds > 59 or frames >= rate:
            raise self._error(line, f"{code[0]} is no time code of {rate} frames per second")
        number = ((hours * 60 + minutes) * 60 + seconds) * rate + frames
        if code[4] == ":" or rate not in _DROPPING:
            return number
        passed = hours * 60 + minutes
        return number - _DROPPING[rate] * (passed - passed // 10)

    def _in_an_hour(self, sign: str) -> int:
        assert self._fps is not None
        rate = round(self._fps)
        return 3600 * rate - (0 if sign == ":" else 54 * _DROPPING.get(rate, 0))

    def _value(self, line: int, each: Option, cell: str) -> Any:
        raw: Any = cell
        if each.kind in (int, float):
            try:
                raw = each.kind(cell)
            except ValueError:
                raw = cell
        try:
            value = plain_value(each, raw, f"{each.name} = {shown(cell)}")
        except BadOptionError as error:
            raise self._error(line, str(error)) from error
        return self._file(line, value) if isinstance(value, Path) else value

    def _sources(self, line: int, given: str) -> tuple[Path, ...]:
        if given == KEEP:
            return ()
        return tuple(self._file(line, Path(name.strip())) for name in given.split("|"))

    def _file(self, line: int, path: Path) -> Path:
        """A path beside the list, or from where the command runs."""
        beside = self._path.parent / path
        try:
            check_readable(beside)
            return beside
        except InputNotFoundError:
            try:
                check_readable(path)
            except InputNotFoundError as error:
                raise InputNotFoundError(f"{self._path}, line {line}: {error}") from error
            return path

    def _error(self, line: int, words: str) -> CastError:
        return CastError(f"{self._path}, line {line}: {words}")
