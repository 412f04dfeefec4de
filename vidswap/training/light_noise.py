"""Another light and another camera, on what a generator is shown of the source.

A net that may copy what it is shown copies its light as well, unless that is wrong as often as not.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.training.augmentation import DegradationConfig, degrade
from vidswap.training.occluders.layer import Image


@dataclass(frozen=True)
class LightConfig:
    """How far the light may be off; gains are relative."""

    least_gain: float = 0.6  # of all that follows together
    most_gain: float = 1.6
    shade: float = 2.0  # between the brightest and the darkest place, at most
    tint: float = 0.25  # how much of the shade is each channel's own
    exposure: float = 0.2
    cast: float = 0.12  # of each channel


# Optics and codec alone: light is drawn below, and noise would be painted.
CAMERA = DegradationConfig(
    gamma=0.2, temperature=0.0, scaling=0.2, smallest_scale=0.5, blur=0.3,
    gaussian_blur=(0.4, 1.5), motion_blur=(3.0, 5.0), noise=0.0, jpeg=0.4, jpeg_quality=(40, 95),
)  # fmt: skip


def in_other_light(
    picture: Image, random: np.random.Generator, config: LightConfig = LightConfig()
) -> Image:
    """A crop (S, S, 3) uint8 RGB under a light of its own, as another camera would have it."""
    lit = picture * light_gain(picture.shape[0], random, config)
    return degrade(np.clip(np.rint(lit), 0, 255).astype(np.uint8), random, CAMERA)


def light_gain(
    size: int, random: np.random.Generator, config: LightConfig = LightConfig()
) -> NDArray[np.float32]:
    """A smooth gain (size, size, 3) in [least_gain, most_gain]: shade, exposure and cast.

    The shade is nine coefficients per channel of the spherical harmonics on a dome's normals.
    """
    coarse = 32  # it is smooth
    weights = random.normal(size=(9, 1)) + config.tint * random.normal(size=(9, 3))
    shade = _harmonics(coarse) @ weights
    spread = float(np.ptp(shade))
    shade *= random.uniform(0.0, np.log(config.shade)) / max(spread, 1e-6)
    shade -= shade.mean(axis=(0, 1))
    exposure = random.uniform(-1.0, 1.0) * np.log1p(config.exposure)
    cast = random.uniform(-1.0, 1.0, 3) * np.log1p(config.cast)
    gain = np.exp(shade + exposure + cast)
    gain = np.clip(gain, config.least_gain, config.most_gain).astype(np.float32)
    return np.asarray(cv2.resize(gain, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def _harmonics(size: int) -> NDArray[np.float64]:
    """The first nine spherical harmonics (size, size, 9), unnormalised, on a dome over the crop."""
    x, y = np.meshgrid(*2 * [np.linspace(-0.9, 0.9, size)])
    z = np.sqrt(np.maximum(1.0 - 0.6 * (x**2 + y**2), 0.0))
    terms = (np.ones_like(x), x, y, z, x * y, x * z, y * z, 3.0 * z**2 - 1.0, x**2 - y**2)
    return np.stack(terms, axis=2)
