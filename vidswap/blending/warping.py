"""One person's face warped by its mesh onto another's picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.detail import finest_band
from vidswap.blending.fields import displacement
from vidswap.blending.irises import warped_by_irises
from vidswap.blending.lips import part_lips
from vidswap.blending.mask import FACE_FEATHER, FACE_MARGIN, face_mask, sixteenths
from vidswap.faces import mesh
from vidswap.faces.pose import iris_offsets, paired_eye_openings
from vidswap.faces.skin import uncovered_part

Picture = NDArray[np.uint8]  # (256, 256, 3) RGB
Points = NDArray[np.float32]  # (478, 2) in pixels of the 256-pixel crop
SIZE = 256
# Mean distance of two meshes, in pixels of the crop and an axis, up to which a reference counts
# whole, and from which on it counts nothing. Two people drawn at random are 4.3 apart (median).
NEAR, FAR = 8.0, 14.0
REFERENCE_REACH = 0.96
# Area in the photograph of a pixel of the view, up to which it counts nothing, and from which on it
# counts whole: a cheek that the photograph shows from the side is stretched out of its rim.
STRETCHED = (0.1, 0.3)
# Opening of the target's eyes, in parts of the source's, up to which these are not shown, and from
# which on they are; and the opening below which the source's own count as shut.
EYES_AS_OPEN = (0.3, 0.5)
SHUT = 0.1
# How far apart two irises are from the middles of their eyes, in widths of the eye, up to which an
# eye of the source can be laid over what the generator draws, and from which on it cannot.
AVERTED = (0.08, 0.16)
# How many times as wide as the target's a source's mouth is, up to which the folds beside a smile
# are shown, and from which on they are not; and where they are, in distances of the eyes: so far
# beyond the corners, and so large.
SMILE = (1.1, 1.35)
FOLDS_BEYOND, FOLDS = 0.1, 0.2
EYE_AXES = (1.0, 0.44)  # in widths of the eye: what counts as the eye, open or shut
# With lashes, crease and the corners' shade, which go where the lid goes, and how softly that ends.
LID_AXES, LID_SOFTNESS = (1.3, 0.8), 4.0  # pixels of the crop
_EYE_CORNERS = (mesh.RIGHT_EYE_CORNERS, mesh.LEFT_EYE_CORNERS)
_PLACES = np.meshgrid(np.arange(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32))
_VALUES = np.repeat(np.arange(256, dtype=np.float32)[:, None], 3, axis=1)  # of each channel
TINTED = 0.5  # of skin's mean: what is darker takes on less of the tint
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LIGHT_WIDTH = 24.0  # pixels: cheeks and brows in shade, not the features themselves
_OUTER_LIPS = np.isin(np.arange(mesh.N_LANDMARKS), mesh.OUTER_LIPS)
_BUT_IRISES = np.setdiff1d(
    np.arange(mesh.N_LANDMARKS), np.array([*mesh.RIGHT_IRIS, *mesh.LEFT_IRIS])
)


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """An aligned face and its mesh in the crop's pixels.

    `visibility` (128, 128), 0 to 1: where nothing lies before the face, as glasses and hands do
    (`vidswap.faces.occlusion`); None is everywhere. `fine` (512, 512) uint8 is the face in grey
    where its picture shows more than the crop, and `band` what of it is finer.
    """

    crop: Picture
    landmarks: Points
    visibility: NDArray[np.float32] | None = None
    fine: NDArray[np.uint8] | None = None

    @cached_property
    def band(self) -> NDArray[np.int16] | None:
        """What `vidswap.blending.detail.finest_band` tells of `fine`."""
        return None if self.fine is None else finest_band(self.fine)

    @cached_property
    def uncovered(self) -> NDArray[np.float32]:
        """Where neither that is seen, nor hair or a hat around the brows (128, 128), 0 to 1."""
        skin = uncovered_part(self.crop, self.landmarks)
        return skin if self.visibility is None else skin * self.visibility


def with_inexact_mesh(shot: FaceCrop, random: np.random.Generator) -> FaceCrop:
    """The face with a mesh as far off as a landmark net's: a pixel as a whole, and each point."""
    off = random.normal(size=(mesh.N_LANDMARKS, 2)) + random.normal(size=2)
    return replace(shot, landmarks=(shot.landmarks + off).astype(np.float32))


