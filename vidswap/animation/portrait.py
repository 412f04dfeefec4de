"""A photograph of a face brought to life: turning head, blinking eyes, opening mouth, slow camera.

The face's mesh says where lids, lips and jaw are and how deep each point lies. Lids and jaw are
moved in the photograph itself; then a displacement field, smooth and fading out away from the
head, turns the head as a rotated relief; then a camera zooms and pans over the whole. Coordinates
are pixels with centres at integers, x to the right, y down, depth away from the viewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.animation.motion import Motion, Pose, smooth_step, talking
from vidswap.errors import BadOptionError
from vidswap.faces import mesh
from vidswap.faces.detection import Face

Image = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]

CHIN = 152  # mesh index of the lowest point of the face
EARS = (234, 454)  # mesh indices of the outline beside the ears

VIEW_HEIGHT = 2.2  # of the widest view, in heights of the face
FACE_LEVEL = 0.56  # of the widest view's height, above the centre of the face
SURROUNDINGS = 2.5  # heights of the face around it that are kept of the photograph
SPARE_DETAIL = 1.15  # the photograph is enlarged this much beyond the widest view, for the zoom

LATTICE_STEPS = 24  # nodes of the displacement field across a face
INVERSION_STEPS = 6  # fixed-point steps; each shrinks the error by the field's slope, about 0.3

UPPER_LID_SHARE = 0.85  # of an eye's opening that the upper lid closes; the lower lid does the rest
LASHES = 0.3  # height of the upper lid's rim, which moves unstretched, in openings of the eye
LID_MARGIN = 0.75  # skin above and below an eye that stretches, in openings of the eye

JAW_DROP = 0.28  # of a fully opened mouth, in widths of the mouth
MOUTH_INSIDE = np.array([58.0, 20.0, 18.0])  # RGB


def animate(
    photo: Image,
    face: Face,
    times: Iterable[float],
    motion: Motion = talking,
    size: tuple[int, int] = (640, 480),
) -> Iterator[Image]:
    """Frames (height, width, 3) uint8 RGB of the photograph moved, one for each time in seconds.

    `photo` (H, W, 3) uint8 RGB shows `face`, whose mesh must have depth (the default detector's
    has); `size` is (width, height). Raises BadOptionError for a mesh without depth.
    """
    if face.landmarks_z is None:
        raise BadOptionError("the mesh has no depth; find it with the blazeface detector")
    left, top, right, bottom = _surroundings(photo, face)
    photo, mesh_points = photo[top:bottom, left:right], face.landmarks - [left, top]
    camera = _Camera.framing(photo, mesh_points, size)
    canvas = camera.enlarged(photo)
    points = camera.on_canvas(mesh_points)
    depth = face.landmarks_z.astype(np.float64) * camera.enlargement
    eyes = [_Eye(points, outline) for outline in (mesh.RIGHT_EYE, mesh.LEFT_EYE)]
    jaw = _Jaw(points)
    head = _Head(points, depth, canvas.shape)
    for seconds in times:
        pose = motion(seconds)
        moved = canvas.copy()
        for eye in eyes:
            eye.close(moved, pose.blink)
        jaw.drop(moved, pose.mouth)
        yield camera.shoot(moved, head, pose)


def _surroundings(photo: Image, face: Face) -> tuple[int, int, int, int]:
    """Box of the part of a photograph that any view can show: work is spared on a small face."""
    left, top, right, bottom = (float(side) for side in face.box)
    reach = SURROUNDINGS * (bottom - top)
    height, width = photo.shape[:2]
    return (
        max(0, int(left - reach)),
        max(0, int(top - reach)),
        min(width, int(right + reach)),
        min(height, int(bottom + reach)),
    )


@dataclass(frozen=True)
class _Camera:
    """The widest view (left, top, width) on the photograph, and what is cut out of it."""

    left: float
    top: float
    width: float
    size: tuple[int, int]

    @classmethod
    def framing(cls, photo: Image, points: Floats, size: tuple[int, int]) -> _Camera:
        """The widest view that shows the face with its hair and shoulders."""
        aspect = size[0] / size[1]
        low, high = points.min(axis=0), points.max(axis=0)
        limit = min(photo.shape[0], photo.shape[1] / aspect)
        height = min(VIEW_HEIGHT * float(high[1] - low[1]), limit)
        width = height * aspect
        left, top = (low + high) / 2 - np.array([0.5 * width, FACE_LEVEL * height])
        return cls(
            float(np.clip(left, 0, photo.shape[1] - width)),
            float(np.clip(top, 0, photo.shape[0] - height)),
            width,
            size,
        )

    @property
    def enlargement(self) -> float:
        """Canvas pixels a photograph's pixel."""
        return SPARE_DETAIL * self.size[0] / self.width

    def enlarged(self, photo: Image) -> Image:
        """The whole photograph as canvas, so that all later warps work on fine pixels."""
        scale = self.enlargement
        shape = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
        method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        return np.asarray(cv2.resize(photo, shape, interpolation=method), np.uint8)

    def on_canvas(self, points: Floats) -> NDArray[np.float64]:
        """Points of the photograph on the canvas."""
        return (np.asarray(points, np.float64) + 0.5) * self.enlargement - 0.5

    def shoot(self, canvas: Image, head: _Head, pose: Pose) -> Image:
        """The frame: the canvas with its head turned, seen through the camera."""
        width, height = self.size
        step = self.width / width / pose.zoom  # photograph's pixels a pixel of the frame
        centre_x = self.left + self.width * (0.5 + pose.pan[0])
        centre_y = self.top + self.width * height / width * (0.5 + pose.pan[1])
        x = centre_x + (np.arange(width) + 0.5 - width / 2) * step
        y = centre_y + (np.arange(height) + 0.5 - height / 2) * step
        scale = self.enlargement
        grid_x, grid_y = np.meshgrid(
            (x * scale - 0.5).astype(np.float32), (y * scale - 0.5).astype(np.float32)
        )
        shift = head.displacement(grid_x, grid_y, pose)
        return _sample(canvas, grid_x - shift[..., 0], grid_y - shift[..., 1])


