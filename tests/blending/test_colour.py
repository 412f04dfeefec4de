import cv2
import numpy as np
import pytest

from vidswap.blending.colour import matched_colour


def skin(colour: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """An uneven surface of a mean colour (64, 64, 3)."""
    relief = np.random.default_rng(seed).normal(0, 6, (64, 64, 1))
    return np.clip(np.array(colour) + relief, 0, 255).astype(np.uint8)


def mean_lab(picture: np.ndarray, weight: np.ndarray) -> np.ndarray:
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return (lab * weight[..., None]).sum(axis=(0, 1)) / weight.sum()


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_mean_colour_moves_by_the_share(share: float) -> None:
    target, swapped, weight = skin((150, 110, 90)), skin((190, 150, 150), 1), np.ones((64, 64))
    before, wanted = mean_lab(swapped, weight), mean_lab(target, weight)
    moved = mean_lab(matched_colour(target, swapped, weight, share), weight)
    np.testing.assert_allclose(moved, before + share * (wanted - before), atol=0.3)


def test_only_weighted_pixels_decide() -> None:
    target, swapped = skin((150, 110, 90)), skin((150, 110, 90), 1)
    swapped[:, 32:] = (0, 0, 255)
    weight = np.zeros((64, 64))
    weight[:, :32] = 1.0
    answer = matched_colour(target, swapped, weight, 1.0)
    assert np.abs(answer.astype(int) - swapped).max() <= 3


def test_relief_is_kept() -> None:
    target, swapped, weight = skin((120, 100, 90)), skin((180, 150, 140), 1), np.ones((64, 64))
    answer = matched_colour(target, swapped, weight, 1.0)
    luma = [cv2.cvtColor(p, cv2.COLOR_RGB2LAB)[..., 0].astype(float) for p in (swapped, answer)]
    assert np.corrcoef(luma[0].ravel(), luma[1].ravel())[0, 1] > 0.98
    assert luma[1].std() == pytest.approx(luma[0].std(), rel=0.1)


def test_no_share_and_no_face_change_nothing() -> None:
    target, swapped = skin((120, 100, 90)), skin((180, 150, 140), 1)
    assert matched_colour(target, swapped, np.ones((64, 64)), 0.0) is swapped
    assert matched_colour(target, swapped, np.zeros((64, 64)), 1.0) is swapped


def test_a_target_against_itself_stays() -> None:
    target = skin((150, 110, 90))
    answer = matched_colour(target, target, np.ones((64, 64)), 1.0)
    assert np.abs(answer.astype(int) - target).max() <= 1