def warped_onto(
    face: FaceCrop,
    frame: FaceCrop,
    colour: float,
    reach: float = 0.95,
    points: NDArray[np.int64] | None = None,
    light: float = 0.0,
    uncovered: bool = False,
) -> Picture:
    """The inside of `face`, warped so that its mesh lies on that of `frame`, in place of its face.

    `colour` in [0, 1]: how far the face takes on the mean and spread of colour it covers. `reach`:
    how much of the face it covers, from its middle, in parts of the outline. `points`: those of
    the mesh that are known, by default all. `light` in [0, 1]: how far it takes on the light and
    shade of what it covers, as far as they are wide. `uncovered`: without what lies on it, as
    hair does.
    """
    warped, field_ = _warped(face, frame, colour, points)
    inside = covered_part(frame.landmarks, reach)
    if light or uncovered:
        skin = _uncovered(face, field_)
        if light:
            warped *= three_times(_light(frame, warped, skin, light))
        if uncovered:
            inside *= cv2.resize(skin, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    share = three_times(inside)
    warped *= share
    warped += (1.0 - share) * frame.crop
    return np.asarray(cv2.convertScaleAbs(np.maximum(warped, 0.0, out=warped)), np.uint8)


def three_times(map_: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map (H, W) as (H, W, 3): pictures are multiplied by that in a quarter of the time."""
    return np.asarray(cv2.merge((map_,) * 3), np.float32)


def reference_view(
    face: FaceCrop,
    frame: FaceCrop,
    colour: float = 0.9,
    light: float = 0.8,
    points: NDArray[np.int64] | None = None,
) -> NDArray[np.uint8]:
    """What a generator may see of the source: `face` warped onto `frame` (256, 256, 4).

    The mask, 0 to 255, is the part of the face that counts, without what is between the lips, and
    each eye as far as it is shut (`eyes_alike`): no warping makes teeth or lids. It fades out as
    the two differ in pose or in the shape of the face, where warping tears it, and where little of
    the photograph is drawn out over much of the target. What lies on one of the two, as glasses and
    hands do, is left out, and so is the source's hair: the source's is not wanted, the target's
    kept.
    """
    view = np.zeros((SIZE, SIZE, 4), np.uint8)
    warped, part, skin, _ = warped_part(face, frame, colour, points)
    if part.any():
        warped *= three_times(_light(frame, warped, skin, light))
        part *= 255.0
        mask = cv2.resize(part, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        pictures = [
            cv2.convertScaleAbs(np.maximum(warped, 0.0, out=warped)),
            cv2.convertScaleAbs(mask),
        ]
        cv2.mixChannels(pictures, [view], [0, 0, 1, 1, 2, 2, 3, 3])
    return view


def warped_part(
    face: FaceCrop, frame: FaceCrop, colour: float, points: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """`face` warped onto `frame` in its own light: RGB (256, 256, 3), the part of it that counts as
    in `reference_view`, where it shows skin, (128, 128) in [0, 1] each, and the field (256, 256, 2)
    that warped it.
    """
    known = slice(None) if points is None else points
    distance = float(np.abs(face.landmarks[known] - frame.landmarks[known]).mean())
    alike = float(np.clip((FAR - distance) / (FAR - NEAR), 0.0, 1.0))
    warped, field_ = _warped(face, frame, colour, points)
    skin = _uncovered(face, field_)
    half = SIZE // 2  # the mask is soft
    part = covered_part(frame.landmarks, REFERENCE_REACH, half)
    part *= skin * _unstretched(field_)
    eyes = unlike_eyes(face, frame, half)
    hidden = np.maximum(between_lips(frame.landmarks, half), eyes)
    if (smile := smile_beyond(face, frame)) > 0.0:
        hidden = np.maximum(hidden, smile * beside_mouth(frame.landmarks, half))
    part *= 1.0 - hidden
    if frame.visibility is not None:
        part *= frame.visibility
    return warped, part * np.float32(alike), skin, field_


def _warped(
    face: FaceCrop, frame: FaceCrop, colour: float, points: NDArray[np.int64] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The face as it lies on the frame (256, 256, 3), and the field that brought it there."""
    known = _BUT_IRISES if points is None else np.intersect1d(points, _BUT_IRISES)
    exact = _OUTER_LIPS[known]
    field_ = displacement(frame.landmarks[known], face.landmarks[known], exact, rounds=1)
    part_lips(field_, frame.landmarks, face.landmarks)
    warped = warped_by_irises(face.crop, field_, frame.landmarks, face.landmarks)
    mean, deviation = face_colours(face)
    to_mean, to_deviation = face_colours(frame)
    gain = 1.0 + colour * (np.clip(to_deviation / deviation, 0.8, 1.25) - 1.0)
    added = mean + colour * (to_mean - mean) - mean * gain
    # On black a tint would be a colour of its own: brown eyes of a reddish face would be blue in a
    # pale one.
    tinted = np.minimum(_VALUES / np.maximum(TINTED * mean, 1.0), 1.0) ** 2
    coloured = _VALUES * gain + added.mean() + tinted * (added - added.mean())
    return np.asarray(cv2.LUT(warped, coloured[None]), np.float32), field_


def _uncovered(face: FaceCrop, field_: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where a warped face shows skin, and not what lies on it (128, 128), 0 to 1."""
    columns, rows = _PLACES
    # Pixels 0, 2, ... of the crop, in pixels of its half.
    x = (columns[::2, ::2] + field_[::2, ::2, 0] - 0.5) / 2.0
    y = (rows[::2, ::2] + field_[::2, ::2, 1] - 0.5) / 2.0
    seen = cv2.remap(face.uncovered, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.float32)


def _unstretched(field_: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where a field (256, 256, 2) does not draw little of a picture out (128, 128), 0 to 1.

    Asked of whole cheeks, not of lids and brows, which a raised brow draws out.
    """
    wide = cv2.GaussianBlur(field_[::2, ::2], (0, 0), 4.0)
    (rows_x, rows_y), (columns_x, columns_y) = (
        cv2.split(cv2.Sobel(wide, cv2.CV_32F, *order, ksize=1, scale=0.25))
        for order in ((0, 1), (1, 0))
    )
    area = (1.0 + columns_x) * (1.0 + rows_y) - rows_x * columns_y
    least, most = STRETCHED
    counts = np.clip((area - least) / (most - least), 0.0, 1.0).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(counts, (0, 0), 2.0), np.float32)


def covered_part(landmarks: Points, reach: float, size: int = SIZE) -> NDArray[np.float32]:
    """Where `warped_onto` puts the face (size, size), 0 to 1: the outline times `reach`, soft."""
    oval = landmarks[list(mesh.FACE_OVAL)]
    centre = oval.mean(axis=0)
    softness = float(np.hypot(FACE_FEATHER, 1.0 + 30.0 * (1.0 - reach)))
    return face_mask(centre + reach / FACE_MARGIN * (oval - centre), size, softness)


def eyes_alike(face: FaceCrop, frame: FaceCrop) -> NDArray[np.float64]:
    """How far, 0 to 1, the right and the left eye of `face` can stand for those of `frame` (2,):
    not in a blink, and of a wink only the open one.
    """
    own, wanted = (np.array(paired_eye_openings(shot.landmarks)) for shot in (face, frame))
    shut, wide = EYES_AS_OPEN
    alike = np.clip((wanted / np.maximum(own, 1e-3) - shut) / (wide - shut), 0.0, 1.0)
    return np.asarray(alike * np.clip((own - SHUT) / SHUT, 0.0, 1.0))


def unlike_eyes(face: FaceCrop, frame: FaceCrop, size: int = SIZE) -> NDArray[np.float32]:
    """Where the frame's eyes are that `face` cannot stand for (size, size), 0 to 1.

    With the lashes and creases of open eyes, which would frame a shut one.
    """
    unlike = 1.0 - eyes_alike(face, frame)
    return eye_parts(frame.landmarks, unlike, size, LID_AXES, LID_SOFTNESS)


def averted_eyes(face: FaceCrop, frame: FaceCrop) -> NDArray[np.float64]:
    """How far, 0 to 1, the right and the left eye of `face` look elsewhere than the frame's (2,):
    both as far as the one that does more, since one eye of each drawing squints.

    The warp moves irises; what it moves far is not as sharp and clear as what a generator draws.
    Up and down counts half: how high an iris lies between the corners depends on their slant too.
    """
    own, wanted = (np.array(iris_offsets(shot.landmarks)) for shot in (face, frame))
    apart = np.linalg.norm((own - wanted) * [1.0, 0.5], axis=1).max()
    least, most = AVERTED
    return np.full(2, np.clip((apart - least) / (most - least), 0.0, 1.0))


def eye_parts(
    landmarks: Points,
    shares: NDArray[np.float64],
    size: int = SIZE,
    axes: tuple[float, float] = EYE_AXES,
    softness: float = 1.5,
) -> NDArray[np.float32]:
    """Where the right and the left eye are (size, size), as high as the share (2,) of each.

    `axes` are those of the ellipses, in widths of the eye, and `softness` is the deviation of
    their edge in pixels of the crop.
    """
    eyes = np.zeros((size, size), np.float32)
    points = sixteenths(landmarks, size)
    for corners, share in zip(_EYE_CORNERS, shares, strict=True):
        _draw_eye(eyes, points, corners, float(share), axes)
    return _softened(eyes, softness)


def smile_beyond(face: FaceCrop, frame: FaceCrop) -> float:
    """How far, 0 to 1, `face` smiles where `frame` does not, so that its folds do not belong."""
    own, wanted = (_mouth_width(shot.landmarks) for shot in (face, frame))
    least, most = SMILE
    return float(np.clip((own / max(wanted, 1e-3) - least) / (most - least), 0.0, 1.0))


def _mouth_width(landmarks: Points) -> float:
    """In distances of the outer corners of the eyes."""
    mouth = landmarks[mesh.LEFT_MOUTH_CORNER] - landmarks[mesh.RIGHT_MOUTH_CORNER]
    eyes = landmarks[mesh.LEFT_EYE_CORNERS[0]] - landmarks[mesh.RIGHT_EYE_CORNERS[0]]
    return float(np.linalg.norm(mouth) / max(float(np.linalg.norm(eyes)), 1.0))


def beside_mouth(landmarks: Points, size: int = SIZE) -> NDArray[np.float32]:
    """Where a smile folds the skin beside the lips (size, size), 0 to 1."""
    ends = landmarks[[mesh.RIGHT_MOUTH_CORNER, mesh.LEFT_MOUTH_CORNER]]
    eyes = landmarks[mesh.LEFT_EYE_CORNERS[0]] - landmarks[mesh.RIGHT_EYE_CORNERS[0]]
    unit = float(np.linalg.norm(eyes))
    outwards = ends - ends[::-1]
    outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1.0)
    folds = np.zeros((size, size), np.float32)
    for centre in sixteenths(ends + FOLDS_BEYOND * unit * outwards, size):
        radius = round(16.0 * FOLDS * unit * size / SIZE)
        cv2.circle(folds, centre.tolist(), radius, 1.0, -1, cv2.LINE_8, 4)
    lips = sixteenths(landmarks[list(mesh.OUTER_LIPS)], size)
    cv2.fillPoly(folds, [lips], 0.0, cv2.LINE_8, 4)
    return _softened(folds, 3.0)


def between_lips(landmarks: Points, size: int = SIZE) -> NDArray[np.float32]:
    """Where teeth show (size, size), 0 to 1."""
    inside = np.zeros((size, size), np.float32)
    points = sixteenths(landmarks[list(mesh.INNER_LIPS)], size)
    cv2.fillPoly(inside, [points], 1.0, cv2.LINE_8, 4)
    return _softened(inside, 1.5)


def _softened(mask: NDArray[np.float32], deviation: float) -> NDArray[np.float32]:
    """A square mask of any size, blurred by so many pixels of the crop."""
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), deviation * len(mask) / SIZE), np.float32)


