"""Occluders worn on a face: glasses and sunglasses, masks and scarves, strands of hair."""

from __future__ import annotations

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
    outset,
    plain,
    relief,
    ribbon,
    shaded,
    smooth_noise,
)

Frames = tuple[tuple[tuple[int, int, int], tuple[float, float], float], ...]
# (colour, thickness in eye distances from and to, gloss): horn and plastic thick, wire thin.
FRAMES: Frames = (
    ((18, 18, 20), (0.04, 0.10), 50.0),
    ((60, 38, 24), (0.05, 0.10), 45.0),
    ((105, 70, 40), (0.05, 0.10), 45.0),
    ((30, 40, 75), (0.04, 0.08), 45.0),
    ((120, 25, 30), (0.04, 0.08), 45.0),
    ((190, 190, 195), (0.022, 0.035), 70.0),
    ((175, 140, 80), (0.022, 0.035), 70.0),
    ((40, 40, 44), (0.022, 0.04), 60.0),
    ((200, 190, 180), (0.05, 0.09), 40.0),
)
TORTOISESHELL = 2
# Likewise, wires alone, down to less than a pixel, and in the colours of skin too.
WIRES: Frames = (
    ((190, 190, 195), (0.012, 0.03), 70.0),
    ((175, 140, 80), (0.012, 0.03), 70.0),
    ((40, 40, 44), (0.012, 0.03), 60.0),
    ((120, 110, 105), (0.012, 0.03), 60.0),
    ((170, 130, 105), (0.012, 0.03), 60.0),
    ((90, 75, 65), (0.012, 0.03), 50.0),
)
# Lower halves of browline glasses, and clear frames: wire, horn, plastic that skin shines through.
LOWER_COLOURS = ((195, 175, 140), (210, 205, 200), (165, 115, 65), (130, 130, 135), (90, 60, 40))
CLEAR_COLOURS = ((215, 205, 195), (205, 165, 120), (200, 175, 170), (170, 185, 195))
SUNGLASS_TINTS = ((14, 14, 16), (34, 24, 16), (16, 26, 22), (20, 26, 44), (60, 40, 20))
MASK_COLOURS = ((165, 200, 215), (235, 235, 232), (24, 24, 28), (150, 190, 190), (60, 70, 95))
CLOTH_COLOURS = (
    (225, 222, 215), (24, 24, 28), (90, 95, 105), (130, 45, 48), (45, 60, 100),
    (60, 82, 62), (190, 172, 145), (115, 80, 62), (190, 145, 155), (150, 150, 155),
)  # fmt: skip
HAIR_COLOURS = ((22, 18, 16), (48, 34, 24), (88, 62, 40), (140, 108, 70), (170, 145, 105))
LOWER_FACE = slice(8, 29)  # of FACE_OVAL: from the left ear under the chin to the right ear


def glasses(scene: Scene, random: np.random.Generator) -> list[Layer]:
    """Frames with clear lenses that reflect a little."""
    return _glasses(scene, random, dark=False)


def wire_glasses(scene: Scene, random: np.random.Generator) -> list[Layer]:
    """Glasses with thin rims of wire; the last layer is the frame."""
    return _glasses(scene, random, dark=False, frames=WIRES)


def sunglasses(scene: Scene, random: np.random.Generator) -> list[Layer]:
    """Frames with dark lenses, even or graded, that reflect the surroundings."""
    return _glasses(scene, random, dark=True)


def _glasses(
    scene: Scene, random: np.random.Generator, dark: bool, frames: Frames = FRAMES
) -> list[Layer]:
    u = scene.unit
    style = int(random.integers(len(frames)))
    rgb, thicknesses, gloss = frames[style]
    thickness = u * random.uniform(*thicknesses)
    colour = np.array(rgb) * random.uniform(0.7, 1.3) + random.normal(0, 6, 3)
    colour = np.clip(colour * scene.exposure, 5, 240).astype(np.float32)
    rims = _rims(scene, random, large=dark)
    bands = [_bridge(rims, scene, thickness, random), *_temples(rims, scene, thickness, random)]
    outer = [outset(rim, thickness) for rim in rims]
    shadow = Shadow(random.uniform(0.15, 0.45), 0.0, random.uniform(0.03, 0.09) * u, 0.05 * u)
    area = Area.around(np.concatenate(outer + bands), shadow.margin, scene.size)
    lens = area.filled(*rims)
    frame = area.filled(*outer)
    if random.random() < 0.15 and not dark:  # no rim below
        frame *= np.clip(0.5 - (area.along(rims[0].mean(axis=0), scene.down)) / (0.1 * u), 0, 1)
    frame = np.maximum(frame, area.filled(*bands)) * (1.0 - lens)
    painted = _glossy(frame, colour, gloss, area, u)
    if frames is FRAMES and style == TORTOISESHELL:
        painted = brightened(painted, smooth_noise(random, area, 0.08 * u), 28.0)
    if not dark:
        frame, painted = _two_toned(frame, painted, area, rims, scene, gloss, random)
    glass = _dark_lens if dark else _clear_lens
    return [glass(lens, area, scene, random), Layer(area, frame, painted, shadow)]


