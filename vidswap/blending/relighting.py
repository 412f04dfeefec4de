"""Bring a face into another's light: shading as nine coefficients per colour channel.

Shading is a low-order function of the surface normal (Ramamoorthi and Hanrahan, *An Efficient
Representation for Irradiance Environment Maps*, 2001: nine spherical harmonics hold 98 % of the
light that a matt surface returns). It is fitted on skin; the ratio of two shadings relights.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.mask import face_mask, sixteenths
from vidswap.faces import mesh
from vidswap.faces.pose import STABLE_POINTS, canonical_mesh, fit_pose

Floats = NDArray[np.float32]

SIZE = 64  # side of the maps, a quarter of the crop's
N_COEFFICIENTS = 9
INNER = 0.92  # of the outline, within which skin is looked for
FEATURE_MARGIN = 5  # pixels of a map around lids, brows and lips that are no skin
RIDGE = np.array([0.0, 1, 1, 1, 4, 4, 4, 4, 4], np.float32)  # times the skin's weight: smooth light
RIDGE_SHARE = 0.02
FIT_ROUNDS, OUTLIER = 3, 14.0  # levels off, from which a pixel (a spot, a shadow) counts less
OFFSET = 12.0  # levels: keeps the ratio of two dark shadings near one
LEAST_GAIN, MOST_GAIN = 1 / 2.5, 2.5
GAIN_BLUR = 1.5  # pixels of a map
# What is brighter than so many times the matt skin is shine, of which so much is left.
SHINE, SHINE_LEFT = 1.2, 0.4
NEIGHBOURS = 14  # points of the mesh that a normal is fitted to

_BROWS = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
)


@cache
def canonical_normals() -> NDArray[np.float64]:
    """Unit normals (478, 3) of the canonical mesh: x right, y down, z away from the viewer."""
    points = canonical_mesh().astype(np.float64)
    normals = np.empty_like(points)
    for i, point in enumerate(points):
        near = points[np.argsort(((points - point) ** 2).sum(axis=1))[:NEIGHBOURS]]
        normal = np.linalg.svd(near - near.mean(axis=0))[2][2]
        normals[i] = normal if normal[2] < 0 else -normal  # a face is seen from outside
    return normals


def normal_map(landmarks: NDArray[np.floating], points: NDArray[np.int64] | None = None) -> Floats:
    """Unit normals (64, 64, 3) of a face over its crop, from the pose of its mesh (478, 2).

    `points` are those of the mesh that are known, by default all.
    """
    stable = STABLE_POINTS if points is None else np.intersect1d(STABLE_POINTS, points)
    known = np.arange(len(landmarks)) if points is None else points
    fit = fit_pose(landmarks[stable], canonical_mesh()[stable])
    turned = canonical_normals()[known] @ fit.rotation.T
    mixed = spread_over_map(map_places(landmarks[known]), turned)
    normals = mixed / np.maximum(np.linalg.norm(mixed, axis=2), 1e-6)[..., None]
    return np.asarray(normals, np.float32)


def map_places(landmarks: NDArray[np.floating]) -> Floats:
    """Points of the crop (N, 2) in pixels of the maps."""
    step = 256 // SIZE
    return np.asarray((landmarks - (step - 1) / 2) / step, np.float32)


def spread_over_map(places: Floats, values: NDArray[np.floating]) -> Floats:
    """The smooth map (64, 64, 3) of values (N, 3) at places (N, 2), near zero far from all."""
    columns, rows = np.clip(np.rint(places).astype(int), 0, SIZE - 1).T
    sums = np.zeros((SIZE, SIZE, 4), np.float32)
    np.add.at(sums, (rows, columns), np.column_stack([values, np.ones(len(values))]))
    near, far = (cv2.GaussianBlur(sums, (0, 0), width) for width in (1.6, 6.0))
    mixed = near + 0.05 * far
    return np.asarray(mixed[..., :3] / np.maximum(mixed[..., 3:], 1e-6), np.float32)


def harmonics(normals: Floats) -> Floats:
    """The nine basis functions (..., 9) of unit normals (..., 3), without their constants."""
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    return np.stack(
        [np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3.0 * z * z - 1.0], axis=-1
    )


def skin_part(landmarks: NDArray[np.floating]) -> Floats:
    """Where a face is skin by its mesh (64, 64), 0 to 1: within the outline, off the features."""
    oval = landmarks[list(mesh.FACE_OVAL)]
    centre = oval.mean(axis=0)
    skin = face_mask(centre + INNER * (oval - centre), SIZE)
    features = np.zeros((SIZE, SIZE), np.uint8)
    for outline in (mesh.RIGHT_EYE, mesh.LEFT_EYE, mesh.OUTER_LIPS, *_BROWS):
        points = sixteenths(np.asarray(landmarks[list(outline)], np.float32), SIZE)
        cv2.fillPoly(features, [points], 1, cv2.LINE_8, 4)
    kernel = np.ones((FEATURE_MARGIN, FEATURE_MARGIN), np.uint8)
    return np.asarray(skin * (1 - cv2.dilate(features, kernel)), np.float32)


_MEAN = np.full(3, 1.0 / 3.0)  # as a product; NumPy is slow along short axes
CHANNEL_MEAN = np.full((1, 3), 1.0 / 3.0, np.float32)  # for cv2.transform


def fit_shading(picture: NDArray[np.floating], weight: Floats, basis: Floats) -> Floats:
    """The coefficients (9, 3) that explain a picture (64, 64, 3) in [0, 255] where `weight` is.

    `basis` (64, 64, 9) is of `harmonics`. Pixels that the light does not explain, such as spots,
    stubble and shadows of hair, count less and less.
    """
    chosen = weight > 0.05
    if chosen.sum() < 40:
        mean = np.average(picture.reshape(-1, 3), axis=0, weights=weight.ravel() + 1e-6)
        flat = np.zeros((N_COEFFICIENTS, 3), np.float32)
        flat[0] = mean
        return flat
    known, values, weights = basis[chosen], picture[chosen], weight[chosen]
    counts = weights.copy()
    coefficients = np.zeros((N_COEFFICIENTS, 3))
    for _ in range(FIT_ROUNDS):
        weighted = known * counts[:, None]
        ridge = np.diag(RIDGE * RIDGE_SHARE * counts.sum() + 1e-6)
        coefficients = np.linalg.solve(known.T @ weighted + ridge, weighted.T @ values)
        off = np.abs(values - known @ coefficients) @ _MEAN
        counts = weights * np.minimum(1.0, OUTLIER / np.maximum(off, 1e-6))
    return coefficients.astype(np.float32)


def relighting_gain(source: Floats, target: Floats, basis: Floats, share: float = 1.0) -> Floats:
    """The factor (256, 256, 3) that takes a face from one shading (9, 3) to another.

    `share` of the way, limited and smooth: light that differs much is not copied whole.
    """
    before, wanted = np.maximum(basis @ source, 0.0), np.maximum(basis @ target, 0.0)
    gain = np.clip((wanted + OFFSET) / (before + OFFSET), LEAST_GAIN, MOST_GAIN) ** share
    gain = cv2.GaussianBlur(gain.astype(np.float32), (0, 0), GAIN_BLUR)
    return np.asarray(cv2.resize(gain, (256, 256), interpolation=cv2.INTER_LINEAR), np.float32)


def matt_brightness(shading: Floats, basis: Floats) -> Floats:
    """How bright matt skin is in a shading (9, 3), (256, 256), never zero."""
    matt = np.maximum(basis @ (shading @ _MEAN.astype(np.float32)), 0.0) + OFFSET
    return np.asarray(cv2.resize(matt, (256, 256), interpolation=cv2.INTER_LINEAR), np.float32)


def with_dimmed_shine(lit: Floats, matt: Floats) -> Floats:
    """A face (256, 256, 3), changed to be less shiny; `matt` (256, 256) is of `matt_brightness`.

    Gloss mirrors the lamps of the photograph, whatever the tone of the skin is. On dark skin it is
    many times as bright, and lit for a lighter face it would glow.
    """
    luma = cv2.transform(lit, CHANNEL_MEAN)
    over = (1.0 - SHINE_LEFT) * np.maximum(luma - SHINE * matt, 0.0)
    lit *= (1.0 - over / np.maximum(luma, 1.0))[..., None]
    return lit
