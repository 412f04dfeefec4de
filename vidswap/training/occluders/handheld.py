"""Occluders held before a face: microphones, hands, and objects of no particular kind."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.faces import mesh
from vidswap.training.occluders.layer import (
    Area,
    Colour,
    Image,
    Layer,
    Plane,
    Points,
    Scene,
    Shadow,
    brightened,
    curve,
    grain,
    plain,
    relief,
    ribbon,
    shaded,
    smooth_noise,
)

FOAM_COLOURS = (
    (28, 28, 30),
    (45, 45, 48),
    (20, 20, 22),
    (130, 35, 30),
    (30, 50, 120),
    (70, 70, 75),
)
STICK_COLOURS = ((22, 22, 24), (50, 50, 54), (120, 120, 124))
NAIL_POLISH = ((150, 20, 35), (35, 25, 40), (200, 90, 120), (225, 215, 205))
NAIL = (225, 185, 175)
REDDER_SHADOWS = (0.85, 1.05, 1.12)  # light goes deep into skin and comes out red


def microphone(scene: Scene, random: np.random.Generator) -> list[Layer]:
    """A ball of foam or wire mesh near the mouth, on a stick that leaves the picture below."""
    side = random.choice([-1.0, 1.0])
    lips = scene.mean(mesh.OUTER_LIPS)
    ball = scene.at(lips, side * random.uniform(0.0, 0.7), random.uniform(0.05, 0.85))
    radius = scene.unit * random.uniform(0.28, 0.46)
    lean = np.radians(side * random.uniform(-5, 40))
    along = np.array([np.sin(lean), np.cos(lean)], np.float32)
    stick = _stick(scene, ball + along * radius * 0.6, along, radius, random)
    if random.random() < 0.35:
        return [
            stick,
            _ball(scene, ball, radius, _colour(STICK_COLOURS, random) + 60, "mesh", random),
        ]
    return [stick, _ball(scene, ball, radius, _colour(FOAM_COLOURS, random), "foam", random)]


def headset(scene: Scene, random: np.random.Generator) -> list[Layer]:
    """A thin boom from one ear along the cheek to a small ball of foam beside the mouth."""
    side = random.choice([-1.0, 1.0])
    ear = scene.points[454 if side > 0 else 234]
    corner = scene.points[mesh.LEFT_MOUTH_CORNER if side > 0 else mesh.RIGHT_MOUTH_CORNER]
    ball = scene.at(corner, side * random.uniform(0.05, 0.3), random.uniform(-0.05, 0.3))
    warp = scene.at((ear + ball) / 2, side * random.uniform(-0.05, 0.1), random.uniform(0.1, 0.35))
    width = scene.unit * random.uniform(0.035, 0.06)
    boom = ribbon(curve(ear, warp, ball, n=20), width)
    shadow = Shadow.cast(random, 0.3, 0.05 * scene.unit)
    area = Area.around(boom, shadow.margin, scene.size)
    rod = Layer(area, area.filled(boom), plain(_colour(STICK_COLOURS, random), area), shadow)
    radius = scene.unit * random.uniform(0.09, 0.15)
    return [rod, _ball(scene, ball, radius, _colour(FOAM_COLOURS[:3], random), "foam", random)]


def _colour(colours: tuple[tuple[int, int, int], ...], random: np.random.Generator) -> Colour:
    return np.array(colours[random.integers(len(colours))], np.float32) * random.uniform(0.8, 1.2)


def _ball(
    scene: Scene, centre: Points, radius: float, colour: Colour, surface: str,
    random: np.random.Generator,
) -> Layer:  # fmt: skip
    """A sphere of rough foam or of woven wire."""
    shadow = Shadow.cast(random, 0.4, 0.08 * scene.unit)
    area = Area.around(centre[None], radius + shadow.margin, scene.size)
    distance = area.distance(centre)
    rise = np.sqrt(np.clip(radius**2 - distance**2, 0.0, None))
    shade = 0.45 + 0.9 * relief(rise, scene.light)
    if surface == "mesh":
        wave = 2 * np.pi / max(2.6, 3.2 * scene.size / 256)
        shade *= 0.85 + 0.3 * np.sin(area.along(centre, scene.across) * wave) * np.sin(
            area.along(centre, scene.down) * wave
        )
    else:  # foam swallows light: no highlight
        cell = scene.size / 128
        shade += 0.10 * smooth_noise(random, area, cell) + 0.06 * grain(random, area)
    alpha = np.clip(radius - distance + 0.5, 0.0, 1.0)
    return Layer(area, alpha, shaded(colour * scene.exposure, shade), shadow)


def _stick(
    scene: Scene, top: Points, along: Points, radius: float, random: np.random.Generator
) -> Layer:
    """The handle below a ball: a tapered cylinder with a collar, lit from one side."""
    t = np.array([0.0, 0.35, 0.4, 2.0, 12.0], np.float32) * radius
    widths = radius * np.array([1.5, 1.5, 1.0, 0.9, 0.8], np.float32) * random.uniform(0.75, 1.05)
    outline = ribbon(top + t[:, None] * along, widths)
    shadow = Shadow.cast(random, 0.35, 0.06 * scene.unit)
    area = Area.around(outline, shadow.margin, scene.size)
    across = area.along(top, np.array([along[1], -along[0]], np.float32)) / radius
    shine = np.exp(-(((across - random.uniform(-0.3, 0.3)) / 0.16) ** 2))
    shade = 0.6 + 0.9 * shine - 0.5 * across**2
    shade[area.along(top, along) < 0.37 * radius] *= 1.5  # the collar
    colour = _colour(STICK_COLOURS, random) * scene.exposure
    return Layer(area, area.filled(outline), shaded(colour, shade), shadow)


@dataclass(frozen=True, eq=False)
class _Limb:
    """A capsule from `start` to `end` (2,), with its radius at both, in pixels."""

    start: Points
    end: Points
    start_radius: float
    end_radius: float

    def outline(self) -> Points:
        """Its convex outline (N, 2)."""
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False, dtype=np.float32)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        ends = [self.start + self.start_radius * circle, self.end + self.end_radius * circle]
        both = np.concatenate(ends).astype(np.float32)
        return np.asarray(cv2.convexHull(both), np.float32).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class _Hand:
    """Its limbs, its nails, and the lines (N, 2, 2) at which the skin folds over the joints."""

    limbs: list[_Limb]
    nails: list[_Limb]
    folds: list[Points]


def hand(scene: Scene, random: np.random.Generator) -> list[Layer]:
    """One to four fingers of the person's own skin, reaching over the face from a side."""
    u = scene.unit
    features = (mesh.OUTER_LIPS, mesh.NOSE_BRIDGE, mesh.RIGHT_EYE, mesh.LEFT_EYE, (152,), (1,))
    target = scene.mean(features[random.choice(6, p=[0.3, 0.1, 0.1, 0.1, 0.25, 0.15])])
    target = target + (random.normal(0, 0.25, 2) * u).astype(np.float32)
    # From below more often than from a side, and then from the side that the target is nearer to.
    side = 1.0 if target[0] > scene.points[mesh.NOSE_TIP][0] else -1.0
    angle = np.radians(side * abs(random.normal(0, 50)) + random.normal(0, 10))
    reach = -np.array([np.sin(angle), np.cos(angle)], np.float32)  # from the wrist to the tips
    if random.random() < 0.1:
        reach = -reach  # from above
    drawn = _posed_hand(target, reach, u, random)
    shadow = Shadow.cast(random, 0.5, 0.1 * u)
    corners = np.concatenate([limb.outline() for limb in drawn.limbs])
    area = Area.around(corners, shadow.margin, scene.size)
    height, inside = _surface(area, drawn.limbs)
    alpha = np.clip(inside + 0.5, 0.0, 1.0)
    shade = _skin_shading(height, area, scene, random)
    colour = scene.skin * random.normal(1.0, 0.05) * random.normal(1, 0.02, 3)
    painted = shaded(np.clip(colour, 15, 240).astype(np.float32), shade, REDDER_SHADOWS)
    painted = _with_folds_and_nails(painted, area, drawn, u, random)
    return [Layer(area, alpha, painted, shadow)]


