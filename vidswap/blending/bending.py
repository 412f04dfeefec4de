"""One person's face bent by its mesh onto another's picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.mask import FACE_MARGIN, face_mask
from vidswap.faces import mesh

Picture = NDArray[np.uint8]  # (256, 256, 3) RGB
Points = NDArray[np.float32]  # (478, 2) in pixels of the 256-pixel crop
SIZE = 256
# Mean distance of two meshes, in pixels of the crop and an axis, up to which a reference counts
# whole, and from which on it counts nothing. Two people drawn at random are 4.3 apart (median).
NEAR, FAR = 6.0, 11.0
REFERENCE_REACH = 0.92
LEAST_EYE_HEIGHT = 0.44  # of the eye's width that keeps counting as the eye when it is shut
_PLACES = np.meshgrid(np.arange(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32))
_LUMA = np.array([0.299, 0.587, 0.114])
_LIGHT_WIDTH = 24.0  # pixels: cheeks and brows in shade, not the features themselves
_WIDE = (4.0, 0.05)  # how much wider than the near one the far kernel is, and its weight


@dataclass(frozen=True, eq=False)
class Shot:
    """An aligned face and its mesh in the crop's pixels."""

    crop: Picture
    landmarks: Points
    bare: bool = True  # without glasses


def bent_onto(
    face: Shot,
    frame: Shot,
    colour: float,
    reach: float = 0.95,
    points: NDArray[np.int64] | None = None,
    light: float = 0.0,
) -> Picture:
    """The inside of `face`, bent so that its mesh lies on that of `frame`, in place of its face.

    `colour` in [0, 1]: how far the face takes on the mean and spread of colour it covers. `reach`:
    how much of the face it covers, from its middle, in parts of the outline. `points`: those of
    the mesh that are known, by default all. `light` in [0, 1]: how far it takes on the light and
    shade of what it covers, as far as they are wide.
    """
    bent = _bent(face, frame, colour, light, points)
    inside = covered_part(frame.landmarks, reach)[..., None]
    mixed = inside * bent + (1.0 - inside) * frame.crop
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def reference_view(
    face: Shot,
    frame: Shot,
    colour: float = 0.9,
    light: float = 0.8,
    points: NDArray[np.int64] | None = None,
) -> NDArray[np.uint8]:
    """What a generator may see of the source: `face` bent onto `frame` (256, 256, 4), RGB and mask.

    The mask, 0 to 255, is the part of the face that counts, without what is between the lips and
    the lids: speech, blinks and gaze are the target's, and no bending makes them. It fades out as
    the two differ in pose or in the shape of the face, where bending tears it. Where one of
    the two wears glasses their part is left out: the source's are not wanted, the target's kept.
    """
    known = slice(None) if points is None else points
    distance = float(np.abs(face.landmarks[known] - frame.landmarks[known]).mean())
    alike = float(np.clip((FAR - distance) / (FAR - NEAR), 0.0, 1.0))
    view = np.zeros((SIZE, SIZE, 4), np.uint8)
    if alike > 0:
        bent = _bent(face, frame, colour, light, points)
        view[..., :3] = np.clip(np.rint(bent), 0, 255)
        part = covered_part(frame.landmarks, REFERENCE_REACH)
        part *= 1.0 - np.maximum(between_lips(frame.landmarks), within_lids(frame.landmarks))
        if not (face.bare and frame.bare):
            part *= 1.0 - behind_glasses(frame.landmarks)
        view[..., 3] = np.rint(255.0 * alike * part)
    return view


