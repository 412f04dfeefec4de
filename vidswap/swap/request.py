"""One swap as plain data: what a worker takes, a queue holds and a manifest names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from vidswap.errors import BadOptionError
from vidswap.options import options_of, plain_value
from vidswap.runtime.text import LONGEST, shown
from vidswap.swap.options import SwapOptions


@dataclass(frozen=True)
class SwapRequest:
    """`sources` onto `target`, written to `output`; picklable, and JSON both ways."""

    sources: tuple[Path, ...]
    target: Path
    output: Path
    options: SwapOptions = field(default_factory=SwapOptions)

    @classmethod
    def of(
        cls,
        sources: Sequence[str | Path],
        target: str | Path,
        output: str | Path,
        options: SwapOptions | None = None,
    ) -> Self:
        """A request of paths as text or Path, by default with the default options."""
        paths = tuple(Path(source) for source in sources)
        return cls(paths, Path(target), Path(output), options or SwapOptions())

    def to_json(self) -> str:
        """One line of JSON, with all options."""
        plain = {
            "sources": [str(source) for source in self.sources],
            "target": str(self.target),
            "output": str(self.output),
            "options": {
                name: str(value) if isinstance(value, Path) else value
                for name, value in asdict(self.options).items()
            },
        }
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The request of `to_json`; options that are not named have their defaults.

        Raises BadOptionError for anything else, naming the key.
        """
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadOptionError(f"a swap request is no JSON ({error})") from error
        if not isinstance(given, dict):
            raise BadOptionError("a swap request is a JSON object with sources, target and output")
        allowed = [item.name for item in fields(cls)]
        if unknown := [name for name in given if name not in allowed]:
            names = ", ".join(allowed)
            raise BadOptionError(f"{shown(unknown[0])} in a swap request; allowed: {names}")
        sources, target, output = (given.get(name) for name in ("sources", "target", "output"))
        if not isinstance(sources, list) or not all(isinstance(s, str) for s in sources):
            raise BadOptionError("'sources' in a swap request is a list of paths")
        if not isinstance(target, str) or not isinstance(output, str):
            raise BadOptionError("'target' and 'output' in a swap request are paths")
        return cls.of(sources, target, output, options_from(given.get("options", {})))


def options_from(given: Any) -> SwapOptions:
    """Options from plain values by name; paths are text. Raises BadOptionError, naming the key."""
    if not isinstance(given, Mapping):
        raise BadOptionError("'options' of a swap request is an object of names and values")
    known = {each.name: each for each in options_of(SwapOptions)}
    values: dict[str, Any] = {}
    for name, raw in given.items():
        if name not in known:
            names = ", ".join(known)
            raise BadOptionError(f"option {shown(name)} in a swap request; allowed: {names}")
        unset = raw is None and known[name].optional
        where = f"option {name} = {_written(raw)} in a swap request"
        values[name] = None if unset else plain_value(known[name], raw, where)
    return SwapOptions(**values)


def _written(raw: Any) -> str:
    """A value as the request has it, or as much of it as fits on a line."""
    try:
        text = json.dumps(raw)
    except (ValueError, RecursionError):  # nested, or a number of too many digits
        return f"a {type(raw).__name__} that cannot be shown"
    return text if len(text) <= LONGEST else shown(text)
