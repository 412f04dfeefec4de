"""What is between parted lips, and how bright these are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.blending.heads import head
from tests.blending.test_lips import MIDDLE, mouth
from vidswap.blending.lip_tone import lips_gain, lips_part, lips_tone, with_dimmed_lips
from vidswap.blending.mouths import with_own_mouth
from vidswap.blending.reference import FusedReference, ReferenceShot
from vidswap.blending.warping import FaceCrop
from vidswap.faces import mesh

SKIN, LIPS, TEETH, GREY = (200, 150, 120), (170, 80, 80), (235, 230, 220), (128, 120, 120)


def face(opened: float, between: tuple[int, int, int], thick: float = 0.0) -> np.ndarray:
    """Lips in skin, and something between them, or lips that are so many pixels thicker there."""
    points = mouth(opened)
    crop = np.full((256, 256, 3), SKIN, np.uint8)
    for outline, colour in ((mesh.OUTER_LIPS, LIPS), (mesh.INNER_LIPS, between)):
        drawn = points[list(outline)]
        if outline is mesh.INNER_LIPS:
            drawn = np.array([1.0, 1.0 - thick / max(opened, 1.0)]) * (drawn - MIDDLE) + MIDDLE
        cv2.fillPoly(crop, [np.rint(drawn).astype(np.int32)], colour)
    return crop


@pytest.mark.parametrize("between", [TEETH, (40, 15, 15)])
def test_between_the_lips_is_what_the_target_shows(between: tuple[int, int, int]) -> None:
    target, answer = face(14.0, between), face(14.0, GREY)
    mixed = with_own_mouth(answer, target, mouth(14.0))
    row = int(MIDDLE)
    assert mixed[row - 2 : row + 3, 128] == pytest.approx(target[row - 2 : row + 3, 128], abs=3)
    lips = lips_part(mouth(14.0)) > 0
    outside = cv2.erode(lips.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    np.testing.assert_array_equal(mixed[outside], answer[outside])


def test_lips_of_the_target_within_its_mesh_are_not_brought_along() -> None:
    # The mesh says 14 pixels, of which four on either side are lips of the target.
    target, answer = face(14.0, TEETH, thick=8.0), face(14.0, GREY)
    mixed = with_own_mouth(answer, target, mouth(14.0)).astype(int)
    row = int(MIDDLE)
    assert mixed[row, 128] == pytest.approx(TEETH, abs=4)
    for beside in (row - 5, row + 5):
        assert mixed[beside, 128] == pytest.approx(GREY, abs=25)


def test_a_shut_mouth_is_left() -> None:
    answer = face(0.0, GREY)
    assert with_own_mouth(answer, face(0.0, TEETH), mouth(0.0)) is answer


def test_lips_keep_what_is_no_brighter_than_the_targets_or_their_own() -> None:
    own, wanted = np.float32([240, 100, 200]), np.float32([170, 110, 100])
    none = np.zeros(3, np.float32)
    assert lips_gain(own, wanted, none, 2.0) == pytest.approx([170 / 240, 1.0, 0.5])
    assert lips_gain(own, wanted, np.float32([240, 80, 160]), 2.0) == pytest.approx([1.0, 1.0, 0.8])
    assert lips_gain(own, wanted, none, 1.1) == pytest.approx([1.0, 1.0, 1.0])  # skin as it was


def test_lips_alone_are_dimmed() -> None:
    points = mouth(10.0)
    lips = lips_part(points)
    lit = np.full((256, 256, 3), 200.0, np.float32)
    dimmed = with_dimmed_lips(lit, lips, np.float32([1.0, 0.5, 0.75]))
    assert lips_tone(dimmed, cv2.erode(lips, np.ones((5, 5), np.uint8))) == pytest.approx(
        [200, 100, 150], abs=12
    )
    assert (dimmed[cv2.dilate(lips, np.ones((13, 13), np.uint8)) == 0] == 200.0).all()


def test_pink_lips_of_a_dark_face_do_not_shine_on_a_pale_one() -> None:
    def with_lips(skin: tuple[int, int, int], lips: tuple[int, int, int]) -> FaceCrop:
        plain = head(skin)
        crop = plain.crop.copy()
        crop[lips_part(plain.landmarks) > 0] = lips
        return FaceCrop(crop, plain.landmarks, plain.visibility)

    dark, pale = (
        with_lips((70, 45, 35), (180, 90, 150)),
        with_lips((215, 175, 155), (190, 110, 110)),
    )
    lips = cv2.erode(lips_part(pale.landmarks), np.ones((3, 3), np.uint8))
    view = FusedReference([ReferenceShot.of(dark)])(0, pale)
    tone = lips_tone(view[..., :3], lips)
    assert tone is not None
    assert (tone <= np.array([190, 110, 150]) + 12).all()  # the target's, or their own
    # Their own where they are darker than the target's.
    deep = with_lips((215, 175, 155), (120, 40, 50))
    kept = lips_tone(FusedReference([ReferenceShot.of(deep)])(0, pale)[..., :3], lips)
    assert kept is not None and (kept < np.array([150, 75, 85])).all()
