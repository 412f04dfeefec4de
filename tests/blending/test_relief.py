"""A swapped face has no more relief, colour and smudges than the target's light leaves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.blending.test_warping import face
from vidswap.blending.relief import LEAST_LEFT, MOST_RELIEF, in_targets_relief
from vidswap.blending.warping import REFERENCE_REACH, FaceCrop, covered_part

SKIN = (200, 150, 120)
CHEEK = np.s_[126:152, 82:106]  # of the schematic face, skin without features


def folded(shot: FaceCrop, strength: float) -> NDArray[np.uint8]:
    """The face with soft stripes over it, by parts of its brightness."""
    stripes = 1.0 + strength * np.sin(np.arange(256) / 4.0)[:, None, None]
    return np.clip(np.rint(shot.crop * stripes), 0, 255).astype(np.uint8)


def relief(picture: NDArray[np.uint8]) -> float:
    """Deviation of brightness on a cheek, by parts of its mean."""
    grey = picture[CHEEK].astype(float).mean(axis=2)
    return float(grey.std() / grey.mean())


@pytest.fixture(scope="module")
def target() -> FaceCrop:
    return face(SKIN, 90)


def test_folds_as_deep_as_the_targets_stay(target: FaceCrop) -> None:
    crop = folded(target, 0.2)
    swapped = folded(target, 0.2)
    answer = in_targets_relief(swapped, crop, target.landmarks)
    assert np.abs(answer.astype(int) - swapped).max() <= 1


def test_folds_of_a_harder_light_come_nearer_to_the_targets(target: FaceCrop) -> None:
    crop, swapped = folded(target, 0.15), folded(target, 0.22)
    answer = in_targets_relief(swapped, crop, target.landmarks)
    wanted = MOST_RELIEF * relief(crop)
    assert 0.95 * wanted < relief(answer) < 0.92 * relief(swapped)
    across = [one[CHEEK].astype(float).mean(axis=(1, 2)) for one in (answer, swapped)]
    assert np.corrcoef(*across)[0, 1] > 0.99  # the pattern is the source's


def test_no_more_than_a_part_of_the_relief_goes(target: FaceCrop) -> None:
    swapped = folded(target, 0.4)
    answer = in_targets_relief(swapped, target.crop, target.landmarks)
    assert relief(answer) > 0.9 * LEAST_LEFT * relief(swapped)


def test_a_yellow_cheek_comes_nearer_to_the_targets_tint(target: FaceCrop) -> None:
    swapped = target.crop.copy()
    yellow = np.zeros((256, 256), np.float32)
    cv2.circle(yellow, (94, 138), 22, 1.0, -1)
    yellow = cv2.GaussianBlur(yellow, (0, 0), 6)[..., None]
    swapped = np.clip(swapped - yellow * (0, 0, 50), 0, 255).astype(np.uint8)
    answer = in_targets_relief(swapped, target.crop, target.landmarks)

    def blue(picture: NDArray[np.uint8]) -> float:
        return float(picture[CHEEK][..., 2].mean())

    assert blue(swapped) < 85 < blue(answer) < 120
    assert answer[30, 30].tolist() == swapped[30, 30].tolist()  # the background


@pytest.mark.parametrize("shown", [False, True])
def test_a_smudge_goes_beside_what_no_photograph_shows(target: FaceCrop, shown: bool) -> None:
    """Of what the photograph does show, a dark spot may be a beard, and stays."""
    swapped = target.crop.copy()
    place = (75, 135)  # at the rim of a cheek
    smudge = np.zeros((256, 256), np.float32)
    cv2.circle(smudge, place, 5, 1.0, -1)
    smudge = cv2.GaussianBlur(smudge, (0, 0), 1.5)[..., None]
    swapped = np.clip(swapped - 40.0 * smudge, 0, 255).astype(np.uint8)
    view = np.dstack([swapped, np.zeros((256, 256), np.uint8)])
    mask = 255.0 * covered_part(target.landmarks, REFERENCE_REACH)
    if not shown:
        cv2.circle(mask, place, 12, 0.0, -1)
    view[..., 3] = mask
    answer = in_targets_relief(swapped, target.crop, target.landmarks, view)

    def darker(picture: NDArray[np.uint8]) -> float:
        there = np.s_[place[1] - 3 : place[1] + 4, place[0] - 3 : place[0] + 4]
        return float((target.crop[there].astype(float) - picture[there]).mean())

    assert darker(answer) < 0.85 * darker(swapped) if not shown else darker(answer) > 25


def test_what_is_not_in_the_picture_is_left_as_it_is(target: FaceCrop) -> None:
    beyond = target.landmarks + 400.0
    assert in_targets_relief(target.crop, target.crop, beyond) is target.crop
