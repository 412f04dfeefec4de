"""Eyes and mouths, whose edges lie close to each other and part.

A field that is smooth across such a slit brings neither edge where it belongs once two faces have
it open differently far. So either edge has a field of its own, and they meet between the edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.fields import SIZE, Floats, Points

_LEAST = 4  # pixels, of a side of the part that is changed


@dataclass(frozen=True, eq=False)
class Edge:
    """An edge of a slit, a lid or a lip, by column of a part of the crop.

    `rows` (w,) are rows of the part, and `moved` (w, 2) is from how far beside it the edge comes, x
    then y. `share` (w,) is one between its ends.
    """

    rows: Floats
    moved: Floats
    share: Floats

    @classmethod
    def of(
        cls,
        points: tuple[int, ...],
        meshes: tuple[Points, Points],
        part: tuple[slice, slice],
        beyond: float,
    ) -> Edge:
        """The edge through points of a mesh, that comes from those of the other.

        Its share falls to nothing within `beyond` pixels of its ends.
        """
        at, to = (landmarks[list(points)] for landmarks in meshes)
        order = np.argsort(at[:, 0], kind="stable")
        at, to = at[order], to[order]
        rows, columns = part
        x = np.arange(columns.start, columns.stop, dtype=np.float64)
        moved = np.stack([np.interp(x, at[:, 0], axis) for axis in (to - at).T], axis=1)
        within = np.minimum(x - at[0, 0], at[-1, 0] - x) + beyond
        share = clipped(within / max(beyond, 1.0))
        height = np.interp(x, at[:, 0], at[:, 1]) - rows.start
        return cls(*(one.astype(np.float32) for one in (height, moved, share)))

    def missing(self, field: Floats) -> Floats:
        """What a field of the part (h, w, 2) lacks along the edge (w, 2), by its share."""
        x = np.arange(len(self.rows), dtype=np.float32)
        found = cv2.remap(field, x[None], self.rows[None], cv2.INTER_LINEAR)[0]
        return np.asarray(self.share[:, None] * (self.moved - found), np.float32)


def clipped(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Values between zero and one: of small arrays in a third of the time of `numpy.clip`."""
    return np.asarray(np.minimum(np.maximum(values, 0.0), 1.0))


def part_of_outline(outline: Points, margin: int) -> tuple[slice, slice] | None:
    """Rows and columns of the crop around an outline (n, 2); None where hardly any are in it."""
    (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
    rows = slice(max(floor(top) - margin, 0), min(ceil(bottom) + margin + 1, SIZE))
    columns = slice(max(floor(left) - margin, 0), min(ceil(right) + margin + 1, SIZE))
    if columns.stop - columns.start < _LEAST or rows.stop - rows.start < _LEAST:
        return None
    return rows, columns


def rows_of(part: Floats) -> Floats:
    """The rows of a part (h, 1)."""
    return np.arange(len(part), dtype=np.float32)[:, None]


def lead_by_edges(field: Floats, upper: Edge, lower: Edge, reach: float) -> None:
    """Change a part of a field (h, w, 2) in place: exact at the upper and at the lower edge of a
    slit, and as it was from `reach` pixels beyond. Both sides meet in the middle of the slit.
    """
    y = rows_of(field)
    above = y < (upper.rows + lower.rows) / 2.0
    beyond = np.where(above, upper.rows - y, y - lower.rows)
    share = clipped(1.0 - beyond / np.float32(reach))[..., None]
    field += share * np.where(above[..., None], upper.missing(field), lower.missing(field))
