"""Lips that do not glow on a lighter skin: no brighter than the target's or in the photograph.

A dark face that takes on a light tone of skin takes its lips along, and pink ones shine. Lips of
light and of dark faces differ less than their skin does.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.mask import part_around, sixteenths
from vidswap.blending.relighting import Floats
from vidswap.faces import mesh

LIGHTER = (1.3, 1.8)  # times as bright as in the photograph, from where on skin counts as lighter
DARKEST = 0.5  # of their brightness, that lips are left at least
SOFT = 1.5  # pixels, deviation of the edge of what is dimmed
FEWEST = 60  # pixels of lips that tell their tone


def lips_part(landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Where the lips of a mesh (478, 2) are (256, 256), without what is between them."""
    part = np.zeros((256, 256), np.uint8)
    for outline, value in ((mesh.OUTER_LIPS, 1), (mesh.INNER_LIPS, 0)):
        cv2.fillPoly(part, [sixteenths(landmarks[list(outline)])], value, cv2.LINE_8, 4)
    return part


def lips_tone(picture: NDArray[np.generic], lips: NDArray[np.uint8]) -> Floats | None:
    """The mean colour (3,) of a picture (256, 256, 3) at its lips; None where they hardly show."""
    if cv2.countNonZero(lips) < FEWEST:
        return None
    part = part_around(lips, 0)
    return np.array(cv2.mean(np.ascontiguousarray(picture[part]), lips[part])[:3], np.float32)


def lips_gain(own: Floats, wanted: Floats, natural: Floats, lighter: float) -> Floats:
    """What lips of tone `own` are multiplied by (3,): never above one.

    `wanted` is the tone of the target's, `natural` that of the photograph's; `lighter` is how many
    times as bright as in the photograph skin has become.
    """
    least, most = LIGHTER
    share = np.clip((lighter - least) / (most - least), 0.0, 1.0)
    gain = np.clip(np.maximum(wanted, natural) / np.maximum(own, 1.0), DARKEST, 1.0)
    return np.asarray(1.0 - share * (1.0 - gain), np.float32)


def with_dimmed_lips(lit: Floats, lips: NDArray[np.uint8], gain: Floats) -> Floats:
    """A relit picture (256, 256, 3), changed: its lips multiplied by a gain (3,)."""
    part = part_around(lips, round(4.0 * SOFT))
    share = cv2.GaussianBlur(lips[part].astype(np.float32), (0, 0), SOFT)[..., None]
    lit[part] *= 1.0 + share * (gain - 1.0)
    return lit
