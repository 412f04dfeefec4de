"""Image sequences: their names, and the files that belong to one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vidswap.digest import file_sha256
from vidswap.errors import BadOptionError, InputNotFoundError, NotAVideoError
from vidswap.runtime.text import shown

SEQUENCE_SUFFIXES = (".exr", ".dpx", ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp", ".bmp")
_PLACE = re.compile(r"%(?:0(\d{1,2}))?d|(#+)")
_NUMBERED = re.compile(r"(.*?)(\d+)(\.[A-Za-z]+)", re.DOTALL | re.ASCII)
_MOST_DIGITS = 18
_NAMED_RANGES = 5


@dataclass(frozen=True)
class SequenceName:
    """Frames `prefix` number `suffix` in a folder; numbers have `digits` digits at least."""

    folder: Path
    prefix: str
    digits: int
    suffix: str

    def path(self, number: int) -> Path:
        """The file of a frame."""
        return self.folder / f"{self.prefix}{number:0{self.digits}d}{self.suffix}"

    @property
    def pattern(self) -> str:
        """As it is written on a command line, without the folder."""
        return f"{self.prefix}%0{self.digits}d{self.suffix}"

    def numbers(self) -> list[int]:
        """Those of the frames that are there, in order."""
        wanted = re.compile(
            rf"{re.escape(self.prefix)}(\d{{{self.digits},{_MOST_DIGITS}}}){re.escape(self.suffix)}",
            re.ASCII,
        )
        if not self.folder.is_dir():
            return []
        found = (wanted.fullmatch(path.name) for path in self.folder.iterdir())
        numbers = {int(match[1]): match[0] for match in found if match}
        # Of two names for one number only the one that `path` gives counts.
        return sorted(n for n, name in numbers.items() if self.path(n).name == name)


def is_pattern(path: Path) -> bool:
    """Whether a name has a place for frame numbers, as shot.%04d.exr and shot.####.exr do."""
    return _PLACE.search(path.name) is not None and not path.is_file()


def is_sequence(path: Path) -> bool:
    """Whether an input is an image sequence: a pattern, or a folder."""
    return is_pattern(path) or path.is_dir()


def named_sequence(path: Path) -> SequenceName:
    """The sequence of a pattern. Raises BadOptionError where it is none that can be written."""
    places = list(_PLACE.finditer(path.name))
    suffix = path.suffix.lower()
    if len(places) != 1 or suffix not in SEQUENCE_SUFFIXES:
        raise BadOptionError(
            f"{shown(path.name)} names no image sequence; write one place for the number and a "
            f"format, as shot.%04d.exr (of {', '.join(SEQUENCE_SUFFIXES)})"
        )
    place = places[0]
    digits = int(place[1] or 1) if place[2] is None else len(place[2])
    if digits > _MOST_DIGITS:
        raise BadOptionError(f"{shown(path.name)}: at most {_MOST_DIGITS} digits")
    name = path.name
    return SequenceName(path.parent, name[: place.start()], max(1, digits), name[place.end() :])


def found_sequence(path: Path) -> SequenceName:
    """The sequence of an input, a pattern or a folder with frames of one.

    Raises InputNotFoundError, NotAVideoError, BadOptionError.
    """
    if not path.is_dir():
        return _of_pattern(path)
    names: dict[tuple[str, str], list[str]] = {}
    try:
        inside = sorted(each.name for each in path.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise InputNotFoundError(f"{path} cannot be read: permission denied") from error
    for name in inside:
        match = _NUMBERED.fullmatch(name)
        if match and match[3].lower() in SEQUENCE_SUFFIXES and len(match[2]) <= _MOST_DIGITS:
            names.setdefault((match[1], match[3]), []).append(match[2])
    if not names:
        raise NotAVideoError(
            f"{path} is a folder without numbered pictures; name a clip, a picture, or frames as "
            "shot.%04d.exr"
        )
    if len(names) > 1:
        patterns = ", ".join(f"{prefix}%0{_digits(n)}d{end}" for (prefix, end), n in names.items())
        raise BadOptionError(f"{path} has several sequences; name one of {patterns}")
    ((prefix, suffix), numbers) = next(iter(names.items()))
    return SequenceName(path, prefix, _digits(numbers), suffix)


def output_sequence(output: Path, target: SequenceName | None) -> SequenceName | None:
    """The sequence that an output names: a pattern, or a folder for the names of the target's.

    None where it names a file. Raises BadOptionError.
    """
    if is_pattern(output):
        return named_sequence(output)
    if output.suffix and not output.is_dir():
        return None
    if target is None:
        if output.is_dir():
            return None
        raise BadOptionError(f"{output} has no suffix; name a file, or frames as shot.%04d.png")
    if output.is_dir() and output.samefile(target.folder):
        raise BadOptionError(f"{output} is the folder of the target itself; name another")
    return SequenceName(output, target.prefix, target.digits, target.suffix)


def sequence_sha256(name: SequenceName) -> str:
    """SHA-256 over the names and SHA-256 of all frames. Raises OSError."""
    whole = hashlib.sha256()
    for number in name.numbers():
        whole.update(f"{number} {file_sha256(name.path(number))}\n".encode())
    return whole.hexdigest()


def missing_frames(numbers: Sequence[int]) -> str | None:
    """The gaps in a row of numbers, in words; None where there are none."""
    gaps = [(one + 1, other - 1) for one, other in pairwise(numbers) if other - one > 1]
    if not gaps:
        return None
    count = sum(last - first + 1 for first, last in gaps)
    named = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in gaps[:_NAMED_RANGES])
    more = f" and {len(gaps) - _NAMED_RANGES} more gaps" if len(gaps) > _NAMED_RANGES else ""
    return f"{count} frame{'s' * (count != 1)} missing: {named}{more}"


def _of_pattern(path: Path) -> SequenceName:
    name = named_sequence(path)
    if not name.folder.is_dir():
        raise InputNotFoundError(f"no such folder: {name.folder}")
    if not name.numbers():
        raise InputNotFoundError(f"no frame of {path} is there; check folder, name and digits")
    return name


def _digits(numbers: Sequence[str]) -> int:
    """Digits of the pattern: those of the shortest where longer ones have no leading zero."""
    return min(len(number) for number in numbers)
