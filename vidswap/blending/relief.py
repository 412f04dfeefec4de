"""No more relief, colour and smudges in a swapped face than the target's light would leave.

Nine coefficients of soft light bring a photograph into the target's light. What hard light drew in
it stays: deep folds, gloss that glows where the skin came to be lighter, a cheek that is yellower
than the other. And beside hair that the photograph has over a cheek, skin is mixed with hair, so
that a target with bare cheeks gets dark smudges. The target's own skin, at the same places in the
same light, tells how much there would be of each.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.hairline import hidden_in
from vidswap.blending.relighting import CHANNEL_MEAN, OFFSET, SIZE, skin_part
from vidswap.blending.warping import Picture, Points, covered_part
from vidswap.faces.skin import SPREAD, reduced_lab

Floats = NDArray[np.float32]

LEAST_SKIN = 75  # pixels of the maps, below which nothing can be told
# Pixels of the maps: relief is what is finer, down to one of them. Pores are finer, light is wider.
WIDE = 6.0
LEAST_RELIEF = 0.05  # deviation of the logarithm, that any face may have
MOST_RELIEF = 1.1  # times the target's, that the face may have
LEAST_LEFT = 0.6  # of the relief
OUTLIER = 0.3  # of the logarithm: edges of hair count no more than this
TINT_WIDTH, TINT = 3.0, 2.5  # pixels of the maps; how far red and yellow may differ, in CIELAB
# A smudge: pixels of the maps around it, and levels by which it is darker than there, more than the
# target is; where the rim begins, as a part of the outline; `SPREAD`s by which skin may be off.
SMUDGE_WIDE, SMUDGE = 2.0, 4.0
RIM, CLEAN = 0.72, 1.0
UNSHOWN = (0.15, 0.5)  # share of the view's mask that is missing


def in_targets_relief(
    face: Picture, target: Picture, landmarks: Points, view: NDArray[np.uint8] | None = None
) -> Picture:
    """A swapped face (256, 256, 3) uint8 RGB with the relief and tint of its `target`'s skin.

    landmarks (478, 2): the mesh of both. view (256, 256, 4): what was shown of the source, whose
    mask tells where; without it all skin counts.

    Relief, from folds to the form of a cheek, is scaled where it is stronger than the target's as a
    whole, so that its pattern stays the source's; red and yellow that differ from place to place
    are limited. Dark smudges at the rim, beside what the view does not show, are lifted.
    """
    skin = skin_part(landmarks)
    if float(skin.sum()) < LEAST_SKIN:
        return face
    small, own = (
        cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
        for picture in (face, target)
    )
    gain = relief_gain(small, own, skin)
    lit = (small + OFFSET) * gain - OFFSET
    lab = reduced_lab(target, SIZE)
    hidden = None if view is None else hidden_in(view, landmarks, SIZE)
    if hidden is not None:
        lit += smudges(lit, own, lab, landmarks, hidden)[..., None]
    tinted = in_targets_tint(np.clip(lit, 0.0, 255.0), lab, skin)
    change = (tinted + OFFSET) / (small + OFFSET)
    factor = cv2.resize(change, face.shape[:2], interpolation=cv2.INTER_LINEAR)
    changed = cv2.multiply(face, factor, dtype=cv2.CV_32F)
    cv2.addWeighted(changed, 1.0, factor, OFFSET, -OFFSET, dst=changed)
    return np.asarray(cv2.convertScaleAbs(np.maximum(changed, 0.0, out=changed)), np.uint8)


def relief_gain(face: Floats, target: Floats, skin: Floats) -> Floats:
    """The factor (64, 64, 3) that takes a face's relief to the strength of the target's, 1 where it
    is no stronger. Pictures (64, 64, 3) in [0, 255]; `skin` (64, 64) in [0, 1].
    """
    around = cv2.GaussianBlur(skin, (0, 0), WIDE) + np.float32(1e-3)

    def relief(picture: Floats) -> Floats:
        light = cv2.log(picture + OFFSET)
        wide = cv2.GaussianBlur(light * skin[..., None], (0, 0), WIDE)
        return np.asarray(light - wide / around[..., None], np.float32)

    def strength(relief: Floats) -> float:
        grey = cv2.transform(relief, CHANNEL_MEAN)[skin > 0.6]
        return float(np.sqrt(np.mean(np.minimum(grey * grey, OUTLIER**2)))) if len(grey) else 0.0

    own = relief(face)
    wanted = max(MOST_RELIEF * strength(relief(target)), LEAST_RELIEF)
    left = float(np.clip(wanted / max(strength(own), 1e-6), LEAST_LEFT, 1.0))
    if left == 1.0:
        return np.ones_like(own)
    return np.asarray(cv2.exp(np.float32(left - 1.0) * skin[..., None] * own), np.float32)


def smudges(face: Floats, target: Floats, lab: Floats, landmarks: Points, hidden: Floats) -> Floats:
    """By how many levels (64, 64) dark smudges are to be lifted, at the rim of a face where the
    source is `hidden` (64, 64) and the target's skin is clean.

    Pictures (64, 64, 3) in [0, 255]; `lab` is the target in CIELAB.
    """
    whole, inner = (covered_part(landmarks, reach, SIZE) for reach in (1.0, RIM))
    least, most = UNSHOWN
    unshown = np.clip((hidden - least) / (most - least), 0.0, 1.0).astype(np.float32)
    unshown = cv2.GaussianBlur(cv2.dilate(unshown, _CROSS), (0, 0), 0.5)
    clean = clean_skin(lab, inner)
    counts = whole * clean + np.float32(1e-4)
    apart = cv2.transform(face - target, CHANNEL_MEAN)
    wide, weight = (
        cv2.GaussianBlur(plane, (0, 0), SMUDGE_WIDE) for plane in (apart * counts, counts)
    )
    around = wide / weight
    lift = np.maximum(around - apart - SMUDGE, 0.0) * clean * whole * (1.0 - inner) * unshown
    return np.asarray(lift, np.float32)


_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def clean_skin(lab: Floats, inner: Floats) -> Floats:
    """Where a face in CIELAB has the colour of its `inner` skin (64, 64), 0 to 1."""
    chosen = inner > 0.5
    middle = np.median(lab[chosen], axis=0) if chosen.any() else lab.mean(axis=(0, 1))
    off = (lab - middle) / SPREAD
    far = np.sqrt(cv2.transform(off * off, np.ones((1, 3), np.float32)))
    clean = np.clip((CLEAN + 0.5 - far) / 0.5, 0.0, 1.0).astype(np.float32)
    return np.asarray(cv2.erode(clean, _CROSS), np.float32)


def in_targets_tint(face: Floats, target: Floats, skin: Floats) -> Floats:
    """A face (64, 64, 3) in [0, 255] whose red and yellow differ from those of the target, which is
    in CIELAB, by about the same everywhere, over more than features.
    """
    lab = cv2.cvtColor(face * np.float32(1 / 255), cv2.COLOR_RGB2LAB)
    apart = np.ascontiguousarray((lab - target)[..., 1:]) * skin[..., None]
    around = cv2.GaussianBlur(skin, (0, 0), TINT_WIDTH)[..., None] + np.float32(1e-4)
    wide = cv2.GaussianBlur(apart, (0, 0), TINT_WIDTH) / around
    tint = wide - apart.sum(axis=(0, 1)) / skin.sum()
    far = np.hypot(tint[..., 0], tint[..., 1]) / TINT
    inside = cv2.GaussianBlur(skin, (0, 0), 1.0)
    lab[..., 1:] += tint * (inside * (1.0 / np.sqrt(1.0 + far * far) - 1.0))[..., None]
    rgb = 255.0 * cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    return np.asarray(np.clip(rgb, 0.0, 255.0), np.float32)