def _two_toned(
    frame: Plane,
    painted: Image,
    area: Area,
    rims: list[Points],
    scene: Scene,
    gloss: float,
    random: np.random.Generator,
) -> tuple[Plane, Image]:
    """Alpha and colours of frames, some clear altogether or below the middle (browline)."""
    kind = random.random()
    if kind > 0.3:
        return frame, painted
    below = np.ones_like(frame)
    colours: tuple[tuple[int, int, int], ...] = CLEAR_COLOURS
    if kind > 0.1:
        middle = np.concatenate(rims).mean(axis=0)
        below = np.clip(0.5 + area.along(middle, scene.down) / (0.06 * scene.unit), 0.0, 1.0)
        colours = LOWER_COLOURS + CLEAR_COLOURS
    colour = np.array(colours[int(random.integers(len(colours)))]) * random.uniform(0.8, 1.15)
    colour = np.clip(colour * scene.exposure, 5, 240).astype(np.float32)
    lower = _glossy(frame, colour, gloss, area, scene.unit)
    painted = painted + below[..., None] * (lower - painted)
    return frame * (1.0 - below * random.uniform(0.1, 0.45)), painted


def _rims(scene: Scene, random: np.random.Generator, large: bool) -> list[Points]:
    """Outlines (72, 2) of the right and left lens; a turned head's far lens is narrower."""
    power = random.choice([2.0, 2.4, 3.2, 5.0], p=[0.3, 0.2, 0.3, 0.2])
    half_width = random.uniform(0.35, 0.41) + (0.02 if large else 0.0)
    half_height = random.uniform(0.22, 0.33) + (0.05 if large else 0.0)
    if power == 2.0:  # round ones are nearly circles
        half_height = half_width * random.uniform(0.8, 0.98)
    drop = random.uniform(0.02, 0.10)
    aviator = random.uniform(0.1, 0.3) * (random.random() < 0.3)
    cat_eye = random.uniform(0.15, 0.4) * (random.random() < 0.25)
    taper = random.uniform(0.0, 0.08)
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False, dtype=np.float32)
    x, y = np.cos(angles), np.sin(angles)
    radius = (np.abs(x) ** power + np.abs(y) ** power) ** (-1 / power)
    x, y = x * radius, y * radius  # x to the temple, y down, both in [-1, 1]
    low, high = np.maximum(y, 0), np.maximum(-y, 0)
    out = x * (1 - taper * y - aviator * low**2) + 0.5 * aviator * low
    down = y * (1 + 0.3 * aviator * low) - cat_eye * np.maximum(x, 0) ** 2 * high
    rims = []
    for corners, sign in ((mesh.RIGHT_EYE_CORNERS, -1.0), (mesh.LEFT_EYE_CORNERS, 1.0)):
        # A frontal eye is 0.42 eye distances wide; what it lacks, the turned lens lacks too.
        width = float(np.linalg.norm(scene.points[corners[0]] - scene.points[corners[1]]))
        turned = np.clip(width / (0.42 * scene.unit), 0.45, 1.08)
        right = sign * turned * (0.05 + half_width * out)
        below = drop + half_height * down
        offsets = right[:, None] * scene.across + below[:, None] * scene.down
        rims.append((scene.mean(corners) + scene.unit * offsets).astype(np.float32))
    return rims


