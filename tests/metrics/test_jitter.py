from __future__ import annotations

import math

import numpy as np
import pytest

from vidswap.faces import mesh
from vidswap.faces.pose import canonical_mesh
from vidswap.metrics.jitter import JitterMeter, landmark_jitter

EYES = 100.0  # pixels between the outer eye corners


def face(shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    return canonical_mesh()[:, :2].astype(np.float64) * EYES + 200 + shift


def jitter_of(targets: list[np.ndarray], swaps: list[np.ndarray]) -> list[float]:
    meter = JitterMeter()
    return [meter.add(a, b) for a, b in zip(targets, swaps, strict=True)]


def test_noise_of_a_pixel_is_a_percent_of_the_eyes_distance() -> None:
    random = np.random.default_rng(0)
    targets = [face((3.0 * t, t**2)) for t in range(60)]
    for deviation in (0.5, 1.0, 3.0):
        swaps = [t + random.normal(0, deviation, t.shape) for t in targets]
        values = jitter_of(targets, swaps)[2:]
        found = math.sqrt(np.mean(np.square(values)))
        assert found == pytest.approx(100 * deviation / EYES, rel=0.03)


def test_a_swap_that_moves_as_its_target_does_not_shake() -> None:
    random = np.random.default_rng(1)
    targets = [face(tuple(random.normal(0, 20, 2))) for _ in range(6)]
    assert jitter_of(targets, targets)[2:] == [0.0] * 4
    elsewhere = [t + np.array([7, -4]) for t in targets]
    assert jitter_of(targets, elsewhere)[2:] == pytest.approx([0.0] * 4, abs=1e-9)


def test_a_steady_drift_does_not_shake_and_a_jump_does() -> None:
    targets = [face()] * 6
    drifting = [face((2.0 * t, 0.0)) for t in range(6)]
    assert jitter_of(targets, drifting)[2:] == pytest.approx([0.0] * 4, abs=1e-9)
    jumped = [face((6.0 * (t == 3), 0.0)) for t in range(6)]
    # The jump's own second difference is 12 pixels, those beside it 6; over sqrt(2 * 6).
    expected = [0.0, *(100 / EYES * d / math.sqrt(12) for d in (6, 12, 6))]
    assert jitter_of(targets, jumped)[2:] == pytest.approx(expected, abs=1e-9)


def test_the_jitter_of_a_frame_needs_both_its_neighbours() -> None:
    meter = JitterMeter()
    given = [face(), face(), face(), None, face(), face(), face()]
    values = [meter.add(f, f) for f in given]
    assert [math.isnan(v) for v in values] == [True, True, False, True, True, True, False]


def test_it_does_not_depend_on_the_size_of_the_picture() -> None:
    offsets = [np.random.default_rng(s).normal(size=(mesh.N_LANDMARKS, 2)) for s in range(3)]
    small = landmark_jitter(*offsets, EYES)
    assert landmark_jitter(*(4 * o for o in offsets), 4 * EYES) == pytest.approx(small)
