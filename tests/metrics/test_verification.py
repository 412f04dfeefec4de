from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from vidswap.errors import DatasetError, InputNotFoundError
from vidswap.metrics.verification import (
    Pair,
    best_threshold,
    read_pairs,
    roc_curve,
    tpr_at_fpr,
    verification,
    verify_pairs,
)

RANDOM = np.random.default_rng(0)


def scored(distance: float, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Scores of unit deviation, those of one person higher by `distance`; who is of one person."""
    same = np.arange(n) % 2 == 0
    return RANDOM.normal(size=n) + distance * same, same


def test_the_area_under_the_roc_is_that_of_the_rank_test() -> None:
    scores, same = scored(1.0)
    scores = np.round(scores, 1)  # with ties
    u = mannwhitneyu(scores[same], scores[~same]).statistic
    expected = u / (same.sum() * (~same).sum())
    assert verification(scores, same).auc == pytest.approx(expected)


def test_rates_are_those_counted_at_each_threshold() -> None:
    scores, same = scored(1.0, 60)
    fpr, tpr, thresholds = roc_curve(scores, same)
    for f, t, threshold in zip(fpr, tpr, thresholds, strict=True):
        assert t == pytest.approx((scores[same] >= threshold).mean())
        assert f == pytest.approx((scores[~same] >= threshold).mean())
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)


def test_the_true_positive_rate_is_taken_where_the_false_one_is_not_exceeded() -> None:
    fpr, tpr = np.array([0, 0, 0.01, 0.02, 1]), np.array([0, 0.5, 0.7, 0.9, 1])
    assert [tpr_at_fpr(fpr, tpr, rate) for rate in (0, 0.01, 0.015, 0.02)] == [0.5, 0.7, 0.7, 0.9]


def test_pictures_of_a_person_against_themselves_are_all_verified() -> None:
    people = RANDOM.normal(size=(40, 32))
    same = np.arange(40) % 2 == 0
    found = verify_pairs(people, np.where(same[:, None], people, -people), same)
    assert found.accuracy == 1 and found.auc == 1 and found.tpr_at[0.01] == 1


def test_scores_that_know_nothing_are_right_half_the_time() -> None:
    scores, same = scored(0.0, 4000)
    found = verification(scores, same)
    assert found.accuracy == pytest.approx(0.5, abs=0.03)
    assert found.auc == pytest.approx(0.5, abs=0.03)
    assert found.tpr_at[0.01] == pytest.approx(0.01, abs=0.02)


def test_the_accuracy_of_two_normal_distributions_is_known() -> None:
    # Best threshold half way: Phi(1) of either kind for a distance of two deviations.
    scores, same = scored(2.0, 6000)
    assert verification(scores, same).accuracy == pytest.approx(0.8413, abs=0.02)


def test_the_better_people_are_told_apart_the_higher_is_every_number() -> None:
    results = [verification(*scored(distance, 2000)) for distance in (0.5, 1.5, 3.0)]
    for values in (
        [r.accuracy for r in results],
        [r.auc for r in results],
        [r.tpr_at[0.01] for r in results],
    ):
        assert values == sorted(values)


def test_the_threshold_lies_between_the_kinds() -> None:
    scores, same = np.array([0.1, 0.2, 0.6, 0.8]), np.array([False, False, True, True])
    assert best_threshold(scores, same) == pytest.approx(0.4)
    assert best_threshold(np.array([0.9, 0.1]), np.array([False, False])) > 0.9


def test_the_threshold_of_a_fold_is_not_taken_from_the_fold() -> None:
    # The last fold's scores lie two higher: by the others' threshold all of it is of one person.
    scores = np.tile([0.0, 1.0], 20)
    same = np.tile([False, True], 20)
    scores[36:] += 2
    assert verification(scores, same).accuracy == pytest.approx((9 + 0.5) / 10)


def test_pairs_of_one_kind_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="of one person and of two"):
        verification(np.arange(4.0), np.ones(4, bool))


def test_a_file_of_pairs_is_read_as_lfw_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("1\t1\nAnn_Bell\t1\t12\nAnn_Bell\t3\tCy_Doe\t4\n\n")
    assert read_pairs(path) == [
        Pair("Ann_Bell/Ann_Bell_0001.jpg", "Ann_Bell/Ann_Bell_0012.jpg", True),
        Pair("Ann_Bell/Ann_Bell_0003.jpg", "Cy_Doe/Cy_Doe_0004.jpg", False),
    ]


@pytest.mark.parametrize("line", ["Ann_Bell 1", "Ann_Bell one 2", "a 1 b 2 c"])
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(f"10 300\nAnn_Bell 1 2\n{line}\n")
    with pytest.raises(DatasetError, match="line 3"):
        read_pairs(path)


def test_an_empty_and_an_absent_file_of_pairs_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("10 300\n")
    with pytest.raises(DatasetError, match="no pairs"):
        read_pairs(tmp_path / "empty.txt")
    with pytest.raises(InputNotFoundError, match="no such file"):
        read_pairs(tmp_path / "pairs.txt")
