"""The commands about people: `identity`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from vidswap.commands.command import PATH, Command, option_in
from vidswap.commands.messages import say
from vidswap.commands.options import options_from
from vidswap.options import OUTPUT, SOURCE_AND_TARGET
from vidswap.swap.options import SwapOptions

_output, _source = option_in(OUTPUT), option_in(SOURCE_AND_TARGET)
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
