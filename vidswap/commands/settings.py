"""Settings from a TOML file, and as one: `--settings FILE` and `--print-settings`."""

from __future__ import annotations

import json
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import click

from vidswap.commands.command import PATH, Decorator, option_in
from vidswap.errors import BadOptionError, InputNotFoundError
from vidswap.options import Option, groups, options_of, plain_value
from vidswap.runtime.inputs import read_bounded
from vidswap.runtime.sizes import format_size
from vidswap.runtime.text import LONGEST, shown, word

_WIDTH = 78
_LARGEST = 2**20  # bytes


def read_settings(file: Path, owner: type) -> dict[str, Any]:
    """Values by the name of the option, checked.

    A key is an option's name with - or _. Raises BadOptionError, which names file and key, and
    InputNotFoundError.
    """
    known = {alias: each for each in settable(owner) for alias in _keys(each)}
    values: dict[str, Any] = {}
    for key, raw in _read_toml(file).items():
        each = known.get(key.replace("_", "-"))
        if each is None:
            names = ", ".join(each.key for each in settable(owner))
            raise BadOptionError(f"{file}: unknown setting {word(key)}; allowed: {names}")
        if each.name in values:
            raise BadOptionError(f"{file}: {key} is set twice; set it once")
        where = f"{file}: {word(key)} = {_shortened(_toml(raw))}"
        values[each.name] = plain_value(each, raw, where)
    return values


def settings_as_toml(options: Any) -> str:
    """The options of a dataclass as TOML, with help; those that are None as comments."""
    lines = ["# vidswap run --settings FILE; flags win over this file"]
    for group, members in groups(settable(type(options))).items():
        lines += ["", f"## {group}"]
        for each in members:
            value = getattr(options, each.name)
            lines += ["", *(f"# {line}" for line in _help(each))]
            if value is None:
                lines.append(f"# {each.key} =")
            else:
                shown = format_size(value) if each.text.is_size else value
                lines.append(f"{each.key} = {_toml(shown)}")
    return "\n".join(lines)


def settable(owner: type) -> tuple[Option, ...]:
    """The options that may stand in a settings file: those of the command line."""
    return tuple(each for each in options_of(owner) if each.text.on_command_line)


def settings_option(owner: type) -> Decorator:
    """Decorator that adds --settings; what the file says takes the place of the defaults."""

    def read(context: click.Context, _: click.Parameter, file: Path | None) -> None:
        if file is not None and not context.resilient_parsing:
            context.default_map = {**(context.default_map or {}), **read_settings(file, owner)}

    return option_in("Settings")(
        "--settings", type=PATH, metavar="FILE", callback=read, is_eager=True, expose_value=False,
        help="Read options from a TOML file; flags win over it.",
    )  # fmt: skip


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_bounded(file, _LARGEST).decode())
    except OSError as error:
        raise InputNotFoundError(f"{file}: {error.strerror}; name a TOML file") from error
    except (ValueError, RecursionError) as error:  # also what is no TOML, and no UTF-8
        raise BadOptionError(f"{file}: not TOML: {error}") from error


def _keys(each: Option) -> tuple[str, ...]:
    return (each.key, *(alias.removeprefix("--") for alias in each.text.aliases))


def _help(each: Option) -> list[str]:
    choices = f" One of {', '.join(each.choices)}." if each.choices else ""
    default = each.text.unset or _toml(each.default)
    return [*textwrap.wrap(each.text.help + choices, _WIDTH), f"Default: {default}"]


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else shown(text)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