def draw_eyes(picture: Any, points: NDArray[np.int32], value: float) -> None:
    """Fill the place of both eyes, open or shut, of a mesh in sixteenths of a pixel."""
    for corners in _EYE_CORNERS:
        _draw_eye(picture, points, corners, value)


def _draw_eye(
    picture: Any,
    points: NDArray[np.int32],
    corners: tuple[int, int],
    value: float,
    axes: tuple[float, float] = EYE_AXES,
) -> None:
    right, left = corners
    across = points[left] - points[right]
    half_axes = np.array(axes) / 2.0 * np.linalg.norm(across)
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    centre = (points[right] + points[left]) // 2
    cv2.ellipse(
        picture, centre.tolist(), np.rint(half_axes).astype(int).tolist(), angle, 0, 360, value, -1,
        cv2.LINE_8, 4,
    )  # fmt: skip


def _light(
    frame: FaceCrop, shown: NDArray[np.float32], skin: NDArray[np.float32], share: float
) -> NDArray[np.float32]:
    """Gain (256, 256), `share` of the way from the light and shade of `shown` to the frame's.

    Told from skin, `skin` (128, 128) of what is shown: dark hair is no shade.
    """
    small = SIZE // 4
    inside = face_mask(frame.landmarks[list(mesh.FACE_OVAL)], small) + 1e-3

    def lit(picture: NDArray[Any], seen: NDArray[np.float32]) -> NDArray[np.float32]:
        reduced = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        counts = inside * cv2.resize(seen, (small, small), interpolation=cv2.INTER_AREA) + 1e-6
        sums = np.dstack([reduced.astype(np.float32) @ _LUMA * counts, counts])
        wide = cv2.GaussianBlur(sums, (0, 0), _LIGHT_WIDTH / 4.0)
        return np.asarray(wide[..., 0] / wide[..., 1], np.float32)

    before, wanted = lit(shown, skin), lit(frame.crop, frame.uncovered)
    gain = np.clip((wanted + 8.0) / (before + 8.0), 0.4, 2.5) ** share
    return np.asarray(cv2.resize(gain, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.float32)


def face_colours(shot: FaceCrop) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation (3,) of the colours between the eyes and the corners of the mouth."""
    corners = (
        *mesh.RIGHT_EYE_CORNERS, *mesh.LEFT_EYE_CORNERS,
        mesh.RIGHT_MOUTH_CORNER, mesh.LEFT_MOUTH_CORNER,
    )  # fmt: skip
    points = shot.landmarks[list(corners)]
    left, top = np.clip(points.min(axis=0), 0, SIZE - 8).astype(int)
    right, bottom = np.clip(points.max(axis=0), 8, SIZE).astype(int)
    part = shot.crop[top : max(bottom, top + 8), left : max(right, left + 8)]
    mean, deviation = cv2.meanStdDev(part)
    # The offset keeps the ratio of two deviations near one in flat pictures.
    return mean[:, 0].astype(np.float32), deviation[:, 0].astype(np.float32) + 4.0
