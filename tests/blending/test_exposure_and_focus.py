"""Dark and blurred targets: what the net is shown, and what comes back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.photographs import astronaut, grace_hopper
from vidswap.blending.exposure import NORMAL, exposed, exposure_gain
from vidswap.blending.focus import BLURRED, focused_like
from vidswap.faces.quality import sharpness


def crop(photograph: np.ndarray) -> np.ndarray:
    """About the face of a photograph, (256, 256, 3)."""
    return np.ascontiguousarray(photograph[:256, 100:356])


def darkened(picture: np.ndarray, factor: float) -> np.ndarray:
    return np.rint(picture * factor).astype(np.uint8)


def test_a_face_in_normal_light_is_left_as_it_is() -> None:
    picture = crop(astronaut())
    assert exposure_gain(picture) == 1.0
    assert exposed(picture, 1.0) is picture


@pytest.mark.parametrize("factor", [0.06, 0.12, 0.25])
def test_a_dark_face_is_shown_in_normal_exposure_and_comes_back_dark(factor: float) -> None:
    dark = darkened(crop(astronaut()), factor)
    gain = exposure_gain(dark)
    shown = exposed(dark, gain)
    bright = np.percentile(cv2.cvtColor(shown[64:208, 64:192], cv2.COLOR_RGB2GRAY), 95)
    assert bright == pytest.approx(min(NORMAL, 8.0 * bright / gain), rel=0.06)
    np.testing.assert_allclose(exposed(shown, 1.0 / gain).astype(int), dark, atol=1)


def test_a_face_that_cannot_be_seen_is_not_for_swapping() -> None:
    assert exposure_gain(darkened(crop(astronaut()), 0.01)) == 0.0
    assert exposure_gain(np.zeros((256, 256, 3), np.uint8)) == 0.0


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
