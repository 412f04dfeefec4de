from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.faces.scenes import backdrop, noisy, place
from vidswap.faces.cuts import CutDetector


def cuts(frames) -> list[int]:
    detector = CutDetector()
    return [number for number, frame in enumerate(frames) if detector.is_cut(frame)]


def talk(n, name="collins", seed=0, x=480.0):
    """A head that sways a little before a backdrop, with sensor noise."""
    scene = backdrop(seed)
    return [noisy(place(scene, name, x + 8 * np.sin(i / 3), 270), i) for i in range(n)]


def texture() -> np.ndarray:
    """A large picture with detail at all scales, (1000, 4000, 3)."""
    random = np.random.default_rng(3)
    layers = [
        cv2.resize(random.normal(0, 1, (n, 4 * n, 3)), (4000, 1000), interpolation=cv2.INTER_CUBIC)
        for n in (4, 8, 16, 32)
    ]
    return np.clip(128 + 30 * np.sum(layers, axis=0), 0, 255).astype(np.uint8)


def test_a_cut_is_found_in_its_first_frame_only():
    assert cuts(talk(6) + talk(6, "hopper", seed=5, x=300) + talk(6, seed=9)) == [6, 12]


def test_another_person_before_the_same_backdrop_is_a_cut():
    frames = [np.ascontiguousarray(f[60:480, 270:690]) for f in talk(4) + talk(4, "hopper")]
    assert cuts(frames) == [4]


def test_an_unchanging_or_talking_shot_has_no_cut():
    assert cuts([backdrop()] * 5) == []
    assert cuts(talk(30)) == []


@pytest.mark.parametrize("width_per_frame", [0.02, 0.05, 0.1, 0.2])
def test_a_camera_that_suddenly_pans_is_no_cut(width_per_frame):
    scene = texture()
    starts = [0] * 4 + [int(960 * width_per_frame * i) for i in range(12)]
    assert cuts([noisy(scene[200:740, x : x + 960], i) for i, x in enumerate(starts)]) == []


def test_zooming_is_no_cut():
    scene = texture()[:, :1600]
    frames = []
    for i in range(15):
        half = 500 * 0.95**i
        part = scene[
            int(500 - half) : int(500 + half), int(800 - half * 1.6) : int(800 + half * 1.6)
        ]
        frames.append(cv2.resize(part, (960, 540), interpolation=cv2.INTER_AREA))
    assert cuts(frames) == []


@pytest.mark.parametrize("gain", [0.3, 1.6, 2.0])
def test_a_change_of_exposure_is_no_cut(gain):
    frames = talk(10)
    frames[5:] = [np.clip(f * gain, 0, 255).astype(np.uint8) for f in frames[5:]]
    assert cuts(frames) == []


def test_a_flash_is_no_cut():
    frames = talk(10)
    frames[4] = np.clip(frames[4].astype(int) + 140, 0, 255).astype(np.uint8)
    frames[7] = np.full_like(frames[7], 255)
    assert cuts(frames) == []


def test_black_between_two_shots_makes_one_cut():
    black = [np.zeros_like(backdrop())] * 3
    assert cuts(talk(4) + black + talk(4, "hopper", seed=5)) == [7]


def test_black_within_a_shot_makes_none():
    frames = talk(9)
    frames[3:6] = [np.zeros_like(backdrop())] * 3
    assert cuts(frames) == []


def test_a_slow_fade_in_is_no_cut():
    frames = talk(20)
    assert cuts([(f * (i / 20)).astype(np.uint8) for i, f in enumerate(frames)]) == []


def test_the_verdict_leaves_the_frame_unchanged_and_does_not_depend_on_its_size():
    frames = [cv2.resize(f, (200, 112)) for f in talk(4) + talk(4, "hopper", seed=5)]
    kept = [f.copy() for f in frames]
    assert cuts(frames) == [4]
    np.testing.assert_array_equal(frames, kept)