def _posed_hand(target: Points, reach: Points, u: float, random: np.random.Generator) -> _Hand:
    """Fingers whose tips are about `target`, palm and wrist behind them against `reach`."""
    side = np.array([-reach[1], reach[0]], np.float32) * random.choice([-1.0, 1.0])
    n = int(random.choice([1, 2, 3, 4], p=[0.2, 0.2, 0.15, 0.45]))
    thickness = u * random.uniform(0.135, 0.165)
    lengths = u * np.array([1.15, 1.28, 1.2, 0.95]) * random.uniform(0.9, 1.1)
    fan, warp = np.radians(random.uniform(-2, 8)), random.uniform(-0.12, 0.12) * u
    spread = random.uniform(1.85, 2.25) * thickness
    shows_back = random.random() < 0.6
    knuckles = target - reach * u * 1.25
    limbs: list[_Limb] = []
    nails: list[_Limb] = []
    folds: list[Points] = []
    for i in range(n):
        place = i - (n - 1) / 2
        turn = place * fan + np.radians(random.normal(0, 2))
        along = reach * np.cos(turn) + side * np.sin(turn)
        base = knuckles + side * spread * place
        r = thickness * (0.85 if i == 3 else 1.0) * random.uniform(0.96, 1.04)
        length = lengths[i] * random.uniform(0.94, 1.06)
        middle = base + along * length * 0.52 + side * warp
        tip = base + along * length + side * warp * 0.4
        limbs += [_Limb(base, middle, 1.1 * r, 0.98 * r), _Limb(middle, tip, 0.98 * r, 0.78 * r)]
        limbs.append(_Limb(base, base - reach * u, 1.25 * r, 1.5 * r))  # the back of the hand
        forward = (tip - middle) / max(float(np.linalg.norm(tip - middle)), 1e-3)
        across = np.array([-forward[1], forward[0]], np.float32) * 0.6 * r
        for back in (0.0, 0.24, -0.24):
            fold = middle + forward * back * r
            folds.append(np.stack([fold - across, fold + across]))
        if shows_back:
            nails.append(_Limb(tip - 0.1 * r * forward, tip + 0.5 * r * forward, 0.5 * r, 0.45 * r))
    if random.random() < 0.6:
        root = knuckles - reach * u * 0.55 - side * spread * ((n - 1) / 2 + 0.4)
        out = reach * np.cos(0.6) - side * np.sin(0.6) * random.uniform(0.5, 1.2)
        joint = root + out * u * 0.5
        tip = joint + (0.75 * out + 0.25 * reach) * u * 0.45
        r = thickness * 1.12
        limbs += [_Limb(root, joint, 1.4 * r, 1.1 * r), _Limb(joint, tip, 1.1 * r, 0.85 * r)]
    wrist = knuckles - reach * u * 0.8
    limbs.append(_Limb(wrist, wrist - reach * u * 3.5, 0.42 * u, 0.5 * u))
    return _Hand(limbs, nails, folds)