def _bridge(
    rims: list[Points], scene: Scene, thickness: float, random: np.random.Generator
) -> Points:
    """The arch over the nose between the lenses."""
    height = random.uniform(-0.15, 0.05) * scene.unit
    ends = []
    for rim, sign in zip(rims, (1.0, -1.0), strict=True):
        inward, below = (rim @ scene.across) * sign, rim @ scene.down
        ends.append(rim[np.where(below < below.mean() + height, inward, -np.inf).argmax()])
    overlap = 0.5 * thickness * scene.across
    top = scene.at((ends[0] + ends[1]) / 2, 0, -random.uniform(0.02, 0.10))
    return ribbon(curve(ends[0] - overlap, top, ends[1] + overlap, n=12), 1.2 * thickness)


def _temples(
    rims: list[Points], scene: Scene, thickness: float, random: np.random.Generator
) -> list[Points]:
    """The arms from the lenses to the ears; the one on the far side of a turned head is hidden."""
    arms = []
    reach = random.uniform(0.8, 1.0)  # hair may cover their ends
    for rim, sign, ear in zip(rims, (-1.0, 1.0), (127, 356), strict=True):
        outward, below = (rim @ scene.across) * sign, rim @ scene.down
        hinge = rim[np.where(below < below.mean(), outward, -np.inf).argmax()]
        arm = reach * (scene.points[ear] - hinge)
        if float(arm @ scene.across) * sign > 1.5 * thickness:
            width = np.array([1.5, 1.3, 1.1], np.float32) * max(thickness, 0.03 * scene.unit)
            along = np.array([0.0, 0.5, 1.0], np.float32)[:, None]
            arms.append(ribbon((hinge + along * arm).astype(np.float32), width))
    return arms


def _glossy(alpha: Plane, colour: Colour, gloss: float, area: Area, u: float) -> Image:
    """A rounded, shining frame: lit on its upper left edges, dark on the lower right."""
    soft = cv2.GaussianBlur(alpha, (0, 0), max(0.6, 0.015 * u))
    kernel = np.array([[1, 1, 0], [1, 0, -1], [0, -1, -1]], np.float32) / 3
    edge = np.asarray(cv2.filter2D(soft, cv2.CV_32F, kernel), np.float32)
    return brightened(plain(colour, area), -edge, gloss)


def _clear_lens(lens: Plane, area: Area, scene: Scene, random: np.random.Generator) -> Layer:
    """A faint tint and one or two slanting reflections."""
    glare = _streaks(area, scene, random) * random.uniform(0.1, 0.7) ** 2
    sheen = np.clip(0.5 + 0.5 * smooth_noise(random, area, 0.8 * scene.unit), 0, 1)
    glass = random.uniform(0.02, 0.07) + glare + sheen * random.uniform(0, 0.15)
    white = (np.array([225, 232, 240], np.float32) - random.uniform(0, 50)) * scene.exposure
    return Layer(area, lens * np.clip(glass, 0.0, 0.85), plain(white, area))


def _dark_lens(lens: Plane, area: Area, scene: Scene, random: np.random.Generator) -> Layer:
    """Dark glass: even or lighter towards the cheeks, with sky above and a bright streak."""
    u = scene.unit
    dense = random.uniform(0.78, 0.98)
    below = area.along(scene.mean(mesh.RIGHT_EYE_CORNERS + mesh.LEFT_EYE_CORNERS), scene.down) / u
    graded = random.uniform(0.2, 0.5) if random.random() < 0.35 else 0.0
    alpha = lens * (dense - graded * np.clip(below + 0.2, 0, 1))
    tint = np.array(SUNGLASS_TINTS[random.integers(len(SUNGLASS_TINTS))], np.float32)
    mirrored = np.clip(0.25 - below, 0, 0.6) * random.uniform(0, 0.5)  # the sky
    mirrored += np.clip(smooth_noise(random, area, 0.5 * u), 0, 2) * random.uniform(0, 0.06)
    mirrored += _streaks(area, scene, random) * random.uniform(0.0, 0.35)
    painted = brightened(plain(tint, area), mirrored, 200.0 * scene.exposure)
    return Layer(area, alpha.astype(np.float32), painted, Shadow(0.12, 0, 0.06 * u, 0.05 * u))


