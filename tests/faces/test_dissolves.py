"""Dissolves are found from where to where; motion, light and cuts are none."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import pytest

from tests.faces.scenes import noisy
from tests.faces.test_cuts import talk, texture
from vidswap.faces.dissolves import DissolveFinder

FPS, FIRST = 25, 20


def small(rgb: np.ndarray) -> np.ndarray:
    thumbnail = cv2.resize(rgb, (64, 48), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY).astype(np.float32)


def dissolves(frames: Iterable[np.ndarray], finder: DissolveFinder | None = None) -> list:
    finder = finder or DissolveFinder()
    for index, frame in enumerate(frames):
        finder.add(small(np.ascontiguousarray(frame)), index / FPS)
    return finder.found


def mixed(length: int) -> list[np.ndarray]:
    """Two talking people, one shot mixed into the other over `length` frames from `FIRST` on."""
    shares = np.clip((np.arange(60) - FIRST) / length, 0, 1)
    shots = zip(talk(60), talk(60, "hopper", seed=5, x=300), shares, strict=True)
    return [cv2.addWeighted(one, 1 - share, other, share, 0) for one, other, share in shots]


@pytest.mark.parametrize("length", [8, 15, 25])
def test_a_dissolve_is_found_from_where_to_where(length: int) -> None:
    ((begin, end),) = dissolves(mixed(length))
    middle = (begin + end) / 2
    assert middle == pytest.approx((FIRST + length / 2) / FPS, abs=0.15)
    assert end - begin == pytest.approx(length / FPS, abs=0.3)


def test_talking_cuts_and_changes_of_light_are_no_dissolve() -> None:
    shot = talk(50)
    assert dissolves(shot) == []
    assert dissolves(talk(25) + talk(25, "hopper", seed=5, x=300)) == []
    assert dissolves(np.uint8(f * min(1.0, 0.3 + i / 30)) for i, f in enumerate(shot)) == []


@pytest.mark.parametrize("pixels", [2, 5, 20, 50])
def test_a_camera_that_pans_is_no_dissolve(pixels: int) -> None:
    scene = texture()
    assert (
        dissolves(noisy(scene[200:740, pixels * i : pixels * i + 960], i) for i in range(40)) == []
    )


def test_it_goes_on_from_its_state_to_the_same() -> None:
    frames = mixed(15)
    whole, first, second = dissolves(frames), DissolveFinder(), DissolveFinder()
    dissolves(frames[:28], first)
    second.restore(first.state())
    for index, frame in enumerate(frames[28:], 28):
        second.add(small(frame), index / FPS)
    assert second.found == whole


def test_nothing_is_mixed_over_a_cut_or_a_black_frame() -> None:
    for grey, is_cut in ((None, False), (small(talk(1)[0]), True)):
        finder = DissolveFinder()
        for index, frame in enumerate(mixed(15)):
            if index == FIRST + 7:
                finder.add(grey, index / FPS, is_cut)
            finder.add(small(frame), (index + 0.5) / FPS)
        assert all(end - begin < 0.5 for begin, end in finder.found)
