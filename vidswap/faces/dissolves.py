"""Dissolves between shots: stretches in which each frame is a mixture of the first and the last.

A dissolve has no frame that differs much from the one before it, so no cut is found. Over its
length every frame g_k lies on the line from the first to the last, g_k = g_0 + a_k (g_n - g_0),
with a_k rising from 0 to 1. A camera or a person that moves leaves that line, and a change of light
keeps the structure of the picture: both are no dissolve. One over shots that move fast may be
missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.faces.cuts import (
    MIN_CHANGE,
    MIN_CONTRAST,
    change_after,
    likeliest_shift,
    structure_change,
)

WINDOWS = (0.24, 0.48, 0.8, 1.2, 2.0)  # seconds over which a mixture is looked for
LEAST_BETWEEN = 4  # frames within a window
MOST_BETWEEN = 10  # that are looked at
OFF_THE_LINE = 0.04  # of the squared change, by which a mixture may be off at most
MIXED = (0.15, 0.85)  # share of the last frame in one that is clearly a mixture
LEAST_MIXED = 3  # such frames; a cut has none
BACKWARDS = 0.05  # by which the share may fall from one frame to the next
FARTHEST = 0.35  # of the picture's side, that a camera may have moved
EXPLAINED = 0.5  # of the change, left once the move is undone, below which it is a move
NEAR = 0.12  # seconds between two stretches that are one dissolve

Grey = NDArray[np.float32]


class DissolveFinder:
    """Finds dissolves as a clip streams by. `found`: beginnings and ends in seconds, in order."""

    def __init__(self) -> None:
        self.found: list[tuple[float, float]] = []
        self._held: deque[tuple[float, Grey]] = deque()
        self._closed = 0  # of those found, that nothing can be added to

    def state(self) -> dict[str, Any]:
        """What another finder needs to go on from here."""
        return {"found": list(self.found), "held": list(self._held), "closed": self._closed}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from another finder's `state()`."""
        self.found = [(float(begin), float(end)) for begin, end in state["found"]]
        self._closed = int(state["closed"])
        self._held = deque((float(at), np.asarray(grey, np.float32)) for at, grey in state["held"])

    def add(self, grey: Grey | None, seconds: float, is_cut: bool = False) -> bool:
        """Take the next frame's small grey picture; gives whether a dissolve was seen to go on.

        None, for a frame with nothing to see, and a cut end what may be mixed.
        """
        if is_cut or grey is None:
            self._held.clear()
            self._closed = len(self.found)
        if grey is None:
            return False
        known = len(self.found), self.found[-1:]
        self._held.append((seconds, grey))
        while seconds - self._held[0][0] > WINDOWS[-1] + 1e-3:
            self._held.popleft()
        for length in WINDOWS:
            if (stretch := self._mixture(length)) is not None:
                self._take(*stretch)
        return known != (len(self.found), self.found[-1:])

    def _take(self, begin: float, end: float) -> None:
        while len(self.found) > self._closed and self.found[-1][1] >= begin - NEAR:
            earlier = self.found.pop()
            begin, end = min(begin, earlier[0]), max(end, earlier[1])
        self.found.append((begin, end))

    def _mixture(self, length: float) -> tuple[float, float] | None:
        """Where the frames of the last `length` seconds are mixtures of the ends; None if not."""
        newest = self._held[-1][0]
        frames = [frame for frame in self._held if newest - frame[0] <= length + 1e-3]
        if len(frames) < LEAST_BETWEEN + 2:
            return None
        first, last = frames[0][1], frames[-1][1]
        if (
            min(first.std(), last.std()) < MIN_CONTRAST
            or structure_change(first, last) < MIN_CHANGE
        ):
            return None
        step = -(-(len(frames) - 2) // MOST_BETWEEN)
        between = frames[1:-1:step]
        change = (last - first).ravel()
        squared = float(change @ change)
        apart = np.stack([grey.ravel() - first.ravel() for _, grey in between])
        shares = apart @ change / squared
        off = ((apart - shares[:, None] * change) ** 2).sum(axis=1) / squared
        mixed = np.count_nonzero((shares > MIXED[0]) & (shares < MIXED[1]))
        rising = np.diff([0.0, *shares, 1.0])
        if off.max() > OFF_THE_LINE or mixed < LEAST_MIXED or rising.min() < -BACKWARDS:
            return None
        if _is_moved(first, last):
            return None
        times = [at for at, _ in frames[:1]] + [at for at, _ in between] + [newest]
        whole = np.array([0.0, *shares, 1.0])
        begin = times[max(0, int(np.argmax(whole > 0.03)) - 1)]
        end = times[int(np.argmax(whole > 0.97))]
        return begin, end


def _is_moved(first: Grey, last: Grey) -> bool:
    """Whether a camera that moves explains most of the change."""
    dx, dy = likeliest_shift(first, last)
    height, width = first.shape
    if max(abs(dx) / width, abs(dy) / height) > FARTHEST:
        return False
    left = min(change_after(x, y, first, last) for x in (dx - 1, dx, dx + 1)
               for y in (dy - 1, dy, dy + 1))  # fmt: skip
    return left < max(MIN_CHANGE, EXPLAINED * structure_change(first, last))
