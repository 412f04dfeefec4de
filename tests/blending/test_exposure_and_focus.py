"""Dark and blurred targets: what the net is shown, and what comes back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.photographs import astronaut, grace_hopper
from vidswap.blending.exposure import NORMAL, NORMAL_EXPOSURE, exposure_of
from vidswap.blending.focus import BLURRED, focused_like
from vidswap.faces.quality import sharpness


def crop(photograph: np.ndarray) -> np.ndarray:
    """About the face of a photograph, (256, 256, 3)."""
    return np.ascontiguousarray(photograph[:256, 100:356])


def darkened(picture: np.ndarray, factor: float) -> np.ndarray:
    return np.rint(picture * factor).astype(np.uint8)


def test_a_face_in_normal_light_is_left_as_it_is() -> None:
    picture = crop(astronaut())
    assert exposure_of(picture) == NORMAL_EXPOSURE
    assert NORMAL_EXPOSURE.shown(picture) is NORMAL_EXPOSURE.given_back(picture) is picture


@pytest.mark.parametrize("factor", [0.06, 0.12, 0.25])
def test_a_dark_face_is_shown_in_normal_exposure_and_comes_back_dark(factor: float) -> None:
    dark = darkened(crop(astronaut()), factor)
    exposure = exposure_of(dark)
    gain, shown = exposure.gain, exposure.shown(dark)
    bright = np.percentile(cv2.cvtColor(shown[64:208, 64:192], cv2.COLOR_RGB2GRAY), 95)
    assert bright == pytest.approx(min(NORMAL, 8.0 * bright / gain), rel=0.06)
    np.testing.assert_allclose(exposure.given_back(shown).astype(int), dark, atol=1)


def test_a_face_that_cannot_be_seen_is_not_for_swapping() -> None:
    for picture in (darkened(crop(astronaut()), 0.01), fogged(crop(astronaut()), 0.98)):
        assert not exposure_of(picture).is_seen
    for level in (0, 128, 255):
        assert not exposure_of(np.full((256, 256, 3), level, np.uint8)).is_seen


def fogged(picture: np.ndarray, share: float, level: float = 255.0) -> np.ndarray:
    return np.rint(picture * (1.0 - share) + level * share).astype(np.uint8)


@pytest.mark.parametrize("level", [255.0, 160.0])
@pytest.mark.parametrize("share", [0.7, 0.85, 0.93])
def test_a_face_behind_fog_is_shown_with_contrast_and_comes_back_fogged(
    share: float, level: float
) -> None:
    target = fogged(crop(astronaut()), share, level)
    exposure = exposure_of(target)
    shown = exposure.shown(target)
    face = cv2.cvtColor(shown[64:208, 64:192], cv2.COLOR_RGB2GRAY)
    assert np.percentile(face, 98) - np.percentile(face, 2) > 80
    np.testing.assert_allclose(exposure.given_back(shown).astype(int), target, atol=2)
    # Whatever the net answers stays in the fog, as light as its darkest.
    black = exposure.given_back(np.zeros_like(shown))
    assert black.min() >= fogged(np.zeros_like(target), share, level).min() - 50


def test_a_fade_to_white_changes_its_view_little_by_little() -> None:
    shares = np.linspace(0.3, 0.9, 61)
    found = [exposure_of(fogged(crop(astronaut()), share)) for share in shares]
    gains = np.array([exposure.gain for exposure in found])
    assert gains[0] == 1.0 and gains[-1] > 4.0
    assert (np.diff(np.log(gains)) < 0.25).all()


def test_a_sharp_target_leaves_the_swap_as_sharp_as_it_is() -> None:
    swapped = crop(grace_hopper())
    assert sharpness(crop(astronaut())) > BLURRED
    assert focused_like(crop(astronaut()), swapped) is swapped


@pytest.mark.parametrize("width", [3.5, 6.0])
def test_in_a_blurred_frame_the_swap_is_as_blurred(width: float) -> None:
    target = cv2.GaussianBlur(crop(astronaut()), (0, 0), width)
    swapped = crop(grace_hopper())
    answer = focused_like(target, swapped)
    assert sharpness(target) < BLURRED < sharpness(swapped)
    assert sharpness(answer) == pytest.approx(sharpness(target), abs=0.03)


def test_a_swap_that_is_softer_than_its_target_is_not_blurred_further() -> None:
    target = cv2.GaussianBlur(crop(astronaut()), (0, 0), 3.5)
    softer = cv2.GaussianBlur(crop(grace_hopper()), (0, 0), 9.0)
    assert focused_like(target, softer) is softer
