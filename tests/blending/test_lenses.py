"""Sunglasses on a photograph of the source."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.blending.heads import head
from tests.blending.test_darkness import with_brows
from vidswap.blending.lenses import without_dark_lenses
from vidswap.blending.reference import FusedReference, ReferenceShot
from vidswap.blending.warping import FaceCrop
from vidswap.faces import mesh

SKIN = (190, 150, 130)
RADIUS = 21  # pixels of a lens
EYES = (mesh.RIGHT_EYE_CORNERS, mesh.LEFT_EYE_CORNERS)


def middles(face: FaceCrop) -> list[tuple[int, int]]:
    rounded = [np.rint(face.landmarks[list(eye)].mean(axis=0)).astype(int) for eye in EYES]
    return [(int(x), int(y)) for x, y in rounded]


def glasses(lens: tuple[int, int, int] | None) -> FaceCrop:
    """A face with glasses whose rims are found and whose lenses are not."""
    face = head(SKIN)
    crop, hidden = face.crop.copy(), np.zeros((128, 128), np.float32)
    for x, y in middles(face):
        if lens is not None:
            cv2.circle(crop, (x, y), RADIUS, lens, -1)
        cv2.circle(crop, (x, y), RADIUS, (20, 20, 20), 4)
        cv2.circle(hidden, (x // 2, y // 2), RADIUS // 2, 1.0, 4)
    return replace(face, crop=crop, visibility=1.0 - hidden)


def seen_at_eyes(face: FaceCrop) -> list[float]:
    assert face.visibility is not None
    return [float(face.visibility[y // 2, x // 2]) for x, y in middles(face)]


def test_nothing_is_seen_through_sunglasses() -> None:
    shot = without_dark_lenses(glasses((35, 32, 40)))
    assert seen_at_eyes(shot) == pytest.approx([0.0, 0.0], abs=1e-6)
    assert shot.visibility is not None
    x, y = np.rint(shot.landmarks[mesh.NOSE_TIP] / 2).astype(int)
    assert shot.visibility[y, x] == 1.0


@pytest.mark.parametrize("lens", [None, (150, 120, 105)])
def test_eyes_are_seen_through_clear_lenses(lens: tuple[int, int, int] | None) -> None:
    shot = glasses(lens)
    assert without_dark_lenses(shot) is shot


def test_dark_eyes_without_glasses_are_eyes() -> None:
    face = head(SKIN)
    crop = face.crop.copy()
    for middle in middles(face):
        cv2.circle(crop, middle, RADIUS, (35, 32, 40), -1)
    shot = replace(face, crop=crop)
    assert without_dark_lenses(shot) is shot


def test_a_lens_that_is_found_in_pieces_is_hidden_whatever_it_mirrors() -> None:
    shot = glasses((200, 160, 40))
    assert shot.visibility is not None
    hidden = 1.0 - shot.visibility
    for x, y in middles(shot):
        cv2.circle(hidden, (x // 2, y // 2), RADIUS // 2, 1.0, -1)
        hidden[y // 2, x // 2] = 0.0
    shot = without_dark_lenses(replace(shot, visibility=1.0 - hidden))
    assert max(seen_at_eyes(shot)) < 0.1


def test_a_generator_is_not_shown_sunglasses() -> None:
    shot, target = glasses((35, 32, 40)), head(SKIN, seed=1)
    for shown in (ReferenceShot.single(shot), ReferenceShot.of(shot)):
        view = FusedReference([shown])(0, target)
        assert max(view[y, x, 3] for x, y in middles(target)) < 10
    assert ReferenceShot.of(shot).flaws > ReferenceShot.of(glasses(None)).flaws


def with_pupils(face: FaceCrop, shade: int) -> FaceCrop:
    crop = face.crop.copy()
    for middle in middles(face):
        cv2.circle(crop, middle, 4, (shade,) * 3, -1)
    return replace(face, crop=crop)


@pytest.mark.parametrize("rims", [True, False])
def test_pupils_that_a_lens_makes_pale_are_as_dark_as_the_targets(rims: bool) -> None:
    pale = with_pupils(glasses(None) if rims else head(SKIN), 100)
    # Brows are as dark as the target's, so that nothing but the eyes is pale.
    source, target = (with_brows(face, 20) for face in (pale, with_pupils(head(SKIN, seed=1), 20)))
    track = FusedReference([ReferenceShot.single(source)])
    view = track(0, target)
    shades = [float(view[y, x, :3].mean()) for x, y in middles(target)]
    assert max(shades) < 60 if rims else min(shades) > 80
    assert track.last is not None and (track.last.pupils is not None) == rims
    if rims:
        first = track.last.pupils
        track(1, with_pupils(target, 100))  # a blink
        assert track.last.pupils == pytest.approx(first, rel=0.1)
