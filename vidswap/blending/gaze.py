"""Eyes that look elsewhere than the source's: the target's eyeballs, irises in the source's tone.

No warp turns a photographed eye far, and a generator that learnt from faces which look at somebody
draws irises that are not round and do not look to one place. Where the target looks is in its own
eyes; of the source an eyeball shows little more than the colour of the iris.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.mask import sixteenths
from vidswap.faces import mesh

Picture = NDArray[np.uint8]
Points = NDArray[np.float32]
Floats = NDArray[np.float32]

HIGHER = 1.1  # as high as the mesh's opening: lids have an edge
SOFT, IRIS_SOFT = 0.8, 0.7  # pixels of the crop, deviation of the edges
PUPIL = 0.4  # radii of the iris: what is dark in every eye keeps its tone
TONE = (0.2, 0.6)  # of an iris's pixels, by brightness: neither pupil nor lids and reflections
DARKER, LIGHTER = 80.0, 50.0  # levels by which an iris changes at most: a warped one has whites
FROM, WHOLE = 0.5, 1.0  # of `averted`, from where on eyeballs are the target's, and all of them
RED = (0.55, 0.85)  # of the lids' redness, from which on it is an edge of a lid, and all of it
LEAST_RED = 12.0  # levels that the red of lids is above their blue: less tells nothing
LEAST = 8  # pixels that tell a tone
_EYES = ((mesh.RIGHT_EYE, mesh.RIGHT_IRIS), (mesh.LEFT_EYE, mesh.LEFT_IRIS))
_SIZE, MARGIN = 256, 4  # pixels: of the crop, and around an eye


def with_averted_eyes(
    picture: Picture, target: Picture, landmarks: Points, view: Picture, averted: Floats
) -> Picture:
    """A picture (256, 256, 3) with the eyeballs of `target` as far as `averted` says.

    `landmarks` (478, 2) are the target's; `view` (256, 256, 4) shows the source's irises at the
    place of the target's, and `averted` (128, 128), 0 to 1, is as `FusedReference` tells.
    """
    eyes = [_Eye.of(landmarks, list(lids), list(iris)) for lids, iris in _EYES]
    wanted, own = (_tone([one[eye.part][eye.iris > 0.5] for eye in eyes]) for one in (view, target))
    shift = (
        np.zeros(3) if wanted is None or own is None else np.clip(wanted - own, -DARKER, LIGHTER)
    )
    mixed = picture.copy()
    for eye in eyes:
        row, column = np.clip(eye.middle[::-1] / 2.0, 0, len(averted) - 1).astype(int)
        share = float(np.clip((averted[row, column] - FROM) / (WHOLE - FROM), 0.0, 1.0))
        if share > 0.0 and eye.inside.any():
            ball = eye.inside * _no_lid(target[eye.part], eye.inside)
            toned = target[eye.part] + eye.toned[..., None] * shift.astype(np.float32)
            before = mixed[eye.part].astype(np.float32)
            soft = share * cv2.GaussianBlur(ball, (0, 0), SOFT)[..., None]
            mixed[eye.part] = np.clip(np.rint(before + soft * (toned - before)), 0, 255)
    return mixed


@dataclass(frozen=True, eq=False)
class _Eye:
    """One eye of a mesh: the part (h, w) of the crop that it lies in, and of that, 0 to 1, what is
    between the lids, the iris, and where the iris has its colour.
    """

    middle: Points
    part: tuple[slice, slice]
    inside: Floats
    iris: Floats
    toned: Floats

    @classmethod
    def of(cls, landmarks: Points, lids: list[int], iris: list[int]) -> _Eye:
        outline = landmarks[lids]
        middle = outline.mean(axis=0)
        left, top = np.clip(np.floor(outline.min(axis=0)).astype(int) - MARGIN, 0, _SIZE)
        right, bottom = np.clip(np.ceil(outline.max(axis=0)).astype(int) + MARGIN + 1, 0, _SIZE)
        part = np.s_[int(top) : int(bottom), int(left) : int(right)]
        inside = np.zeros((max(bottom - top, 0), max(right - left, 0)), np.float32)
        if inside.size == 0:  # beyond the crop
            return cls(middle, part, inside, inside, inside)
        higher = middle + (outline - middle) * np.array([1.0, HIGHER], np.float32)
        cv2.fillPoly(inside, [sixteenths(higher - (left, top))], 1.0, cv2.LINE_8, 4)
        centre = landmarks[iris[0]]
        radius = max(float(np.linalg.norm(landmarks[iris[1:]] - centre, axis=1).mean()), 1.0)
        rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
        distance = np.hypot(columns - centre[0], rows - centre[1]) / radius
        disc = np.asarray(np.clip((1.0 - distance) * radius + 0.5, 0.0, 1.0) * inside, np.float32)
        coloured = 1.0 - np.exp(-((distance / PUPIL) ** 2))
        toned = np.asarray(cv2.GaussianBlur(disc, (0, 0), IRIS_SOFT) * coloured, np.float32)
        return cls(middle, part, inside, disc, toned)


def _no_lid(part: Picture, inside: Floats) -> Floats:
    """Where a part (h, w, 3) with an eye is not as red as the skin around that, 0 to 1."""
    redness = part[..., 0].astype(np.float32) - part[..., 2]
    lids = float(np.median(redness[inside == 0.0])) if (inside == 0.0).any() else 0.0
    if lids < LEAST_RED:
        return np.ones_like(inside)
    least, most = RED
    return np.asarray(np.clip((most - redness / lids) / (most - least), 0.0, 1.0), np.float32)


def _tone(irises: list[Picture]) -> NDArray[np.float64] | None:
    """The colour (3,) of irises' pixels (N, 3 or 4), or None of too few."""
    pixels = np.concatenate([one[:, :3] for one in irises]).astype(np.float64)
    if len(pixels) < LEAST:
        return None
    first, last = (round(share * len(pixels)) for share in TONE)
    by_brightness = pixels[np.argsort(pixels.sum(axis=1), kind="stable")]
    return np.asarray(by_brightness[first : last + 1].mean(axis=0), np.float64)
