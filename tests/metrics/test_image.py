import math

import cv2
import numpy as np
import pytest

from tests.photographs import astronaut, grace_hopper
from vidswap.metrics.image import EQUAL_PSNR, mse, psnr, ssim, ssim_map


def portrait(side: int = 128) -> np.ndarray:
    return cv2.resize(astronaut()[:300, 100:400], (side, side), interpolation=cv2.INTER_AREA)


def noisy(picture: np.ndarray, noise: float) -> np.ndarray:
    changed = picture + np.random.default_rng(0).normal(0, noise, picture.shape)
    return np.clip(changed, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [2.0, 10.0, 40.0])
def test_ssim_is_that_of_scikit_image(noise: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a = portrait()
    b = noisy(a, noise)
    expected, whole = metrics.structural_similarity(
        a, b, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=255, full=True,
    )  # fmt: skip
    assert ssim(a, b) == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(ssim_map(a, b), whole.mean(axis=2), atol=1e-6)


def test_two_even_pictures_differ_by_wangs_luminance_term_alone() -> None:
    a, b = np.full((32, 32, 3), 100, np.uint8), np.full((32, 32, 3), 150, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1))


def test_a_picture_is_like_itself_and_the_less_so_the_more_it_is_blurred() -> None:
    a = portrait()
    values = [ssim(a, a)] + [ssim(a, cv2.GaussianBlur(a, (0, 0), s)) for s in (0.7, 1.5, 4)]
    assert values[0] == pytest.approx(1.0)
    assert values == sorted(values, reverse=True)


def test_another_face_is_less_alike_than_a_blurred_one() -> None:
    other = cv2.resize(grace_hopper()[50:400, 80:430], (128, 128), interpolation=cv2.INTER_AREA)
    assert ssim(portrait(), other) < ssim(portrait(), cv2.GaussianBlur(portrait(), (0, 0), 4))


def test_weights_choose_what_counts() -> None:
    a = portrait()
    b = a.copy()
    b[:, 64:] = 255 - b[:, 64:]
    left = np.zeros((128, 128))
    left[:, :58] = 1.0  # the window reaches five pixels over
    assert ssim(a, b, left) == pytest.approx(1.0)
    assert ssim(a, b, 1.0 - left) < ssim(a, b) < 1.0
    assert ssim(a, b, np.ones((128, 128))) == pytest.approx(ssim(a, b))
    assert math.isnan(ssim(a, b, np.zeros((128, 128))))


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        ssim(portrait(64), portrait(128))


@pytest.mark.parametrize("noise", [1.0, 8.0, 30.0])
def test_mse_and_psnr_are_those_of_scikit_image(noise: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a = portrait()
    b = noisy(a, noise)
    assert mse(a, b) == pytest.approx(metrics.mean_squared_error(a, b), rel=1e-5)
    assert psnr(a, b) == pytest.approx(metrics.peak_signal_noise_ratio(a, b), rel=1e-5)


def test_an_even_change_of_k_levels_is_an_error_of_k_squared() -> None:
    a = np.full((32, 32, 3), 100, np.uint8)
    assert mse(a, a + np.uint8(12)) == pytest.approx(144)
    assert psnr(a, a + np.uint8(12)) == pytest.approx(20 * math.log10(255 / 12))


def test_equal_pictures_have_no_error_and_the_highest_psnr() -> None:
    assert mse(portrait(), portrait()) == 0
    assert psnr(portrait(), portrait()) == EQUAL_PSNR


def test_more_noise_is_a_larger_error_and_a_lower_psnr() -> None:
    random = np.random.default_rng(2)
    noisy = [
        np.clip(portrait() + random.normal(0, s, (128, 128, 3)), 0, 255).astype(np.uint8)
        for s in (2, 6, 20)
    ]
    errors, ratios = [mse(portrait(), n) for n in noisy], [psnr(portrait(), n) for n in noisy]
    assert errors == sorted(errors) and ratios == sorted(ratios, reverse=True)


def test_weights_choose_where_the_error_is_taken() -> None:
    a = np.full((32, 32, 3), 100, np.uint8)
    b = a.copy()
    b[:, 16:] += 10
    right = np.zeros((32, 32))
    right[:, 16:] = 1
    assert mse(a, b, right) == pytest.approx(100)
    assert mse(a, b, 1 - right) == 0 and mse(a, b) == pytest.approx(50)
    assert math.isnan(mse(a, b, 0 * right))
