"""Lids of shut eyes: the target's, in the tone of the new face.

A generator learns from faces that look at somebody, and paints grey or blue where lids are shut.
Shut lids say little about who somebody is and all about the moment.
"""

from __future__ import annotations

import cv2
import numpy as np

from vidswap.blending.mask import part_around
from vidswap.blending.warping import LID_AXES, LID_SOFTNESS, Picture, Points, eye_parts
from vidswap.faces.pose import paired_eye_openings

SHUT, OPEN = 0.09, 0.14  # openings in widths of the eye, up to which lids are shut, and not at all
AROUND = 9.0  # pixels of the crop over which the skin around an eye tells its tone
_OFFSET = 8.0  # levels: keeps the ratio of two dark skins near one


def with_shut_lids(picture: Picture, target: Picture, landmarks: Points) -> Picture:
    """A generator's picture (256, 256, 3) with the lids of `target` where its eyes are shut.

    `landmarks` (478, 2) are the target's. The picture itself where both eyes are open.
    """
    openings = np.array(paired_eye_openings(landmarks))
    shut = np.clip((OPEN - openings) / (OPEN - SHUT), 0.0, 1.0)
    if not shut.any():
        return picture
    lids = eye_parts(landmarks, shut, axes=LID_AXES, softness=LID_SOFTNESS)
    part = part_around(lids, round(2.5 * AROUND))
    skin = 1.0 - eye_parts(landmarks, (shut > 0).astype(np.float64))[part] + np.float32(1e-3)
    own, wanted = picture[part].astype(np.float32), target[part].astype(np.float32)
    weight = cv2.GaussianBlur(skin, (0, 0), AROUND)[..., None]
    before, after = (
        cv2.GaussianBlur(skin[..., None] * one, (0, 0), AROUND) / weight for one in (wanted, own)
    )
    toned = wanted * (after + _OFFSET) / (before + _OFFSET)
    mixed = picture.copy()
    mixed[part] = np.clip(np.rint(own + lids[part][..., None] * (toned - own)), 0, 255)
    return mixed
