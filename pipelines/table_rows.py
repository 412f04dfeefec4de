"""Rows of the papers' tables: those that are named, and those that are written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidswap.errors import BadOptionError

Report = dict[str, Any]


def named_rows(given: Sequence[str]) -> dict[str, Path]:
    """Every --row, by name. Raises BadOptionError."""
    rows: dict[str, Path] = {}
    for text in given:
        name, _, path = text.partition("=")
        if not path:
            raise BadOptionError(f"--row {text}; write it as NAME=FILE")
        rows[name] = Path(path)
    return rows


def write_lines(path: Path, lines: Sequence[Report]) -> None:
    """Write a table's rows, one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
