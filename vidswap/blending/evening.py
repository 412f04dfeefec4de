"""Even out what light leaves on one side of a face only.

Nine numbers describe soft light. A shadow of the nose, a patch of sun on a cheek and a coloured
lamp beside the face remain. But skin is nearly the same on both sides of a face: where the two
differ over many pixels it was light, and the side that the soft light explains better shows the
skin.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.relighting import OFFSET, Floats, map_places, spread_over_map
from vidswap.faces.pose import mirrored_points

WIDE = 2.0  # pixels of a map: cheeks and sides of the nose, not moles and lines
# Logarithm of the light by which the two sides must differ in how well they are explained for one
# of them to count e times as much.
SURENESS = 0.08
KNOWN = 0.3  # share of skin around a point, on both sides, from which on they are compared whole
MOST = np.log(2.0)  # logarithm of the gain


def evening_gain(
    picture: Floats,
    shading: Floats,
    basis: Floats,
    skin: Floats,
    landmarks: NDArray[np.floating],
    points: NDArray[np.int64] | None = None,
) -> Floats:
    """The factor (256, 256, 3) that takes such patches out of a face in a shading (9, 3).

    `picture` (64, 64, 3) in [0, 255] and `basis` (64, 64, 9) as in `fit_shading`; `skin` (64, 64),
    0 to 1, is where the picture shows skin, and `landmarks` (478, 2) its mesh in the crop, of which
    `points` are known, by default all.
    """
    matt = np.maximum(basis @ shading, 0.0) + OFFSET
    unexplained = np.log((np.maximum(picture, 0.0) + OFFSET) / matt)
    counts = (skin + np.float32(1e-6))[..., None]
    sums = np.concatenate([unexplained * counts, counts], axis=2)
    sums = cv2.GaussianBlur(sums.astype(np.float32), (0, 0), WIDE)
    places = map_places(landmarks)
    x, y = places.T[..., None]
    found = cv2.remap(sums, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    skins, values = found[:, 3], found[:, :3] / np.maximum(found[:, 3:], 1e-6)
    other = mirrored_points()
    one = np.arange(len(other)) if points is None else points[np.isin(other[points], points)]
    other = other[one]
    off, off_there = (np.abs(values[side]).mean(axis=1) for side in (one, other))
    share = 1.0 / (1.0 + np.exp((off_there - off) / SURENESS))  # of the other side's skin
    share *= np.clip(np.minimum(skins[one], skins[other]) / KNOWN, 0.0, 1.0)
    gain = spread_over_map(places[one], share[:, None] * (values[other] - values[one]))
    gain = np.exp(np.clip(gain, -MOST, MOST))
    return np.asarray(cv2.resize(gain, (256, 256), interpolation=cv2.INTER_LINEAR), np.float32)
