"""The command that serves the page: `ui`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vidswap.commands.command import PATH, Command, option_in
from vidswap.commands.messages import say
from vidswap.commands.options import options_from
from vidswap.web.options import SERVER, UiOptions


@click.command(cls=Command, modules=("vidswap.web.server",))
@click.argument("target", required=False, type=PATH)
@options_from(UiOptions)
@option_in(SERVER)(
    "--root",
    "roots",
    type=PATH,
    multiple=True,
    metavar="FOLDER",
    unset="the current folder",
    help="Folder that the page may read and write. Repeatable.",
)
def ui(target: Path | None, roots: tuple[Path, ...], **settings: Any) -> None:
    """Look at swaps, set them up and run them in the browser.

    One page on this computer: it is served on 127.0.0.1 under an address that holds a random token,
    and nothing leaves the computer. TARGET is shown first.
    """
    from vidswap.web.server import serve

    serve(target, roots, UiOptions(**settings), say)
