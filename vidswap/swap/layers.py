"""What a frame was made of, as the layers that a compositor puts together again.

Light is linear, in the primaries of the target's. Layers with an opacity are multiplied by it.
`face` over the target by `matte` is `final`, exactly: face = final - (1 - matte) target. The swap
itself blends codes, not light, so that `face` may be a little below zero along the matte's edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.paste import Box, crop_box, on_frame
from vidswap.choices import MaskName
from vidswap.faces.align import CROP_SIZE
from vidswap.media.colour_space import Chromaticities, DisplaySpace, Float, srgb_codes
from vidswap.media.frame import Frame
from vidswap.media.sequence_picture import ClipPicture
from vidswap.media.still import Still, StillFrame, bt709_light, differing
from vidswap.swap.faces import FrameFaces, SwappedFrame

NAMES = ("final", "face", "raw", "matte", "occlusion", "uv", "id")


@dataclass(frozen=True, eq=False)
class FaceLayers:
    """Layers of a box of the frame (left, top, right, bottom), float32; outside they are zero.

    target, final: light (h, w, 3). face, raw: light and opacity (h, w, 4); raw is the generator's
    crop before colour and blend. matte, occlusion: (h, w), [0, 1]; occlusion is 1 where something
    lies before the face, within its outline. uv: (h, w, 2) places on the 256-pixel crop, [0, 1], v
    from its bottom. identity: (h, w), 1 + the number of the person's track.
    """

    box: Box
    target: Float
    final: Float
    face: Float
    raw: Float
    matte: Float
    occlusion: Float
    uv: Float
    identity: Float


@dataclass(frozen=True, eq=False)
class FrameLayers:
    """Layers of a whole frame.

    final: light and opacity (H, W, 4) in halves. alpha: the target's opacity (H, W), None without.
    faces: None where the frame has none. still: the target. view: what it looks like swapped.
    """

    final: NDArray[np.float16]
    alpha: Float | None
    chromaticities: Chromaticities
    faces: FaceLayers | None
    still: Still
    view: NDArray[np.uint8]


def layers_of(item: SwappedFrame, mask: MaskName) -> FrameLayers:
    """The layers of a finished frame."""
    assert item.made_of is not None
    before, after = item.made_of.frame, item.frame
    still = before.picture.still if isinstance(before, StillFrame) else _still_of(before)
    view = after.rgb
    faces = _face_layers(still, view, item.made_of, mask) if item.made_of.faces else None
    final = _halves(still)
    if faces is not None:
        left, top, right, bottom = faces.box
        window = np.s_[top:bottom, left:right]
        changed = differing(still.view[window], view[window])
        np.copyto(final[window][..., :3], _half(faces.final), where=changed[..., None])
    alpha = still.alpha_codes()
    return FrameLayers(final, alpha, still.space.chromaticities, faces, still, view)


def straight_face(layers: FrameLayers) -> Float:
    """The new face and its opacity (h, w, 4) in its box, as codes [0, 1] of the target's R'G'B'.

    Not multiplied: result = face x opacity + (1 - opacity) x target, in codes. Light, as of
    OpenEXR, is in sRGB.
    """
    still, faces = layers.still, layers.faces
    assert faces is not None
    left, top, right, bottom = faces.box
    window = np.s_[top:bottom, left:right]
    seen, wanted = still.view[window], layers.view[window]
    before = still.codes(still.samples[window])
    moved = still.moved(still.samples[window], seen, wanted)
    after = np.where(differing(seen, wanted)[..., None], moved, before)
    after, before = (display_of(still, part) for part in (after, before))
    matte = faces.matte[..., None]
    straight = (after - (1.0 - matte) * before) / np.maximum(matte, 1e-6)
    return np.dstack([np.where(matte > 0, straight, 0.0), matte]).astype(np.float32)


def display_of(still: Still, codes: Float) -> Float:
    """Codes as they are, or in sRGB where they are light."""
    return srgb_codes(bt709_light(still, codes)) if still.space.is_linear else codes


def _still_of(frame: Frame) -> Still:
    return ClipPicture.of(frame, deep=True).still


def _face_layers(
    still: Still, view: NDArray[np.uint8], item: FrameFaces, mask: MaskName
) -> FaceLayers | None:
    height, width = view.shape[:2]
    boxes = [crop_box(face.affine, width, height) for face in item.faces]
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    corners = np.array(known)
    left, top = (int(n) for n in corners[:, :2].min(axis=0))
    right, bottom = (int(n) for n in corners[:, 2:].max(axis=0))
    box = left, top, right, bottom
    window = np.s_[top:bottom, left:right]
    shape = (bottom - top, right - left)
    matte, occlusion, identity = (np.zeros(shape, np.float32) for _ in range(3))
    raw, uv = np.zeros((*shape, 4), np.float32), np.zeros((*shape, 2), np.float32)
    for face, generated, own in zip(item.faces, item.generated, boxes, strict=True):
        if own is None:
            continue
        part = np.s_[own[1] - top : own[3] - top, own[0] - left : own[2] - left]
        weights = face.swapped_part(mask)
        inside = _inside(face.affine, own)
        weight = np.zeros_like(inside)
        if weights.any():
            weight = np.asarray(on_frame(weights, face.affine, own), np.float32)
        matte[part] = 1.0 - (1.0 - matte[part]) * (1.0 - weight)
        seen = on_frame(face.exposure.given_back(generated), face.affine, own)
        light = still.space.light(still.space.codes(np.ascontiguousarray(seen)))
        raw[part] = np.dstack([light, np.ones_like(inside)]) * inside[..., None] + raw[part] * (
            1.0 - inside[..., None]
        )
        if face.visibility is not None:
            outline = face.swapped_part("outline")
            hidden = on_frame(outline * _full(1.0 - face.visibility), face.affine, own)
            occlusion[part] = np.maximum(occlusion[part], hidden)
        places = _places(face.affine, own)
        np.copyto(uv[part], places, where=(inside > 0)[..., None])
        np.copyto(identity[part], np.float32(1 + face.track), where=weight > 0)
    matte = _exact_half(matte)
    identity[matte == 0] = 0
    codes = still.codes(still.samples[window])
    changed = differing(still.view[window], view[window])
    target = still.space.light(codes)
    moved = still.moved(still.samples[window], still.view[window], view[window])
    final = np.where(changed[..., None], still.space.light(moved), target)
    behind = np.nan_to_num((1.0 - matte)[..., None] * target, nan=0.0, posinf=65504.0)
    colours = np.where(np.isfinite(final), final, 0.0) - np.where(np.isfinite(final), behind, 0.0)
    face_layer = np.dstack([colours, matte])
    return FaceLayers(
        box, target, final, face_layer, raw, matte, np.clip(occlusion, 0, 1), uv, identity
    )


def _full(visibility: NDArray[np.float32]) -> NDArray[np.float32]:
    resized = cv2.resize(visibility, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)


def _places(affine: NDArray[np.floating], box: Box) -> Float:
    """Places of a box's pixels on the crop, [0, 1], v from the bottom."""
    left, top, right, bottom = box
    x, y = np.meshgrid(
        np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)
    )
    a = np.asarray(affine, np.float32)
    across = (a[0, 0] * x + a[0, 1] * y + a[0, 2] + 0.5) / CROP_SIZE
    down = (a[1, 0] * x + a[1, 1] * y + a[1, 2] + 0.5) / CROP_SIZE
    return np.asarray(np.stack([across, 1.0 - down], axis=2), np.float32)


