"""How an animated portrait moves: pose of head and camera over time, and two ready motions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Pose:
    """What head and camera do at one moment.

    yaw, pitch, roll: degrees as in `vidswap.faces.pose`: positive turns the face to the picture's
    right, up, and clockwise. blink, mouth: 0 as in the photograph, 1 fully closed and fully open.
    zoom: 1 is the widest view. pan: shift of the view to the right and down, in its own sides.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    blink: float = 0.0
    mouth: float = 0.0
    zoom: float = 1.0
    pan: tuple[float, float] = (0.0, 0.0)


Motion = Callable[[float], Pose]


def talking(seconds: float) -> Pose:
    """Somebody who talks to the camera, with two blinks in five seconds."""
    syllables = wave(seconds, 0.62) * wave(seconds, 0.27, 0.4)
    return Pose(
        yaw=12.0 * sine(seconds, 4.2),
        pitch=-3.5 * sine(seconds, 2.7, 0.3),
        roll=2.5 * sine(seconds, 5.0, 0.15),
        blink=blink_at(seconds, (1.1, 3.4)),
        mouth=float(np.clip(syllables, 0.0, 0.75)),
        zoom=1.04 + 0.10 * wave(seconds, 10.0),
        pan=(0.015 * sine(seconds, 7.0), 0.01 * sine(seconds, 5.5)),
    )


def looking_around(seconds: float) -> Pose:
    """Somebody who looks to both sides and up, mouth shut but for one word."""
    return Pose(
        yaw=14.0 * sine(seconds, 5.0, 0.5),
        pitch=4.0 * wave(seconds, 3.5),
        roll=2.0 * sine(seconds, 3.1),
        blink=blink_at(seconds, (0.7, 3.3)),
        mouth=0.5 * smooth_step((0.25 - abs(seconds - 2.0)) / 0.25),
        zoom=1.10 - 0.06 * wave(seconds, 8.0),
        pan=(0.01 * sine(seconds, 6.0, 0.25), 0.0),
    )


def sine(seconds: float, period: float, phase: float = 0.0) -> float:
    """A sine in [-1, 1]; `phase` in periods."""
    return float(np.sin(2 * np.pi * (seconds / period + phase)))


def wave(seconds: float, period: float, phase: float = 0.0) -> float:
    """A smooth swing between 0, where `seconds` and `phase` are 0, and 1."""
    return (1.0 - float(np.cos(2 * np.pi * (seconds / period + phase)))) / 2.0


def blink_at(seconds: float, times: Sequence[float]) -> float:
    """How far the eyes are closed, in [0, 1], if each blink is shut at one of `times`.

    Lids fall in about a tenth of a second and rise in twice that.
    """
    closed = 0.0
    for time in times:
        late = seconds - time
        distance = max(0.0, -late - 0.02) / 0.11 if late < 0 else max(0.0, late - 0.04) / 0.2
        closed = max(closed, float(smooth_step(1.0 - distance)))
    return closed


def smooth_step(x: Any) -> Any:
    """0 below 0, 1 above 1, a cubic without kinks between; numbers and arrays alike."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)