def _streaks(area: Area, scene: Scene, random: np.random.Generator) -> Plane:
    """Slanting bands of light across both eyes, soft at their borders."""
    slant = random.uniform(0.15, 0.6) * random.choice([-1.0, 1.0])
    place, second = random.uniform(-0.25, 0.25), random.uniform(0.15, 0.25)
    wide = random.uniform(0.06, 0.2) * scene.unit
    bands: list[list[Points]] = [[], []]
    for corners in (mesh.RIGHT_EYE_CORNERS, mesh.LEFT_EYE_CORNERS):
        for i, (offset, width) in enumerate(((place, wide), (place + second, 0.04 * scene.unit))):
            eye = scene.at(scene.mean(corners), offset, 0.0)
            ends = np.stack([scene.at(eye, slant, -0.6), scene.at(eye, -slant, 0.6)])
            bands[i].append(ribbon(ends, width))
    streak = np.maximum(area.filled(*bands[0]), 0.6 * area.filled(*bands[1]))
    return np.asarray(cv2.GaussianBlur(streak, (0, 0), max(0.5, 0.02 * scene.unit)), np.float32)


def face_mask(scene: Scene, random: np.random.Generator) -> list[Layer]:
    """A cloth or paper mask over nose, mouth and chin, with its loops to the ears."""
    u = scene.unit
    oval = scene.points[list(mesh.FACE_OVAL)]
    chin, nose_tip = scene.points[152], scene.points[mesh.NOSE_TIP]
    low = int(random.integers(0, 3))
    jaw = outset(oval, 0.05 * u)[LOWER_FACE][low : 21 - low]
    high = scene.at(scene.points[[6, 197, 195][random.integers(3)]], 0, 0.0)
    dip = random.uniform(0.15, 0.3)
    top = np.concatenate([
        curve(jaw[-1], scene.at(jaw[-1], 0.4, 0.05), scene.at(high, -0.5, dip),
              scene.at(high, -0.25, 0), high, n=12),
        curve(high, scene.at(high, 0.25, 0), scene.at(high, 0.5, dip),
              scene.at(jaw[0], -0.4, 0.05), jaw[0], n=12),
    ])  # fmt: skip
    outline = np.concatenate([jaw, top])
    shadow = Shadow(random.uniform(0.2, 0.45), 0.0, 0.05 * u, 0.06 * u)
    loops = [
        ribbon(curve(end, scene.at(end, 0.12 * sign, -0.1), scene.points[ear], n=8), 0.03 * u)
        for sign, ear, end in ((-1.0, 127, jaw[-1]), (1.0, 356, jaw[0]))
    ]
    area = Area.around(np.concatenate([outline, *loops]), shadow.margin, scene.size)
    rising = (nose_tip - chin) / max(float(np.linalg.norm(nose_tip - chin)), 1e-3)
    v, side = area.along(chin, rising) / u, area.along(nose_tip, scene.across) / u
    rise = u * (0.7 * np.exp(-0.9 * side * side) - 0.15 * (v - 0.7) ** 2)
    if random.random() < 0.6:  # pleats
        wave = 2 * np.pi / random.uniform(0.22, 0.32)
        rise += u * random.uniform(0.004, 0.012) * np.sin((v + 0.12 * side**2) * wave)
    rise += 0.02 * u * smooth_noise(random, area, 0.35 * u)
    cloth = _cloth(scene, area, rise, MASK_COLOURS, random, patterned=random.random() < 0.2)
    white = np.full(3, random.uniform(150, 220) * scene.exposure, np.float32)
    cord = Layer(area, area.filled(*loops), plain(white, area), Shadow(0.2, 0, 0.02 * u, 0.02 * u))
    return [cord, Layer(area, area.filled(outline), cloth, shadow)]


