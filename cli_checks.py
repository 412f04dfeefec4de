"""The checking commands of the command line: `vidswap verify` and `vidswap doctor`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=PATH)
@click.option("--trust", type=PATH, help="PEM certificates whose signers you trust.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def verify(file: Path, trust: Path | None, as_json: bool, debug: bool) -> None:
    """Say what FILE claims of its making, whether that still holds, and who signed it.

    Reads the C2PA manifest and the container's marks; fetches nothing. Exit code 0: the claims
    hold, or are marks that nobody signed. 30: the file was changed after signing, or its manifest
    is damaged or gone. 31: the file claims nothing.
    """
    from pipelines.verify import verification_as_text, verify_file

    verification = verify_file(file, trust)
    if as_json:
        click.echo(json.dumps(verification.to_dict(), indent=2))
    else:
        click.echo(verification_as_text(verification))
    sys.exit(verification.exit_code)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
def doctor(as_json: bool, debug: bool) -> None:
    """Check what vidswap needs on this computer, a line each, and say how to mend it.

    Downloads nothing. Exit code 1 when something needed is broken.
    """
    from pipelines.doctor import examine, findings_as_text, is_broken

    findings = examine()
    if as_json:
        found = {"broken": is_broken(findings), "checks": [f.to_dict() for f in findings]}
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(findings_as_text(findings))
    sys.exit(1 if is_broken(findings) else 0)
