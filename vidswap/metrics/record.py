"""What a report on a swapped clip holds: figures, curves over time, frames worth seeing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidswap.metrics.measure import Direction, keeps

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Figure:
    """One measured number of a clip.

    value: None where it cannot be computed; `absent` then says why in words. interval: the 95 %
    confidence interval by bootstrap over frames. better: which way is better. limit: the threshold
    that the verdict holds it against, None where it has none. net: the net that measures it, with
    "(took part in training)" where it did. source: paper and equation, or the library.
    """

    name: str
    title: str
    value: float | None
    unit: str
    better: Direction
    source: str
    net: str = ""
    absent: str = ""
    interval: tuple[float, float] | None = None
    limit: float | None = None

    @property
    def passes(self) -> bool | None:
        """Whether the limit is met; None where there is no limit or no value."""
        if self.limit is None or self.value is None or self.better == "neither":
            return None
        return keeps(self.value, self.limit, self.better)


@dataclass(frozen=True)
class Curve:
    """A figure over time: `values[i]` (None where it cannot be computed) at `seconds[i]`.

    second: the same of the target clip, where the two are to be compared.
    """

    name: str
    title: str
    unit: str
    better: Direction
    seconds: tuple[float, ...]
    values: tuple[float | None, ...]
    second: tuple[float | None, ...] = ()


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame worth looking at: crops (H, W, 3) uint8 RGB of the face with some room around it.

    flow_error (H, W) float32, grey values: where the frame differs from the one before it, carried
    along the target's flow; None where it was not measured.
    """

    frame: int
    seconds: float
    kind: Literal["worst", "best"]
    because: str  # the curve that chose it, and its value, in words
    target: Picture
    swapped: Picture
    flow_error: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """Everything a report shows. `settings` and `provenance` are shown as they are."""

    target: str
    swapped: str
    source: str | None
    frames: int
    frames_with_face: int
    seconds: float
    size: tuple[int, int]
    figures: tuple[Figure, ...]
    curves: tuple[Curve, ...]
    moments: tuple[Moment, ...]
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def figure(self, name: str) -> Figure:
        """The figure of that name. Raises KeyError."""
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(name)
