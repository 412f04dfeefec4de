"""New surroundings for aligned faces: by the context GAN, with another background if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.blending.pyramid import pyramid_blend
from vidswap.faces import mesh
from vidswap.faces.align import CROP_SIZE
from vidswap.faces.person import PersonFinder
from vidswap.inpainting.context_gan import SIZE, ContextNet
from vidswap.inpainting.masks import Mask, background_mask

Picture = NDArray[np.uint8]

LEAST_FACE = 0.88  # share of the face's hull, about its middle, that a differing picture may keep
BLUR_SIGMA = 12.0  # pixels of 256, of a blurred background
# How the forehead meets the face, pixels of 256: the width of the rims whose tones are compared,
# the sigma of their means, the distance over which a difference fades, and the width of the seam.
RIM, RIM_SIGMA, FADING, SEAM = 5, 6.0, 14.0, 2
SKIN_GAP = 40.0  # levels; a gap much wider is one of skin and hair, and stays
FOREHEAD = 0.3  # of the hull's height


@dataclass(frozen=True)
class Variation:
    """What makes one picture of a face differ from another: the net itself draws nothing.

    mirrored: the net sees the face in a mirror, and its answer is mirrored back. share: how much of
    the face's hull it is given.
    """

    mirrored: bool = False
    share: float = 1.0


def drawn_variations(n: int, random: np.random.Generator) -> list[Variation]:
    """The face as it is, and others: every second one mirrored, each of another share."""
    drawn = [Variation()]
    for index in range(1, n):
        drawn.append(Variation(index % 2 == 1, float(random.uniform(LEAST_FACE, 1.0))))
    return drawn


def face_hull(landmarks: NDArray[np.floating], size: int, share: float = 1.0) -> Mask:
    """The convex hull (size, size) of a face's oval, shrunk about its middle to a share."""
    points = np.asarray(landmarks, np.float32)
    if share != 1.0:
        middle = points[list(mesh.FACE_OVAL)].mean(axis=0)
        points = middle + share * (points - middle)
    return ~background_mask(points, size)


def hallucinate(
    net: ContextNet,
    crops: Sequence[Picture],
    landmarks: Sequence[NDArray[np.floating]],
    variations: Sequence[Variation],
) -> list[Picture]:
    """Pictures (256, 256, 3) of aligned crops of that size; meshes (478, 2) in their pixels.

    Within the hull given the pixels are the crop's own; around it the net's, of 128 pixels.
    """
    pictures = np.stack([cv2.resize(c, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for c in crops])
    hulls = np.stack(
        [face_hull(m, SIZE, v.share) for m, v in zip(landmarks, variations, strict=True)]
    )
    flip = np.array([v.mirrored for v in variations])
    pictures[flip], hulls[flip] = pictures[flip][:, :, ::-1], hulls[flip][:, :, ::-1]
    like = next(net.parameters())
    given = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(like) / 127.5 - 1.0
    masks = 1.0 - torch.from_numpy(hulls[:, None]).to(like)
    with torch.inference_mode():
        answers = net.fill(given, masks, None).float().clamp(-1.0, 1.0)
    rgb = answers.add(1.0).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    made = []
    for answer, crop, points, variation in zip(rgb, crops, landmarks, variations, strict=True):
        own = np.ascontiguousarray(answer[:, ::-1] if variation.mirrored else answer)
        large = cv2.resize(own, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_CUBIC)
        hull = face_hull(points, CROP_SIZE, variation.share)
        made.append(with_forehead(np.where(hull[..., None], crop, large).astype(np.uint8), hull))
    return made


def with_forehead(picture: Picture, hull: Mask) -> Picture:
    """A picture whose forehead, around the upper part of the hull, takes on the face's tone.

    The net's skin is a few levels off, and a seam shows that; hair and background stay.
    """
    seam = ~hull & _grown(hull, SEAM)
    within, around = hull & _grown(~hull, RIM), ~hull & ~seam & _grown(hull, SEAM + RIM)
    gap = _mean_near(picture, within, RIM_SIGMA) - _mean_near(picture, around, RIM_SIGMA)
    is_skin = np.exp(-np.mean(gap**2, axis=2) / SKIN_GAP**2)
    rows = np.flatnonzero(hull.any(axis=1))
    top, bottom = (int(rows[0]), int(rows[-1])) if len(rows) else (0, 0)
    below = np.arange(len(hull))[:, None] - (top + FOREHEAD * (bottom - top))
    is_upper = 1.0 / (1.0 + np.exp(below / RIM_SIGMA))
    is_forehead = (is_skin * is_upper)[..., None]
    wanted = _mean_near(gap * is_forehead, seam, RIM_SIGMA)
    distance = cv2.distanceTransform((~hull).astype(np.uint8), cv2.DIST_L2, 5)
    # Enlarging has mixed the pixels of the seam with the face's already.
    share = np.exp(-distance / FADING) * (1.0 - np.exp(-((distance / SEAM) ** 2)))
    toned = picture + wanted * share[..., None]
    return np.where(hull[..., None], picture, toned.round().clip(0, 255)).astype(np.uint8)


def _grown(mask: Mask, pixels: int) -> Mask:
    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), bool)


def _mean_near(values: NDArray[Any], where: Mask, sigma: float) -> NDArray[np.float32]:
    """Means (H, W, 3) of the values in a mask, weighted by a Gaussian about every pixel."""
    weight = where.astype(np.float32)
    total = cv2.GaussianBlur(values.astype(np.float32) * weight[..., None], (0, 0), sigma)
    near = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
    return np.asarray(total / np.maximum(near, 1e-3), np.float32)


def with_background(picture: Picture, hull: Mask, behind: Picture, person: PersonFinder) -> Picture:
    """A picture with another one of its size behind the person: section 8 of Banerjee et al.

    The person is what the person net sees, and the face; blended by a Laplacian pyramid.
    """
    weight = np.maximum(person.mask(picture), hull.astype(np.float32))
    blended = pyramid_blend(picture, behind, weight)
    return np.where(hull[..., None], picture, blended).astype(np.uint8)


def blurred(picture: Picture) -> Picture:
    """A picture out of focus."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), BLUR_SIGMA), np.uint8)


def filling_square(picture: Picture, size: int = CROP_SIZE) -> Picture:
    """The middle square of a picture, as large as it can be, at `size` pixels."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(picture[top : top + side, left : left + side])
    how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=how), np.uint8)
