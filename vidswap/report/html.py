"""What the pages of reports share: templates, the file that is written, curves with their marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vidswap.media.output import replace_text
from vidswap.report.pictures import Still
from vidswap.report.plots import Panel, TimeAxis
from vidswap.runtime.text import escaped, printable
from vidswap.version import __version__

TEMPLATES = Path(__file__).with_name("templates")
_CHIP_WIDTH = 2.6  # per cent of the axis, below which two chips would touch
_LEVELS = 2
_FOLD_FROM = 5  # facts
_LONGEST_FACT = 4000  # characters of a name or a value that are shown


@dataclass(frozen=True)
class Mark:
    """A moment on the time axis. left: per cent. level: its row, where chips would touch."""

    label: str
    kind: str
    left: float
    level: int
    title: str


@dataclass(frozen=True)
class CurvePage:
    """Curves over one axis. panels: shown at once; more: folded away; flat: described in words."""

    axis: TimeAxis
    ticks: tuple[tuple[float, str], ...]
    marks: tuple[Mark, ...]
    panels: tuple[Panel, ...]
    more: tuple[Panel, ...]
    flat: tuple[Panel, ...]

    @property
    def samples(self) -> dict[str, Any]:
        """What the page's script needs to show the value under the pointer."""
        panels = {panel.name: panel.samples for panel in (*self.panels, *self.more)}
        return {"first": self.axis.first, "last": self.axis.last, "panels": panels}


def curve_page(
    axis: TimeAxis, panels: Iterable[tuple[Panel, bool]], stills: Sequence[Still] = ()
) -> CurvePage:
    """Lay out panels, each with whether it is shown at once."""
    listed = list(panels)
    return CurvePage(
        axis=axis,
        ticks=tuple((round(place, 2), text) for place, text in axis.ticks()),
        marks=tuple(marks_of(axis, stills)),
        panels=tuple(panel for panel, first in listed if first and not panel.flat),
        more=tuple(panel for panel, first in listed if not first and not panel.flat),
        flat=tuple(panel for panel, _ in listed if panel.flat),
    )


def marks_of(axis: TimeAxis, stills: Sequence[Still]) -> list[Mark]:
    """The moments in order of time, each in the first row in which it touches no other."""
    ends = [-_CHIP_WIDTH] * _LEVELS
    marks = []
    for still in sorted(stills, key=lambda still: still.seconds):
        left = axis.percent(still.seconds)
        free = [level for level in range(_LEVELS) if left - ends[level] >= _CHIP_WIDTH]
        level = free[0] if free else ends.index(min(ends))
        ends[level] = left
        title = f"{still.kind}, {still.time}: {still.because}"
        marks.append(Mark(still.label, still.kind, round(left, 2), level, title))
    return marks


def render(template: str, context: Mapping[str, Any]) -> str:
    """The page of a template; all text is escaped."""
    return _environment().get_template(template).render(version=__version__, **context)


def write_text(text: str, path: Path) -> None:
    """Write a text file; it appears under its name only when complete.

    Raises OutputNotWritableError, DiskFullError.
    """
    replace_text(path, text, "backslashreplace")


@dataclass(frozen=True)
class Facts:
    """Names and words of a mapping; `folded` holds its long inner ones under their titles."""

    shown: tuple[tuple[str, str], ...]
    folded: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


def facts(values: Mapping[str, Any]) -> Facts:
    """A mapping as it is shown: long inner mappings are folded away."""
    shown: list[tuple[str, str]] = []
    folded = []
    for key, value in values.items():
        inner = facts_of(value) if isinstance(value, Mapping) else []
        if len(inner) > _FOLD_FROM:
            folded.append((str(key).replace("_", " "), tuple(inner)))
        else:
            shown += facts_of({key: value})
    return Facts(tuple(shown), tuple(folded))


def facts_of(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """A mapping as names and words, inner ones joined by dots, what is empty left out."""
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{before}{_shortened(str(key)).replace('_', ' ')}"
        if isinstance(value, Mapping):
            found += facts_of(value, f"{name}: ")
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
            for n, item in enumerate(value, 1):
                inner = item if isinstance(item, Mapping) else {"": item}
                found += facts_of(inner, f"{name} {n}: ")
        elif value is not None and value != "" and value not in ([], ()):
            found.append((name, _fact_text(value)))
    return found


def _fact_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_fact_text(item) for item in value if item not in (None, ""))
    return _shortened(str(value))


def _shortened(text: str) -> str:
    """On one line, and no longer than a page can bear: both may be out of a stranger's file."""
    rest = f"... ({len(text)} characters)" if len(text) > _LONGEST_FACT else ""
    return escaped(text[:_LONGEST_FACT]) + rest


def _harmless(value: Any) -> Any:
    """What a template puts in: without direction marks, controls and halves of characters."""
    is_plain_text = isinstance(value, str) and not isinstance(value, Markup)
    return printable(value) if is_plain_text else value


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # also what does not end in .html: nothing here is meant to be markup
        finalize=_harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
