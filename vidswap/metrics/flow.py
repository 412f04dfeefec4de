"""Temporal stability: AP-GAN's flow warping error (IV.C, eq. 14-15) and average endpoint error.

The paper estimates flow with FlowNet2.0, whose weights this project does not carry. Here it is
OpenCV's DIS, medium preset (Kroeger et al., "Fast optical flow using dense inverse search", 2016),
so that the paper's own numbers are no yardstick. Frames are (H, W, 3) uint8 RGB of the fixed box
of `fixed_square`; a flow (H, W, 2) takes a pixel (x, y) of one frame to (x, y) + flow in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces.align import scale_affine
from vidswap.faces.detection import box_overlap
from vidswap.metrics.summaries import mean_of_known

Frames = Sequence[NDArray[np.uint8]]
Flow = NDArray[np.float32]

BOX_ENLARGED = 1.2  # side of the fixed area, in sides of the face's box in the first frame (IV.C)
LEAST_OVERLAP = 0.25  # intersection over union of face and area below which a clip ends (IV.C)
SIZE = 256  # pixels, side to which that area is scaled
_CHANNEL_MEAN = np.full((1, 3), 1.0 / 3.0, np.float32)


@dataclass(frozen=True)
class FlowQuality:
    """Eq. 15's two halves, for target and swap, and the endpoint error; lower is better.

    Warp errors in [0, 1] of the pixel range, `endpoint_error` in pixels of the box. The target has
    an error too, from light, noise and the flow net: the ratio is what the swap adds.
    """

    warp_short_target: float
    warp_short_swap: float
    warp_long_target: float
    warp_long_swap: float
    endpoint_error: float

    @property
    def warp_target(self) -> float:
        """Eq. 15 of the target."""
        return self.warp_short_target + self.warp_long_target

    @property
    def warp_swap(self) -> float:
        """Eq. 15 of the swap."""
        return self.warp_short_swap + self.warp_long_swap

    @property
    def warp_ratio(self) -> float:
        """Swap over target; 1 is as steady as the target, below 1 is smoother, as blur is."""
        return self.warp_swap / self.warp_target if self.warp_target > 0 else float("nan")


def flow_quality(targets: Frames, swaps: Frames) -> FlowQuality:
    """Measure adjacent frames (T, H, W, 3) of a clip before and after the swap.

    Every warp follows the target's flow, for the swap too (eq. 14). NaN for fewer than two frames.
    """
    if len(targets) != len(swaps):
        raise ValueError(f"{len(targets)} target frames for {len(swaps)} of the swap")
    meter = FlowMeter()
    steps = [meter.add(target, swap) for target, swap in zip(targets, swaps, strict=True)]
    return mean_flow([step for step in steps if step is not None])


def mean_flow(steps: Sequence[FlowStep]) -> FlowQuality:
    """Means over the steps of a clip, those left out in which nothing was visible."""
    return FlowQuality(
        *(mean_of_known(getattr(step, name) for step in steps) for name in _STEP_NAMES)
    )


@dataclass(frozen=True, eq=False)
class FlowStep:
    """One frame against the one before (short) and the first (long): eq. 14 of target and swap.

    `error_map` (H, W) float32 in grey levels: where the swap differs from its frame before, carried
    along the target's flow, mean of the channels; 0 where the two frames do not show the same.
    """

    warp_short_target: float
    warp_short_swap: float
    warp_long_target: float
    warp_long_swap: float
    endpoint_error: float
    error_map: NDArray[np.float32]


_STEP_NAMES = (
    *("warp_short_target", "warp_short_swap", "warp_long_target", "warp_long_swap"),
    "endpoint_error",
)


@dataclass(frozen=True, eq=False)
class _Shown:
    """A frame of both clips and their grey pictures."""

    target: NDArray[np.uint8]
    swap: NDArray[np.uint8]
    grey: NDArray[np.uint8]
    swap_grey: NDArray[np.uint8]


class FlowMeter:
    """Measures a clip's frames as they come; holds the first and the last one."""

    def __init__(self) -> None:
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._first: _Shown | None = None
        self._last: _Shown | None = None

    def add(self, target: NDArray[np.uint8], swap: NDArray[np.uint8]) -> FlowStep | None:
        """The next frame (H, W, 3) of both clips, of one fixed area; None for the first."""
        now = _Shown(target, swap, _grey(target), _grey(swap))
        first, last = self._first, self._last
        self._first, self._last = first or now, now
        if first is None or last is None:
            return None
        forward, seen = self._carried(now, last)
        difference = difference_map(swap, last.swap, forward)
        short = (warp_error(target, last.target, forward, seen), _seen_mean(difference, seen))
        long = short if last is first else _errors(now, first, *self._carried(now, first))
        own = self._flow(now.swap_grey, last.swap_grey)
        error_map = np.where(seen, difference, 0.0).astype(np.float32)
        return FlowStep(*short, *long, endpoint_error(forward, own), error_map)

    def _carried(self, now: _Shown, then: _Shown) -> tuple[Flow, NDArray[np.bool_]]:
        """The target's flow from `now` to `then`, and the occlusion map M."""
        forward = self._flow(now.grey, then.grey)
        return forward, visible(forward, self._flow(then.grey, now.grey))

    def _flow(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Flow:
        return np.asarray(self._dis.calc(first, second, None), np.float32)


def _errors(now: _Shown, then: _Shown, flow: Flow, seen: NDArray[np.bool_]) -> tuple[float, float]:
    """Eq. 14 from frame `then` to frame `now`, of the target and of the swap."""
    return (
        warp_error(now.target, then.target, flow, seen),
        warp_error(now.swap, then.swap, flow, seen),
    )


def dense_flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Flow:
    """The flow (H, W, 2) in pixels from `first` to `second`, both (H, W, 3) uint8."""
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(dis.calc(_grey(first), _grey(second), None), np.float32)


def warp(frame: NDArray[Any], flow: Flow) -> NDArray[np.float32]:
    """W of eq. 14: `frame` (H, W, C) at every pixel's place after `flow`, bilinear, float32."""
    x, y = _positions(flow)
    kernel, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    moved = cv2.remap(frame.astype(np.float32), x, y, kernel, borderMode=border)
    return np.asarray(moved, np.float32)


def visible(forward: Flow, backward: Flow) -> NDArray[np.bool_]:
    """M of eq. 14 (H, W): the pixels that both frames show, by forward-backward consistency.

    |f + b|^2 <= 0.01 (|f|^2 + |b|^2) + 0.5 with b where f leads to, and that place is in the frame:
    Ruder, Dosovitskiy and Brox, "Artistic style transfer for videos", 2016, eq. 5.
    """
    back = warp(backward, forward)
    gap = _squared_length(forward + back)
    length = _squared_length(forward) + _squared_length(back)
    x, y = _positions(forward)
    height, width = forward.shape[:2]
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    consistent: NDArray[np.bool_] = inside & (gap <= 0.01 * length + 0.5)
    return consistent


def warp_error(
    frame_m: NDArray[np.uint8],
    frame_n: NDArray[np.uint8],
    flow: Flow,
    seen: NDArray[np.bool_],
) -> float:
    """Eq. 14: mean |Y_m - W(Y_n)| over the visible pixels and channels, in [0, 1]; lower is better.

    `flow` leads from frame m to frame n. NaN where nothing is visible.
    """
    return _seen_mean(difference_map(frame_m, frame_n, flow), seen)


def difference_map(
    frame_m: NDArray[np.uint8], frame_n: NDArray[np.uint8], flow: Flow
) -> NDArray[np.float32]:
    """|Y_m - W(Y_n)| (H, W) in grey levels, mean of the channels; `flow` leads from m to n."""
    difference = cv2.absdiff(frame_m.astype(np.float32), warp(frame_n, flow))
    return np.asarray(cv2.transform(difference, _CHANNEL_MEAN), np.float32)


def endpoint_error(flow: Flow, other: Flow) -> float:
    """*AEE* (IV.C): mean |f - f'| in pixels of the target's and the swap's own flow, of the same
    two frames; lower is better."""
    return float(np.linalg.norm(flow - other, axis=2).mean())


def fixed_square(face_box: NDArray[np.floating]) -> NDArray[np.float64]:
    """The area (left, top, right, bottom) that is watched: `BOX_ENLARGED` times the face's box of
    the first frame, made square by its longer side."""
    corners = np.asarray(face_box, np.float64).reshape(2, 2)
    half = BOX_ENLARGED * float((corners[1] - corners[0]).max()) / 2.0
    centre = corners.mean(axis=0)
    return np.concatenate([centre - half, centre + half])


def square_affine(square: NDArray[np.floating], size: int = SIZE) -> NDArray[np.float64]:
    """The affine (2, 3), frame pixels to pixels of the square scaled to `size`."""
    left, top, right, _ = square
    shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]])
    return scale_affine(shift, size / float(right - left))


