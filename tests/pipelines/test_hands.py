"""Hands in photographs: cut out by their joints, and laid over other faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipelines.fitting.hands import FINGERS, cut_out, found_hands, laid_over
from tests.training.test_pairs import schematic_points
from vidswap.training.occluders.layer import Scene

SKIN, WALL = (205, 150, 125), (70, 90, 130)


def joints() -> np.ndarray:
    """Of a hand that points upwards."""
    points = np.zeros((21, 2), np.float32)
    points[0] = 128, 225
    roots, ends = (95, 110, 126, 142, 157), (70, 103, 126, 149, 172)
    for finger, root, end in zip(FINGERS, roots, ends, strict=True):
        low, high = (215, 170) if finger[0] == 1 else (175, 105)
        points[list(finger)] = np.linspace((root, low), (end, high), 4)
    return points


def photograph(hand: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A hand before a wall, and the pixels that it is."""
    points = np.rint(joints()).astype(int)
    drawn = np.zeros((256, 256), np.uint8)
    cv2.fillConvexPoly(drawn, cv2.convexHull(points[[0, 1, 5, 9, 13, 17]]), 1)
    for finger in FINGERS:
        cv2.polylines(drawn, [points[list(finger)]], False, 1, 13)
    picture = np.full((256, 256, 3), WALL, np.uint8)
    picture[drawn > 0] = hand
    noise = np.random.default_rng(0).normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8), drawn > 0


def test_a_hand_is_cut_out_to_its_outline() -> None:
    picture, drawn = photograph(SKIN)
    hand = cut_out(7, picture, joints())
    assert hand is not None and hand.row == 7
    found = hand.alpha > 0.5
    assert (found & drawn).sum() / (found | drawn).sum() > 0.85
    outline = cv2.Canny(drawn.astype(np.uint8) * 255, 50, 100) > 0
    assert hand.unsure[outline].mean() > 0.8
    assert hand.unsure[:60].max() == 0.0  # the wall above it is none


def test_a_hand_over_a_face_has_the_tone_of_its_skin() -> None:
    picture, _ = photograph((90, 60, 45))
    hand = cut_out(0, picture, joints())
    assert hand is not None
    face = np.full((256, 256, 3), SKIN, np.uint8)
    darker, covered = [], []
    for seed in range(12):
        random = np.random.default_rng(seed)
        scene = Scene.of(face, schematic_points(), random)
        painted, alpha = laid_over(hand, face, scene, random)
        beside = painted[alpha == 0.0]
        assert (beside <= SKIN).all() and beside.max() == max(SKIN)  # its shadow at the most
        covered.append(float((alpha > 0.5).mean()))
        if covered[-1] > 0.02:
            darker.append(float(np.median(painted[alpha > 0.95]) / np.median(face)))
    assert 0.03 < np.median(covered) < 0.4
    assert 0.6 < np.median(darker) < 1.2  # its own skin has 0.4 of the face's light


def test_only_hands_that_are_sure_and_as_long_as_hands_are_cut_out(
    tmp_path: Path,
) -> None:
    long, ear = joints(), 100.0 + 0.2 * joints()
    np.savez(
        tmp_path / "hands.npz", rows=[3, 3, 5, 8], joints=[long, ear, long, long],
        sure=[True, True, False, True],
    )  # fmt: skip
    found = found_hands(tmp_path)
    assert {row: len(hands) for row, hands in found.items()} == {3: 1, 5: 0, 8: 1}
    np.testing.assert_array_equal(found[3][0], long)
