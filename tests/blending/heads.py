"""Canonical faces in a crop, turned as asked, flat or textured."""

from __future__ import annotations

import numpy as np

from vidswap.blending.warping import FaceCrop
from vidswap.faces.pose import canonical_mesh

SCALE, CENTRE = 95.0, (128.0, 108.0)  # pixels of the distance of the outer eye corners, and between


def turned_mesh(yaw: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """The canonical mesh (478, 2) in pixels of a crop, turned to the picture's right and up."""
    a, b = np.radians(yaw), np.radians(pitch)
    about_y = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    points = canonical_mesh() @ (about_x @ about_y).T
    return (SCALE * points[:, :2] + CENTRE).astype(np.float32)


def head(colour: tuple[int, int, int], yaw: float = 0.0, seed: int = 0) -> FaceCrop:
    """A face of one colour with a little noise, so that it counts as sharp."""
    noise = np.random.default_rng(seed).integers(-12, 13, (256, 256, 1))
    crop = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    return FaceCrop(crop, turned_mesh(yaw), np.ones((128, 128), np.float32))
