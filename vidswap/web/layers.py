"""What a swapped frame was made of, as pictures that lie over it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.choices import MaskName
from vidswap.faces.align import invert_affine, warp_points
from vidswap.swap.faces import AlignedFace, FrameFaces

Layer = NDArray[np.uint8]  # (H, W, 4) RGBA, as large as the frame

_MASK_COLOUR = (255, 138, 0)
_OCCLUSION_COLOUR = (214, 0, 147)
_POINT_COLOUR = (0, 220, 255)
_MOST_OPAQUE = 0.6
_FAINTEST = 0.02  # of an occlusion that is drawn


def draw_layer(name: str, item: FrameFaces, mask: MaskName, found: FrameFaces) -> Layer:
    """One of `LAYERS` over a frame. found: its faces before anything was moved."""
    height, width = item.frame.rgb.shape[:2]
    canvas = np.zeros((height, width, 4), np.uint8)
    faces = found.faces if name in ("landmarks", "occlusion") else item.faces
    for face in faces:
        if name == "landmarks":
            _draw_points(canvas, face)
            continue
        crop = LAYERS[name](face, mask)
        if crop is not None:
            _lay_over(canvas, crop, face)
    return canvas


def _mask(face: AlignedFace, mask: MaskName) -> Layer | None:
    mask = face.aims.look.mask if face.aims.look else mask  # a person of a cast has their own
    return _tinted(face.swapped_part(mask), _MASK_COLOUR)


def _boundary_map(face: AlignedFace, mask: MaskName) -> Layer | None:
    lines = face.boundary_map.max(axis=2)
    return np.dstack([face.boundary_map, lines])


def _reference(face: AlignedFace, mask: MaskName) -> Layer | None:
    return face.reference


def _occlusion(face: AlignedFace, mask: MaskName) -> Layer | None:
    if face.fine_visibility is None:
        return None
    # Only within the face: what lies beside it hides nothing.
    hidden = (1.0 - face.fine_visibility) * face.swapped_part("outline")
    return _tinted(np.where(hidden < _FAINTEST, 0.0, hidden), _OCCLUSION_COLOUR)


def _no_crop(face: AlignedFace, mask: MaskName) -> Layer | None:
    return None


LAYERS: dict[str, Callable[[AlignedFace, MaskName], Layer | None]] = {
    "mask": _mask,
    "boundary map": _boundary_map,
    "landmarks": _no_crop,
    "reference": _reference,
    "occlusion": _occlusion,
}


def _tinted(weight: NDArray[np.floating], colour: tuple[int, int, int]) -> Layer:
    layer = np.empty((*weight.shape, 4), np.uint8)
    layer[..., :3] = colour
    layer[..., 3] = np.clip(weight * 255.0 * _MOST_OPAQUE, 0, 255)
    return layer


def _lay_over(canvas: Layer, crop: Layer, face: AlignedFace) -> None:
    """Where two faces overlap, the more opaque pixel is shown."""
    height, width = canvas.shape[:2]
    warped = cv2.warpAffine(crop, invert_affine(face.affine), (width, height))
    over = warped[..., 3] > canvas[..., 3]
    canvas[over] = warped[over]


def _draw_points(canvas: Layer, face: AlignedFace) -> None:
    """The mesh as dots of about a 150th of the face's width."""
    points = warp_points(invert_affine(face.affine), face.landmarks)
    radius = max(0.5, float(np.ptp(points[:, 0])) / 150.0)
    fraction = 4  # bits of a pixel's place
    for x, y in points:
        centre = (round(float(x) * 2**fraction), round(float(y) * 2**fraction))
        cv2.circle(
            canvas, centre, round(radius * 2**fraction), (*_POINT_COLOUR, 255), -1, cv2.LINE_AA,
            fraction,
        )  # fmt: skip
