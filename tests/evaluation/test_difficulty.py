"""What is hard about a pair, and how its skin looks."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.blending.test_warping import face
from vidswap.blending.warping import FaceCrop
from vidswap.evaluation.difficulty import kinds_of_pairs, of_another_sex, rows_of
from vidswap.metrics.skin import blotches, colour_spread

FAIR, DARK = (220, 180, 160), (90, 60, 50)


def kinds(source: FaceCrop, target: FaceCrop, glasses: bool = False) -> set[str]:
    found = kinds_of_pairs(
        [source.crop], [source.landmarks], [target.crop], [target.landmarks],
        np.array([glasses]),
    )  # fmt: skip
    return {name for name, (hard,) in found.items() if hard}


def lit_from_one_side(shot: FaceCrop) -> FaceCrop:
    shade = np.linspace(0.05, 1.0, 256)[None, :, None]
    return replace(shot, crop=(shot.crop * shade).astype(np.uint8))


def test_two_alike_are_not_hard() -> None:
    assert kinds(face(FAIR, 90), face(FAIR, 90)) == set()


def test_each_kind_is_told() -> None:
    fair = face(FAIR, 90)
    assert kinds(fair, face(DARK, 90)) == {"skin of another tone"}
    assert kinds(lit_from_one_side(fair), lit_from_one_side(fair)) == {"light from one side"}
    assert kinds(fair, fair, glasses=True) == {"glasses on either"}


def test_a_man_and_a_woman_are_a_kind_where_the_judge_is_sure_of_both() -> None:
    sources, targets = np.array([0.9, 0.1, 0.9, 0.9, 0.5]), np.array([0.1, 0.9, 0.8, 0.5, 0.1])
    (apart,) = of_another_sex(sources, targets).values()
    assert apart.tolist() == [True, True, False, False, False]
    assert of_another_sex(None, targets) == {}


def test_rows_are_means_over_each_kind_and_over_the_others() -> None:
    each = {"ssim": [0.1, 0.2, 0.3, float("nan")], "nearer_to_source": [1.0, 0.0, 1.0, 1.0]}
    rows = rows_of({"a": [True, True, False, False], "b": [False, True, False, False]}, each)
    assert rows["a"] == pytest.approx({"pairs": 2, "ssim": 0.15, "nearer_to_source": 0.5})
    assert rows["b"] == pytest.approx({"pairs": 1, "ssim": 0.2, "nearer_to_source": 0.0})
    assert rows["none of these"] == pytest.approx(
        {"pairs": 2, "ssim": 0.3, "nearer_to_source": 1.0}
    )


def test_a_blotch_is_told_and_a_shadow_is_none() -> None:
    mesh = face(FAIR, 90).landmarks
    bare = np.full((256, 256, 3), FAIR, np.uint8)
    assert blotches(bare, bare, bare, mesh, mesh) < 0.001
    red = bare.copy()
    cv2.circle(red, (100, 140), 12, (230, 120, 110), -1)
    assert blotches(red, bare, bare, mesh, mesh) > 2.0
    # What the target has itself is no blotch of the swap.
    assert blotches(red, red, bare, mesh, mesh) == pytest.approx(1.0)
    shaded = bare.copy()
    shaded[:, :128] = (0.85 * bare[:, :128]).astype(np.uint8)
    assert colour_spread(shaded, mesh) < 0.35 * colour_spread(red, mesh)