def _inside(affine: NDArray[np.floating], box: Box) -> Float:
    """1 where the crop covers a box's pixels, 0 elsewhere."""
    places = _places(affine, box)
    return np.asarray(((places >= 0.0) & (places <= 1.0)).all(axis=2), np.float32)


def _exact_half(values: Float) -> Float:
    """What a half holds of values, so that what is computed from them fits what is written."""
    return values.astype(np.float16).astype(np.float32)


def _half(values: Float) -> NDArray[np.float16]:
    return np.clip(values, -65504.0, 65504.0).astype(np.float16)


def _halves(still: Still) -> NDArray[np.float16]:
    """The light and the opacity of a whole target in halves, (H, W, 4)."""
    height, width = still.samples.shape[:2]
    rgba = np.empty((height, width, 4), np.float16)
    rgba[..., 3] = 1.0 if still.alpha is None else still.alpha_codes()
    if isinstance(still.space, DisplaySpace) and still.bits:
        table = _light_of_codes(still.bits)
        _look_up(np.ascontiguousarray(still.samples), table.view(np.uint16), rgba.view(np.uint16))
    else:
        rgba[..., :3] = _half(still.space.light(still.codes(still.samples)))
    return rgba


@numba.njit(cache=True, nogil=True)
def _look_up(
    samples: NDArray[np.uint16], table: NDArray[np.uint16], rgba: NDArray[np.uint16]
) -> None:
    """Halves are whole numbers here, which the compiler knows."""
    height, width, channels = samples.shape
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                rgba[y, x, c] = table[samples[y, x, c]]


@lru_cache(maxsize=4)
def _light_of_codes(bits: int) -> NDArray[np.float16]:
    codes = np.arange(2**bits)[None, :].astype(np.float32) / np.float32(2**bits - 1)
    return np.asarray(DisplaySpace().light(codes.astype(np.float32))[0], np.float16)