def _surface(area: Area, limbs: list[_Limb]) -> tuple[Plane, Plane]:
    """Height of the union of capsules, and how far inside its outline a pixel lies, in pixels.

    Computed at half the size: both are smooth, so that the outline stays anti-aliased when the
    distance, not its cut, is enlarged.
    """
    x, y = area.x[:, ::2] + 0.5, area.y[::2] + 0.5
    corner = np.array([area.left, area.top])
    limit = np.array([x.shape[1], y.shape[0]])
    height = np.zeros((y.shape[0], x.shape[1]), np.float32)
    inside = np.full_like(height, -1e3)
    for limb in limbs:
        reach = max(limb.start_radius, limb.end_radius) + 4
        ends = np.stack([limb.start, limb.end])
        low = np.floor((ends.min(axis=0) - reach - corner) / 2).astype(int).clip(0, limit)
        high = np.ceil((ends.max(axis=0) + reach - corner) / 2).astype(int).clip(low, limit)
        if (low == high).any():
            continue
        rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
        dx, dy = x[:, columns] - np.float32(limb.end[0]), y[rows] - np.float32(limb.end[1])
        ax, ay = (float(v) for v in limb.start - limb.end)
        t = np.clip((dx * ax + dy * ay) / max(ax * ax + ay * ay, 1e-3), 0.0, 1.0)
        squared = (dx - t * ax) ** 2 + (dy - t * ay) ** 2
        radius = limb.end_radius + t * (limb.start_radius - limb.end_radius)
        part = inside[rows, columns]
        np.maximum(part, radius - np.sqrt(squared), out=part)
        part = height[rows, columns]
        np.maximum(part, np.sqrt(np.maximum(radius * radius - squared, 0.0)), out=part)
    full = (area.width, area.height)
    return (
        np.asarray(cv2.resize(height, full, interpolation=cv2.INTER_LINEAR), np.float32),
        np.asarray(cv2.resize(inside, full, interpolation=cv2.INTER_LINEAR), np.float32),
    )


def _skin_shading(height: Plane, area: Area, scene: Scene, random: np.random.Generator) -> Plane:
    """Soft light on skin, darker in the furrows between fingers, with a little texture."""
    u = scene.unit
    smooth = np.asarray(cv2.GaussianBlur(height, (0, 0), 0.025 * u), np.float32)
    furrow = cv2.GaussianBlur(cv2.resize(height, None, fx=0.5, fy=0.5), (0, 0), 0.05 * u)
    furrow = cv2.resize(furrow, (area.width, area.height)) - height
    shade = 0.42 + 0.66 * relief(smooth, scene.light, 0.9)
    shade -= np.clip(furrow * (1.2 / u), 0.0, 0.25)
    shade += 0.025 * smooth_noise(random, area, 0.12 * u) + 0.012 * grain(random, area)
    return np.asarray(shade, np.float32)


