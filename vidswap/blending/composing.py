"""What a generator answers, made into the face that is blended."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidswap.blending.gaze import with_averted_eyes
from vidswap.blending.hairline import without_painted_hair
from vidswap.blending.lids import with_shut_lids
from vidswap.blending.mouths import with_own_mouth
from vidswap.blending.reference import with_reference
from vidswap.blending.relief import in_targets_relief
from vidswap.blending.warping import Picture, Points

# Of the weight of the photographs, over the answer of a generator that has composed it of them.
COMPOSED = 0.6


def overlay_weight(weight: float, composes: bool) -> float:
    """How far the photographs are laid over an answer, for `--reference-weight`: less where the
    generator composes. It softens what it lays over itself.
    """
    return weight * COMPOSED if composes else weight


def composed(
    answer: Picture,
    target: Picture,
    landmarks: Points,
    view: NDArray[np.uint8] | None = None,
    weight: float = 0.0,
    averted: NDArray[np.float32] | None = None,
) -> Picture:
    """The answer (256, 256, 3) for `target`, whose mesh (478, 2) is `landmarks`.

    A view of the source is laid over it as `with_reference` does; eyeballs are the target's where
    these look elsewhere. Hair that the target has not is taken out, relief and tint that its light
    would not leave are weakened; what shows between the lips is the target's, and so are shut lids.
    """
    if view is not None and weight > 0.0:
        answer = with_reference(answer, view, weight, averted)
        if averted is not None:
            answer = with_averted_eyes(answer, target, landmarks, view, averted)
    answer = without_painted_hair(answer, target, landmarks, view)
    answer = in_targets_relief(answer, target, landmarks, view)
    answer = with_own_mouth(answer, target, landmarks)
    return with_shut_lids(answer, target, landmarks)