class FlowArea:
    """The area in which a clip's flow is measured (IV.C).

    Fixed by the first face, and watched until the face has left it or is lost.
    """

    def __init__(self) -> None:
        self._square: NDArray[np.float64] | None = None
        self.left = False

    def look(self, face_box: NDArray[np.floating] | None) -> None:
        """Take in the box of the face in the next frame that was searched, None for no face."""
        if self._square is None:
            self._square = None if face_box is None else fixed_square(face_box)
        elif face_box is None or box_overlap(face_box, self._square) < LEAST_OVERLAP:
            self.left = True

    @property
    def affine(self) -> NDArray[np.float64] | None:
        """The affine (2, 3), frame pixels to the area's; None before the first face and once it
        has left."""
        return None if self._square is None or self.left else square_affine(self._square)


def _seen_mean(difference: NDArray[np.float32], seen: NDArray[np.bool_]) -> float:
    """Mean over the visible pixels, in [0, 1] of the pixel range; NaN where nothing is visible."""
    if not seen.any():
        return float("nan")
    return float(difference[seen].mean(dtype=np.float64) / 255.0)


def _squared_length(flow: Flow) -> NDArray[np.float32]:
    x, y = flow[:, :, 0], flow[:, :, 1]
    length: NDArray[np.float32] = x * x + y * y
    return length


def _grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def _positions(flow: Flow) -> tuple[Flow, Flow]:
    """Where each pixel goes: x and y, (H, W) float32 each."""
    x, y = _pixels(*flow.shape[:2])
    return x + flow[:, :, 0], y + flow[:, :, 1]


@lru_cache(maxsize=4)
def _pixels(height: int, width: int) -> tuple[Flow, Flow]:
    """The pixels' own x and y, (H, W) float32 each, read-only."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y
