"""Dark parts of a photograph on a target of another tone."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.blending.heads import head
from vidswap.blending.darkness import dark_end, with_dark_end
from vidswap.blending.reference import FusedReference, ReferenceShot
from vidswap.blending.warping import FaceCrop

DARK_SKIN, LIGHT_SKIN = (80, 58, 48), (215, 175, 155)


def with_brows(face: FaceCrop, colour: int) -> FaceCrop:
    crop = face.crop.copy()
    for inner, outer in ((55, 46), (285, 276)):
        ends = np.rint(face.landmarks[[inner, outer]]).astype(int)
        cv2.line(crop, ends[0].tolist(), ends[1].tolist(), (colour,) * 3, 9)
    return replace(face, crop=crop)


def brow_and_skin(view: np.ndarray, face: FaceCrop) -> tuple[float, float]:
    brow, cheek = (
        np.rint(face.landmarks[points].mean(axis=0)).astype(int) for points in ([55, 46], [50, 101])
    )
    return tuple(float(view[y - 1 : y + 2, x - 1 : x + 2, :3].mean()) for x, y in (brow, cheek))


@pytest.mark.parametrize(("source", "target"), [(DARK_SKIN, LIGHT_SKIN), (LIGHT_SKIN, DARK_SKIN)])
def test_black_brows_stay_black_on_a_face_of_another_tone(
    source: tuple[int, int, int], target: tuple[int, int, int]
) -> None:
    frame = with_brows(head(target, seed=3), 12)
    view = FusedReference([ReferenceShot.single(with_brows(head(source), 12))])(0, frame)
    brow, skin = brow_and_skin(view, frame)
    assert skin == pytest.approx(np.mean(target), rel=0.2)
    assert brow < 0.35 * skin


def test_how_much_is_darkened_changes_slowly_within_a_track() -> None:
    frame = with_brows(head(LIGHT_SKIN, seed=3), 12)
    track = FusedReference([ReferenceShot.single(with_brows(head(DARK_SKIN), 12))])
    track(0, frame)
    assert track.last is not None and track.last.darker is not None
    first = track.last.darker
    assert first > 0.1
    track(1, head(LIGHT_SKIN, seed=4))  # nothing dark: brows hidden for a frame
    assert track.last.darker is not None
    assert 0.9 * first < track.last.darker < first


def test_the_dark_end_moves_and_skin_does_not() -> None:
    matt = np.full((256, 256), 150.0, np.float32)
    lit = np.full((256, 256, 3), 150.0, np.float32)
    lit[:20], lit[20:40] = 60.0, 170.0
    end = dark_end(lit, matt, np.ones((128, 128), np.float32))
    assert end == pytest.approx(0.4)
    darker = with_dark_end(lit.copy(), matt, end, 0.2)
    np.testing.assert_allclose(darker[:20], 30.0)
    np.testing.assert_array_equal(darker[20:], lit[20:])
    assert dark_end(lit, matt, np.zeros((128, 128), np.float32)) is None
