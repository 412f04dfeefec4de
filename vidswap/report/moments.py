"""Frames worth looking at: the worst and the best, chosen as the clip goes by."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import count
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.metrics.flow import FlowStep
from vidswap.metrics.record import Moment
from vidswap.metrics.registry import metric
from vidswap.report.faces import AreaPictures, MeasuredFrame
from vidswap.report.rows import Row

APART = 0.4  # seconds; two moments closer than that show the same

# How far from its best value a curve makes a frame plainly bad.
_SCALES = {
    "pose_distance": 5.0,
    "expression_distance": 10.0,
    "gaze_distance": 15.0,
    "ssim_outside": 0.15,
    "seam": 8.0,
    "colour_shift": 10.0,
    "sharpness_ratio": 0.5,
    "identity_retrieval": 1.0,
    "face_lost": 0.25,
}
_UNSTEADY = 0.02  # of the pixel range, by which the swap's warp error exceeds the target's
_MOST = 4.0  # no curve counts more than this


@dataclass(frozen=True)
class Badness:
    """How bad a frame is, from 0, and the curve that contributes most, with its value."""

    score: float
    curve: str
    value: float

    @property
    def because(self) -> str:
        """The curve and its value in words."""
        named = metric(self.curve)
        value = f"{self.value:.3g}"
        return f"{named.title}: {value} {named.unit}"


def badness(row: Row) -> Badness | None:
    """The sum of the curves' distances from their best values, each in its own unit of `_SCALES`.

    None for a frame without a face.
    """
    parts: dict[str, float] = {}
    for name, scale in _SCALES.items():
        value, best = row.get(name, np.nan), metric(name).best
        if not np.isnan(value):
            off = best - value if name == "sharpness_ratio" else abs(value - best)
            parts[name] = min(_MOST, max(0.0, off) / scale)
    if not parts:
        return None
    excess = row.get("flow_warp_short", np.nan) - row.get("flow_warp_short_target", np.nan)
    if not np.isnan(excess):
        parts["flow_warp_short"] = min(_MOST, max(0.0, excess) / _UNSTEADY)
    curve = max(parts, key=lambda name: parts[name])
    return Badness(sum(parts.values()), curve, row[curve])


class MomentKeeper:
    """Keeps the pictures of the `n` worst and `n` best frames, no two within `APART` seconds.

    The clip is cut into spans of `APART` seconds; the worst and the best frame of each are the
    candidates. At most 2n + 2 frames' crops are held.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._kept: dict[str, list[tuple[float, int, Moment]]] = {"worst": [], "best": []}
        self._span: dict[str, tuple[float, Moment]] = {}
        self._number = -1
        self._order = count()

    def add(self, frame: MeasuredFrame, row: Row, step: FlowStep | None) -> None:
        """Consider the next frame, its numbers and its step of the flow."""
        bad = badness(row)
        if frame.face is None or bad is None:
            return
        number = int(frame.seconds / APART)
        if number != self._number:
            self._close_span()
            self._number = number
        error = step.error_map if step is not None else None
        for kind, height in (("worst", bad.score), ("best", -bad.score)):
            if kind not in self._span or height > self._span[kind][0]:
                self._span[kind] = (height, _moment(frame, bad, error, kind))

    def moments(self) -> tuple[Moment, ...]:
        """The worst, the very worst first, then the best; a frame is in one of them alone."""
        self._close_span()
        worst = [m for _, _, m in sorted(self._kept["worst"], key=lambda item: -item[0])]
        shown = {m.frame for m in worst}
        best = [m for _, _, m in sorted(self._kept["best"], key=lambda item: -item[0])]
        return (*worst, *(m for m in best if m.frame not in shown))

    def _close_span(self) -> None:
        for kind, (height, moment) in self._span.items():
            kept = self._kept[kind]
            # The frames of two spans may lie beside each other.
            near = [item for item in kept if abs(item[2].seconds - moment.seconds) < APART]
            if any(item[0] >= height for item in near):
                continue
            for item in near:
                kept.remove(item)
            heapq.heapify(kept)
            heapq.heappush(kept, (height, next(self._order), moment))
            if len(kept) > self._n:
                heapq.heappop(kept)
        self._span = {}


def _moment(
    frame: MeasuredFrame, bad: Badness, error: NDArray[np.float32] | None, kind: str
) -> Moment:
    assert frame.face is not None
    named: Literal["worst", "best"] = "worst" if kind == "worst" else "best"
    return Moment(
        frame=frame.index,
        seconds=frame.seconds,
        kind=named,
        because=bad.because if named == "worst" else f"fewest faults; the largest: {bad.because}",
        target=frame.face.crops[0],
        swapped=frame.face.crops[1],
        flow_error=_in_crop(error, frame.area, frame.face.crops[0].shape[0]),
    )


def _in_crop(
    error: NDArray[np.float32] | None, area: AreaPictures | None, size: int
) -> NDArray[np.float32] | None:
    """The flow's error map in the aligned crop; 0 outside the flow's area."""
    if error is None or area is None:
        return None
    return np.asarray(cv2.warpAffine(error, area.to_crop, (size, size)), np.float32)
