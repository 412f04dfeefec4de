"""The command that does what a request asks for."""

from __future__ import annotations

import shlex

from vidswap.options import Option, options_of
from vidswap.runtime.sizes import format_size
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest


def arguments_of(request: SwapRequest) -> list[str]:
    """The arguments of `vidswap`; options that have their defaults are left out."""
    paths = [str(path) for path in (*request.sources, request.target)]
    if any(path.startswith("-") for path in paths):  # would be read as a flag
        paths = [f"./{path}" if path.startswith("-") else path for path in paths]
    arguments = ["run", *paths, "-o", str(request.output)]
    default = SwapOptions()
    for each in options_of(SwapOptions):
        value = getattr(request.options, each.name)
        if not each.text.on_command_line or value == getattr(default, each.name):
            continue
        arguments += _flag(each, value)
    return arguments


def command_line(request: SwapRequest) -> str:
    """The command as a shell takes it."""
    return shlex.join(["vidswap", *arguments_of(request)])


def _flag(each: Option, value: object) -> list[str]:
    if each.kind is bool:
        return [each.flag if value else f"--no-{each.key}"]
    if value is None:  # a quality that gives way to a bit rate, which has a flag of its own
        return []
    text = format_size(value) if each.text.is_size and isinstance(value, int) else str(value)
    return [each.flag, text]
