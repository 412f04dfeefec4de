"""Hair that a generator paints where the target has a bare forehead."""

from __future__ import annotations

import numpy as np
import pytest

from tests.blending.test_warping import face
from vidswap.blending.hairline import without_painted_hair
from vidswap.blending.warping import REFERENCE_REACH, FaceCrop, covered_part
from vidswap.faces import mesh

SKIN = (200, 150, 120)
HAIR = (40, 30, 25)
FOREHEAD = np.s_[58:78, 110:130]  # of the schematic face


def painted_on(shot: FaceCrop, colour: tuple[int, int, int]) -> np.ndarray:
    painted = shot.crop.copy()
    painted[FOREHEAD] = colour
    return painted


def test_a_bare_forehead_stays_bare_in_the_answers_colour() -> None:
    target, other = face(SKIN, 90), face((170, 120, 95), 90)  # the answer's skin is darker
    cleaned = without_painted_hair(painted_on(other, HAIR), target.crop, target.landmarks)
    inner = cleaned[63:73, 115:125].reshape(-1, 3).astype(int)
    assert np.abs(inner - (170, 120, 95)).max() <= 6
    outside = np.ones((256, 256), bool)
    outside[38:98, 90:150] = False
    apart = np.abs(cleaned[outside].astype(int) - other.crop[outside])
    assert apart.max() <= 1


def test_a_fringe_of_the_target_may_be_painted() -> None:
    target = face(SKIN, 90)
    fringed = painted_on(target, HAIR)
    np.testing.assert_array_equal(without_painted_hair(fringed, fringed, target.landmarks), fringed)


def test_an_answer_without_new_hair_is_left_as_it_is() -> None:
    target, wrinkled = face(SKIN, 90), face(SKIN, 90).crop.copy()
    wrinkled[70:72, 100:160] = (185, 138, 110)
    assert without_painted_hair(wrinkled, target.crop, target.landmarks) is wrinkled


def test_a_face_from_the_side_is_left_as_it_is() -> None:
    target = face(SKIN, 90)
    narrow = target.landmarks.copy()
    narrow[:, 0] = 300.0  # nothing of it is in the crop
    painted = painted_on(target, HAIR)
    assert without_painted_hair(painted, target.crop, narrow) is painted


@pytest.mark.parametrize("one_sided", [True, False])
def test_a_smear_on_one_temple_goes_and_a_faint_hairline_on_both_stays(one_sided: bool) -> None:
    target = face(SKIN, 90)
    eyes = [*mesh.RIGHT_EYE_CORNERS, *mesh.LEFT_EYE_CORNERS]
    middle = float(target.landmarks[eyes, 0].mean())
    painted = target.crop.copy()
    left, right = (slice(round(middle + s * 20) - 5, round(middle + s * 20) + 6) for s in (-1, 1))
    sides = [right] if one_sided else [left, right]
    for side in sides:
        painted[62:76, side] = (150, 108, 84)
    cleaned = without_painted_hair(painted, target.crop, target.landmarks)
    inner = cleaned[67:71, round(middle + 20) - 1 : round(middle + 20) + 2].astype(int)
    left_over = np.abs(inner - SKIN).mean() / np.abs(np.subtract((150, 108, 84), SKIN)).mean()
    assert left_over < 0.35 if one_sided else left_over > 0.9


def view_of(shot: FaceCrop, hidden: bool, strength: int = 255) -> np.ndarray:
    """A view that shows all of a face, or what is below the forehead."""
    mask = (covered_part(shot.landmarks, REFERENCE_REACH) * strength).astype(np.uint8)
    if hidden:
        mask[:80] = 0
    return np.dstack([shot.crop, mask])


def test_a_forehead_that_no_photograph_shows_is_the_targets() -> None:
    target = face(SKIN, 90)
    painted = painted_on(target, (178, 130, 102))  # a faint smear
    kept, cleaned = (
        without_painted_hair(painted, target.crop, target.landmarks, view_of(target, hidden))
        for hidden in (False, True)
    )
    np.testing.assert_array_equal(kept[FOREHEAD], painted[FOREHEAD])
    apart = np.abs(cleaned[63:73, 115:125].astype(int) - target.crop[63:73, 115:125])
    assert apart.max() <= 5
    np.testing.assert_array_equal(cleaned[110:], painted[110:])


def test_a_fringe_of_the_target_stays_painted_whatever_is_known() -> None:
    target = face(SKIN, 90)
    fringed = painted_on(target, HAIR)
    painted = painted_on(target, (60, 50, 40))
    cleaned = without_painted_hair(painted, fringed, target.landmarks, view_of(target, True))
    apart = np.abs(cleaned[64:72, 116:124].astype(int) - painted[64:72, 116:124])
    assert apart.max() <= 4


def test_a_view_that_shows_nothing_tells_of_no_forehead() -> None:
    target = face(SKIN, 90)
    painted = painted_on(target, (178, 130, 102))
    for view in (None, view_of(target, True, strength=30)):
        cleaned = without_painted_hair(painted, target.crop, target.landmarks, view)
        np.testing.assert_array_equal(cleaned, painted)
