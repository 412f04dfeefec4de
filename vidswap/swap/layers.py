"""What a frame was made of, as the layers that a compositor puts together again.

Light is linear, in the primaries of the target's. Layers with an opacity are multiplied by it.
`face` over the target by `matte` is `final`, exactly: face = final - (1 - matte) target. The swap
itself blends codes, not light, so that `face` may be a little below zero along the matte's edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vidswap.blending.paste import Box, crop_box, on_frame
from vidswap.choices import MaskName
from vidswap.faces.align import CROP_SIZE
from vidswap.media.colour_space import Chromaticities, DisplaySpace, Float, srgb_codes
from vidswap.media.exr_writer import half_bits
from vidswap.media.frame import Frame
from vidswap.media.sequence_picture import ClipPicture
from vidswap.media.still import Still, StillFrame, bt709_light, differing
from vidswap.swap.faces import FrameFaces, SwappedFrame
from vidswap.swap.layer_kernels import difference, lay_face, look_up, moved_light

NAMES = ("final", "face", "raw", "matte", "occlusion", "uv", "id")
_STEPS = {8: 1, 16: 257}  # samples of so many bits to one of 8 bits
_MARGIN = 255  # of 8 bits: the furthest that a sample moves


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
        bits = half_bits(faces.final)
        np.copyto(final.view(np.uint16)[window][..., :3], bits, where=changed[..., None])
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
    shape = (bottom - top, right - left)
    matte, occlusion, identity = (np.zeros(shape, np.float32) for _ in range(3))
    raw, uv = np.zeros((*shape, 4), np.float32), np.zeros((*shape, 2), np.float32)
    for face, generated, own in zip(item.faces, item.generated, boxes, strict=True):
        if own is None:
            continue
        part = np.s_[own[1] - top : own[3] - top, own[0] - left : own[2] - left]
        weights = face.swapped_part(mask)
        if weights.any():
            weight = np.asarray(on_frame(weights, face.affine, own), np.float32)
        else:
            weight = np.zeros((own[3] - own[1], own[2] - own[0]), np.float32)
        seen = on_frame(face.exposure.given_back(generated), face.affine, own)
        lay_face(
            _places(face.affine), (own[0], own[1]), _light_of_view(still, seen), weight,
            float(1 + face.track), matte[part], raw[part], uv[part], identity[part],
        )  # fmt: skip
        if face.fine_visibility is not None:
            outline = face.swapped_part("outline")
            hidden = on_frame(outline * (1.0 - face.fine_visibility), face.affine, own)
            occlusion[part] = np.maximum(occlusion[part], hidden)
    matte = matte.astype(np.float16).astype(np.float32)  # what is computed from it fits the file
    identity[matte == 0] = 0
    target, final = _lights(still, view, box)
    face_layer = np.empty((*shape, 4), np.float32)
    difference(target, final, matte, face_layer)
    return FaceLayers(
        box, target, final, face_layer, raw, matte, np.clip(occlusion, 0, 1), uv, identity
    )


def _places(affine: NDArray[np.floating]) -> NDArray[np.float32]:
    """From pixels of the frame to places on the crop, [0, 1], downwards (2, 3)."""
    places = np.array(affine, np.float64)
    places[:, 2] += 0.5
    return np.asarray(places / CROP_SIZE, np.float32)


def _lights(still: Still, view: NDArray[np.uint8], box: Box) -> tuple[Float, Float]:
    """Light of the target and of the result in a box, (h, w, 3)."""
    left, top, right, bottom = box
    window = np.s_[top:bottom, left:right]
    samples, before, after = still.samples[window], still.view[window], view[window]
    if isinstance(still.space, DisplaySpace) and still.bits in _STEPS:
        # The same as below: the view's codes are whole steps of the samples'.
        target, final = (np.empty(samples.shape, np.float32) for _ in range(2))
        table = _light_of_samples(still.bits)
        margin = (table.size - 2**still.bits) // 2
        moved_light(samples, before, after, _STEPS[still.bits], table, margin, target, final)
        return target, final
    light = still.space.light(still.codes(samples))
    changed = differing(before, after)[..., None]
    moved = still.space.light(still.moved(samples, before, after))
    return light, np.where(changed, moved, light)


def _light_of_view(still: Still, view: NDArray[np.uint8]) -> Float:
    """The light of what looks like a view, (h, w, 3)."""
    if isinstance(still.space, DisplaySpace):
        return np.take(_light_of_samples(8)[_MARGIN:], view)
    return still.space.light(still.space.codes(np.ascontiguousarray(view)))


def _halves(still: Still) -> NDArray[np.float16]:
    """The light and the opacity of a whole target in halves, (H, W, 4)."""
    height, width = still.samples.shape[:2]
    rgba = np.empty((height, width, 4), np.float16)
    rgba[..., 3] = 1.0 if still.alpha is None else still.alpha_codes()
    if isinstance(still.space, DisplaySpace) and still.bits:
        table = _half_light_of_samples(still.bits)
        look_up(np.ascontiguousarray(still.samples), table, rgba.view(np.uint16))
    else:
        light = still.space.light(still.codes(still.samples))
        rgba.view(np.uint16)[..., :3] = half_bits(light)
    return rgba


@lru_cache(maxsize=4)
def _light_of_samples(bits: int) -> Float:
    """Light of sRGB samples of -_MARGIN steps of 8 bits to as many above the greatest."""
    margin, greatest = _MARGIN * _STEPS.get(bits, 1), 2**bits - 1
    codes = np.arange(-margin, greatest + margin + 1)[None, :] / greatest
    return np.asarray(DisplaySpace().light(codes.astype(np.float32))[0], np.float32)


@lru_cache(maxsize=4)
def _half_light_of_samples(bits: int) -> NDArray[np.uint16]:
    greatest = 2**bits - 1
    codes = np.arange(greatest + 1)[None, :].astype(np.float32) / np.float32(greatest)
    return half_bits(DisplaySpace().light(codes)[0])
