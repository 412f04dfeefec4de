"""The source's lips, parted as far as the target's.

A smile that shows teeth is brought onto a mouth that is shut: on the line between its lips the one
lip comes from above the teeth and the other from below, and a field that is smooth there comes from
the teeth.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from vidswap.blending.fields import Floats, Points
from vidswap.blending.slits import Edge, clipped, part_of_outline, rows_of
from vidswap.faces import mesh

SHUT = 1.5  # pixels, of a gap between the lips that counts as none; one twice as wide is whole
_MARGIN = 3  # pixels
_CORNERS, _OUTER_CORNERS = (78, 308), (61, 291)
# From the right corner of the mouth to the left one, and from above.
_EDGES = (
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
)


def part_lips(field: Floats, at: Points, to: Points) -> None:
    """Change a field (256, 256, 2) from mesh `at` to `to`, (478, 2) each, in place at the lips.

    Each lip and what is between them comes from what it is there, evenly from edge to edge.
    """
    part = part_of_outline(at[list(mesh.OUTER_LIPS)], _MARGIN)
    if part is None:
        return
    beside = np.abs(at[list(_CORNERS), 0] - at[list(_OUTER_CORNERS), 0]).mean()
    edges = [Edge.of(points, (at, to), part, float(beside)) for points in _EDGES]
    own, y = field[part], rows_of(field[part])
    rows = [edge.rows for edge in edges]
    # Teeth are not to be seen in single pixels.
    shut = np.clip(SHUT - (rows[2] - rows[1]) / 2.0, 0.0, (rows[2] - rows[1]) / 2.0)
    rows[1:3] = rows[1] + shut, rows[2] - shut
    moved = np.broadcast_to(edges[0].moved, own.shape)
    for n, (before, after) in enumerate(pairwise(edges)):
        thick = np.maximum(rows[n + 1] - rows[n], 1e-3)
        place = clipped((y - rows[n]) / thick)[..., None]
        moved = moved + place * (after.moved - before.moved)
    # Within the outer edges, to which the field is exact.
    upper, lower = edges[0].rows, edges[-1].rows
    share = edges[1].share * clipped(np.minimum(y - upper, lower - y))
    own += share[..., None] * (moved - own)
