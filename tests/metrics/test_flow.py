import math

import cv2
import numpy as np
import pytest

from vidswap.faces.align import warp_points
from vidswap.metrics.flow import (
    FlowArea,
    FlowMeter,
    dense_flow,
    endpoint_error,
    fixed_square,
    flow_quality,
    square_affine,
    visible,
    warp,
    warp_error,
)

SIZE = 96
ALL = np.ones((SIZE, SIZE), bool)


def texture(side: int = 160, seed: int = 0) -> np.ndarray:
    """Smooth random blobs with detail enough to follow, (side, side, 3) uint8."""
    noise = np.random.default_rng(seed).normal(size=(side, side, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def window(dx: int = 0, dy: int = 0, seed: int = 0) -> np.ndarray:
    """A part of the texture, its content moved right by `dx` and down by `dy`."""
    return texture(seed=seed)[32 - dy : 32 - dy + SIZE, 32 - dx : 32 - dx + SIZE].copy()


def constant_flow(dx: float, dy: float) -> np.ndarray:
    return np.broadcast_to(np.float32([dx, dy]), (SIZE, SIZE, 2)).copy()


def brighter(frame: np.ndarray, by: int) -> np.ndarray:
    return np.clip(frame.astype(int) + by, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, -2), (-4, 5)])
def test_flow_finds_a_known_shift(dx: int, dy: int) -> None:
    inner = dense_flow(window(), window(dx, dy))[16:-16, 16:-16]
    assert np.median(inner[..., 0]) == pytest.approx(dx, abs=0.2)
    assert np.median(inner[..., 1]) == pytest.approx(dy, abs=0.2)


def test_warping_by_a_shift_brings_the_picture_back() -> None:
    back = warp(window(3, -2), constant_flow(3, -2))
    np.testing.assert_allclose(back[8:-8, 8:-8], window()[8:-8, 8:-8])


def test_the_warp_error_of_a_known_shift_is_zero_along_it_and_large_against_it() -> None:
    inner = np.zeros((SIZE, SIZE), bool)
    inner[8:-8, 8:-8] = True
    assert warp_error(window(), window(4, 1), constant_flow(4, 1), inner) == 0
    assert warp_error(window(), window(4, 1), constant_flow(0, 0), inner) > 0.05
    assert warp_error(window(), window(4, 1), constant_flow(-4, -1), inner) > 0.1


def test_the_warp_error_is_a_share_of_the_pixel_range_over_visible_pixels() -> None:
    dark, light = np.full((SIZE, SIZE, 3), 50, np.uint8), np.full((SIZE, SIZE, 3), 101, np.uint8)
    assert warp_error(dark, light, constant_flow(0, 0), ALL) == pytest.approx(51 / 255)
    light[:, :48] = 50
    left = ALL.copy()
    left[:, 48:] = False
    assert warp_error(dark, light, constant_flow(0, 0), left) == 0
    assert warp_error(dark, light, constant_flow(0, 0), ALL) == pytest.approx(51 / 255 / 2)
    assert math.isnan(warp_error(dark, light, constant_flow(0, 0), ~ALL))


def test_flows_that_lead_back_are_visible_and_those_out_of_the_frame_are_not() -> None:
    seen = visible(constant_flow(10, 0), constant_flow(-10, 0))
    assert seen[:, :-10].all() and not seen[:, -10:].any()


def test_flows_that_do_not_lead_back_are_occluded() -> None:
    assert not visible(constant_flow(5, 0), constant_flow(5, 0)).any()
    # Ruder's bound for small flows is half a square pixel.
    assert visible(constant_flow(0.2, 0), constant_flow(0.4, 0)).any()
    assert not visible(constant_flow(0.4, 0), constant_flow(0.4, 0)).any()


def test_what_a_moving_square_uncovers_is_occluded() -> None:
    frames = []
    for left in (20, 27):
        frame = window(seed=1)
        frame[20:76, left : left + 56] = texture(seed=2)[:56, :56]
        frames.append(frame)
    # What the square leaves behind, columns 20 to 27, is in the second frame, not in the first.
    seen = visible(dense_flow(frames[1], frames[0]), dense_flow(frames[0], frames[1]))
    assert seen[24:72, 21:26].mean() < 0.5
    assert seen[24:72, 36:74].mean() > 0.9


def test_the_endpoint_error_is_the_length_of_the_difference() -> None:
    assert endpoint_error(constant_flow(1, 1), constant_flow(4, 5)) == pytest.approx(5.0)
    assert endpoint_error(constant_flow(1, 1), constant_flow(1, 1)) == 0


def moving_clip(frames: int = 6) -> list[np.ndarray]:
    return [window(t, -t) for t in range(frames)]


def test_a_clip_against_itself_has_ratio_one_and_no_endpoint_error() -> None:
    quality = flow_quality(moving_clip(), moving_clip())
    assert quality.warp_ratio == 1.0 and quality.endpoint_error == 0.0
    assert 0 < quality.warp_target < 0.02