def scarf(scene: Scene, random: np.random.Generator) -> list[Layer]:
    """Cloth in folds over all below a wavy edge, or a band around the forehead."""
    u, size = scene.unit, scene.size
    if random.random() < 0.3:
        temple, other = scene.points[127], scene.points[356]
        rise = random.uniform(0.3, 0.5)
        left, right = scene.at(temple, -0.1, -rise), scene.at(other, 0.1, -rise)
        middle = scene.at(scene.points[10], 0, random.uniform(-0.2, 0.15))
        width = u * random.uniform(0.25, 0.5)
        centre = curve(left, 2 * middle - (left + right) / 2, right, n=24)
        outline = ribbon(centre, width)
        edge_x, edge_y = centre[:, 0], centre[:, 1] - width / 2
    else:
        middle = scene.at(scene.mean(mesh.OUTER_LIPS), 0, random.uniform(-0.5, 0.6))
        x = np.linspace(-0.1 * size, 1.1 * size, 24, dtype=np.float32)
        away = (x - middle[0]) / size
        edge_y = middle[1] + size * (random.normal(0, 0.12) * away + _wave(away, random))
        edge_y += random.uniform(-0.5, 0.8) * size * away**2
        edge_x, low = x, np.full_like(x, 1.2 * size)
        outline = np.concatenate([np.stack([x, edge_y], 1), np.stack([x, low], 1)[::-1]])
    shadow = Shadow(random.uniform(0.2, 0.45), 0.0, -0.03 * u, 0.07 * u)
    area = Area.around(outline.astype(np.float32), shadow.margin, size)
    # Folds run along the edge, a little askew.
    edge = np.interp(area.x[0], edge_x, edge_y).astype(np.float32)[None]
    v = (area.y - edge) / u
    skewed = v + 0.15 * area.along(middle, scene.across) / u * random.uniform(-1, 1)
    skewed += 0.06 * smooth_noise(random, area, 1.2 * u)
    wave = 2 * np.pi / random.uniform(0.4, 0.8)
    rise = u * random.uniform(0.015, 0.035) * np.sin(skewed * wave + random.uniform(0, 6.3))
    rise += u * (0.08 * np.clip(v * 8, 0, 1) + 0.015 * smooth_noise(random, area, 0.4 * u))
    cloth = _cloth(scene, area, rise, CLOTH_COLOURS, random, patterned=random.random() < 0.5)
    return [Layer(area, area.filled(outline), cloth, shadow)]


def _wave(x: Plane, random: np.random.Generator) -> Plane:
    """A smooth random line over x in [-1, 1]."""
    phases, heights = random.uniform(0, 2 * np.pi, 3), random.uniform(0, 0.02, 3)
    turns = np.array([5.0, 9.0, 15.0])
    waves = heights * np.sin(x[:, None] * turns + phases)
    return np.asarray(waves.sum(axis=1), np.float32)


def _cloth(
    scene: Scene, area: Area, rise: Plane, colours: tuple[tuple[int, int, int], ...],
    random: np.random.Generator, patterned: bool,
) -> Image:  # fmt: skip
    """Woven cloth over a relief, plain, striped or checked."""
    shade = 0.45 + 0.62 * relief(rise, scene.light, 1.3) + 0.02 * grain(random, area)
    shade += 0.03 * smooth_noise(random, area, 0.3 * scene.unit)
    chosen = random.choice(len(colours), 2, replace=False)
    base, other = (np.array(colours[i], np.float32) * scene.exposure for i in chosen)
    base = np.clip(base * random.uniform(0.75, 1.1) + random.normal(0, 6, 3), 8, 245)
    cloth = shaded(base.astype(np.float32), shade)
    if not patterned:
        return cloth
    turn = random.uniform(0, np.pi)
    frequency = 2 * np.pi / (scene.unit * random.uniform(0.12, 0.45))
    axis = np.array([np.cos(turn), np.sin(turn)], np.float32)
    origin = scene.points[152]
    # Along the cloth's own surface the pattern warps with its folds.
    weight = np.sin((area.along(origin, axis) + 0.6 * rise) * frequency)
    if random.random() < 0.5:
        second = np.array([-axis[1], axis[0]], np.float32)
        weight = 0.5 * (weight + np.sin((area.along(origin, second) + 0.6 * rise) * frequency))
    weight = np.clip(0.5 + random.uniform(0.8, 3.0) * weight, 0, 1) * random.uniform(0.3, 0.9)
    weight = weight.astype(np.float32)
    return np.asarray(cv2.blendLinear(cloth, shaded(other, shade), 1.0 - weight, weight), np.uint8)


