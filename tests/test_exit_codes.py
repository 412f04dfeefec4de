from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner

from vidswap import errors
from vidswap.commands.main import main
from vidswap.exit_codes import exit_codes

PAGE = Path(__file__).resolve().parents[1] / "docs" / "exit-codes.md"


def test_the_documentation_lists_the_exit_code_of_every_error_once() -> None:
    codes = [
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.VidswapError)
    ]
    assert len(set(codes)) == len(codes), "two errors must not share a code"
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE)]
    assert len(set(listed)) == len(listed) and set(listed) >= set(codes)


def test_command_and_documentation_agree_on_what_is_worth_a_retry() -> None:
    result = CliRunner().invoke(main, ["exit-codes", "--json"])
    told = {str(each["code"]): each["outcome"] for each in json.loads(result.stdout)}
    rows = re.findall(r"^\| (\d+) \| (\w+) \| .+ \|$", PAGE.read_text(), re.MULTILINE)
    assert dict(rows) == told
    assert told["9"] == told["42"] == "retry" and told["5"] == told["41"] == "final"


def test_every_code_has_a_meaning_of_its_own() -> None:
    listed = exit_codes()
    assert len({each.code for each in listed}) == len(listed)
    assert all(3 <= len(each.meaning.split()) <= 20 for each in listed if each.code)
    lines = CliRunner().invoke(main, ["exit-codes"]).stdout.splitlines()
    assert len(lines) == len(listed)
