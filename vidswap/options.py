"""Options that are written once: a dataclass field carries its flag, help, range and group.

`option` makes such a field, `options_of` reads them back. The command line, the settings file, the
table in docs/options.md, the resume key and the marks in the output are all made from them.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from vidswap.errors import BadOptionError
from vidswap.runtime.sizes import parse_size

T = TypeVar("T")
_KEY = "option"  # in a field's metadata

_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    Path: "a path in quotes",
}

# In the order of `--help`.
SOURCE_AND_TARGET = "Source and target"
LOOK = "Look"
RANGE = "Range"
SEQUENCES = "Sequences and layers"
ENCODING = "Encoding"
HARDWARE = "Hardware"
PROVENANCE = "Provenance"
OUTPUT = "Output"
TRAINING = "Training"


@dataclass(frozen=True, kw_only=True)
class OptionText:
    """What a field's metadata say of an option; see `option`."""

    help: str
    group: str
    pixels: bool
    recorded: bool
    aliases: tuple[str, ...]
    former: Mapping[str, str]
    metavar: str | None
    unset: str
    least: float | None
    greatest: float | None
    below: float | None
    words: tuple[str, ...]
    is_size: bool
    on_command_line: bool


def option(
    default: Any,
    *,
    help: str,
    group: str,
    pixels: bool = False,
    recorded: bool = False,
    aliases: tuple[str, ...] = (),
    former: Mapping[str, str] = MappingProxyType({}),
    metavar: str | None = None,
    unset: str = "",
    least: float | None = None,
    greatest: float | None = None,
    below: float | None = None,
    words: tuple[str, ...] = (),
    is_size: bool = False,
    on_command_line: bool = True,
) -> Any:
    """A dataclass field that is an option; its name with dashes is the flag.

    pixels: decides over the pixels of a result, so that work kept under another value is not
    resumed. recorded: told in the output's marks and manifest. aliases: older flags, which are not
    shown. former: older names of its choices, not shown either, and what they are called now.
    unset: what None stands for. least, greatest, below: the range, where the last is not
    allowed itself. words: what a field that may be a path takes besides. is_size: bytes, written
    as 800M or 2G.
    """
    text = OptionText(
        help=help, group=group, pixels=pixels, recorded=recorded, aliases=aliases, former=former,
        metavar=metavar, unset=unset, least=least, greatest=greatest, below=below, words=words,
        is_size=is_size, on_command_line=on_command_line,
    )  # fmt: skip
    return field(default=default, metadata={_KEY: text})


def same_option(owner: type, name: str, **changes: Any) -> Any:
    """A field with the default of `owner`'s option of that name, and its text but for `changes`."""
    found = option_of(owner, name)
    text = dataclasses.replace(found.text, **changes)
    return field(default=found.default, metadata={_KEY: text})


@dataclass(frozen=True)
class Option:
    """An option as read back from its dataclass. kind: the type of its values, None aside."""

    name: str
    kind: type
    choices: tuple[str, ...]
    optional: bool
    default: Any
    text: OptionText

    @property
    def flag(self) -> str:
        return f"--{self.key}"

    @property
    def key(self) -> str:
        """Its name in a settings file."""
        return self.name.replace("_", "-")

    @property
    def allowed(self) -> str:
        """The values that it may have, in words; empty where any of its type will do."""
        text = self.text
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if text.below is not None:
            return f"from {text.least:g} to below {text.below:g}"
        if text.greatest is not None:
            return f"from {text.least:g} to {text.greatest:g}"
        return f"{text.least:g} or more" if text.least is not None else ""

    def current(self, value: Any) -> Any:
        """The value by its name of today."""
        return self.text.former.get(value, value) if isinstance(value, str) else value

    def allows(self, value: Any) -> bool:
        """Whether a value of its type is within the range or among the choices."""
        text = self.text
        if value is None:
            return self.optional
        if self.choices:
            return value in self.choices
        return (
            (text.least is None or value >= text.least)
            and (text.greatest is None or value <= text.greatest)
            and (text.below is None or value < text.below)
        )


def options_of(owner: Any) -> tuple[Option, ...]:
    """The options of a dataclass, in the order of its fields; other fields are left out.

    Its module must not postpone annotations, since the types are read from the fields.
    """
    return tuple(_read(each) for each in fields(owner) if _KEY in each.metadata)


def option_of(owner: type, name: str) -> Option:
    """One option of a dataclass. Raises KeyError."""
    return {each.name: each for each in options_of(owner)}[name]


def check_ranges(options: Any) -> None:
    """Raise BadOptionError for the first option whose value is not allowed.

    A choice given by an older name gets that of today.
    """
    for each in options_of(type(options)):
        value = each.current(getattr(options, each.name))
        object.__setattr__(options, each.name, value)
        if not each.allows(value):
            raise BadOptionError(f"{each.flag} {value}; it must be {each.allowed}")


def plain_value(each: Option, raw: Any, where: str) -> Any:
    """A value of JSON or TOML as the dataclass takes it; paths and sizes are text there.

    Raises BadOptionError, which begins with `where`.
    """
    if each.text.is_size:
        if isinstance(raw, str):
            try:
                return parse_size(raw)
            except BadOptionError as error:
                raise BadOptionError(f"{where}; write it as 800M, 2G or 1.5G") from error
    elif each.kind is Path and isinstance(raw, str):
        return raw if raw in each.text.words else Path(raw)
    elif each.kind is float and type(raw) is int:
        try:
            raw = float(raw)
        except OverflowError as error:
            raise BadOptionError(f"{where}; it must be {each.allowed or 'a number'}") from error
    raw = each.current(raw)
    if type(raw) is not each.kind:
        raise BadOptionError(f"{where}; it must be {each.allowed or _KINDS[each.kind]}")
    if not each.allows(raw):
        raise BadOptionError(f"{where}; it must be {each.allowed}")
    return raw


def described(owner: type[T]) -> type[T]:
    """Class decorator: adds the options, a line each, to the docstring."""
    lines = [f"    {each.name}: {_sentence(each)}" for each in options_of(owner)]
    owner.__doc__ = "\n".join([(owner.__doc__ or "").rstrip(), "", *lines])
    return owner


def names_where(owner: type, mark: Literal["pixels", "recorded"]) -> frozenset[str]:
    """Names of the options with a mark."""
    return frozenset(each.name for each in options_of(owner) if getattr(each.text, mark))


def groups(options: Iterable[Option]) -> dict[str, list[Option]]:
    """Options by group, in order of the groups' first appearance."""
    found: dict[str, list[Option]] = {}
    for each in options:
        found.setdefault(each.text.group, []).append(each)
    return found


def _sentence(each: Option) -> str:
    default = each.text.unset or each.default
    return f"{each.text.help} Default: {default}." if default is not None else each.text.help


def _read(each: dataclasses.Field[Any]) -> Option:
    kinds = _members(each.type)
    optional = type(None) in kinds
    kinds = [kind for kind in kinds if kind is not type(None)]
    choices = get_args(kinds[0]) if get_origin(kinds[0]) is Literal else ()
    # `str | Path` is a path, or one of the words that stand for something else.
    kind = str if choices else Path if Path in kinds else kinds[0]
    return Option(each.name, kind, choices, optional, each.default, each.metadata[_KEY])


def _members(annotation: Any) -> list[Any]:
    if isinstance(annotation, str):
        raise TypeError(f"the annotation {annotation!r} of an option is postponed")
    union = get_origin(annotation) in (Union, types.UnionType)
    return list(get_args(annotation)) if union else [annotation]
