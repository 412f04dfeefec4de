"""Glasses, hair and hands before the face of a source's photographs, filled as the source.

Of a covered place a photograph shows nothing of the source, so that the generator paints it from
the id embedding alone. SwapInpaint fills it first: its content net infers the face there, AP-GAN
puts the source's own identity on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.blending.detail import FINE
from vidswap.blending.reference import INNER_FACE, ReferenceShot
from vidswap.blending.warping import SIZE, FaceCrop, covered_part
from vidswap.faces.occlusion import visibility_maps
from vidswap.identity.encoder import IdEmbedding
from vidswap.inpainting.swapinpaint import SwapInpaint, to_pictures
from vidswap.models.checkpoint import load_generator
from vidswap.models.checkpoint_file import packaged_checkpoint

PACKAGED = "swapinpaint.safetensors"
HIDDEN = 0.6  # visibility below which a place is filled
FACE = 0.9  # of the outline: what is beyond it is not filled
LEAST_COVERED = 0.02  # of the inner face, below which a shot stays as it is
WIDEST = 10  # pixels from what is seen, beyond which a filling is unsure: sunglasses, a fringe
SPARE, SOFT = 5, 1.5  # pixels by which a hole is widened, and of its soft edge

VISIBLE = 0.5  # what a filled place counts for: the rest of it the generator paints

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Fill = Callable[[Sequence[ReferenceShot], IdEmbedding], Sequence[ReferenceShot]]
"""Shots of one person, of an identity (a batch of one), as they are to be shown."""


class Hole(NamedTuple):
    """A place to fill (256, 256) float32, 0 or 1, and the visibility around it (128, 128)."""

    mask: Floats
    visibility: Floats


class SourceFiller:
    """A `Fill`; its net is loaded, on the CPU, for the first shot that needs it.

    checkpoint: of a SwapInpaint, by default the packaged one. Raises CheckpointError when it fills.
    """

    def __init__(self, checkpoint: Path | None = None) -> None:
        self._checkpoint = checkpoint

    def __call__(
        self, shots: Sequence[ReferenceShot], identity: IdEmbedding
    ) -> list[ReferenceShot]:
        """The shots; those with something before the face are filled, the others themselves."""
        seen = visibility_maps([one.shot.crop for one in shots])
        filled = []
        for one, visibility in zip(shots, seen, strict=True):
            hole = hole_in(replace(one.shot, visibility=visibility))
            face = None if hole is None else self._filled(one, hole, identity)
            filled.append(one if face is None else ReferenceShot.of(face))
        return filled

    @cached_property
    def _net(self) -> SwapInpaint:
        path = self._checkpoint or packaged_checkpoint(PACKAGED, SwapInpaint.name)
        net = load_generator(path).net
        assert isinstance(net, SwapInpaint)
        return net

    def _filled(self, one: ReferenceShot, hole: Hole, identity: IdEmbedding) -> FaceCrop | None:
        """The face with its hole filled, None where no face is seen in what was inferred there."""
        crop = torch.from_numpy(one.shot.crop).permute(2, 0, 1)[None].float() / 127.5 - 1.0
        known = ReferenceShot.single(replace(one.shot, visibility=hole.visibility, fine=None))
        identity = identity.map(lambda rows: rows.detach().float().cpu())
        mask = torch.from_numpy(hole.mask)[None, None]
        with torch.inference_mode():
            answer = self._net.complete(crop, mask, identity, [[known]])
        if answer.meshes[0] is None:
            return None
        return with_filling(one.shot, hole, to_pictures(answer.swapped)[0])


def hole_in(shot: FaceCrop) -> Hole | None:
    """What of a face is to be filled by its visibility, None where little or nothing is.

    Wide things, such as sunglasses, are left alone: the generator paints behind them.
    """
    if shot.visibility is None:
        return None
    seen = cv2.resize(shot.visibility, (SIZE, SIZE))
    hidden = thin_parts(seen < HIDDEN) & (covered_part(shot.landmarks, FACE) > 0.5)
    inner = covered_part(shot.landmarks, INNER_FACE) > 0.5
    if (hidden & inner).sum() < LEAST_COVERED * max(1, inner.sum()):
        return None
    mask = cv2.dilate(hidden.astype(np.uint8), np.ones((SPARE, SPARE), np.uint8))
    return Hole(mask.astype(np.float32), shot.visibility)


def thin_parts(covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What of a covered place (S, S) is no wider than `WIDEST` on either side, as rims are."""
    depth = cv2.distanceTransform(np.pad(covered.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    side = 2 * (WIDEST + 2) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    wide = cv2.dilate((depth > WIDEST).astype(np.uint8), disc) > 0
    return np.asarray(covered & ~wide, np.bool_)


def with_filling(shot: FaceCrop, hole: Hole, answer: Picture) -> FaceCrop:
    """A face with its hole taken from `answer` (256, 256, 3), and that `VISIBLE`.

    There the picture shows nothing finer than the crop.
    """
    part = cv2.GaussianBlur(hole.mask, (0, 0), SOFT)[..., None]
    mixed = shot.crop * (1.0 - part) + answer * part
    crop = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    half = len(hole.visibility)
    visibility = np.maximum(hole.visibility, VISIBLE * cv2.resize(hole.mask, (half, half)))
    fine = shot.fine
    if fine is not None:
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
        coarse = cv2.resize(grey, (FINE, FINE), interpolation=cv2.INTER_CUBIC)
        share = cv2.resize(part[..., 0], (FINE, FINE), interpolation=cv2.INTER_LINEAR)
        fine = np.rint(fine * (1.0 - share) + coarse * share).astype(np.uint8)
    return FaceCrop(crop, shot.landmarks, np.asarray(visibility, np.float32), fine)
