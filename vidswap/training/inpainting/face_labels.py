"""Which part of a face each pixel is: what the parsing net learns from.

The parts of the face come from mesh polygons. Beyond the face a pixel of the person, as the selfie
net sees it, is hair when its colour is nearer to what borders the forehead than to skin, and it
hangs together with that. Labels are wrong where a head is bald or a collar has the hair's colour;
the net that learns from many of them is less so.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidswap.blending.mask import sixteenths
from vidswap.faces import mesh
from vidswap.faces.nets.loading import load_selfie_segmentation
from vidswap.faces.nets.selfie_segmentation import INPUT_SIZE, SelfieSegmentation
from vidswap.inpainting.masks import LEFT_BROW, RIGHT_BROW
from vidswap.inpainting.parsing import PARTS

_NOSE = (168, 6, 98, 2, 327)
# The upper part of the face oval, from temple to temple.
_FOREHEAD = (127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356)
HAIR_BAND = 1.22  # the oval enlarged so far holds the hairline
NEAREST_HAIR = 38.0  # distance in Lab beyond which no colour is the hair's
DRAWN = (
    ("skin", mesh.FACE_OVAL), ("nose", _NOSE), ("brows", RIGHT_BROW), ("brows", LEFT_BROW),
    ("eyes", mesh.RIGHT_EYE), ("eyes", mesh.LEFT_EYE), ("lips", mesh.OUTER_LIPS),
    ("mouth", mesh.INNER_LIPS),
)  # fmt: skip
_CONVEX = ("nose", "brows")  # given as points, not as an outline in order


def face_labels(
    picture: NDArray[np.uint8], landmarks: NDArray[np.floating], person: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Labels (S, S), indices of `PARTS`, of an aligned crop (S, S, 3) uint8 RGB.

    `landmarks` (478, 2) are in pixels of the 256-pixel crop; `person` (S, S) is of `persons`.
    """
    size = picture.shape[0]
    labels = np.zeros((size, size), np.uint8)
    for part, points in DRAWN:
        outline = landmarks[list(points)].astype(np.float32)
        if part in _CONVEX:
            outline = np.asarray(cv2.convexHull(outline)[:, 0], np.float32)
        cv2.fillPoly(labels, [sixteenths(outline, size)], PARTS.index(part), cv2.LINE_8, 4)
    labels[_hair(picture, landmarks, labels) & person] = PARTS.index("hair")
    return labels


def _hair(
    picture: NDArray[np.uint8], landmarks: NDArray[np.floating], labels: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Where the colour of hair is seen beyond the face, (S, S)."""
    size = picture.shape[0]
    lab = cv2.cvtColor(cv2.GaussianBlur(picture, (0, 0), size / 128), cv2.COLOR_RGB2LAB)
    lab = np.asarray(lab, np.float32)
    forehead = landmarks[list(_FOREHEAD)]
    centre = landmarks[list(mesh.FACE_OVAL)].mean(axis=0)
    band = np.zeros((size, size), np.uint8)
    outline = np.concatenate([centre + HAIR_BAND * (forehead - centre), forehead[::-1]])
    cv2.fillPoly(band, [sixteenths(outline.astype(np.float32), size)], 1, cv2.LINE_8, 4)
    beyond = labels == 0
    hairline, skin = (band > 0) & beyond, labels == PARTS.index("skin")
    if hairline.sum() < 8 or skin.sum() < 8:
        return np.zeros((size, size), bool)
    of_hair = np.linalg.norm(lab - np.median(lab[hairline], axis=0), axis=2)
    of_skin = np.linalg.norm(lab - np.median(lab[skin], axis=0), axis=2)
    near = beyond & (of_hair < of_skin) & (of_hair < NEAREST_HAIR)
    # Of all that has the hair's colour only what hangs together with the hairline is hair.
    _, pieces = cv2.connectedComponents(near.astype(np.uint8))
    touching = np.unique(pieces[hairline & near])
    found: NDArray[np.bool_] = near & np.isin(pieces, touching[touching > 0])
    return found


def persons(pictures: Tensor) -> NDArray[np.bool_]:
    """Where a person is seen (B, S, S) in pictures (B, 3, S, S) in [-1, 1]."""
    size = pictures.shape[-1]
    with torch.inference_mode():
        shown = F.interpolate((pictures + 1.0) / 2.0, (INPUT_SIZE, INPUT_SIZE), mode="bilinear")
        seen = F.interpolate(_selfie_net()(shown), (size, size), mode="area")
    found: NDArray[np.bool_] = (seen[:, 0] > 0.5).numpy()
    return found


@cache
def _selfie_net() -> SelfieSegmentation:
    return load_selfie_segmentation()
