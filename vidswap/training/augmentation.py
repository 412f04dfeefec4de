"""Training targets as real video has them: things before the face, and poor recordings of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.training.occluders.handheld import blob, hand, headset, microphone
from vidswap.training.occluders.layer import Image, Layer, Scene, compose
from vidswap.training.occluders.worn import face_mask, glasses, hair, scarf, sunglasses

Drawing = Callable[[Scene, np.random.Generator], list[Layer]]

DRAWINGS: dict[str, Drawing] = {
    "glasses": glasses,
    "sunglasses": sunglasses,
    "microphone": microphone,
    "headset": headset,
    "hand": hand,
    "hair": hair,
    "face mask": face_mask,
    "scarf": scarf,
    "blob": blob,
}
# How often each is drawn: what is seen in real video most.
CHANCES = (0.22, 0.08, 0.13, 0.04, 0.22, 0.11, 0.04, 0.06, 0.10)
MAX_SOFTNESS = 0.9  # pixels at 256


def add_occluder(
    picture: Image,
    landmarks: NDArray[np.floating],
    random: np.random.Generator,
    kind: str | None = None,
) -> tuple[Image, NDArray[np.float32]]:
    """Draw something before the face; with it the mask of how much of each pixel it is.

    `picture` (S, S, 3) uint8 RGB is an aligned crop, not written into; `landmarks` (478, 2) its
    mesh in 256-pixel coordinates. `kind` is one of `DRAWINGS`, by default drawn by `CHANCES`. The
    mask (S, S) float32 in [0, 1] leaves out the shadow: there the face itself is seen, darker.
    """
    size = picture.shape[0]
    chosen = str(random.choice(list(DRAWINGS), p=CHANCES)) if kind is None else kind
    layers = DRAWINGS[chosen](Scene.of(picture, landmarks, random), random)
    return compose(picture, layers, random.uniform(0, MAX_SOFTNESS) * size / 256)


@dataclass(frozen=True)
class DegradationConfig:
    """The chance of each flaw, and how bad it may be; pixels are those of a crop of 256."""

    gamma: float = 0.25
    gamma_range: tuple[float, float] = (0.7, 1.45)
    temperature: float = 0.25
    temperature_shift: float = 0.12  # gain of red and loss of blue, relative
    scaling: float = 0.3
    smallest_scale: float = 0.35
    blur: float = 0.25  # Gaussian and motion, as often
    gaussian_blur: tuple[float, float] = (0.4, 1.8)  # pixels, standard deviation
    motion_blur: tuple[float, float] = (3.0, 11.0)  # pixels, length
    noise: float = 0.3
    noise_level: tuple[float, float] = (2.0, 10.0)  # grey values, standard deviation
    jpeg: float = 0.35
    jpeg_quality: tuple[int, int] = (30, 95)


def degrade(
    picture: Image, random: np.random.Generator, config: DegradationConfig = DegradationConfig()
) -> Image:
    """A crop (S, S, 3) uint8 RGB as a poorer camera or codec would have it; may be unchanged.

    In the order in which a recording suffers: light, the lens's and the hand's blur, resolution,
    the sensor's noise, compression.
    """
    scale = picture.shape[0] / 256
    if random.random() < config.gamma:
        low, high = np.log(config.gamma_range)
        picture = _with_gamma(picture, float(np.exp(random.uniform(low, high))))
    if random.random() < config.temperature:
        picture = _warmer(picture, random.uniform(-1, 1) * config.temperature_shift)
    if random.random() < config.blur:
        if random.random() < 0.5:
            sigma = random.uniform(*config.gaussian_blur) * scale
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
        else:
            picture = _motion_blurred(picture, random.uniform(*config.motion_blur) * scale, random)
    if random.random() < config.scaling:
        picture = _rescaled(picture, random.uniform(config.smallest_scale, 0.9), random)
    if random.random() < config.noise:
        picture = _noisy(picture, random.uniform(*config.noise_level), random)
    if random.random() < config.jpeg:
        picture = _compressed(picture, int(random.integers(*config.jpeg_quality, endpoint=True)))
    return picture


def _with_gamma(picture: Image, gamma: float) -> Image:
    """Another exposure curve."""
    table = np.rint(np.linspace(0, 1, 256) ** gamma * 255).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table), np.uint8)


def _warmer(picture: Image, shift: float) -> Image:
    """Another white balance: red gains `shift`, blue loses as much."""
    gains = np.array([1.0 + shift, 1.0, 1.0 - shift])
    table = np.clip(np.arange(256)[:, None] * gains, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table[None]), np.uint8)


def _motion_blurred(picture: Image, length: float, random: np.random.Generator) -> Image:
    """Smeared along a line of `length` pixels in a random direction."""
    return np.asarray(cv2.filter2D(picture, -1, motion_kernel(length, random)), np.uint8)


def motion_kernel(length: float, random: np.random.Generator) -> NDArray[np.float32]:
    """A line of `length` pixels in a random direction (n, n), with a sum of 1."""
    n = 2 * int(np.ceil(length / 2)) + 1
    angle = random.uniform(0, np.pi)
    half = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = np.rint((n // 2 + np.stack([-half, half])) * 16).astype(np.int32)
    kernel = np.zeros((n, n), np.uint8)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 255, 1, cv2.LINE_AA, 4)
    return kernel.astype(np.float32) / max(float(kernel.sum()), 1.0)


def _rescaled(picture: Image, factor: float, random: np.random.Generator) -> Image:
    """Made smaller by `factor` and enlarged again, as small faces are."""
    size = picture.shape[0]
    small_size = max(8, round(size * factor))
    small = cv2.resize(picture, (small_size, small_size), interpolation=cv2.INTER_AREA)
    back = cv2.INTER_CUBIC if random.random() < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(small, (size, size), interpolation=back), np.uint8)


def _noisy(picture: Image, level: float, random: np.random.Generator) -> Image:
    """Grain of `level` grey values in brightness and half as much in colour, a little coarser."""
    size = picture.shape[0]
    # The sum of two bytes is near enough to a normal number, and ten times as fast to draw.
    pairs = random.integers(0, 256, (2, size, size), np.uint8).astype(np.float32)
    grey = (pairs[0] + pairs[1] - 255.0) * (level / 104.5)
    half = random.integers(0, 256, (size // 2, size // 2, 3), np.uint8).astype(np.float32)
    tint = cv2.resize((half - 127.5) * (0.5 * level / 73.9), (size, size))
    return np.asarray(cv2.add(picture, tint + grey[..., None], dtype=cv2.CV_8U), np.uint8)


def _compressed(picture: Image, quality: int) -> Image:
    """Through JPEG and back."""
    encoded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB), np.uint8)
