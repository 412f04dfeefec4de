"""How much of the picture came back: structural similarity, mean squared error, and PSNR."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW = 11  # pixels, side of the Gaussian window
SIGMA = 1.5  # pixels
K1, K2 = 0.01, 0.03
PEAK = 255.0
EQUAL_PSNR = 100.0  # decibels that stand for equal pictures, whose PSNR is infinite


def ssim_map(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Structural similarity (H, W) of two pictures (H, W, 3) uint8, at every pixel.

    (2 mu_a mu_b + C1)(2 cov + C2) / ((mu_a^2 + mu_b^2 + C1)(var_a + var_b + C2)), Wang et al.,
    "Image quality assessment", IEEE TIP 2004, eq. 13: Gaussian window of 11 pixels and deviation
    1.5, K1 = 0.01, K2 = 0.03, each channel by itself, then their mean. In [-1, 1], 1 for equal
    pictures.
    """
    if a.shape != b.shape:
        raise ValueError(f"pictures of one size are needed, got {a.shape} and {b.shape}")
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _window(x), _window(y)
    variance_x = _window(x * x) - mean_x**2
    variance_y = _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    likeness /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    similarity: NDArray[np.float64] = likeness.mean(axis=2)
    return similarity


def ssim(
    a: NDArray[np.uint8], b: NDArray[np.uint8], weight: NDArray[np.floating] | None = None
) -> float:
    """Mean structural similarity of two pictures (H, W, 3) uint8; higher is more alike.

    `weight` (H, W) says how much each pixel counts; without it all count alike, but for the five
    at each edge, where the window leaves the picture. The paper's *SSIM* (IV.C) is Y against F_t.
    NaN where no pixel counts.
    """
    return mean_similarity(ssim_map(a, b), weight)


def mean_similarity(
    similarity: NDArray[np.float64], weight: NDArray[np.floating] | None = None
) -> float:
    """The mean of a map (H, W) of `ssim_map`, weighted as in `ssim`; NaN where no pixel counts."""
    rim = WINDOW // 2
    inside = similarity[rim:-rim, rim:-rim]
    if weight is None:
        return float(inside.mean())
    counts = weight[rim:-rim, rim:-rim]
    total = float(counts.sum())
    return float((inside * counts).sum() / total) if total > 0 else float("nan")


def squared_error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(a - b)^2 at every pixel (H, W), mean of the channels, in squared grey levels."""
    if a.shape != b.shape:
        raise ValueError(f"pictures of one size are needed, got {a.shape} and {b.shape}")
    difference = cv2.absdiff(a, b).astype(np.float32)
    weights = np.full((1, 3), 1.0 / 3.0, np.float32)
    return np.asarray(cv2.transform(difference * difference, weights), np.float32)


def mse(
    a: NDArray[np.uint8], b: NDArray[np.uint8], weight: NDArray[np.floating] | None = None
) -> float:
    """Mean squared error of two pictures (H, W, 3) uint8 in squared grey levels; lower is better.

    sum(w (a - b)^2) / sum(w) over pixels and channels; w (H, W) is `weight`, 1 without it. As in
    SwapInpaint, IV.B, Table I. NaN where no pixel counts.
    """
    return weighted_mean(squared_error(a, b), weight)


def psnr_of(error: float) -> float:
    """10 log10(255^2 / MSE) in decibels of a mean squared error; higher is better.

    At most `EQUAL_PSNR`, which stands for equal pictures.
    """
    if error <= 0:
        return EQUAL_PSNR
    return min(EQUAL_PSNR, float(10.0 * np.log10(PEAK**2 / error)))


def psnr(
    a: NDArray[np.uint8], b: NDArray[np.uint8], weight: NDArray[np.floating] | None = None
) -> float:
    """Peak signal-to-noise ratio in decibels, `psnr_of` the `mse`; higher is better."""
    return psnr_of(mse(a, b, weight))


def weighted_mean(
    values: NDArray[np.floating], weight: NDArray[np.floating] | None = None
) -> float:
    """Mean of `values` (H, W) by `weight` (H, W), all alike without it; NaN where none counts."""
    if weight is None:
        return float(values.mean())
    total = float(weight.sum())
    return float((values * weight).sum() / total) if total > 0 else float("nan")


def _window(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(
        cv2.GaussianBlur(picture, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_REFLECT),
        np.float64,
    )
