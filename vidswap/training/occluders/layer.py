"""What every drawn occluder shares: the scene it is placed in, the painted layer, its composition.

Everything is in pixels of the picture that is painted on, pixel centres at integers. An occluder is
drawn in an `Area` of the picture only, since most of them are small.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh

Image = NDArray[np.uint8]
Plane = NDArray[np.floating]
Points = NDArray[np.floating]  # (N, 2), or (2,) for one
Colour = NDArray[np.floating]  # (3,) RGB, 0 to 255

MESH_SIZE = 256.0  # side of the crop that landmarks are given in
TEMPLATE_EYE_DISTANCE = 62.0  # pixels between the eye centres of a frontal face in that crop
USUAL_SKIN = 165.0  # grey value of well-lit skin
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Area:
    """A box of the picture, its sides even so that it can be halved."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def around(cls, points: Points, margin: float, size: int) -> Area:
        """The part of a picture of side `size` that lies within `margin` of the points' box."""
        low = np.floor(points.min(axis=0) - margin).astype(int).clip(0, size - 8)
        high = np.ceil(points.max(axis=0) + margin + 1).astype(int).clip(low + 8, size)
        width, height = (high - low) // 2 * 2
        return cls(int(low[0]), int(low[1]), int(width), int(height))

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )

    @property
    def x(self) -> Plane:
        """Where its columns are in the picture (1, width)."""
        return np.arange(self.left, self.left + self.width, dtype=np.float32)[None]

    @property
    def y(self) -> Plane:
        """Where its rows are in the picture (height, 1)."""
        return np.arange(self.top, self.top + self.height, dtype=np.float32)[:, None]

    def along(self, origin: Points, axis: Points) -> Plane:
        """How far every pixel lies from `origin` along an axis (2,), in pixels."""
        along = (self.x - origin[0]) * axis[0] + (self.y - origin[1]) * axis[1]
        return np.asarray(along, np.float32)

    def distance(self, origin: Points) -> Plane:
        """How far every pixel lies from `origin`."""
        squared = (self.x - origin[0]) ** 2 + (self.y - origin[1]) ** 2
        return np.asarray(np.sqrt(squared), np.float32)

    def fixed(self, points: NDArray[np.floating]) -> NDArray[np.int32]:
        """Points of the picture as OpenCV draws them here, in sixteenths of a pixel."""
        return np.rint((points - [self.left, self.top]) * 2.0**_SUBPIXEL_BITS).astype(np.int32)

    def filled(self, *outlines: NDArray[np.floating]) -> Plane:
        """The union of anti-aliased polygons (N, 2), filled: (height, width) in [0, 1]."""
        canvas = np.zeros(self.shape, np.uint8)
        for outline in outlines:
            cv2.fillPoly(canvas, [self.fixed(outline)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        return canvas.astype(np.float32) * np.float32(1 / 255)


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its face: `points` (478, 2), `unit` the distance of its eyes, and its light.

    `across` and `down` (2,) are the face's axes, `light` (3,) points to the light (x right, y down,
    z to the viewer), `skin` is the cheeks' colour, `exposure` how bright it is, 1 when well lit.
    """

    picture: Image
    size: int
    points: Points
    unit: float
    across: Points
    down: Points
    skin: Colour
    light: Colour
    exposure: float

    @classmethod
    def of(
        cls, picture: Image, landmarks: NDArray[np.floating], random: np.random.Generator
    ) -> Scene:
        """From a crop (S, S, 3) and its mesh (478, 2) in 256-pixel coordinates."""
        size = picture.shape[0]
        points = ((landmarks + 0.5) * (size / MESH_SIZE) - 0.5).astype(np.float32)
        right = points[list(mesh.RIGHT_EYE_CORNERS)].mean(axis=0)
        left = points[list(mesh.LEFT_EYE_CORNERS)].mean(axis=0)
        axis = left - right
        length = max(float(np.linalg.norm(axis)), 1e-3)
        across = axis / length
        down = np.array([-across[1], across[0]], np.float32)
        # A turned head brings the eyes together: the template's distance is the better measure.
        unit = max(length, 0.9 * TEMPLATE_EYE_DISTANCE * size / MESH_SIZE)
        skin, balance = _skin(picture, points)
        towards = np.array([3 * balance + random.normal(0, 0.15), random.normal(-0.6, 0.15), 1.0])
        light = (towards / np.linalg.norm(towards)).astype(np.float32)
        exposure = float(np.clip(skin.max() / USUAL_SKIN, 0.45, 1.1))
        return cls(picture, size, points, unit, across, down, skin, light, exposure)

    def at(self, centre: Points, right: float, down: float) -> Points:
        """The point `right` and `down` units from `centre`, along the face's axes."""
        moved = centre + self.unit * (right * self.across + down * self.down)
        return moved.astype(np.float32)

    def mean(self, indices: tuple[int, ...]) -> Points:
        """Centre (2,) of some mesh points."""
        centre: Points = self.points[list(indices)].mean(axis=0)
        return centre


def _skin(picture: Image, points: Points) -> tuple[Colour, float]:
    """Median colour (3,) of cheeks and nose bridge; how much brighter the picture's right is."""
    nose, size = points[mesh.NOSE_TIP], picture.shape[0]
    spots = [points[6]]
    for side in (93, 132, 323, 361):  # the picture's left, then its right
        spots += [nose + t * (points[side] - nose) for t in (0.45, 0.6)]
    where = np.clip(np.rint(np.array(spots)), 1, size - 2).astype(int)
    patches = np.stack([picture[y - 1 : y + 2, x - 1 : x + 2].reshape(9, 3) for x, y in where])
    brightness = patches.mean(axis=(1, 2)) + 8.0
    left, right = float(brightness[1:5].mean()), float(brightness[5:].mean())
    median = np.median(patches.reshape(-1, 3), axis=0)
    return median.astype(np.float32), (right - left) / (right + left)


@dataclass(frozen=True)
class Shadow:
    """How dark a layer's shadow is, how far (right, down) it falls and how wide its rim is."""

    strength: float = 0.0
    right: float = 0.0
    down: float = 0.0
    blur: float = 1.0

    @property
    def margin(self) -> float:
        """How far it reaches beyond the layer, in pixels; the layer's area has to hold it."""
        return max(abs(self.right), abs(self.down)) + 2.0 * self.blur + 3.0

    @classmethod
    def cast(cls, random: np.random.Generator, strength: float, gap: float) -> Shadow:
        """Of something about `gap` pixels before the face, `strength` at the most."""
        gap = gap * random.uniform(0.5, 1.5)
        return cls(strength * random.uniform(0.4, 1), random.uniform(-0.7, 0.7) * gap, gap, gap)


@dataclass(frozen=True, eq=False)
class Layer:
    """A painted occluder over an area: `alpha` (h, w) in [0, 1] and `colour` (h, w, 3) uint8."""

    area: Area
    alpha: Plane
    colour: Image
    shadow: Shadow = Shadow()


def compose(
    picture: Image, layers: list[Layer], softness: float
) -> tuple[Image, NDArray[np.float32]]:
    """Paint layers, the first one first, over a picture; with it how much of a pixel they are.

    `softness` blurs the layers by so many pixels, as the picture's own lens and scaling did.
    """
    painted = picture.copy()
    mask = np.zeros(picture.shape[:2], np.float32)
    for layer in layers:
        alpha, colour = layer.alpha, layer.colour
        if softness > 0.3:
            alpha = _plane(cv2.GaussianBlur(alpha, (0, 0), softness))
            # The grain of the colour is as soft as its outline.
            colour = _image(cv2.GaussianBlur(colour, (0, 0), softness))
        rest = 1.0 - alpha
        below = rest
        if layer.shadow.strength > 0:
            # Where the shadow falls the picture is mixed with black: it only ever darkens.
            below = rest * (1.0 - layer.shadow.strength * _fallen(alpha, layer.shadow))
        box = layer.area.slices
        painted[box] = _blend(painted[box], colour, below, alpha)
        mask[box] = 1.0 - (1.0 - mask[box]) * rest
    return painted, mask


def _blend(below: Image, above: Image, below_weight: Plane, above_weight: Plane) -> Image:
    """below * below_weight + above * above_weight, rounded to whole grey values."""
    first = cv2.multiply(below, cv2.merge([below_weight] * 3), dtype=cv2.CV_32F)
    second = cv2.multiply(above, cv2.merge([above_weight] * 3), dtype=cv2.CV_32F)
    return _image(cv2.add(first, second, dtype=cv2.CV_8U))


def _fallen(alpha: Plane, shadow: Shadow) -> Plane:
    """How much of the shadow falls on each pixel: the outline, moved and blurred."""
    height, width = alpha.shape
    half = cv2.resize(alpha, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    half = cv2.GaussianBlur(half, (0, 0), max(shadow.blur / 2, 0.3))
    move = np.array([[2.0, 0, 0.5 + shadow.right], [0, 2.0, 0.5 + shadow.down]])
    return _plane(cv2.warpAffine(half, move, (width, height), borderMode=cv2.BORDER_REPLICATE))


def ribbon(points: Points, widths: float | Plane) -> Points:
    """The outline (2N, 2) of a band along points (N, 2), `widths` wide there."""
    along = np.gradient(points, axis=0)
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    half = np.broadcast_to(np.asarray(widths, np.float32), (len(points),))[:, None] / 2
    side = np.stack([-along[:, 1], along[:, 0]], axis=1) * half
    return np.concatenate([points + side, (points - side)[::-1]]).astype(np.float32)


def outset(outline: Points, distance: float) -> Points:
    """A closed outline (N, 2) moved outwards by so many pixels, square to itself."""
    along = np.roll(outline, -1, axis=0) - np.roll(outline, 1, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    outward = np.sign(((outline - outline.mean(axis=0)) * normal).sum()) or 1.0
    return (outline + distance * outward * normal).astype(np.float32)


def curve(*control: Points, n: int = 16) -> Points:
    """A quadratic or cubic Bezier curve (n, 2) with three or four control points (2,)."""
    t = np.linspace(0.0, 1.0, n, dtype=np.float32)[:, None]
    level = list(control)
    while len(level) > 1:  # de Casteljau
        level = [(1 - t) * a + t * b for a, b in pairwise(level)]
    return level[0].astype(np.float32)


def smooth_noise(random: np.random.Generator, area: Area, cell: float) -> Plane:
    """Noise over an area, of standard deviation about one, in blotches `cell` pixels wide."""
    rows, columns = (max(3, int(np.ceil(side / cell)) + 1) for side in area.shape)
    coarse = random.standard_normal((rows, columns), np.float32) * np.float32(1.4)
    grid = (area.width, area.height)
    return _plane(cv2.resize(coarse, grid, interpolation=cv2.INTER_CUBIC))


def grain(random: np.random.Generator, area: Area) -> Plane:
    """Fine noise over an area, one value a pixel, of standard deviation one."""
    flat = random.integers(0, 256, area.shape, np.uint8).astype(np.float32)
    return (flat - 127.5) * np.float32(1 / 73.9)


def shaded(colour: Colour, shade: Plane, power: tuple[float, float, float] = (1, 1, 1)) -> Image:
    """One `colour` (3,) times `shade` (h, w), to a `power` in each channel."""
    lit = np.maximum(_plane(shade), 0.0)
    channels = [
        cv2.convertScaleAbs(lit if p == 1 else cv2.pow(lit, p), alpha=float(value))
        for value, p in zip(colour, power, strict=True)
    ]
    return _image(cv2.merge(channels))


def plain(colour: Colour, area: Area) -> Image:
    """An area of one colour."""
    painted = np.empty((*area.shape, 3), np.uint8)
    painted[:] = np.clip(colour, 0, 255).astype(np.uint8)
    return painted


def brightened(image: Image, amount: Plane, gain: float) -> Image:
    """`image` with `gain` times `amount` (h, w) added in every channel; it may be negative."""
    return _image(cv2.add(image, cv2.merge([_plane(amount) * gain] * 3), dtype=cv2.CV_8U))


def relief(height: Plane, light: Colour, steepness: float = 1.0) -> Plane:
    """Lambert shading (h, w) in [0, 1] of a height field in pixels, `light` (3,) a unit vector."""
    height = _plane(height)
    gx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=steepness / 8)
    gy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=steepness / 8)
    towards = light[2] - gx * light[0] - gy * light[1]
    return _plane(np.clip(towards / np.sqrt(1.0 + gx * gx + gy * gy), 0.0, 1.0))


def _image(image: Any) -> Image:
    return np.asarray(image, np.uint8)


def _plane(plane: Any) -> NDArray[np.float32]:
    return np.asarray(plane, np.float32)