def test_flicker_adds_its_height_to_the_warp_error() -> None:
    # Every other frame is 20 brighter: all short steps see it, every other long one.
    target = [brighter(cv2.convertScaleAbs(f, alpha=0.6), 20) for f in moving_clip(7)]
    swap = [brighter(f, 20 * (t % 2)) for t, f in enumerate(target)]
    quality = flow_quality(target, swap)
    assert quality.warp_short_swap == pytest.approx(20 / 255, rel=0.1)
    assert quality.warp_long_swap == pytest.approx(20 / 255 / 2, rel=0.2)
    assert quality.warp_swap == quality.warp_short_swap + quality.warp_long_swap
    assert quality.warp_ratio > 5


def test_a_slow_drift_shows_in_the_long_term_more_than_in_the_short() -> None:
    target = [cv2.convertScaleAbs(f, alpha=0.6) for f in moving_clip(7)]
    drift = flow_quality(target, [brighter(f, 6 * t) for t, f in enumerate(target)])
    # Steps of 6; against the first frame 6, 12, ... 36, on average 21.
    assert drift.warp_short_swap == pytest.approx(6 / 255, rel=0.3)
    assert drift.warp_long_swap == pytest.approx(21 / 255, rel=0.15)


def test_a_face_that_stands_still_on_a_moving_target_is_unsteady() -> None:
    still = flow_quality(moving_clip(), [window()] * 6)
    assert still.warp_ratio > 2
    assert still.endpoint_error == pytest.approx(math.sqrt(2), abs=0.25)


def test_one_frame_has_no_flow() -> None:
    assert math.isnan(flow_quality(moving_clip(1), moving_clip(1)).warp_ratio)


def test_clips_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="6 target frames for 5"):
        flow_quality(moving_clip(6), moving_clip(5))


def test_the_area_is_the_faces_box_enlarged_by_a_fifth_and_square() -> None:
    square = fixed_square(np.array([100.0, 50.0, 180.0, 150.0]))
    assert square == pytest.approx([80, 40, 200, 160])
    corners = warp_points(square_affine(square, 256), np.array([[80.0, 40.0], [200.0, 160.0]]))
    # Pixel edges correspond: the square's corners are half a pixel's width inside the scale.
    expected = (256 / 120 - 1) / 2
    assert corners == pytest.approx(np.array([[expected] * 2, [256 + expected] * 2]))


def test_frames_given_one_by_one_measure_what_the_whole_clip_does() -> None:
    targets, swaps = (
        moving_clip(5),
        [brighter(f, 4 * (t % 2)) for t, f in enumerate(moving_clip(5))],
    )
    meter = FlowMeter()
    steps = [meter.add(a, b) for a, b in zip(targets, swaps, strict=True)]
    assert steps[0] is None
    whole = flow_quality(targets, swaps)
    long = np.mean([step.warp_long_swap for step in steps[1:]])
    assert long == pytest.approx(whole.warp_long_swap)
    assert np.mean([step.endpoint_error for step in steps[1:]]) == pytest.approx(
        whole.endpoint_error
    )


def test_each_term_is_the_error_along_the_flow_from_the_frame_to_the_earlier_one() -> None:
    targets, swaps = moving_clip(4), [brighter(f, 5 * t) for t, f in enumerate(moving_clip(4))]
    meter = FlowMeter()
    step = [meter.add(a, b) for a, b in zip(targets, swaps, strict=True)][3]
    for earlier, found in ((2, step.warp_short_swap), (0, step.warp_long_swap)):
        forward = dense_flow(targets[3], targets[earlier])
        seen = visible(forward, dense_flow(targets[earlier], targets[3]))
        expected = warp_error(swaps[3], swaps[earlier], forward, seen)
        assert found == pytest.approx(expected, rel=1e-6)


def test_the_error_map_shows_where_the_swap_changed() -> None:
    target, swap = [window()] * 2, [window(), window()]
    swap[1][40:60, 30:50] = np.clip(swap[1][40:60, 30:50].astype(int) - 30, 0, 255)
    meter = FlowMeter()
    meter.add(target[0], swap[0])
    error = meter.add(target[1], swap[1]).error_map
    expected = np.abs(swap[1].astype(int) - swap[0]).mean(axis=2)
    np.testing.assert_allclose(error, expected, atol=0.01)
    assert error.shape == (SIZE, SIZE) and error[45:55, 35:45].min() > 5 and error[:30].max() == 0


def test_the_area_is_fixed_by_the_first_face_and_ends_when_it_has_left_or_is_lost() -> None:
    first = np.array([100.0, 100.0, 180.0, 200.0])
    near, far = first + 10.0, first + 200.0
    for end in (far, None):
        area = FlowArea()
        area.look(None)
        assert area.affine is None and not area.left
        area.look(first)
        fixed = area.affine
        np.testing.assert_array_equal(fixed, square_affine(fixed_square(first)))
        area.look(near)
        np.testing.assert_array_equal(area.affine, fixed)
        area.look(end)
        assert area.left and area.affine is None
        area.look(first)
        assert area.affine is None  # a face that comes back is not measured again
