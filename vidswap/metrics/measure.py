"""What a measure is: its unit, which way is better, and when a change counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["higher", "lower", "neither"]
Change = Literal["better", "same", "worse"]


@dataclass(frozen=True)
class Measure:
    """One number that says something about a swap.

    name: its key in JSON. title: its name in tables. unit: such as "share" or "degrees". better:
    "neither" for a number that is only there to compare with. source: paper and equation, or
    "defined here". equation: what it is, in one line. tolerance: a change within it counts as none.
    limit: what a good swap keeps; the verdict of a report and the gate of an evaluation rest on it.
    """

    name: str
    title: str
    unit: str
    better: Direction
    source: str
    equation: str
    tolerance: float = field(default=0.0, kw_only=True)
    limit: float | None = field(default=None, kw_only=True)

    def keeps_limit(self, value: float) -> bool:
        """Whether `value` is as good as the limit; True without a limit, False for NaN."""
        return self.limit is None or keeps(value, self.limit, self.better)


def keeps(value: float, limit: float, better: Direction) -> bool:
    """Whether `value` is as good as `limit` or better."""
    return value >= limit if better == "higher" else value <= limit


def sign_of(better: Direction) -> str:
    """How a value stands to the limit that it keeps."""
    return ">=" if better == "higher" else "<="


def change_of(difference: float, low: float, high: float, better: Direction) -> Change:
    """What a change is worth: the same where its interval, `low` to `high`, holds 0.

    difference: new less old.
    """
    if low <= 0.0 <= high:
        return "same"
    return "better" if (difference > 0) == (better == "higher") else "worse"