def _bent(
    face: Shot, frame: Shot, colour: float, light: float, points: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    known = slice(None) if points is None else points
    field_ = displacement(frame.landmarks[known], face.landmarks[known])
    bent = displaced(face.crop, field_)
    mean, deviation = face_colours(face)
    to_mean, to_deviation = face_colours(frame)
    gain = 1.0 + colour * (np.clip(to_deviation / deviation, 0.8, 1.25) - 1.0)
    coloured = bent * gain
    coloured += mean + colour * (to_mean - mean) - mean * gain
    if light:
        oval = frame.landmarks[list(mesh.FACE_OVAL)]
        coloured *= _light(frame.crop, coloured, face_mask(oval))[..., None] ** light
    return coloured


def covered_part(landmarks: Points, reach: float) -> NDArray[np.float32]:
    """Where `bent_onto` puts the face (256, 256), 0 to 1: the outline shrunk to `reach`, soft."""
    oval = landmarks[list(mesh.FACE_OVAL)]
    centre = oval.mean(axis=0)
    inside = face_mask(centre + reach / FACE_MARGIN * (oval - centre))
    softness = 1.0 + 30.0 * (1.0 - reach)  # pixels
    return np.asarray(cv2.GaussianBlur(inside, (0, 0), softness), np.float32)


def behind_glasses(landmarks: Points) -> NDArray[np.float32]:
    """Where glasses would lie (256, 256), 0 to 1: around the eyes and across the nose."""
    covered = np.zeros((SIZE, SIZE), np.float32)
    corners = (*mesh.RIGHT_EYE_CORNERS, *mesh.LEFT_EYE_CORNERS)
    right, left = landmarks[list(corners[:2])], landmarks[list(corners[2:])]
    width = 0.5 * float(np.linalg.norm(right[1] - right[0]) + np.linalg.norm(left[1] - left[0]))
    ends = np.rint([right.mean(axis=0), left.mean(axis=0)]).astype(int)
    down = np.array([ends[0, 1] - ends[1, 1], ends[1, 0] - ends[0, 0]]) * 0.08
    for end in ends:  # glasses hang below the eyes
        centre = np.rint(end + down).astype(int)
        cv2.circle(covered, centre.tolist(), round(0.95 * width), 1.0, -1)
    cv2.line(covered, ends[0].tolist(), ends[1].tolist(), 1.0, max(1, round(0.5 * width)))
    return np.asarray(cv2.GaussianBlur(covered, (0, 0), 3.0), np.float32)


def within_lids(landmarks: Points) -> NDArray[np.float32]:
    """Where the eyes are, open or shut (256, 256), 0 to 1."""
    eyes = np.zeros((SIZE, SIZE), np.float32)
    draw_eyes(eyes, np.rint(landmarks * 16.0).astype(np.int32), 1.0)
    return np.asarray(cv2.GaussianBlur(eyes, (0, 0), 1.5), np.float32)


def between_lips(landmarks: Points) -> NDArray[np.float32]:
    """Where teeth show (256, 256), 0 to 1."""
    inside = np.zeros((SIZE, SIZE), np.float32)
    points = np.rint(landmarks[list(mesh.INNER_LIPS)] * 16.0).astype(np.int32)
    cv2.fillPoly(inside, [points], 1.0, cv2.LINE_8, 4)
    return np.asarray(cv2.GaussianBlur(inside, (0, 0), 1.5), np.float32)


def draw_eyes(picture: Any, points: NDArray[np.int32], value: float) -> None:
    """Fill the place of both eyes, open or shut, of a mesh in sixteenths of a pixel."""
    for right, left in (mesh.RIGHT_EYE_CORNERS, mesh.LEFT_EYE_CORNERS):
        across = points[left] - points[right]
        axes = np.array([0.5, LEAST_EYE_HEIGHT / 2.0]) * np.linalg.norm(across)
        angle = float(np.degrees(np.arctan2(across[1], across[0])))
        centre = (points[right] + points[left]) // 2
        cv2.ellipse(
            picture, centre.tolist(), np.rint(axes).astype(int).tolist(), angle, 0, 360, value, -1,
            cv2.LINE_8, 4,
        )  # fmt: skip


def _light(
    wanted: Picture, shown: NDArray[np.float64], inside: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Gain (256, 256) from one picture's wide light and shade to another's, within `inside`."""
    small = (SIZE // 4, SIZE // 4)

    def wide(values: NDArray[np.generic]) -> NDArray[np.float64]:
        reduced = cv2.resize(values.astype(np.float64), small, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(reduced, (0, 0), _LIGHT_WIDTH / 4.0), np.float64)

    # Both are divided by the same blurred mask, which cancels; the offset is eight levels.
    level = 8.0 * wide(inside) + 1e-3
    gain = (wide(wanted @ _LUMA * inside) + level) / (wide(shown @ _LUMA * inside) + level)
    gain = np.clip(gain, 0.4, 2.5)
    return np.asarray(cv2.resize(gain, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.float64)


def displacement(at: Points, to: Points, width: float = 6.0) -> NDArray[np.float32]:
    """A smooth field (256, 256, 2), x then y, that is about `to - at` at the points `at`.

    The Gaussian mean (Nadaraya and Watson) of the differences, `width` pixels wide near the points
    and wider where there are none, as on cheeks of a mesh of contours; zero far from all points.
    """
    half = SIZE // 2  # the field is smooth
    rows, columns = np.clip(np.rint((at - 0.5) / 2.0).astype(int), 0, half - 1)[:, ::-1].T
    sums = np.zeros((half, half, 3), np.float32)
    values = np.concatenate([to - at, np.ones((len(at), 1), at.dtype)], axis=1)
    np.add.at(sums, (rows, columns), values.astype(np.float32))
    wider, share = _WIDE
    near = np.asarray(cv2.GaussianBlur(sums, (0, 0), width / 2.0), np.float32)
    far = np.asarray(cv2.GaussianBlur(sums, (0, 0), wider * width / 2.0), np.float32)
    sums = near + share * far
    smooth = sums[..., :2] / (sums[..., 2:] + 4e-6)  # four pixels have become one
    return np.asarray(cv2.resize(smooth, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.float32)


def displaced(picture: Picture, field_: NDArray[np.float32]) -> Picture:
    """The picture with every pixel taken from `field_` (256, 256, 2) beside it."""
    columns, rows = _PLACES
    x, y = columns + field_[..., 0], rows + field_[..., 1]
    warped = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def face_colours(shot: Shot) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation (3,) of the colours between the eyes and the corners of the mouth."""
    corners = (
        *mesh.RIGHT_EYE_CORNERS, *mesh.LEFT_EYE_CORNERS,
        mesh.RIGHT_MOUTH_CORNER, mesh.LEFT_MOUTH_CORNER,
    )  # fmt: skip
    points = shot.landmarks[list(corners)]
    left, top = np.clip(points.min(axis=0), 0, SIZE - 8).astype(int)
    right, bottom = np.clip(points.max(axis=0), 8, SIZE).astype(int)
    part = shot.crop[top : max(bottom, top + 8), left : max(right, left + 8)]
    pixels = part.reshape(-1, 3).astype(np.float64)
    # The offset keeps the ratio of two deviations near one in flat pictures.
    return pixels.mean(axis=0), pixels.std(axis=0) + 4.0
