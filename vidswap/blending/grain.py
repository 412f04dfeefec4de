"""Grain: a swap in a noisy picture is as noisy as the picture around it.

Nets paint without noise, and a smooth face in the grain of film or of a dark room is told at a
glance. The noise of the target's face and of the blended one are measured in the frame's own
pixels, and what lacks is added, the same for the same frame however often it is made. What is fine
on the face alone and not on both sides of it, as lashes and pores are, is no noise; nor is the
weave of a chair on one side.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.paste import Box, Patch

Floats = NDArray[np.float32]

DEVIATION = 1.4826  # of a normal distribution, in medians of what is off it
WINDOW = 256  # pixels: side of the middle of the face that is measured
BESIDE = 48  # pixels beside its box that are measured too
LEAST = 200  # pixels that say something
HIGH_PASS = 1.0  # pixels: noise is what is finer
EVEN = 0.5  # share of the pixels, the most even ones, that are measured
# Levels of the target's noise, and times the swap's own, from which on it counts, and counts whole.
LEVELS, SHARES = (1.5, 2.5), (1.1, 1.4)
CORRELATION = (0.0, 0.5, 0.8, 1.2)  # pixels: widths of grains that are told apart
CLIPPED = 12.0  # levels from black and white, where noise is cut off
TILE = 512  # pixels of the noise that is drawn once


def with_grain(patch: Patch, frame: NDArray[np.uint8], moment: int) -> NDArray[np.uint8]:
    """The patch's pixels with as much grain as its frame has there.

    frame: (H, W, 3) uint8 RGB as it was. moment: a number of the frame, of which the grain is
    drawn. The patch's own where the frame has no more grain than it.
    """
    window, weight = _window(patch), patch.weight
    left, top, right, bottom = patch.box
    target = frame[top:bottom, left:right][window]
    if _is_clean(target, weight[window]):
        return patch.rgb
    before, after = _residual(target), _residual(patch.rgb[window])
    even = _even(target, weight[window] > 0.9)
    sides = _sides(frame, patch.box, window[0])
    if even.sum() < LEAST or not sides:
        return patch.rgb
    wanted, own = np.cov(_clipped(before[even]).T), np.cov(_clipped(after[even]).T)
    levels, present = _level(wanted), _level(own)
    other = min(_level(np.cov(_clipped(side).T)) for side in sides)
    if other < levels:
        wanted, levels = wanted * (other / levels) ** 2, other
    more = levels / max(present, 1e-3)
    counts = float(np.interp(levels, LEVELS, (0.0, 1.0)) * np.interp(more, SHARES, (0.0, 1.0)))
    if counts == 0.0:
        return patch.rgb
    values, vectors = np.linalg.eigh(wanted - own)
    mixing = counts * vectors * np.sqrt(np.maximum(values, 0.0))
    width = _grain_width(before, even)
    noise = _noise(moment, weight.shape, width) @ mixing.T.astype(np.float32)
    grainy = patch.rgb + weight[..., None] * noise
    return np.asarray(np.clip(np.rint(grainy), 0, 255), np.uint8)


def _window(patch: Patch) -> tuple[slice, slice]:
    """The middle of the patch's face."""
    rows, columns = (np.flatnonzero(patch.weight.max(axis=1 - axis) > 0.5) for axis in (0, 1))
    if rows.size == 0:
        return slice(0, 0), slice(0, 0)
    middle = (int(rows[0] + rows[-1]) // 2, int(columns[0] + columns[-1]) // 2)
    top, left = (max(0, at - WINDOW // 2) for at in middle)
    return slice(top, top + WINDOW), slice(left, left + WINDOW)


def _is_clean(picture: NDArray[np.uint8], weight: Floats) -> bool:
    """Whether a look at one channel already tells that a face has no noise that counts."""
    inside = weight[::2, ::2] > 0.9
    if inside.sum() < LEAST / 4:
        return True
    one = cv2.extractChannel(np.ascontiguousarray(picture), 1).astype(np.float32)
    fine = (one - cv2.GaussianBlur(one, (0, 0), HIGH_PASS))[::2, ::2][inside]
    return bool(DEVIATION * np.median(np.abs(fine)) < 0.8 * LEVELS[0])


def _residual(picture: NDArray[np.uint8]) -> Floats:
    if picture.size == 0:
        return np.zeros(picture.shape, np.float32)
    pixels = picture.astype(np.float32)
    return np.asarray(pixels - cv2.GaussianBlur(pixels, (0, 0), HIGH_PASS), np.float32)


def _sides(frame: NDArray[np.uint8], box: Box, rows: slice) -> list[Floats]:
    """What is finer than a pixel in even places on each side of a box (N, 3), where it shows."""
    left, top, right, _ = box
    found = []
    for columns in (slice(max(0, left - BESIDE), left), slice(right, right + BESIDE)):
        strip = frame[top + rows.start : top + rows.stop, columns]
        if strip.shape[0] >= 8 and strip.shape[1] >= 8:
            wide = cv2.blur(strip, (5, 5)).mean(axis=2)
            shows = (wide > CLIPPED) & (wide < 255.0 - CLIPPED)
            found.append(_residual(strip)[_even(strip, shows)])
    return [side for side in found if len(side) >= LEAST]


def _level(covariance: NDArray[np.floating]) -> float:
    """Levels of noise of this covariance (3, 3), the mean of its channels."""
    return float(np.sqrt(np.trace(covariance) / 3.0))


def _even(picture: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a part of a picture shows no edge."""
    if not inside.any():
        return inside
    wide = cv2.GaussianBlur(picture.astype(np.float32).mean(axis=2), (0, 0), 2.5 * HIGH_PASS)
    slope = np.hypot(cv2.Sobel(wide, cv2.CV_32F, 1, 0), cv2.Sobel(wide, cv2.CV_32F, 0, 1))
    return np.asarray(inside & (slope <= np.quantile(slope[inside], EVEN)))


def _clipped(residual: Floats) -> Floats:
    """Without the few pixels that are features and not noise."""
    spread = DEVIATION * np.median(np.abs(residual), axis=0) + 1e-3
    return np.clip(residual, -4.0 * spread, 4.0 * spread)


def _grain_width(residual: Floats, even: NDArray[np.bool_]) -> float:
    """How wide the grains are, of `CORRELATION`: told by how alike neighbours are."""
    luma = residual.mean(axis=2)
    pairs = even[:, :-1] & even[:, 1:]
    one, other = luma[:, :-1][pairs], luma[:, 1:][pairs]
    alike = float((one * other).mean() / max(float((luma[even] ** 2).mean()), 1e-6))
    return min(CORRELATION, key=lambda width: abs(_likeness(width) - alike))


@lru_cache(maxsize=8)
def _likeness(width: float) -> float:
    """How alike neighbours of such grain are after the high pass."""
    tile = _tile(width).mean(axis=2)
    fine = tile - cv2.GaussianBlur(tile, (0, 0), HIGH_PASS)
    return float((fine[:, :-1] * fine[:, 1:]).mean() / (fine**2).mean())


@lru_cache(maxsize=8)
def _tile(width: float) -> Floats:
    """Noise (TILE, TILE, 3) whose high pass has deviation one; it can be laid side by side."""
    noise = np.random.default_rng(0).normal(size=(TILE, TILE, 3)).astype(np.float32)
    if width > 0:
        wrapped = cv2.copyMakeBorder(noise, 8, 8, 8, 8, cv2.BORDER_WRAP)
        noise = np.asarray(cv2.GaussianBlur(wrapped, (0, 0), width)[8:-8, 8:-8], np.float32)
    fine = noise - cv2.GaussianBlur(noise, (0, 0), HIGH_PASS)
    tile = np.ascontiguousarray(noise / fine.std(), np.float32)
    tile.setflags(write=False)
    return tile


def _noise(moment: int, shape: tuple[int, ...], width: float) -> Floats:
    """Noise (h, w, 3) of a moment: the tile, shifted and turned otherwise for each."""
    random = np.random.default_rng(abs(moment))
    tile = np.rot90(_tile(width), int(random.integers(4)))
    tile = np.roll(tile, tuple(int(n) for n in random.integers(TILE, size=2)), axis=(0, 1))
    repeats = [-(-size // TILE) for size in shape[:2]]
    wide = np.tile(tile, (*repeats, 1)) if max(repeats) > 1 else tile
    return np.asarray(wide[: shape[0], : shape[1]], np.float32)