def hair(scene: Scene, random: np.random.Generator) -> list[Layer]:
    """Strands from above the forehead: down a side of the face, across it, or a fringe."""
    colour = _hair_colour(scene, random)
    side = random.choice([-1.0, 1.0])
    top = scene.at(scene.points[10], 0, -random.uniform(0.35, 0.6))
    style = random.random()
    if style < 0.35:  # a fringe, thin enough to see through
        start = scene.at(top, side * random.uniform(-0.1, 0.3), 0)
        warp = random.uniform(-0.2, 0.2), random.uniform(-0.1, 0.1)
        half_width, length = random.uniform(0.8, 1.15), random.uniform(0.9, 1.5)
        return [_lock(scene, start, half_width, length, warp, colour, random)]
    locks = []
    for _ in range(1 if style < 0.7 else 2):
        start = scene.at(top, side * random.uniform(0.0, 0.7), 0)
        warp = side * random.uniform(-0.3, 0.5), side * random.uniform(-0.1, 0.5)
        half_width, length = random.uniform(0.1, 0.32), random.uniform(1.6, 3.2)
        locks.append(_lock(scene, start, half_width, length, warp, colour, random))
    return locks


def _lock(
    scene: Scene, start: Points, half_width: float, length: float, warp: tuple[float, float],
    colour: Colour, random: np.random.Generator,
) -> Layer:  # fmt: skip
    """Hair that falls from `start`: half width and length in eye distances, frayed all around.

    Every pixel is named by how far along the lock it lies and how far across; the hairs are noise
    that hardly changes along it.
    """
    u = scene.unit
    drift, bow = warp
    reach = u * (half_width * 1.4 + abs(drift) + abs(bow))
    end = scene.at(start, 0, 1.15 * length)
    shadow = Shadow(random.uniform(0.2, 0.45), 0.02 * u, 0.04 * u, 0.04 * u)
    area = Area.around(np.stack([start - reach, start + reach, end - reach, end + reach]),
                       shadow.margin, scene.size)  # fmt: skip
    t = area.along(start, scene.down) / (length * u)
    fan = 1.0 + random.uniform(-0.4, 0.3) * t
    middle = drift * t + bow * np.sin(np.pi * np.clip(t, 0, 1.2))
    v = (area.along(start, scene.across) / u - middle) / (half_width * fan)
    hairs_wide = max(12, round(2.6 * half_width * u / max(1.0, 1.3 * scene.size / 256)))
    strands = random.standard_normal((5, hairs_wide, 2), np.float32)
    columns, rows = (v + 1.3) * (hairs_wide / 2.6), np.clip(t * 3.0 + 0.5, 0, 4)
    noise = cv2.remap(strands, columns.astype(np.float32), rows.astype(np.float32),
                      cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)  # fmt: skip
    clumps = cv2.resize(random.standard_normal((1, 9), np.float32), (hairs_wide, 1))
    clump = cv2.remap(clumps, columns.astype(np.float32), np.zeros_like(t, np.float32),
                      cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)  # fmt: skip
    fray = 0.35 * noise[..., 0] + 0.5 * clump
    dense = random.uniform(0.3, 1.2)
    cover = dense + 0.9 * (1 - np.abs(v) ** 1.5 * 1.8) + fray
    tips = (0.85 + 0.12 * clump + 0.06 * noise[..., 0] - t) * 6.0
    roots = (t + 0.06 * noise[..., 0]) * 8.0
    alpha = np.clip(np.minimum(np.minimum(cover * 1.6, tips), roots), 0, 1)
    alpha *= (np.abs(v) < 1.3) & (t < 1.15)
    shine = np.exp(-(((t * length - random.uniform(0.4, 1.4)) / 0.3) ** 2))
    shade = 0.9 + 0.16 * noise[..., 1] + 0.10 * clump + random.uniform(0, 0.35) * shine
    return Layer(area, alpha.astype(np.float32), shaded(colour, shade), shadow)


def _hair_colour(scene: Scene, random: np.random.Generator) -> Colour:
    """The person's own, as it is above the forehead, or another where that is bald or covered."""
    x, y = np.clip(scene.at(scene.points[10], 0, -0.35), 3, scene.size - 4).astype(int)
    above = np.median(scene.picture[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3), axis=0)
    alike = float(np.abs(above - scene.skin).max()) < 40.0
    brighter = float(above.mean()) > float(scene.skin.mean())
    if alike or brighter or random.random() < 0.2:
        dyed = np.array(HAIR_COLOURS[random.integers(len(HAIR_COLOURS))], np.float32)
        return dyed * np.float32(scene.exposure * random.uniform(0.8, 1.2))
    return np.asarray(above * 0.95 + 4, np.float32)
