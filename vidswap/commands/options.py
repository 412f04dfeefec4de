"""Options of the command line, made from the fields of an options dataclass."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidswap.commands.command import PATH, Decorator, F, GroupedOption
from vidswap.errors import BadOptionError
from vidswap.options import Option, options_of
from vidswap.runtime.sizes import parse_size

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
    _Choice = click.Choice[str]
else:
    _ParamType = click.ParamType  # not generic before click 8.4
    _Choice = click.Choice


class WordOrPath(_ParamType):
    """A word such as "largest", or a path."""

    name = "face"

    def __init__(self, words: Collection[str]) -> None:
        self.words = words

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | Path:
        return value if value in self.words else Path(value)


class ChoiceType(_Choice):
    """One of an option's choices, or an older name of one, which is not shown."""

    def __init__(self, option: Option) -> None:
        super().__init__(option.choices)
        self._option = option

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(self._option.current(value), param, ctx)


class SizeType(_ParamType):
    """Bytes, written as 800M or 2G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except BadOptionError as error:
            self.fail(str(error), param, ctx)


def options_from(
    owner: type, names: Collection[str] | None = None, **changes: dict[str, Any]
) -> Decorator:
    """Decorator that adds the options of a dataclass to a command, all or those named.

    changes: settings of click's for an option by its name, such as another help.
    """
    options = [
        each for each in options_of(owner)
        if each.text.on_command_line and (names is None or each.name in names)
    ]  # fmt: skip
    absent = set(names or ()) - {each.name for each in options}
    assert not absent, f"{owner.__name__} has no options {absent}"

    def decorate(command: F) -> F:
        for each in reversed(options):
            declarations, settings = click_option(each)
            settings |= changes.get(each.name, {})
            command = click.option(*declarations, cls=GroupedOption, **settings)(command)
        return command

    return decorate


def click_option(each: Option) -> tuple[list[str], dict[str, Any]]:
    """Declarations and settings with which `click.option` makes an option."""
    text = each.text
    settings: dict[str, Any] = {
        "default": each.default,
        "show_default": True,
        "help": text.help,
        "group": text.group,
        "unset": text.unset,
        "concealed": text.aliases,
    }
    if each.kind is bool:
        # A settings file may turn it on; then there must be a flag that turns it off.
        off = f"--no-{each.key}"
        if not each.default:
            settings |= {"concealed": (*text.aliases, off), "show_default": False}
        return [each.name, f"{each.flag}/{off}"], settings
    settings |= {"type": _type_of(each), "metavar": text.metavar}
    return [each.name, each.flag, *text.aliases], settings


def _type_of(each: Option) -> Any:
    if each.choices:
        return ChoiceType(each)
    if each.text.is_size:
        return SizeType()
    if each.text.words:
        return WordOrPath(each.text.words)
    return PATH if each.kind is Path else each.kind
