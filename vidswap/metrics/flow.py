"""Temporal stability: AP-GAN's flow warping error (IV.C, eq. 14-15) and average endpoint error.

The paper estimates flow with FlowNet2.0, whose weights this project does not carry. Here it is
OpenCV's DIS, medium preset (Kroeger et al., "Fast optical flow using dense inverse search", 2016),
so that the paper's own numbers are no yardstick. Frames are (H, W, 3) uint8 RGB of the fixed box
of `fixed_square`; a flow (H, W, 2) takes a pixel (x, y) of one frame to (x, y) + flow in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces.align import scale_affine

Frames = Sequence[NDArray[np.uint8]]
Flow = NDArray[np.float32]

BOX_ENLARGED = 1.2  # side of the fixed area, in sides of the face's box in the first frame (IV.C)
LEAST_OVERLAP = 0.25  # intersection over union of face and area below which a clip ends (IV.C)
SIZE = 256  # pixels, side to which that area is scaled


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
    errors = []
    for t in range(1, len(targets)):
        short = _warp_errors(targets, swaps, t, t - 1)
        long = _warp_errors(targets, swaps, t, 0) if t > 1 else short
        own, other = dense_flow(targets[t], targets[t - 1]), dense_flow(swaps[t], swaps[t - 1])
        errors.append([*short, *long, endpoint_error(own, other)])
    return FlowQuality(*(_mean([row[i] for row in errors]) for i in range(5)))


def _warp_errors(targets: Frames, swaps: Frames, m: int, n: int) -> tuple[float, float]:
    """Eq. 14 from frame n to frame m, of the target and of the swap."""
    forward = dense_flow(targets[m], targets[n])
    seen = visible(forward, dense_flow(targets[n], targets[m]))
    return (
        warp_error(targets[m], targets[n], forward, seen),
        warp_error(swaps[m], swaps[n], forward, seen),
    )


def dense_flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Flow:
    """The flow (H, W, 2) in pixels from `first` to `second`, both (H, W, 3) uint8."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(dis.calc(grey[0], grey[1], None), np.float32)


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
    gap = ((forward + back) ** 2).sum(axis=2)
    length = (forward**2).sum(axis=2) + (back**2).sum(axis=2)
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
    if not seen.any():
        return float("nan")
    difference = np.abs(frame_m.astype(np.float32) - warp(frame_n, flow))[seen]
    return float(difference.mean() / 255.0)


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


def _positions(flow: Flow) -> tuple[Flow, Flow]:
    """Where each pixel goes: x and y, (H, W) float32 each."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return (x + flow[:, :, 0]).astype(np.float32), (y + flow[:, :, 1]).astype(np.float32)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
