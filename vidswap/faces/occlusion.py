"""What lies before a face, read from its pixels: glasses, hands, hair, hats."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vidswap.blending.mask import sixteenths
from vidswap.faces.skin import reduced_lab
from vidswap.models.skip_net import SkipNet, conv_block
from vidswap.runtime.processor import cpu_computes_bf16

WEIGHTS = Path(__file__).with_name("occlusion.safetensors")
READ = 256  # side of what is read and answered: wires of glasses are a pixel or two of it
FOLDED = 2  # pixels across and down that the net takes as channels of one
SIZE = READ // FOLDED  # side of the maps of visibility
WIDTHS = (16, 24, 40, 64, 64)  # at 128, 64, 32, 16 and 8 pixels
GLASSES, OTHER = 0, 1  # the channels of the answer
# How sure of something before the face one has to be to leave nothing of it out, and all.
OCCLUDED = (0.25, 0.6)
RIM = (3, 3)  # pixels of 256 that a swap leaves around one of a rim, and over which it fades in
# The brows, the outer corners of the eyes below them, and how wide a stripe beside them is theirs.
BROWS = ((70, 63, 105, 66, 46, 53, 52, 65), (300, 293, 334, 296, 276, 283, 282, 295))
CORNERS = ((33, 246, 161, 160, 7), (263, 466, 388, 387, 249))
BESIDE = (7, 7)  # pixels of 128
# Share of these that something may lie before: from the second on less is the face's own.
MOST_COVERED, LEAST_COVERED = 0.35, 0.15
# How far on the way from the hair's colour to the brow's its end is, from which on it is the brow's
# own in part, and whole; and the pixels, around and in number, that tell.
ALIKE, AROUND, LEAST_PIXELS = (0.38, 0.48), 13, 6


class OcclusionNet(SkipNet):
    """A U-Net that tells of every pixel of an aligned face what lies before it.

    Wires of glasses are seen in all its pixels, and these are taken four at a time: a net of as
    many levels costs little more than at half the size. `pipelines/fitting/occlusion.py` makes its
    weights from photographs of bare faces with occluders drawn before them, and of hands.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_block(3 * FOLDED**2, WIDTHS[0])
        self.down = nn.ModuleList(
            nn.Sequential(conv_block(fine, coarse, 2), conv_block(coarse, coarse))
            for fine, coarse in pairwise(WIDTHS)
        )
        self.up = nn.ModuleList(
            conv_block(fine + coarse, fine) for fine, coarse in pairwise(WIDTHS)
        )
        self.answer = nn.Conv2d(WIDTHS[0], 2 * FOLDED**2, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (B, 2, 256, 256) of pictures (B, 3, 256, 256) in [-1, 1]."""
        return F.pixel_shuffle(super().forward(F.pixel_unshuffle(pictures, FOLDED)), FOLDED)


@cache
def packaged() -> OcclusionNet:
    """The net with the weights that come with the project, on the CPU, to read with."""
    net = OcclusionNet().eval().requires_grad_(False)
    net.load_state_dict({k: v.float() for k, v in load_file(WEIGHTS).items()})
    for block in net.modules():
        if isinstance(block, nn.Sequential):
            conv, norm = block[0], block[1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block[0], block[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.bfloat16() if cpu_computes_bf16() else net


def as_read(crops: list[NDArray[np.uint8]]) -> Tensor:
    """Crops (S, S, 3) uint8 RGB as the net reads them, (B, 3, 256, 256) in [-1, 1]."""
    sides = (READ, READ)
    read = [cv2.resize(crop, sides, interpolation=cv2.INTER_AREA) for crop in crops]
    return torch.from_numpy(np.stack(read)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def occlusions(crops: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """How much of each pixel of aligned faces is glasses, and other things: (B, 2, 256, 256)."""
    if not crops:
        return np.zeros((0, 2, READ, READ), np.float32)
    with torch.inference_mode():
        net = packaged()
        given = as_read(crops).to(net.answer.weight.dtype, memory_format=torch.channels_last)
        answer: NDArray[np.float32] = net(given).float().sigmoid().numpy()
    return answer


def visibility_maps(crops: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Where nothing lies before aligned faces (B, 128, 128), 0 to 1, with a pixel to spare."""
    seen = [
        np.minimum(_halved(visibility_of(found[GLASSES])), visibility_of(_halved(found[OTHER])))
        for found in occlusions(crops)
    ]
    return np.array(seen, np.float32).reshape(-1, SIZE, SIZE)


def target_visibility(
    crops: list[NDArray[np.uint8]], meshes: Sequence[NDArray[np.floating]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where nothing lies before targets (B, 128, 128), and the same in full (B, 256, 256), 0 to 1.

    meshes: of each crop (S, S, 3), (478, 2) in the pixels of one of 256. The ends of brows that
    touch the hair are no hair; of a source a strand of hair over a brow is better left out with the
    brow's end. Around rims of glasses a pixel of 256 is spared: more beside a wire would be the
    target's own skin, whereas of a source's rims more is better than a ghost of them.
    """
    maps, fine = [], []
    for found, crop, points in zip(occlusions(crops), crops, meshes, strict=True):
        other = without_brows(_halved(found[OTHER]), crop, points)
        beside_rims, beside_other = 1.0 - _rims(found[GLASSES]), visibility_of(other)
        maps.append(np.minimum(_halved(beside_rims), beside_other))
        whole = cv2.resize(beside_other, (READ, READ), interpolation=cv2.INTER_LINEAR)
        fine.append(np.minimum(beside_rims, whole))
    return (
        np.array(maps, np.float32).reshape(-1, SIZE, SIZE),
        np.array(fine, np.float32).reshape(-1, READ, READ),
    )


def _rims(glasses: NDArray[np.float32]) -> NDArray[np.float32]:
    """What of a face (256, 256) rims of glasses cover, with a pixel to spare and softly."""
    return np.asarray(cv2.blur(cv2.dilate(_sure(glasses), np.ones(RIM, np.uint8)), RIM), np.float32)


def _halved(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(plane, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.float32)


def without_brows(
    other: NDArray[np.float32], crop: NDArray[np.uint8], landmarks: NDArray[np.floating]
) -> NDArray[np.float32]:
    """What lies before a face (128, 128) without the ends of its brows, where hair touches them.

    They have the colour of the brow in `crop` (S, S, 3) rather than that of the hair beside them. A
    strand of hair over a brow has not, a fringe or a hand covers more of it: these are left.
    """
    kept = other.copy()
    for brow, corner in zip(BROWS, CORNERS, strict=True):
        part = _hull(landmarks[[*brow, *corner]])
        covered = float((part * other).sum() / max(float(part.sum()), 1.0))
        own = np.clip((MOST_COVERED - covered) / LEAST_COVERED, 0.0, 1.0)
        if own > 0.0:
            own *= _like_brow(other, crop, _hull(landmarks[list(brow)]) > 0.5)
        if own > 0.0:
            wide = cv2.dilate(part, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, BESIDE))
            kept *= 1.0 - np.float32(own) * cv2.GaussianBlur(wide, (0, 0), 1.0)
    return kept


def _like_brow(
    other: NDArray[np.float32], crop: NDArray[np.uint8], brow: NDArray[np.bool_]
) -> float:
    """How far, 0 to 1, what covers a brow has the brow's own colour and not that of the hair."""
    end, body = brow & (other > 0.5), brow & (other < 0.2)
    around = cv2.dilate(end.astype(np.uint8), np.ones((AROUND, AROUND), np.uint8)) > 0
    hair = around & (other > 0.8) & ~brow
    if min(end.sum(), body.sum(), hair.sum()) < LEAST_PIXELS:
        return 0.0
    lab = reduced_lab(crop, SIZE)
    hairs = lab[body]
    dark = hairs[hairs[:, 0] <= np.percentile(hairs[:, 0], 25)].mean(axis=0)
    seen = lab[end].mean(axis=0)
    to_brow, to_hair = (float(np.linalg.norm(seen - c)) for c in (dark, lab[hair].mean(axis=0)))
    least, most = ALIKE
    return float(np.clip((to_hair / max(to_hair + to_brow, 1e-3) - least) / (most - least), 0, 1))


def _hull(points: NDArray[np.floating]) -> NDArray[np.float32]:
    part = np.zeros((SIZE, SIZE), np.float32)
    hull = cv2.convexHull(sixteenths(points, SIZE))
    cv2.fillConvexPoly(part, hull, 1.0, cv2.LINE_8, 4)
    return part


def visibility_of(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where what was found or drawn before a face (S, S) is not, with a pixel of 128 to spare."""
    wide = 2 * (len(found) // SIZE) + 1
    return np.asarray(1.0 - cv2.dilate(_sure(found), np.ones((wide, wide), np.uint8)), np.float32)


def _sure(found: NDArray[np.float32]) -> NDArray[np.float32]:
    least, most = OCCLUDED
    return np.asarray(np.clip((found - least) / (most - least), 0.0, 1.0), np.float32)