class _Head:
    """The head as a relief that turns about a pivot at the height of the chin between the ears."""

    def __init__(self, points: Floats, depth: Floats, shape: tuple[int, ...]) -> None:
        low, high = points.min(axis=0), points.max(axis=0)
        face_width, face_height = high - low
        self._step = float(face_width / LATTICE_STEPS)
        rows, columns = (int(np.ceil(side / self._step)) + 1 for side in shape[:2])
        x, y = np.meshgrid(np.arange(columns) * self._step, np.arange(rows) * self._step)
        pivot = np.array([points[list(EARS), 0].mean(), points[CHIN, 1], depth[list(EARS)].mean()])
        relief = _relief(points, depth, x, y, blur=0.07 * face_width)
        self._from_pivot = np.stack([x, y, relief], axis=-1) - pivot
        centre = (low + high) / 2 - [0.0, 0.12 * face_height]  # hair and cap rise above the mesh
        radius = np.hypot(
            (x - centre[0]) / (0.72 * face_width), (y - centre[1]) / (0.80 * face_height)
        )
        self._weight = smooth_step((2.1 - radius) / 1.1)[..., None]

    def displacement(self, x: Floats, y: Floats, pose: Pose) -> NDArray[np.float32]:
        """How far what is seen at canvas places (x, y) has moved there, (..., 2) pixels."""
        turned = self._from_pivot @ _rotation(pose.yaw, pose.pitch, pose.roll).T
        forward = ((turned - self._from_pivot)[..., :2] * self._weight).astype(np.float32)
        backward = _inverted(forward, self._step)
        at = [(axis / self._step).astype(np.float32) for axis in (x, y)]
        found = cv2.remap(backward, at[0], at[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(found, np.float32)


def _rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Rotation of (x, y, depth) by degrees as in `Pose`: Rz(roll) @ Rx(-pitch) @ Ry(-yaw)."""
    (a, b, c), (s, t, r) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    about_y = np.array([[a, 0, -s], [0, 1, 0], [s, 0, a]])
    about_x = np.array([[1, 0, 0], [0, b, t], [0, -t, b]])
    about_z = np.array([[c, -r, 0], [r, c, 0], [0, 0, 1]])
    turned: NDArray[np.float64] = about_z @ about_x @ about_y
    return turned


def _relief(
    points: Floats, depth: Floats, x: Floats, y: Floats, blur: float
) -> NDArray[np.float64]:
    """Depth at every (x, y): the mesh's, smoothed over `blur` pixels, its mean far outside."""
    rows = []
    for row_x, row_y in zip(x, y, strict=True):
        squared = (row_x[:, None] - points[:, 0]) ** 2 + (row_y[:, None] - points[:, 1]) ** 2
        weights = (squared + blur**2) ** -2.0  # Shepard's interpolation
        rows.append(weights @ depth / weights.sum(axis=1))
    return np.stack(rows)


def _inverted(forward: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """The field b with b(p + f(p)) = f(p), on the same lattice of `step` pixels."""
    rows, columns = forward.shape[:2]
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    backward = forward
    for _ in range(INVERSION_STEPS):
        from_x, from_y = x - backward[..., 0] / step, y - backward[..., 1] / step
        backward = np.asarray(
            cv2.remap(forward, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            np.float32,
        )
    return backward


class _Feature:
    """A part of the face in axes of its own: u from corner to corner, v across, in pixels."""

    def __init__(self, corner: Floats, other_corner: Floats) -> None:
        self._origin = np.asarray(corner, np.float64)
        along = np.asarray(other_corner, np.float64) - self._origin
        self.length = float(np.linalg.norm(along))
        right = along / self.length
        self._axes = np.stack([right, [-right[1], right[0]]])

    def to_axes(self, points: Floats) -> NDArray[np.float64]:
        """Canvas points (..., 2) as (u, v)."""
        inner: NDArray[np.float64] = (np.asarray(points) - self._origin) @ self._axes.T
        return inner

    def contour(self, points: Floats) -> Callable[[Floats], NDArray[np.float64]]:
        """v as a function of u along contour points (N, 2), 0 beyond the corners."""
        inner = self.to_axes(points)
        u = np.concatenate([[0.0], inner[:, 0], [self.length]])
        v = np.concatenate([[0.0], inner[:, 1], [0.0]])
        order = np.argsort(u)
        return lambda at: np.interp(at, u[order], v[order], left=0.0, right=0.0)

    def box(
        self, along: tuple[float, float], across: tuple[float, float], shape: tuple[int, ...]
    ) -> tuple[slice, slice]:
        """The canvas rows and columns that hold ranges of u and v."""
        corners = np.array([[u, v] for u in along for v in across]) @ self._axes + self._origin
        low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)) + 1
        left, top = (max(0, int(side)) for side in low)
        right, bottom = int(min(shape[1], high[0])), int(min(shape[0], high[1]))
        return slice(top, bottom), slice(left, right)

    def grid(self, box: tuple[slice, slice]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """u and v of every pixel of a box."""
        y, x = np.mgrid[box]
        axes = self.to_axes(np.stack([x, y], axis=-1))
        return axes[..., 0], axes[..., 1]

    def resample(self, canvas: Image, box: tuple[slice, slice], u: Floats, v: Floats) -> Image:
        """What the canvas shows at places (u, v) of the pixels of a box."""
        places = np.stack([u, v], axis=-1) @ self._axes + self._origin
        return _sample(canvas, places[..., 0], places[..., 1])


class _Eye(_Feature):
    """An eye whose lids meet at a blink; the skin around them stretches."""

    def __init__(self, points: Floats, outline: Sequence[int]) -> None:
        first, *upper_lid, other = outline[: len(outline) // 2 + 1]
        lower_lid = outline[len(outline) // 2 + 1 :]
        # u runs to the right of the picture in both eyes, so that v points down.
        start, end = sorted((first, other), key=lambda index: float(points[index, 0]))
        super().__init__(points[start], points[end])
        self._upper = self.contour(points[upper_lid])
        self._lower = self.contour(points[list(lower_lid)])
        middle = np.array([self.length / 2])
        self._opening = max(1.0, float((self._lower(middle) - self._upper(middle))[0]))

    def close(self, canvas: Image, share: float) -> None:
        """Close the eye on the canvas, 0 leaves it, 1 makes the lids meet."""
        if share <= 0:
            return
        reach = 3 * self._opening
        box = self.box((0.0, self.length), (-reach, reach), canvas.shape)
        u, v = self.grid(box)
        upper = self._upper(u)
        lower = np.maximum(self._lower(u), upper)
        rim, margin = upper - LASHES * self._opening, LID_MARGIN * self._opening
        falls = share * UPPER_LID_SHARE * (lower - upper)
        rises = share * (1 - UPPER_LID_SHARE) * (lower - upper)
        edge = upper + falls
        # The upper lid covers the eyeball, which stays where it is: two values at the lid's edge.
        now = (upper - margin, rim + falls, edge, edge, lower - rises, lower + margin)
        before = (upper - margin, rim, upper, edge, lower, lower + margin)
        canvas[box] = self.resample(canvas, box, u, _piecewise(v, now, before))


def _piecewise(v: Floats, knots: Sequence[Floats], values: Sequence[Floats]) -> NDArray[np.float64]:
    """Linear between knots (each an array like `v`, in rising order), v itself outside."""
    result = np.array(v, np.float64)
    for low, high, start, end in zip(knots[:-1], knots[1:], values[:-1], values[1:], strict=True):
        share = (v - low) / np.maximum(high - low, 1e-6)
        result = np.where((v >= low) & (v <= high), start + share * (end - start), result)
    return result


class _Jaw(_Feature):
    """The lower lip and the jaw, which drop from the mouth's line and bare the dark inside."""

    def __init__(self, points: Floats) -> None:
        half = len(mesh.INNER_LIPS) // 2
        start, *lower_lip = mesh.INNER_LIPS[:half]
        super().__init__(points[start], points[mesh.INNER_LIPS[half]])
        self._line = self.contour(points[lower_lip])
        self._chin = float(self.to_axes(points[CHIN])[1])

    def drop(self, canvas: Image, share: float) -> None:
        """Open the mouth on the canvas, 0 leaves it, 1 is wide open."""
        if share <= 0:
            return
        amount = share * JAW_DROP * self.length
        neck = 2.0 * self._chin
        box = self.box((-self.length, 2 * self.length), (-0.5 * self._chin, neck), canvas.shape)
        u, v = self.grid(box)
        line = self._line(u)
        gap = self._fall(u, line, line) * amount
        origin = np.where(v > line, np.maximum(v - gap, line), v)
        for _ in range(INVERSION_STEPS):
            origin = np.where(
                v > line, np.maximum(v - self._fall(u, origin, line) * amount, line), v
            )
        picture = self.resample(canvas, box, u, origin)
        canvas[box] = self._darkened(picture, v - line, line + gap - v)

    def _fall(self, u: Floats, v: Floats, line: Floats) -> NDArray[np.float64]:
        """The share, in [0, 1], of the jaw's drop that the skin at (u, v) below the line takes."""
        from_middle = (2 * u / self.length - 1.0).astype(np.float64)
        lip = np.maximum(1.0 - from_middle**2, 0.0) ** 0.8
        chin = np.exp(-((from_middle / 1.5) ** 2)) * smooth_step((3.0 - np.abs(from_middle)) / 1.5)
        depth = (v - line) / np.maximum(self._chin - line, 1.0)
        to_chin = smooth_step(depth)
        to_neck = smooth_step((2.0 - depth) / 0.9)
        fall: NDArray[np.float64] = (lip * (1 - to_chin) + chin * to_chin) * to_neck
        return fall

    def _darkened(self, picture: Image, below_line: Floats, above_lip: Floats) -> Image:
        """Paint the inside of the mouth, with soft edges, where both distances are positive."""
        soft = max(1.5, 0.03 * self.length)
        inside = smooth_step((below_line + 0.5) / soft) * smooth_step((above_lip + 0.5) / soft)
        depth = np.clip(below_line / np.maximum(below_line + above_lip, 1.0), 0.0, 1.0)
        colour = MOUTH_INSIDE * (0.6 + 0.8 * depth[..., None])  # the tongue catches some light
        mixed = picture + inside[..., None] * (colour - picture)
        painted: Image = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
        return painted


def _sample(picture: Image, x: Floats, y: Floats) -> Image:
    """Pixels of a picture at places (x, y), cubic, mirrored beyond its edges."""
    sampled = cv2.remap(
        picture,
        np.asarray(x, np.float32),
        np.asarray(y, np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(sampled, np.uint8)
