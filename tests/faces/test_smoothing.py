from __future__ import annotations

import numpy as np
import pytest

from vidswap.faces import mesh
from vidswap.faces.pose import canonical_mesh, eye_opening, mouth_opening
from vidswap.faces.smoothing import Smoothing, mesh_diagonal, smooth_landmarks

FPS = 30.0
NOISE = 0.0008  # face sizes, a coordinate; what the landmark net shows on a still portrait


def still(n_frames=40, scale=150.0) -> np.ndarray:
    """The canonical mesh (T, 478, 2), unmoving, in pixels."""
    points = canonical_mesh()[:, :2].astype(np.float64) * scale + 300
    return np.repeat(points[None], n_frames, axis=0)


def with_noise(landmarks, seed=0, amount=NOISE):
    size = mesh_diagonal(landmarks[0])
    return landmarks + np.random.default_rng(seed).normal(0, amount * size, landmarks.shape)


def smooth_all(landmarks, seconds=None, smoothing=None, lookahead=9):
    """Every frame smoothed as the tracker does it: all the past, a few frames of the future."""
    seconds = np.arange(len(landmarks)) / FPS if seconds is None else seconds
    smoothing = smoothing or Smoothing()
    rows = []
    for i in range(len(landmarks)):
        end = i + lookahead + 1
        rows.append(smooth_landmarks(landmarks[:end], seconds[:end], i, smoothing))
    return np.stack(rows)


def rms(difference) -> float:
    return float(np.sqrt((difference**2).sum(axis=2).mean()))


def test_a_still_face_shimmers_less_than_half_as_much():
    truth = still()
    raw = with_noise(truth)
    assert rms(smooth_all(raw) - truth) < 0.45 * rms(raw - truth)


def test_a_face_without_noise_is_left_where_it_is():
    truth = still(20)
    np.testing.assert_allclose(smooth_all(truth), truth, atol=1e-3)


@pytest.mark.parametrize("pixels_per_frame", [0.2, 1.0, 5.0, 30.0])
def test_a_moving_face_is_not_late(pixels_per_frame):
    truth = still()
    truth[:, :, 0] += pixels_per_frame * np.arange(len(truth))[:, None]
    smoothed = smooth_all(truth)
    lag = (truth - smoothed)[10:-10, :, 0].mean()
    assert abs(lag) < 0.02
    assert np.abs(smoothed - truth)[10:-10].max() < 0.1


def test_a_fast_turn_and_sway_stay_within_the_nets_noise():
    truth = still()
    time = np.arange(len(truth)) / FPS
    angle = 0.25 * np.sin(2 * np.pi * time)
    rotation = np.stack(
        [np.stack([np.cos(angle), -np.sin(angle)], 1), np.stack([np.sin(angle), np.cos(angle)], 1)],
        axis=1,
    )
    centre = truth.mean(axis=(0, 1))
    truth = np.einsum("tij,tnj->tni", rotation, truth - centre) + centre
    truth[:, :, 0] += 60 * np.sin(2 * np.pi * 1.5 * time)[:, None]
    raw = with_noise(truth)
    assert rms(smooth_all(raw) - truth) < 1.02 * rms(raw - truth)


def test_a_jump_is_kept_sharp():
    truth = still(20)
    truth[10:] += 40
    smoothed = smooth_all(truth)
    assert np.abs(smoothed - truth).max() < 0.01


@pytest.mark.parametrize("pixels_per_frame", [0.0, 6.0])
def test_a_blink_is_not_damped(pixels_per_frame):
    truth = still(60)
    truth[:, :, 0] += pixels_per_frame * np.arange(60)[:, None]
    closed = np.interp(np.arange(60), [28, 30, 31, 35], [0, 1, 1, 0])[:, None, None]
    for eye in (mesh.RIGHT_EYE, mesh.LEFT_EYE):
        upper, lower = list(eye[1:8]), list(eye[9:][::-1])
        truth[:, upper] += 0.9 * closed * (truth[:, lower] - truth[:, upper])
    smoothed = smooth_all(with_noise(truth))
    wanted, got = [[eye_opening(x) for x in clip] for clip in (truth, smoothed)]
    assert np.ptp(got) > 0.93 * np.ptp(wanted)
    assert np.corrcoef(wanted, got)[0, 1] > 0.99
    assert np.argmin(got) in (30, 31)


def test_speech_is_not_damped():
    truth = still(60)
    opening = 8 * (1 - np.cos(2 * np.pi * 4 * np.arange(60) / FPS))
    truth[:, list(mesh.INNER_LIPS[1:10] + mesh.OUTER_LIPS[1:10]), 1] += opening[:, None]
    smoothed = smooth_all(with_noise(truth))
    wanted, got = [[mouth_opening(x) for x in clip] for clip in (truth, smoothed)]
    assert np.ptp(got) > 0.95 * np.ptp(wanted)
    assert np.corrcoef(wanted, got)[0, 1] > 0.99


def test_a_blink_does_not_shake_the_mouth():
    truth = still(40)
    truth[20:23, list(mesh.RIGHT_EYE[1:8]), 1] += 8
    mouth = list(mesh.OUTER_LIPS)
    with_blink = smooth_all(with_noise(truth))[:, mouth]
    without = smooth_all(with_noise(still(40)))[:, mouth]
    np.testing.assert_allclose(with_blink, without, atol=0.02)


def test_smoothing_does_not_depend_on_resolution():
    small, large = with_noise(still(scale=40.0)), with_noise(still(scale=400.0))
    quotient = rms(smooth_all(large) - still(scale=400.0)) / rms(
        smooth_all(small) - still(scale=40.0)
    )
    assert quotient == pytest.approx(10.0, rel=0.01)


def test_time_counts_in_seconds_not_frames():
    truth = still(40)
    raw = with_noise(truth)
    far_apart = np.arange(40) * 10.0
    np.testing.assert_allclose(smooth_all(raw, far_apart), raw, atol=1e-3)
    uneven = np.cumsum(np.random.default_rng(0).uniform(0.005, 0.06, 40))
    assert rms(smooth_all(raw, uneven) - truth) < 0.5 * rms(raw - truth)


def test_a_single_frame_is_returned_as_it_is():
    raw = with_noise(still(1))
    smoothed = smooth_landmarks(raw, np.zeros(1), 0, Smoothing())
    np.testing.assert_allclose(smoothed, raw[0], atol=1e-3)
    assert smoothed.dtype == np.float32