def _with_folds_and_nails(
    painted: Image, area: Area, drawn: _Hand, u: float, random: np.random.Generator
) -> Image:
    """A painted hand with the folds at its joints, and its nails when its back is seen."""
    folds = np.zeros(area.shape, np.uint8)
    lines = [area.fixed(fold) for fold in drawn.folds]
    cv2.polylines(folds, lines, False, 90, max(1, round(0.02 * u)), cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(folds, (0, 0), max(0.4, 0.02 * u)).astype(np.float32) / 255
    painted = brightened(painted, -soft, 45.0)
    if not drawn.nails:
        return painted
    polished = random.random() < 0.2
    tint = _colour(NAIL_POLISH if polished else (NAIL,), random)
    plate = area.filled(*(nail.outline() for nail in drawn.nails))
    rim = np.asarray(cv2.GaussianBlur(plate, (0, 0), max(0.4, 0.02 * u)), np.float32)
    painted = brightened(painted, -rim, 28.0)
    weight = plate * np.float32(0.85 if polished else 0.4)
    spots = [_Limb(nail.end, nail.end, 0.02 * u, 0.02 * u).outline() for nail in drawn.nails]
    shine = np.asarray(cv2.GaussianBlur(area.filled(*spots), (0, 0), 0.015 * u), np.float32)
    mixed = cv2.blendLinear(painted, plain(tint, area), 1.0 - weight, weight)
    return brightened(np.asarray(mixed, np.uint8), plate * shine, 60.0)


def blob(scene: Scene, random: np.random.Generator) -> list[Layer]:
    """A rounded or angular object: a noise texture, or the picture's own background stretched."""
    u = scene.unit
    # Anywhere over the face: a point of its outline drawn in by a random amount.
    rim = scene.points[mesh.FACE_OVAL[random.integers(len(mesh.FACE_OVAL))]]
    nose = scene.points[mesh.NOSE_TIP]
    outline = _outline(nose + (rim - nose) * random.uniform(0.1, 1.1), u, random)
    shadow = Shadow.cast(random, 0.4, 0.08 * u)
    area = Area.around(outline, shadow.margin, scene.size)
    alpha = area.filled(outline)
    # Convex things are lit like a cushion, flat ones by a slow gradient.
    solid = (alpha > 0.5).astype(np.uint8)
    inside = np.asarray(cv2.distanceTransform(solid, cv2.DIST_L2, 3), np.float32)
    rounding = u * random.uniform(0.05, 0.5)
    rise = np.asarray(
        cv2.GaussianBlur(np.minimum(inside, rounding), (0, 0), rounding / 3), np.float32
    )
    shade = 0.8 + 0.45 * (relief(rise, scene.light, 1.2) - 0.5)
    shade += random.uniform(0.0, 0.05) * grain(random, area)
    shade += random.uniform(0.0, 0.12) * smooth_noise(random, area, scene.size / 3)
    if random.random() < 0.4:
        lit = cv2.merge([shade] * 3)
        painted = cv2.multiply(_background(scene, area, random), lit, dtype=cv2.CV_8U)
        return [Layer(area, alpha, np.asarray(painted, np.uint8), shadow)]
    shade += random.uniform(0.0, 0.15) * smooth_noise(random, area, u * random.uniform(0.05, 0.5))
    colour = random.uniform(20, 235) + random.uniform(-1, 1, 3) * random.choice([8.0, 60.0])
    colour = np.clip(colour * scene.exposure, 8, 245).astype(np.float32)
    return [Layer(area, alpha, shaded(colour, shade), shadow)]


def _outline(centre: Points, u: float, random: np.random.Generator) -> Points:
    """An ellipse, a wobbly disc, a polygon or a rounded oblong (N, 2) around `centre`."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radii = np.ones(64)
    kind = random.integers(4)
    if kind == 1:
        for k in (2, 3, 5):
            radii += random.uniform(0, 0.35 / k) * np.sin(k * angles + random.uniform(0, 6.3))
    elif kind == 2:
        n = int(random.integers(4, 8))
        angles = (np.arange(n) + random.uniform(-0.3, 0.3, n)) * 2 * np.pi / n
        radii = random.uniform(0.7, 1.2, n)
    elif kind == 3:
        power = random.uniform(4, 12)
        radii = (np.abs(np.cos(angles)) ** power + np.abs(np.sin(angles)) ** power) ** (-1 / power)
    shape = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    shape *= u * np.array([random.uniform(0.25, 0.75), random.uniform(0.25, 0.75)])
    turn = random.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(shape @ rotation.T + centre, np.float32)


def _background(scene: Scene, area: Area, random: np.random.Generator) -> Image:
    """A part of the picture beside the face, stretched over an area."""
    side = int(scene.size * random.uniform(0.15, 0.25))
    left = int(random.choice([0, scene.size - side]))
    upper, lower = random.uniform(0, 0.4) * scene.size, scene.size - side
    top = int(upper if random.random() < 0.5 else lower)
    patch = scene.picture[top : top + side, left : left + side]
    stretched = cv2.resize(patch, (area.width, area.height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(stretched, np.uint8)
