"""What is wrong with a pasted face: an edge, another colour, blur, or no paste at all.

All compare a swapped crop Y with the target's crop F, (S, S, 3) uint8 RGB by one alignment, and are
defined here. D = Y - F is zero wherever nothing was changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.metrics.image import weighted_mean

Crop = NDArray[np.uint8]
Weight = NDArray[np.float32]

INSET = 6  # pixels of a 256-pixel crop by which the face's region stays within its outline
RING = (18, 38)  # pixels outside the outline where the ring begins and ends: past any soft mask
CONTOUR_POINTS = 128
SEAM_OFFSETS = np.arange(-16, 29, 2)  # pixels along the outline's normal where a seam is looked for
SEAM_STEP = 3.0  # pixels on either side of a seam between which D must jump
SEAM_BLUR = 1.0  # pixels; noise of single pixels is no seam
GRADIENT_WIDTH = 1.0  # pixels, deviation of the Gaussian whose gradient measures sharpness
LEAST_STRENGTH = 1.0  # grey levels; a clip nowhere changed by more was not swapped
OFF_SHARE = 0.25  # of the clip's usual change; a frame that was changed by less was left out
_CHANNEL_MEAN = np.full((1, 3), 1.0 / 3.0, np.float32)
# Linear sRGB to XYZ, each row over D65's white.
_LINEAR_TO_XYZ = np.array(
    [
        [0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456],
        [0.212671, 0.715160, 0.072169],
        [0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754],
    ],
    np.float32,
)
_USUAL = 0.9  # quantile that stands for the clip's usual change


@dataclass(frozen=True, eq=False)
class FaceRegions:
    """Where the face is in a crop, and where its surroundings: (S, S) float32, 0 or 1.

    `ring` is a band around the face, `outside` all that lies beyond the ring's inner edge.
    `contour` (CONTOUR_POINTS, 2) are points of the outline in pixels, `normals` the unit vectors
    that point outwards there.
    """

    face: Weight
    ring: Weight
    outside: Weight
    contour: NDArray[np.float64]
    normals: NDArray[np.float64]


def face_regions(outline: NDArray[np.floating], size: int = 256) -> FaceRegions:
    """The regions of a face oval (N, 2), closed and in order, in pixels of a crop."""
    filled = np.zeros((size, size), np.uint8)
    points = np.clip(np.asarray(outline, np.float64), -2000, 2000)
    cv2.fillPoly(filled, [np.rint(points * 16).astype(np.int32)], 1, 8, 4)
    inside = np.asarray(cv2.distanceTransform(filled, cv2.DIST_L2, 3))
    outside = np.asarray(cv2.distanceTransform(1 - filled, cv2.DIST_L2, 3))
    unit = size / 256.0
    ring = (outside >= RING[0] * unit) & (outside <= RING[1] * unit)
    contour, normals = _contour(points)
    return FaceRegions(
        face=(inside > INSET * unit).astype(np.float32),
        ring=ring.astype(np.float32),
        outside=(outside >= RING[0] * unit).astype(np.float32),
        contour=contour,
        normals=normals,
    )


def seam(target: Crop, swap: Crop, regions: FaceRegions) -> float:
    """The step in D along a line around the face, in grey levels; lower is better.

    j(o) = mean_i |D(p_i + (o + 3) n_i) - D(p_i + (o - 3) n_i)| over points p_i of the outline with
    normals n_i, for lines at distances o of -16 to 28 pixels; D blurred by one pixel, mean of the
    channels. The seam is max_o j(o) - median_o j(o). Zero where nothing was changed and for a face
    that differs evenly and fades out over more than some 20 pixels; h for a face that is h levels
    brighter within a sharp edge.
    """
    difference = swap.astype(np.float32) - target.astype(np.float32)
    difference = np.asarray(cv2.GaussianBlur(difference, (0, 0), SEAM_BLUR), np.float32)
    far = _along(difference, regions, SEAM_OFFSETS + SEAM_STEP)
    near = _along(difference, regions, SEAM_OFFSETS - SEAM_STEP)
    jumps = np.abs(far - near).mean(axis=(1, 2))
    return float(jumps.max() - np.median(jumps))


def colour_shift(target: Crop, swap: Crop, regions: FaceRegions) -> float:
    """How much the face's colour moved against its surroundings: CIE 1976 Delta E; lower is better.

    |(L_Y(face) - L_Y(ring)) - (L_F(face) - L_F(ring))| with L(.) the mean CIELAB colour of a
    region. Zero where nothing was changed and where face and ring were changed alike; |v| where v
    was added to the face's Lab alone. NaN where no ring is in the crop.
    """
    # Every second pixel of every second row has the same mean, in a quarter of the time.
    face, ring = (region[::2, ::2] > 0 for region in (regions.face, regions.ring))
    halves = (crop[::2, ::2] for crop in (target, swap))
    contrasts = [_mean_lab(half[face]) - _mean_lab(half[ring]) for half in halves]
    return float(np.linalg.norm(contrasts[1] - contrasts[0]))


def sharpness_ratio(target: Crop, swap: Crop, regions: FaceRegions) -> float:
    """How sharp the face is against the target's: 1 is as sharp, below 1 blurred.

    sqrt(sum_face |grad(G * Y)|^2 / sum_face |grad(G * F)|^2) on luma, G a Gaussian of one pixel. A
    grating of w radians per pixel, blurred by a Gaussian of s pixels, gives exp(-s^2 w^2 / 2).
    Noise raises it, as wrinkles and a beard do. NaN where the target's face is even.
    """
    energies = [weighted_mean(_gradient_energy(crop), regions.face) for crop in (target, swap)]
    return float(np.sqrt(energies[1] / energies[0])) if energies[0] > 1e-6 else float("nan")


def swap_strength(target: Crop, swap: Crop, regions: FaceRegions) -> float:
    """How much the face was changed beyond its surroundings, in grey levels, at least 0.

    max(0, mean_face |D| - mean_ring |D|): what a codec changes everywhere does not count.
    """
    difference = cv2.absdiff(target, swap).astype(np.float32)
    change = np.asarray(cv2.transform(difference, _CHANNEL_MEAN), np.float32)
    around = weighted_mean(change, regions.ring)
    return max(0.0, weighted_mean(change, regions.face) - (0.0 if np.isnan(around) else around))


def swapped_frames(strength: NDArray[np.floating]) -> NDArray[np.bool_] | None:
    """Which frames (T,) show the swapped face, by their `swap_strength`; None if none was changed.

    A frame is left out where its face was changed by less than a quarter of what is usual in the
    clip (the 90 % quantile). NaN counts as left out.
    """
    known = strength[~np.isnan(strength)]
    usual = float(np.quantile(known, _USUAL)) if len(known) else 0.0
    if usual < LEAST_STRENGTH:
        return None
    swapped: NDArray[np.bool_] = np.nan_to_num(strength, nan=0.0) >= OFF_SHARE * usual
    return swapped


def flicker(swapped: NDArray[np.bool_], seconds: NDArray[np.floating]) -> float:
    """How often the swap goes on or off, per second; lower is better.

    Changes between neighbouring frames (T,) over the time from the first to the last. Zero for a
    clip that is swapped throughout, or nowhere; a swap missing in every other frame of n a second
    gives n. NaN for fewer than two frames.
    """
    if len(swapped) < 2 or seconds[-1] <= seconds[0]:
        return float("nan")
    return float(np.count_nonzero(swapped[1:] != swapped[:-1]) / (seconds[-1] - seconds[0]))


def _contour(
    outline: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evenly spaced points of a closed line and their outward normals, (CONTOUR_POINTS, 2) each."""
    closed = np.vstack([outline, outline[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.arange(CONTOUR_POINTS) * length[-1] / CONTOUR_POINTS
    points = np.stack([np.interp(at, length, closed[:, axis]) for axis in range(2)], axis=1)
    tangents = np.roll(points, -4, axis=0) - np.roll(points, 4, axis=0)
    normals = np.stack([tangents[:, 1], -tangents[:, 0]], axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    outwards = ((points - points.mean(axis=0)) * normals).sum() >= 0
    return points, normals if outwards else -normals


def _along(
    picture: NDArray[np.float32], regions: FaceRegions, offsets: NDArray[np.floating]
) -> NDArray[np.float32]:
    """A picture (S, S, C) at `offsets` (K,) from the outline: (K, CONTOUR_POINTS, C)."""
    unit = picture.shape[0] / 256.0
    at = regions.contour[None] + unit * offsets[:, None, None] * regions.normals[None]
    x, y = at[..., 0].astype(np.float32), at[..., 1].astype(np.float32)
    sampled = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.float32)


def _mean_lab(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean CIELAB colour (3,), white D65, of sRGB pixels (N, 3); NaN for none.

    OpenCV's conversion interpolates in a coarse table and is off by up to 2 %.
    """
    if len(pixels) == 0:
        return np.full(3, np.nan)
    xyz = _srgb_to_linear()[pixels] @ _LINEAR_TO_XYZ.T
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f.mean(axis=0, dtype=np.float64)
    return np.array([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)])


@cache
def _srgb_to_linear() -> NDArray[np.float32]:
    """Linear light (256,) of sRGB's values: IEC 61966-2-1."""
    v = np.arange(256) / 255.0
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _gradient_energy(crop: Crop) -> NDArray[np.float32]:
    """Squared gradient (S, S) of the blurred luma."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    luma = cv2.GaussianBlur(grey, (0, 0), GRADIENT_WIDTH)
    right, down = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    return np.asarray(right * right + down * down, np.float32)
