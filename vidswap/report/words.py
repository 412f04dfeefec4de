"""Numbers, limits and names of a report as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from vidswap.metrics import report_metrics
from vidswap.metrics.record import Figure
from vidswap.metrics.report_metrics import Metric
from vidswap.runtime.text import escaped

NO_VALUE = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"

_SECTIONS: tuple[tuple[str, tuple[Metric, ...]], ...] = (
    ("Whose face it is", report_metrics.IDENTITY),
    ("What of the target is kept", report_metrics.ATTRIBUTES),
    ("Likeness to the target", report_metrics.LIKENESS),
    ("Over time", report_metrics.TEMPORAL),
    ("Realism and faults", report_metrics.REALISM),
    ("Verification", report_metrics.VERIFICATION),
)
_OTHER = "Other"
_SECTION_OF = {metric.name: title for title, metrics in _SECTIONS for metric in metrics}
SECTIONS = (*(title for title, _ in _SECTIONS), _OTHER)

_SIGNIFICANT = 3
_TINY, _HUGE = 1e-5, 1e7  # beyond them a number is written with a power of ten


def section_of(name: str) -> str:
    """The heading, one of `SECTIONS`, under which a metric stands."""
    return _SECTION_OF.get(name, _OTHER)


def decimals_for(*values: float) -> int:
    """Decimals that give the largest of the values three significant digits."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest == 0.0 or largest >= 10 ** (_SIGNIFICANT - 1):
        return 0
    return _SIGNIFICANT - 1 - math.floor(math.log10(largest))


def number_text(value: float | None, unit: str = "", decimals: int | None = None) -> str:
    """A number in three significant digits; a share in per cent; a dash for none."""
    if value is None or math.isnan(value):
        return NO_VALUE
    if math.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    percent = " %" if unit == "share" else ""
    shown = 100.0 * value if percent else value
    if decimals is None and shown != 0.0 and not _TINY <= abs(shown) < _HUGE:
        return f"{shown:.2e}{percent}".replace("-", _MINUS)
    if decimals is None:
        decimals = 0 if percent and shown == 100.0 else decimals_for(shown)
    text = f"{shown:,.{decimals}f}{percent}"
    is_zero = not any(digit in text for digit in "123456789")
    return text.lstrip("-") if is_zero else text.replace("-", _MINUS)


def interval_text(figure: Figure) -> str:
    """The 95 % interval, "low to high", as finely as the value; empty where there is none."""
    if figure.interval is None or figure.value is None:
        return ""
    factor = 100.0 if figure.unit == "share" else 1.0
    decimals = decimals_for(*(factor * v for v in (figure.value, *figure.interval)))
    low, high = (number_text(v, figure.unit, decimals) for v in figure.interval)
    return f"{low} to {high}"


def limit_text(figure: Figure) -> str:
    """What the limit demands, such as "≤ 4"; empty where there is none."""
    if figure.limit is None or figure.better == "neither":
        return ""
    return f"{'≥' if figure.better == 'higher' else '≤'} {plain_number(figure.limit, figure.unit)}"


def plain_number(value: float, unit: str = "") -> str:
    """A round number as it was given: no more digits than it has."""
    shown = f"{100.0 * value:g} %" if unit == "share" else f"{value:g}"
    return shown.replace("-", _MINUS)


def unit_text(unit: str) -> str:
    """The unit to stand behind a number; a share carries its own sign."""
    return "" if unit == "share" else unit


def joined(words: Sequence[str], last: str = "and") -> str:
    """ "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def counted(n: int, noun: str) -> str:
    """ "1 frame", "2 frames"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def first_lower(text: str) -> str:
    """A title within a sentence; one that begins with an abbreviation stays."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def file_name(path: str) -> str:
    """The bare name: a page that is passed on should not reveal folders."""
    return escaped(Path(path).name or path)
