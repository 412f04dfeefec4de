from __future__ import annotations

import re
from pathlib import Path

from vidswap import errors

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
