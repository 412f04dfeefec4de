"""The source's irises where the target looks, as round as they are.

Two faces whose eyes look to different places, or are open differently far, have irises that no
smooth field of the lids brings onto each other: it squeezes and stretches them. An eyeball turns
behind its lids. Within the lids a field is therefore led by the iris: as a whole it goes to the
target's, and the lids cover what they cover. Only where the target shows more of the ball than the
photograph does is that drawn out to the lids.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.blending.fields import Floats, Picture, Points, displaced
from vidswap.blending.mask import sixteenths
from vidswap.blending.slits import Edge, lead_by_edges, part_of_outline, rows_of
from vidswap.faces import mesh

_ALL_OF_IT = 1.15  # radii of the iris that go along whole
_SOFT = 0.7  # pixels, deviation of the edge at the lids
_NEAREST = 0.25  # of an opening, from a lid to the height that both eyes are laid on each other at
_LARGER = (0.75, 1.33)  # times as large as the target's a source's eye may be
_LEAST = 4.0  # pixels, of an eye's width
_LID = 0.3  # widths of the eye, how far from its edge a lid goes where that goes
_FURTHER, _MOST = 0.4, 0.5  # of the difference of two openings, and of an opening at most
_UPPER, _LOWER = [3, 4, 5], [13, 12, 11]  # of an outline, the lids above each other
_EYES = (
    (mesh.RIGHT_EYE, mesh.RIGHT_EYE_CORNERS, mesh.RIGHT_IRIS),
    (mesh.LEFT_EYE, mesh.LEFT_EYE_CORNERS, mesh.LEFT_IRIS),
)


def warped_by_irises(picture: Picture, field: Floats, at: Points, to: Points) -> Picture:
    """A picture (256, 256, 3) with mesh `to`, warped by a field, the eyes by their irises.

    The field (256, 256, 2), x then y, says for every pixel of mesh `at` how far from it its colour
    is taken, as `fields.displacement` makes it for the rest of the face; at the eyes it is changed
    in place. At the lids the two pictures are mixed and not the two fields, which would show a rim
    of all that lies between.
    """
    at = with_lids_as_read(at, to)
    eyes = [(_Eye.of(at, *eye), _Eye.of(to, *eye)) for eye in _EYES]
    for shown, _ in eyes:
        _lead_lids(field, (at, to), shown)
    warped = displaced(picture, field)
    larger = np.clip([own.width / shown.width for shown, own in eyes], *_LARGER)
    for (shown, own), along in zip(eyes, larger, strict=True):
        if min(shown.width, own.width) > _LEAST:
            _lay_ball(warped, field, picture, (shown, own), (float(along), float(larger.mean())))
    return warped


def with_lids_as_read(at: Points, to: Points) -> Points:
    """Mesh `at` with its lids further from those of mesh `to` than they are, by `_FURTHER`.

    Lashes and the wet edge of the lower lid are as wide on a narrowed eye as on an open one, so
    that what lies between exact lids looks more like the photograph's opening than it is.
    """
    moved = at.copy()
    for lids, corners, _ in _EYES:
        outline = list(lids)
        (own, _), (wanted, raised) = (_opening(one, outline, corners) for one in (to, at))
        further = np.clip(_FURTHER * (wanted - own) / max(wanted, 1e-3), -_MOST, _MOST)
        moved[outline] += np.float32(further) * raised
    return moved


def _opening(landmarks: Points, lids: list[int], corners: tuple[int, int]) -> tuple[float, Points]:
    """How far an eye is open, in its widths, and how far each point of the lids (16, 2) is from
    the line between its corners.
    """
    start, along = landmarks[corners[0]], landmarks[corners[1]] - landmarks[corners[0]]
    square = np.array([-along[1], along[0]], np.float32)
    height = (landmarks[lids] - start) @ square / max(float(along @ along), 1e-6)
    opening = abs(float((height[_LOWER] - height[_UPPER]).mean()))
    return opening, np.asarray(height[:, None] * square, np.float32)


@dataclass(frozen=True, eq=False)
class _Eye:
    """An eye in axes of its own, from the iris's middle: along the line between its corners, and
    square to that.

    `outline` (16, 2) are the lids in pixels, and `upper` and `lower` the points of a mesh on them.
    `ends` are the corners along the first axis; `lids` the upper and the lower lid, (2, n) each, by
    place along it.
    """

    outline: Points
    upper: tuple[int, ...]
    lower: tuple[int, ...]
    width: float
    iris: Points
    radius: float
    axes: Points
    ends: tuple[float, float]
    lids: tuple[Points, Points]

    @classmethod
    def of(
        cls, landmarks: Points, lids: tuple[int, ...], corners: tuple[int, int],
        iris: tuple[int, ...],
    ) -> _Eye:  # fmt: skip
        outline, centre = landmarks[list(lids)], landmarks[iris[0]]
        across = landmarks[corners[1]] - landmarks[corners[0]]
        width = max(float(np.linalg.norm(across)), 1e-3)
        along = across / width * (1.0 if across[0] >= 0 else -1.0)
        axes = np.array([along, (-along[1], along[0])], np.float32)
        own = (outline - centre) @ axes.T
        edges = (own[:9], own[[*range(8, 16), 0]])
        upper, lower = (edge[np.argsort(edge[:, 0])].T for edge in edges)
        radius = float(np.linalg.norm(landmarks[list(iris[1:])] - centre, axis=1).mean())
        ends = (float(upper[0, 0]), float(upper[0, -1]))
        upper_lid, lower_lid = lids[:9], (*lids[8:], lids[0])
        return cls(outline, upper_lid, lower_lid, width, centre, radius, axes, ends, (upper, lower))

    def opening(self, u: Floats) -> tuple[Floats, Floats]:
        """The upper and the lower lid at places along the first axis; the upper one is above."""
        upper, lower = (np.interp(u, *lid).astype(np.float32) for lid in self.lids)
        return np.minimum(upper, lower - 1e-2), np.maximum(lower, upper + 1e-2)


def _lead_lids(field: Floats, meshes: tuple[Points, Points], shown: _Eye) -> None:
    """Change a field between two meshes, the first of which is shown, in place around an eye."""
    reach = _LID * shown.width
    part = part_of_outline(shown.outline, round(reach) + 2)
    if part is not None:
        upper, lower = (Edge.of(lid, meshes, part, reach) for lid in (shown.upper, shown.lower))
        lead_by_edges(field[part], upper, lower, reach)


def _lay_ball(
    warped: Picture,
    field: Floats,
    picture: Picture,
    eyes: tuple[_Eye, _Eye],
    larger: tuple[float, float],
) -> None:
    """`larger`: how many times as large as the shown eye its own ball is, along and across."""
    shown, own = eyes
    part = part_of_outline(shown.outline, 3)
    if part is None:
        return
    top, left = part[0].start, part[1].start
    columns = np.arange(left, part[1].stop, dtype=np.float32)
    rows = rows_of(field[part]) + np.float32(top)
    x, y = columns - shown.iris[0], rows - shown.iris[1]
    (ax, ay), (bx, by) = shown.axes
    u, v = ax * x + ay * y, bx * x + by * y
    u_own = _along(u, shown, own, larger[0])
    v_own = _across(v, shown.opening(u), own.opening(u_own), larger[1])
    (ax, ay), (bx, by) = own.axes
    ball = np.dstack([
        own.iris[0] + ax * u_own + bx * v_own - columns,
        own.iris[1] + ay * u_own + by * v_own - rows,
    ])  # fmt: skip
    inside = np.zeros(u.shape, np.float32)
    cv2.fillPoly(inside, [sixteenths(shown.outline - (left, top))], 1.0, cv2.LINE_AA, 4)
    inside = cv2.GaussianBlur(inside, (0, 0), _SOFT)[..., None]
    field[part] = np.where(inside > 0.5, ball, field[part])
    lids, within = warped[part].astype(np.float32), displaced(picture, ball, (left, top))
    warped[part] = np.rint(lids + inside * (within - lids)).astype(np.uint8)


def _along(u: Floats, shown: _Eye, own: _Eye, larger: float) -> Floats:
    """Where along its own eye a place of the shown one lies: the ball as it is, and where it has
    less beside the iris than is shown, the white drawn out.
    """
    result = larger * u
    for sign, end, own_end in zip((-1.0, 1.0), shown.ends, own.ends, strict=True):
        room, own_room = sign * end, sign * own_end
        if room <= 1.0 or larger * room <= own_room:
            continue
        whole = min(_ALL_OF_IT * shown.radius, 0.8 * room, 0.8 * own_room / larger)
        beyond = np.maximum(sign * u - whole, 0.0)
        slope = max((own_room - larger * whole) / (room - whole), 0.0)
        result += sign * (slope - larger) * beyond
    return np.asarray(result, np.float32)


def _across(
    v: Floats, shown: tuple[Floats, Floats], own: tuple[Floats, Floats], larger: float
) -> Floats:
    """The same square to it, at the openings there: the upper and the lower lid of each eye."""
    (upper, lower), (own_upper, own_lower) = shown, own
    near, own_near = _NEAREST * (lower - upper), _NEAREST * (own_lower - own_upper)
    level = np.minimum(np.maximum(upper + near, 0.0), lower - near)
    own_level = np.maximum(larger * level, own_upper + own_near)
    own_level = np.minimum(own_level, own_lower - own_near)
    above = np.minimum(larger, (own_level - own_upper) / np.maximum(level - upper, 1e-3))
    below = np.minimum(larger, (own_lower - own_level) / np.maximum(lower - level, 1e-3))
    from_level = v - level
    return np.asarray(own_level + np.where(from_level < 0, above, below) * from_level, np.float32)
