"""Patches of light on one side of a face only, taken out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.blending.heads import SCALE, turned_mesh
from vidswap.blending.evening import evening_gain
from vidswap.blending.relighting import SIZE, fit_shading, harmonics, normal_map, skin_part

RIGHT_CHEEK, LEFT_CHEEK = 50, 280
TONE = np.array([150.0, 110.0, 90.0])


def evened(
    *patches: tuple[int, float, tuple[float, float, float]], points: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A flat face with patches (point, radius in eye distances, gain of RGB), before and after;
    and its mesh in the maps.
    """
    landmarks = turned_mesh()
    step = 256 // SIZE
    picture = np.broadcast_to(TONE, (SIZE, SIZE, 3)).astype(np.float32).copy()
    for point, radius, gain in patches:
        centre = np.rint(landmarks[point] / step).astype(int).tolist()
        part = np.zeros((SIZE, SIZE), np.float32)
        cv2.circle(part, centre, max(1, round(radius * SCALE / step)), 1.0, -1)
        picture *= 1.0 + part[..., None] * (np.array(gain, np.float32) - 1.0)
    basis = harmonics(normal_map(landmarks))
    skin = skin_part(landmarks)
    shading = fit_shading(picture, skin, basis)
    gain_map = evening_gain(picture, shading, basis, skin, landmarks, points)
    small = cv2.resize(gain_map, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return picture, picture * small, landmarks / step


def at(picture: np.ndarray, places: np.ndarray, point: int) -> np.ndarray:
    x, y = np.rint(places[point]).astype(int)
    return np.asarray(picture[y, x])


@pytest.mark.parametrize("gain", [(1.5, 1.5, 1.5), (0.6, 0.6, 0.6), (1.4, 1.0, 0.8)])
def test_a_patch_of_light_or_shade_on_one_cheek_becomes_like_the_other_cheek(
    gain: tuple[float, float, float],
) -> None:
    before, after, places = evened((RIGHT_CHEEK, 0.3, gain))
    was, is_ = (np.abs(at(p, places, RIGHT_CHEEK) - TONE).mean() for p in (before, after))
    assert is_ < 0.55 * was
    assert np.abs(at(after, places, LEFT_CHEEK) - TONE).max() < 0.1 * TONE.max()


def test_what_both_sides_have_stays() -> None:
    before, after, places = evened(
        (RIGHT_CHEEK, 0.3, (0.7, 0.7, 0.7)), (LEFT_CHEEK, 0.3, (0.7, 0.7, 0.7))
    )
    for point in (RIGHT_CHEEK, LEFT_CHEEK):
        np.testing.assert_allclose(at(after, places, point), at(before, places, point), rtol=0.04)


def test_a_mole_stays_where_a_patch_as_dark_goes() -> None:
    before, after, places = evened((RIGHT_CHEEK, 0.01, (0.5, 0.5, 0.5)))
    left = at(before, places, LEFT_CHEEK) - at(before, places, RIGHT_CHEEK)
    right = at(after, places, LEFT_CHEEK) - at(after, places, RIGHT_CHEEK)
    assert (right > 0.75 * left).all()


def test_points_that_are_not_known_change_nothing() -> None:
    known = np.setdiff1d(np.arange(478), [LEFT_CHEEK])
    _, every, _ = evened((RIGHT_CHEEK, 0.3, (1.5, 1.5, 1.5)))
    _, most, _ = evened((RIGHT_CHEEK, 0.3, (1.5, 1.5, 1.5)), points=known)
    np.testing.assert_allclose(most, every, rtol=0.1)
    one_side = np.flatnonzero(turned_mesh()[:, 0] < 120)  # whose mirrored points are unknown
    before, after, _ = evened((RIGHT_CHEEK, 0.3, (1.5, 1.5, 1.5)), points=one_side)
    np.testing.assert_allclose(after, before, rtol=1e-5)
