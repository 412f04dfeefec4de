"""What a generator is shown of the source: its best shots, fused on the target's face and relit.

One photograph shows one pose, one expression and one light. Of many shots of a person, the few that
suit a frame are warped onto its face and mixed pixel by pixel, each by how squarely it shows that
place; the mixture then takes on the target's light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.darkness import (
    DARKER,
    between_lids,
    dark_end,
    own_dark_end,
    pupils_end,
    with_dark_end,
    with_dark_pupils,
)
from vidswap.blending.detail import FINE, STEPS, gain_to, strength, warped_band
from vidswap.blending.evening import evening_gain
from vidswap.blending.lenses import behind_glasses, without_dark_lenses
from vidswap.blending.lip_tone import lips_gain, lips_part, lips_tone, with_dimmed_lips
from vidswap.blending.relighting import (
    CHANNEL_MEAN,
    fit_shading,
    harmonics,
    matt_brightness,
    normal_map,
    relighting_gain,
    skin_part,
    with_dimmed_shine,
)
from vidswap.blending.relighting import (
    SIZE as MAP_SIZE,
)
from vidswap.blending.warping import (
    SIZE,
    FaceCrop,
    averted_eyes,
    covered_part,
    eye_parts,
    warped_part,
)
from vidswap.faces.pose import eye_opening, head_pose, mirrored_points, mouth_opening
from vidswap.faces.quality import MIN_SHARPNESS, sharpness
from vidswap.faces.skin import OFF, SPREAD, reduced_lab

Floats = NDArray[np.float32]

MOST_SHOTS = 32  # that are kept of a source
BEST_SHOTS = 3  # that are warped onto a frame
LEAST_SHARE = 0.1  # of the best one's weight, below which a shot is not worth its warp
POSE_STEP = 10.0  # degrees of yaw and pitch apart that cost one
MOUTH_COST = 12.0  # a face height that the shot's mouth is open further than the target's: teeth
EYE_COST, OPEN_EYE = 10.0, 0.25  # an eye width that a shot's eyes are shut further than that
COVERED_COST = 8.0  # share of the inner face that something lies before
BLUR_COST, SHARP, BLURRED = 6.0, 2.0 * MIN_SHARPNESS, 0.5 * MIN_SHARPNESS
INNER_FACE, RIM = 0.7, 0.86  # of the outline: where all is face, and from where on it may not be
TURNED, MIRROR_COST = 8.0, 1.5  # degrees of yaw from which the mirrored shot shows another side
WEIGHT_MEMORY, SHADING_MEMORY = 0.85, 0.85  # share of the frame before
DARKNESS_MEMORY = 0.97  # likewise: a blink hides the darkest pixels for some frames
FEATURES, FINE_WEIGHT = 4.0, 1.6  # pixels
LEAST_PART = 1e-3  # of a mask, below which nothing is shown
COLOUR = 0.9  # how far a shot takes on the mean and spread of colour it covers


@dataclass(frozen=True, eq=False)
class ReferenceShot:
    """A shot of the source and what decides when it is shown.

    pose: yaw and pitch in degrees. mouth: opening as in `vidswap.faces.pose`. flaws: cost of
    what is wrong with it whatever the target is like. clarity: 0 for a blurred shot, 1 for a sharp
    one; a net repaints a blurred face better than it shows.
    """

    shot: FaceCrop
    pose: tuple[float, float]
    mouth: float
    flaws: float
    clarity: float

    @classmethod
    def single(cls, shot: FaceCrop) -> ReferenceShot:
        """The only shot of a source: nothing has to be known to choose it."""
        shown = without_background(without_dark_lenses(shot))
        return cls(shown, (0.0, 0.0), 0.0, 0.0, clarity(sharpness(shot.crop)))

    @classmethod
    def of(cls, shot: FaceCrop) -> ReferenceShot:
        """Measure a shot."""
        shot = without_dark_lenses(shot)
        pose, covered = head_pose(shot.landmarks), 0.0
        if shot.visibility is not None:
            inner = covered_part(shot.landmarks, INNER_FACE, len(shot.visibility))
            covered = 1.0 - float(np.average(shot.visibility, weights=inner + 1e-6))
        sharp = sharpness(shot.crop)
        blur = max(0.0, SHARP - sharp) / SHARP
        eyes = eye_opening(shot.landmarks)
        flaws = COVERED_COST * covered + BLUR_COST * blur + EYE_COST * max(0.0, OPEN_EYE - eyes)
        mouth = mouth_opening(shot.landmarks)
        shown = without_background(shot)
        return cls(shown, (pose.yaw, pose.pitch), mouth, flaws, clarity(sharp))

    @cached_property
    def glasses(self) -> float:
        """What `behind_glasses` tells of the shot."""
        return behind_glasses(self.shot)

    @cached_property
    def lips(self) -> Floats:
        """The colour (3,) of the shot's lips; zero where they hardly show."""
        tone = lips_tone(self.shot.crop, lips_part(self.shot.landmarks))
        return np.zeros(3, np.float32) if tone is None else tone

    @cached_property
    def darkness(self) -> tuple[float, float]:
        """What `own_dark_end` tells of the shot."""
        shot = self.shot
        face = covered_part(shot.landmarks, INNER_FACE, SIZE // 2)
        seen = face if shot.visibility is None else face * shot.visibility
        return own_dark_end(shot.crop, seen)


def without_background(shot: FaceCrop) -> FaceCrop:
    """The shot with what is not of its skin's colour at the rim of the face taken for hidden.

    A mesh is a few pixels off there, and the wall behind the face, or a green screen, is no cheek.
    """
    half = SIZE // 2
    lab = reduced_lab(shot.crop, half)
    inside = covered_part(shot.landmarks, INNER_FACE, half)
    middle = np.median(lab[inside > 0.5], axis=0) if (inside > 0.5).any() else lab.mean(axis=(0, 1))
    off = np.linalg.norm((lab - middle) / SPREAD, axis=2)
    rim = 1.0 - covered_part(shot.landmarks, RIM, half)
    other = rim * np.clip(off - OFF, 0.0, 1.0)
    other = cv2.dilate(other.astype(np.float32), np.ones((3, 3), np.uint8))
    seen = 1.0 - cv2.GaussianBlur(other, (0, 0), 1.5)
    before = 1.0 if shot.visibility is None else shot.visibility
    return replace(shot, visibility=np.asarray(before * seen, np.float32))


def clarity(sharp: float) -> float:
    """How far a crop of a `sharpness` can stand for the face itself, 0 to 1."""
    return float(np.clip((sharp - BLURRED) / (SHARP - BLURRED), 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class ReferenceMoment:
    """What the next frame of a track goes on from: each shot's weight, the target's shading, the
    strength of the detail, where there was any, how much the shots' dark end was darkened, and then
    that of their eyes, and what their lips were multiplied by (3,).
    """

    index: int
    weights: NDArray[np.float64]  # (number of shots,)
    shading: Floats  # (9, 3)
    detail: float | None = None
    darker: float | None = None
    pupils: float | None = None
    lips: Floats | None = None


class FusedReference:
    """The reference of one track, in order of frames; `last` is all that it remembers.

    Of the last view, `clarity` is that of its shots, and `detail` (512, 512) what they show finer
    than the view where the target is fine too, in levels of brightness, and `averted` (128, 128)
    where its eyes look elsewhere than the target's, 0 to 1, or None. `points` are those of the
    meshes that are known, by default all.
    """

    def __init__(
        self,
        shots: Sequence[ReferenceShot],
        last: ReferenceMoment | None = None,
        points: NDArray[np.int64] | None = None,
    ) -> None:
        self.shots, self.last, self._points = shots, last, points
        self.clarity = 0.0
        self.detail: Floats | None = None
        self.averted: Floats | None = None

    def __call__(self, index: int, target: FaceCrop) -> NDArray[np.uint8]:
        """The view for frame `index` (256, 256, 4) uint8, RGB and mask; one of another shape of
        face, or where nothing of the source can be shown, is empty.
        """
        last = self.last if self.last is not None and self.last.index == index - 1 else None
        weights = shot_weights(self.shots, target)
        basis = harmonics(normal_map(target.landmarks, self._points))
        skin = skin_part(target.landmarks)
        seen = skin if target.visibility is None else skin * _small(target.visibility)
        shading = fit_shading(_small(target.crop), seen, basis)
        if last is not None:
            weights = WEIGHT_MEMORY * last.weights + (1.0 - WEIGHT_MEMORY) * weights
            mixed = SHADING_MEMORY * last.shading + (1.0 - SHADING_MEMORY) * shading
            shading = mixed.astype(np.float32)
        if last is None:
            self.last = ReferenceMoment(index, weights, shading)
        else:
            self.last = replace(last, index=index, weights=weights, shading=shading)
        self.clarity = float(weights @ np.array([shot.clarity for shot in self.shots]))
        fused, part, shown, band = fused_shots(self.shots, weights, target, self._points)
        self.detail = None
        self.averted = self._averted(weights, target)
        view = np.zeros((SIZE, SIZE, 4), np.uint8)
        if part.max() > 0.0:
            shown_skin = skin * _small(shown)
            small = _small(fused)
            own = fit_shading(small, shown_skin, basis)
            gain = relighting_gain(own, shading, basis)
            gain *= evening_gain(small, own, basis, shown_skin, target.landmarks, self._points)
            fused *= gain
            matt = matt_brightness(shading, basis)
            fused = with_dimmed_shine(fused, matt)
            dark, bright = weights @ np.array([shot.darkness for shot in self.shots])
            # Lighter skin does not lighten what is dark before it.
            natural = float(dark / max(bright, float(np.median(matt[::4, ::4])), 1.0))
            fused = self._as_dark(fused, matt, shown, target, natural)
            fused = self._with_lips(fused, matt, target, weights, float(bright))
            if glasses := float(weights @ np.array([shot.glasses for shot in self.shots])):
                fused = self._with_pupils(fused, matt, target, glasses)
            if band is not None and target.band is not None:
                self.detail = self._detail(band, gain, part, target)
            part *= np.float32(255.0)
            mask = cv2.resize(part, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
            pictures = [
                cv2.convertScaleAbs(np.maximum(fused, 0.0, out=fused)),
                cv2.convertScaleAbs(mask),
            ]
            cv2.mixChannels(pictures, [view], [0, 0, 1, 1, 2, 2, 3, 3])
        return view

    def _as_dark(
        self, fused: Floats, matt: Floats, shown: Floats, target: FaceCrop, natural: float
    ) -> Floats:
        """The fused shots with pupils and brows as dark as the target's, or as they were."""
        assert self.last is not None
        # Eyes that are shut or look elsewhere are not shown, but tell how dark pupils are.
        inner = covered_part(target.landmarks, INNER_FACE, len(shown)) * shown
        if target.visibility is not None:
            inner *= target.visibility
        own, wanted = (dark_end(picture, matt, inner) for picture in (fused, target.crop))
        if own is None or wanted is None:
            return fused
        by = float(np.clip(own - max(wanted, natural), 0.0, DARKER))
        by = _remembered(self.last.darker, by, DARKNESS_MEMORY)
        self.last = replace(self.last, darker=by)
        return with_dark_end(fused, matt, own, by) if by else fused

    def _with_lips(
        self,
        fused: Floats,
        matt: Floats,
        target: FaceCrop,
        weights: NDArray[np.float64],
        bright: float,
    ) -> Floats:
        """The fused shots with lips that do not glow on skin that was only so `bright`."""
        assert self.last is not None
        lips = lips_part(target.landmarks)
        own, wanted = (lips_tone(picture, lips) for picture in (fused, target.crop))
        if own is None or wanted is None:
            return fused
        natural = np.sum(
            [w * shot.lips for w, shot in zip(weights, self.shots, strict=True)], axis=0
        )
        lighter = float(np.median(matt[::4, ::4])) / max(bright, 1.0)
        gain = lips_gain(own, wanted, natural, lighter)
        if self.last.lips is not None:
            gain = DARKNESS_MEMORY * self.last.lips + (1.0 - DARKNESS_MEMORY) * gain
        self.last = replace(self.last, lips=np.asarray(gain, np.float32))
        return with_dimmed_lips(fused, lips, gain) if gain.min() < 1.0 else fused

    def _with_pupils(self, fused: Floats, matt: Floats, target: FaceCrop, glasses: float) -> Floats:
        """The fused shots with pupils as dark as the target's, as far as `glasses` pale them."""
        assert self.last is not None
        eyes = between_lids(target.landmarks)
        own, wanted = (pupils_end(picture, matt, eyes) for picture in (fused, target.crop))
        if own is None or wanted is None:
            return fused
        by = glasses * float(np.clip(own - wanted, 0.0, DARKER))
        by = _remembered(self.last.pupils, by, DARKNESS_MEMORY)
        self.last = replace(self.last, pupils=by)
        return with_dark_pupils(fused, matt, own, by, eyes) if by else fused

    def _averted(self, weights: NDArray[np.float64], target: FaceCrop) -> Floats | None:
        """`averted`, the mean of the shots that are shown by their weights."""
        best = best_shots(weights)
        shares = np.array([averted_eyes(self.shots[i].shot, target) for i in best])
        mean = np.average(shares, axis=0, weights=weights[best])
        return eye_parts(target.landmarks, mean, SIZE // 2) if mean.any() else None

    def _detail(self, band: Floats, gain: Floats, part: Floats, target: FaceCrop) -> Floats:
        """The fused band as strong as the target's, where the shots count."""
        assert target.band is not None and self.last is not None
        size = (FINE, FINE)
        grey = cv2.transform(gain, CHANNEL_MEAN)
        lit = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), np.float32)
        lit *= band
        inner = covered_part(target.landmarks, INNER_FACE, len(part))
        wanted = strength(target.band, inner) / STEPS
        factor = gain_to(wanted, strength(lit, inner * (part > 0.5)))
        factor = _remembered(self.last.detail, factor, SHADING_MEMORY)
        self.last = replace(self.last, detail=factor)
        mask = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
        lit *= mask
        lit *= np.float32(factor)
        return np.asarray(lit, np.float32)


def _remembered(before: float | None, now: float, memory: float) -> float:
    """A value that goes on from the frame before, if there was one, by a share of `memory`."""
    return now if before is None else memory * before + (1.0 - memory) * now


def reference_shots(shots: Sequence[FaceCrop]) -> tuple[ReferenceShot, ...]:
    """The shots of a source as references, and the mirrored ones of those that look aside."""
    return with_mirrored([ReferenceShot.of(shot) for shot in shots])


def with_mirrored(measured: Sequence[ReferenceShot]) -> tuple[ReferenceShot, ...]:
    """Measured shots, and the mirrored ones of those that look aside.

    A mirrored shot stands in for a side that no shot shows; it costs, since no face is symmetric.
    """
    turned = [one for one in measured if abs(one.pose[0]) > TURNED]
    mirrored = [
        replace(
            one, shot=mirror_image(one.shot), pose=(-one.pose[0], one.pose[1]),
            flaws=one.flaws + MIRROR_COST,
        )
        for one in turned
    ]  # fmt: skip
    return (*measured, *mirrored)


def mirror_image(shot: FaceCrop) -> FaceCrop:
    """The shot as seen in a mirror, its mesh renumbered for the other side."""
    landmarks = shot.landmarks[mirrored_points()].copy()
    landmarks[:, 0] = SIZE - 1 - landmarks[:, 0]
    visibility = shot.visibility
    return FaceCrop(
        np.ascontiguousarray(shot.crop[:, ::-1]),
        landmarks,
        None if visibility is None else np.ascontiguousarray(visibility[:, ::-1]),
        None if shot.fine is None else np.ascontiguousarray(shot.fine[:, ::-1]),
    )


def shot_weights(shots: Sequence[ReferenceShot], target: FaceCrop) -> NDArray[np.float64]:
    """How well each shot suits a frame's face (number of shots,), in all one."""
    if len(shots) == 1:
        return np.ones(1)
    pose, mouth = head_pose(target.landmarks), mouth_opening(target.landmarks)
    costs = np.array(
        [
            np.hypot(shot.pose[0] - pose.yaw, shot.pose[1] - pose.pitch) / POSE_STEP
            + MOUTH_COST * max(0.0, shot.mouth - mouth)
            + shot.flaws
            for shot in shots
        ]
    )
    weights = np.exp(costs.min() - costs)
    return np.asarray(weights / weights.sum(), np.float64)


def best_shots(weights: NDArray[np.float64]) -> NDArray[np.intp]:
    """The few shots that are warped, the best first."""
    best = np.argsort(weights)[::-1][:BEST_SHOTS]
    return np.asarray(best[weights[best] >= LEAST_SHARE * weights[best[0]]], np.intp)


def fused_shots(
    shots: Sequence[ReferenceShot],
    weights: NDArray[np.float64],
    target: FaceCrop,
    points: NDArray[np.int64] | None = None,
) -> tuple[Floats, Floats, Floats, Floats | None]:
    """The best shots on a frame's face, mixed: RGB (256, 256, 3), mask and skin (128, 128), and,
    where target and shots show more than these, the finest band (512, 512) in levels.

    A place counts by the shot's weight times its mask squared, so that far sides, lips and lids
    come from the shots that show them.
    """
    best = best_shots(weights)
    if len(best) == 1:  # nothing to mix
        shot = shots[best[0]].shot
        warped, part, skin, field = warped_part(shot, target, COLOUR, points)
        part[part < LEAST_PART] = 0.0
        if target.fine is None or shot.band is None:
            return warped, part, skin, None
        return warped, part, skin, warped_band(shot.band, field)
    half = SIZE // 2
    mixed, total = np.zeros((SIZE, SIZE, 3), np.float32), np.full((half, half), 1e-6, np.float32)
    bands: list[tuple[Floats, Floats]] = []
    masks, skins = np.zeros((half, half), np.float32), np.zeros((half, half), np.float32)
    for i in best:
        shot = shots[i].shot
        warped, part, skin, field = warped_part(shot, target, COLOUR, points)
        counts = np.float32(weights[i]) * part * part
        # Everywhere a little, so that what no shot shows squarely is not black.
        wide = counts + np.float32(1e-4 * weights[i])
        mixed += cv2.resize(wide, (SIZE, SIZE))[..., None] * warped
        total += wide
        masks += counts * part
        skins += wide * skin
        if target.fine is not None and shot.band is not None:
            # Of two textures the mean is the weaker one, so that the better shot decides.
            decides = cv2.resize(counts * counts, (FINE, FINE), interpolation=cv2.INTER_LINEAR)
            bands.append((np.asarray(decides, np.float32), warped_band(shot.band, field)))
    counted = np.maximum(total - 1e-4 * weights[best].sum(), 1e-6)
    part = np.where(masks > 0, masks / counted, 0.0).clip(0.0, 1.0).astype(np.float32)
    mixed /= cv2.resize(total, (SIZE, SIZE))[..., None]
    band = None
    if bands:
        weight = np.sum([decides for decides, _ in bands], axis=0) + np.float32(1e-9)
        band = np.sum([decides * one for decides, one in bands], axis=0) / weight
    return mixed, part, skins / total, band


def with_reference(
    picture: NDArray[np.uint8],
    view: NDArray[np.uint8],
    weight: float,
    averted: Floats | None = None,
) -> NDArray[np.uint8]:
    """A picture (256, 256, 3) with a view (256, 256, 4) over it, by its mask times `weight`.

    `averted` (128, 128), as `FusedReference` tells, is where the picture keeps its own eyes.

    What is finer than `FEATURES` the view decides further, `FINE_WEIGHT` times as far: a net that
    is unsure paints softly, and a mean of two drawings of lashes and pores is softer than either.
    """
    part = np.float32(1.0 / 255.0) * view[..., 3:].astype(np.float32)
    if averted is not None:
        own = cv2.resize(averted, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        part *= 1.0 - own[..., None]
    apart = view[..., :3].astype(np.float32) - picture
    wide = cv2.GaussianBlur(apart, (0, 0), FEATURES)
    finer = min(1.0, FINE_WEIGHT * weight)
    mixed = picture + part * (np.float32(weight) * wide + np.float32(finer) * (apart - wide))
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _small(picture: NDArray[np.uint8] | Floats) -> Floats:
    """A picture at the size of the maps of light, float32."""
    small = cv2.resize(picture, (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)
