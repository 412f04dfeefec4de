import numpy as np
import pytest
from scipy.linalg import sqrtm

from vidswap.metrics.fid import FeatureMoments, frechet_distance, frechet_of_moments

RANDOM = np.random.default_rng(0)


def features(n: int = 300, width: int = 12) -> np.ndarray:
    """Correlated features (n, width)."""
    return RANDOM.normal(size=(n, width)) @ RANDOM.normal(size=(width, width))


def with_matrix_root(a: np.ndarray, b: np.ndarray) -> float:
    """Heusel et al., eq. 6, as it is written."""
    c_a, c_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    mean = a.mean(axis=0) - b.mean(axis=0)
    return float(mean @ mean + np.trace(c_a + c_b - 2 * sqrtm(c_a @ c_b)).real)


def test_a_set_is_at_no_distance_from_itself() -> None:
    a = features()
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-9)


def test_a_shift_costs_its_square() -> None:
    a, shift = features(), np.arange(12) / 4
    assert frechet_distance(a, a + shift) == pytest.approx((shift**2).sum())


def test_a_spread_costs_its_square_times_the_variance() -> None:
    a = features()
    spread = a.mean(axis=0) + 1.5 * (a - a.mean(axis=0))
    expected = 0.5**2 * np.trace(np.cov(a, rowvar=False))
    assert frechet_distance(a, spread) == pytest.approx(expected)


def test_it_is_the_formula_with_a_matrix_root() -> None:
    a, b = features(400), features(250) + 0.3
    assert frechet_distance(a, b) == pytest.approx(with_matrix_root(a, b), rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_it_holds_with_fewer_pictures_than_features() -> None:
    a = RANDOM.normal(size=(20, 64))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 0.5) == pytest.approx(0.25 * 64)


def test_few_pictures_of_one_kind_look_further_apart_than_many() -> None:
    def distance(n: int) -> float:
        return frechet_distance(RANDOM.normal(size=(n, 16)), RANDOM.normal(size=(n, 16)))

    assert distance(30) > 3 * distance(1000)


def test_one_picture_is_no_set() -> None:
    with pytest.raises(ValueError, match="two pictures"):
        frechet_distance(features(1), features(5))


def test_features_taken_in_a_few_at_a_time_give_the_same_distance() -> None:
    a, b = features(120), features(90) + 5.0
    streamed = []
    for rows in (a, b):
        moments = FeatureMoments(rows.shape[1])
        for start in range(0, len(rows), 7):
            moments.add(rows[start : start + 7].astype(np.float32))
        streamed.append(moments)
    np.testing.assert_allclose(
        streamed[0].covariance, np.cov(a, rowvar=False), rtol=1e-4, atol=1e-4
    )
    assert frechet_of_moments(*streamed) == pytest.approx(with_matrix_root(a, b), rel=1e-4)
