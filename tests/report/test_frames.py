"""Frames paired by time, and the moments kept of a clip that goes by."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from vidswap.report.faces import MeasuredFrame, PairedFace
from vidswap.report.frames import _ShiftFinder, paired_by_time
from vidswap.report.moments import APART, MomentKeeper, badness

Stream = list[tuple[float, np.ndarray]]


def stream(times: list[float]) -> Stream:
    return [(t, np.full((2, 2, 3), i, np.uint8)) for i, t in enumerate(times)]


def pairs(targets: list[float], swaps: list[float], tolerance: float = 0.01) -> list[int | None]:
    """Number of the swap's frame for every target's frame that is given."""
    found = paired_by_time(stream(targets), stream(swaps), tolerance)
    return [None if swap is None else int(swap[0, 0, 0]) for _, _, _, swap in found]


def times(n: int, rate: float = 25.0, start: float = 0.0) -> list[float]:
    return [start + i / rate for i in range(n)]


def test_frames_of_equal_times_are_pairs() -> None:
    assert pairs(times(5), times(5)) == [0, 1, 2, 3, 4]


def test_times_rounded_by_a_container_still_fit() -> None:
    assert pairs(times(6, 29.97), [round(t, 3) for t in times(6, 29.97)]) == [0, 1, 2, 3, 4, 5]


def test_a_frame_without_a_partner_is_missing_until_one_of_the_clips_ends() -> None:
    without = [t for i, t in enumerate(times(6)) if i not in (2, 3)]
    assert pairs(times(6), without) == [0, 1, None, None, 2, 3]
    assert pairs(times(6), times(3)) == [0, 1, 2]
    assert pairs(times(3), times(6)) == [0, 1, 2]


def test_of_a_faster_swap_the_frame_of_the_same_time_is_taken() -> None:
    assert pairs(times(4, 25), times(8, 50), 0.005) == [0, 2, 4, 6]
    assert pairs(times(7, 50), times(4, 25), 0.005) == [0, None, 1, None, 2, None, 3]


def test_rates_that_do_not_divide_meet_where_they_meet() -> None:
    found = pairs(times(26, 25), times(31, 30), 0.25 / 30)
    met = {i: j for i, j in enumerate(found) if j is not None}
    assert all(abs(i / 25 - j / 30) <= 0.25 / 30 for i, j in met.items())
    assert {0: 0, 5: 6, 10: 12}.items() <= met.items() and 8 < len(met) < 20


def test_no_frame_is_given_twice_and_an_empty_swap_gives_nothing() -> None:
    assert pairs([0.0, 0.001, 0.04], [0.0, 0.04]) == [0, None, 1]
    assert pairs(times(3), []) == []


@pytest.mark.parametrize("late", [-2, 0, 1, 3])
def test_a_shift_of_whole_frames_is_found(late: int) -> None:
    random = np.random.default_rng(0)
    frames = [random.integers(0, 255, (54, 96, 3), np.uint8) for _ in range(24)]
    finder = _ShiftFinder()
    for index in range(4, 20):
        finder.add(frames[index], frames[index - late])
    assert finder.shift == late


def test_a_still_clip_tells_no_shift() -> None:
    finder = _ShiftFinder()
    for _ in range(12):
        finder.add(np.full((54, 96, 3), 90, np.uint8), np.full((54, 96, 3), 90, np.uint8))
    assert finder.shift == 0


def frame(index: int, rate: float = 25.0) -> MeasuredFrame:
    crop = np.full((8, 8, 3), index % 256, np.uint8)
    face = PairedFace(0, None, None, (crop, crop), np.zeros((4, 2)))
    return MeasuredFrame(index, index / rate, face, None)


def test_the_worst_and_best_frames_are_kept_and_lie_apart() -> None:
    keeper = MomentKeeper(3)
    seams = np.random.default_rng(1).uniform(1, 5, 500)
    seams[[100, 101, 250, 400]] = [30, 31, 28, 29]
    seams[[50, 300]] = [0.1, 0.0]
    for index, seam in enumerate(seams):
        keeper.add(frame(index), {"seam": float(seam)}, None)
    moments = keeper.moments()
    worst = [m.frame for m in moments if m.kind == "worst"]
    best = [m.frame for m in moments if m.kind == "best"]
    assert worst == [101, 400, 250] and best[:2] == [300, 50] and len(best) == 3
    assert "Edge of the pasted face: 31 grey levels" in moments[0].because


def test_no_more_pictures_are_held_the_longer_a_clip_is() -> None:
    keeper = MomentKeeper(2)
    crops: list[weakref.ref[np.ndarray]] = []
    most: dict[int, int] = {}
    for index in range(1, 1001):
        item = frame(index)
        assert item.face is not None
        crops.append(weakref.ref(item.face.crops[0]))
        keeper.add(item, {"seam": float(index % 97)}, None)
        del item
        if index % 500 == 0:
            most[index] = sum(crop() is not None for crop in crops)
    assert 0 < most[500] <= 2 * 2 + 2
    assert most[1000] == most[500]


def test_two_moments_never_lie_closer_than_they_should() -> None:
    keeper = MomentKeeper(6)
    for index in range(300):
        keeper.add(frame(index), {"seam": float(index % 97)}, None)
    for kind in ("worst", "best"):
        seconds = sorted(m.seconds for m in keeper.moments() if m.kind == kind)
        assert len(seconds) > 3 and np.diff(seconds).min() >= APART


def test_a_frame_is_the_worse_the_further_its_curves_are_from_perfect() -> None:
    good = {"seam": 0.5, "sharpness_ratio": 0.95, "pose_distance": 1.0}
    bad = good | {"sharpness_ratio": 0.4}
    assert badness(good) is not None and badness({"psnr": 3.0}) is None
    found = badness(bad)
    assert found is not None and found.score > badness(good).score  # type: ignore[union-attr]
    assert found.curve == "sharpness_ratio" and found.value == 0.4
    # Sharper than the target is no fault.
    assert badness({"sharpness_ratio": 1.5}).score == 0  # type: ignore[union-attr]
