"""Shading fitted on skin, and a face taken from one light to another."""

from __future__ import annotations

import numpy as np
import pytest

from tests.blending.heads import turned_mesh
from vidswap.blending.relighting import (
    LEAST_GAIN,
    MOST_GAIN,
    N_COEFFICIENTS,
    SIZE,
    canonical_normals,
    fit_shading,
    harmonics,
    matt_brightness,
    normal_map,
    relighting_gain,
    skin_part,
    with_dimmed_shine,
)


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    return turned_mesh()


@pytest.fixture(scope="module")
def basis(landmarks: np.ndarray) -> np.ndarray:
    return harmonics(normal_map(landmarks))


def light(side: float, below: float = 0.0) -> np.ndarray:
    """Coefficients (9, 3) of a grey light from the right (`side`) and from below, on mid grey."""
    coefficients = np.zeros((N_COEFFICIENTS, 3), np.float32)
    coefficients[0], coefficients[1], coefficients[2] = 120.0, side, below
    return coefficients


def test_normals_are_of_unit_length_and_face_the_viewer_in_the_middle(
    landmarks: np.ndarray,
) -> None:
    np.testing.assert_allclose(np.linalg.norm(canonical_normals(), axis=1), 1.0, atol=1e-9)
    normals = normal_map(landmarks)
    nose = (landmarks[4] / 4).astype(int)
    assert normals[nose[1] - 6, nose[0], 2] < -0.7  # z points away from the viewer
    left, right = (landmarks[i] / 4 for i in (234, 454))  # beside the ears
    row = int((left[1] + right[1]) / 2)
    assert normals[row, int(left[0]) + 2, 0] < -0.3 < 0.3 < normals[row, int(right[0]) - 2, 0]


def test_the_light_that_made_a_picture_is_found_again(
    landmarks: np.ndarray, basis: np.ndarray
) -> None:
    wanted = basis @ light(40.0, -25.0)
    found = basis @ fit_shading(wanted, skin_part(landmarks), basis)
    assert np.abs(found - wanted)[skin_part(landmarks) > 0.5].mean() < 1.5


def test_spots_and_shadows_hardly_change_the_light_that_is_found(
    landmarks: np.ndarray, basis: np.ndarray
) -> None:
    plain = (basis @ light(30.0)).astype(np.float32)
    skin = skin_part(landmarks)
    spoilt = plain.copy()
    spots = np.random.default_rng(0).random((SIZE, SIZE)) < 0.12
    spoilt[spots] = 255.0
    found = basis @ fit_shading(spoilt, skin, basis)
    inside = skin > 0.5
    assert np.abs(found - plain)[inside].mean() < 0.35 * np.abs(spoilt - plain)[inside].mean()


def test_a_face_lit_from_one_side_is_relit_from_the_other(
    landmarks: np.ndarray, basis: np.ndarray
) -> None:
    skin = skin_part(landmarks)
    albedo = np.random.default_rng(1).uniform(0.9, 1.1, (SIZE, SIZE, 1))
    before, wanted = albedo * (basis @ light(45.0)), albedo * (basis @ light(-45.0))
    gain = relighting_gain(
        fit_shading(before, skin, basis), fit_shading(wanted, skin, basis), basis
    )
    relit = before * gain[2::4, 2::4]
    inside = skin > 0.5
    assert np.abs(relit - wanted)[inside].mean() < 0.25 * np.abs(before - wanted)[inside].mean()


def test_unlike_light_is_not_copied_whole(basis: np.ndarray) -> None:
    dark, bright = 0.02 * light(0.0), 2.0 * light(0.0)
    up, down = relighting_gain(dark, bright, basis), relighting_gain(bright, dark, basis)
    assert up.max() <= MOST_GAIN + 1e-4 and down.min() >= LEAST_GAIN - 1e-4
    np.testing.assert_allclose(relighting_gain(bright, bright, basis), 1.0, atol=1e-5)


def test_without_skin_in_sight_the_light_is_flat(basis: np.ndarray) -> None:
    picture = np.full((SIZE, SIZE, 3), (10.0, 20.0, 30.0), np.float32)
    found = fit_shading(picture, np.zeros((SIZE, SIZE), np.float32), basis)
    np.testing.assert_allclose(found[0], (10.0, 20.0, 30.0), rtol=1e-3)
    assert not found[1:].any()


def test_shine_is_dimmed_and_matt_skin_is_not(basis: np.ndarray) -> None:
    shading = np.zeros((9, 3), np.float32)
    shading[0] = 120.0
    lit = np.full((256, 256, 3), 125.0, np.float32)
    lit[100:110, 100:110] = 240.0
    dimmed = with_dimmed_shine(lit.copy(), matt_brightness(shading, basis))
    assert (dimmed[:90] == 125.0).all()
    assert 165.0 < dimmed[105, 105, 0] < 205.0
    assert dimmed[105, 105, 0] > dimmed[105, 95, 0] + 30  # a gloss yet
