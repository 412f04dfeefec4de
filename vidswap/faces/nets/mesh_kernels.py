"""The steps of the attention mesh that are no convolutions, on one core of the CPU (numba).

`AttentionMesh` has them for batches on any device; see there for what they mean. Meshes are
(468, 3), affines (3, 2, 3) float32, maps as in `kernels`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vidswap.faces.nets.kernels import Array
from vidswap.runtime.kernels import compiled

Indices = NDArray[np.int64]


@compiled
def region_affines(
    mesh: Array, stride: float, regions: Indices, levels: Indices, side: float, affines: Array
) -> None:
    """Affines from each region's crop of side 1 to the feature map, into `affines`.

    The crop is `side` times as wide and high as the region, `regions` (3, N) are its points,
    `levels` (3, 2) the ends of a line that becomes level.
    """
    for region in range(3):
        first, last = mesh[levels[region, 0]], mesh[levels[region, 1]]
        length = max(math.hypot(last[0] - first[0], last[1] - first[1]), 1e-12)
        cosine, sine = (last[0] - first[0]) / length, (last[1] - first[1]) / length
        left = top = np.inf
        right = bottom = -np.inf
        for point in regions[region]:
            along = mesh[point, 0] * cosine + mesh[point, 1] * sine
            down = mesh[point, 1] * cosine - mesh[point, 0] * sine
            left, right = min(left, along), max(right, along)
            top, bottom = min(top, down), max(bottom, down)
        width, height = side * (right - left) / stride, side * (bottom - top) / stride
        x, y = (left + right) / (2 * stride), (top + bottom) / (2 * stride)
        affine = affines[region]
        affine[0, 0], affine[0, 1] = cosine * width, -sine * height
        affine[1, 0], affine[1, 1] = sine * width, cosine * height
        affine[0, 2] = cosine * x - sine * y - (affine[0, 0] + affine[0, 1]) / 2
        affine[1, 2] = sine * x + cosine * y - (affine[1, 0] + affine[1, 1]) / 2


@compiled
def crop(features: Array, affine: Array, out: Array) -> None:
    """A region of the feature map into the inside of `out`, bilinear; `affine` is for side 1."""
    size = out.shape[0] - 2
    last_y, last_x = features.shape[0] - 3, features.shape[1] - 3
    for v in range(size):
        for u in range(size):
            a, b = (u + 0.5) / size, (v + 0.5) / size
            x = affine[0, 0] * a + affine[0, 1] * b + affine[0, 2] - 0.5
            y = affine[1, 0] * a + affine[1, 1] * b + affine[1, 2] - 0.5
            target = out[v + 1, u + 1]
            if not (0 <= x <= last_x and 0 <= y <= last_y):
                target[:] = 0
                continue
            i, j = int(x), int(y)
            p, q = np.float32(x - i), np.float32(y - j)
            one = np.float32(1)
            for c in range(features.shape[2]):
                upper = (one - p) * features[j + 1, i + 1, c] + p * features[j + 1, i + 2, c]
                lower = (one - p) * features[j + 2, i + 1, c] + p * features[j + 2, i + 2, c]
                target[c] = (one - q) * upper + q * lower


@compiled
def refine(
    mesh: Array, parts: Array, region_of: Indices, sources: Indices, rims: Indices,
    affines: Array, size: int, stride: float, out: Array,
) -> None:  # fmt: skip
    """Landmarks (478, 3) from the mesh and the refined points (N, 2) of all parts, into `out`.

    `region_of` (N,) is each refined point's region, `sources` (478,) the place of each landmark in
    mesh and parts one after the other; a part counts in pixels of a crop of `size * stride`.
    """
    n_mesh = mesh.shape[0]
    for landmark in range(out.shape[0]):
        source = sources[landmark]
        if source < n_mesh:
            out[landmark, :2] = mesh[source, :2]
        else:
            point = parts[source - n_mesh]
            affine = affines[region_of[source - n_mesh]]
            for axis in range(2):
                turned = affine[axis, 0] * point[0] + affine[axis, 1] * point[1]
                out[landmark, axis] = turned / size + affine[axis, 2] * stride
        if landmark < n_mesh:
            out[landmark, 2] = mesh[landmark, 2]
    for iris in range(rims.shape[0]):
        depth = 0.0
        for point in rims[iris]:
            depth += mesh[point, 2] / rims.shape[1]
        for landmark in range(n_mesh + 5 * iris, n_mesh + 5 * iris + 5):
            out[landmark, 2] = depth
