"""docs/options.md, from the options themselves.

python -m pipelines.options_table > docs/options.md
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from vidswap.options import Option, groups, options_of
from vidswap.swap.options import SwapOptions

_METAVARS = {int: "N", float: "NUMBER", str: "TEXT", Path: "FILE"}

HEAD = """\
# Options of a swap

What `vidswap run` takes, by group as in `vidswap run --help`. From Python they are the fields of
`vidswap.SwapOptions`, with underscores. Written by `python -m pipelines.options_table`.

- pixels: the option decides over the pixels; unfinished work under another value is not resumed.
- marks: the option is recorded in the output's metadata and in its C2PA manifest.
"""

TAIL = """
## Settings file

`vidswap run --settings FILE` reads options from a TOML file; a key is the name of an option, with
dashes or underscores. Flags win over the file, the file wins over the defaults. Paths are relative
to the current folder, as in flags. `vidswap run --print-settings` prints a file with all options
and their help; SOURCES, TARGET and the output are not settings.

```sh
vidswap run --print-settings --mask outline --crf 14 > outline.toml
vidswap run --settings outline.toml source.jpg target.mp4 -o out.mp4
vidswap preview --settings outline.toml source.jpg target.mp4 -o preview.png
```

```toml
mask = "outline"
crf = 14
max-memory = "2G"
```

## Messages

Every command takes `-v` (log what is done), `-vv` (in detail), `--log-file FILE` (append the log)
and `--debug` (show the traceback of an error), before its name or after. Where stderr is not a
terminal, a line every ten seconds takes the place of the progress bar.

## Shell completion

Commands, options, choices and files are completed once the shell has read the script:

```sh
eval "$(_VIDSWAP_COMPLETE=bash_source vidswap)"    # in ~/.bashrc
eval "$(_VIDSWAP_COMPLETE=zsh_source vidswap)"     # in ~/.zshrc
_VIDSWAP_COMPLETE=fish_source vidswap | source     # in ~/.config/fish/config.fish
```
"""


def page() -> str:
    """The whole page, Markdown."""
    return "\n".join([HEAD, *_sections()]) + TAIL


def _sections() -> Iterator[str]:
    for group, members in groups(options_of(SwapOptions)).items():
        yield f"## {group}\n"
        yield "| option | default | meaning | pixels | marks |\n|---|---|---|---|---|"
        yield from map(_row, members)
        yield ""


def _row(each: Option) -> str:
    text = each.text
    open_range = text.least is not None and text.greatest is text.below is None
    meaning = f"{text.help} {each.allowed}." if open_range and not text.is_size else text.help
    marks = ("yes" if mark else "" for mark in (text.pixels, text.recorded))
    return f"| {_name(each)} | {_default(each)} | {_cell(meaning)} | {' | '.join(marks)} |"


def _name(each: Option) -> str:
    if not each.text.on_command_line:
        return f"`{each.name}`, in Python"
    if each.kind is bool:
        return f"`{each.flag}`, `--no-{each.key}`" if each.default else f"`{each.flag}`"
    values = each.text.metavar or "|".join(each.choices) or _METAVARS[each.kind]
    return f"`{each.flag} {_cell(values)}`"


def _default(each: Option) -> str:
    if each.kind is bool:
        return "on" if each.default else "off"
    return each.text.unset or str(each.default)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    click.echo(page(), nl=False)
