"""The eight orientations: arrays, boxes and display matrices agree."""

import itertools

import numpy as np
import pytest

from vidswap.media.orientation import Orientation

EIGHT = [Orientation(*flags) for flags in itertools.product((False, True), repeat=3)]


def by_display_matrix(coded: np.ndarray, matrix: tuple[int, ...]) -> np.ndarray:
    """Upright picture pixel by pixel from the matrix's definition (ISO/IEC 14496-12, 6.2.2)."""
    a, b, _, c, d = (value / 65536 for value in matrix[:5])
    places = {}
    for y, x in np.ndindex(coded.shape):
        places[(round(a * x + c * y), round(b * x + d * y))] = coded[y, x]
    left, top = min(x for x, _ in places), min(y for _, y in places)
    width = max(x for x, _ in places) - left + 1
    height = max(y for _, y in places) - top + 1
    upright = np.empty((height, width), coded.dtype)
    for (x, y), value in places.items():
        upright[y - top, x - left] = value
    return upright


@pytest.mark.parametrize("orientation", EIGHT)
def test_upright_follows_the_display_matrix(orientation: Orientation) -> None:
    coded = np.arange(12, dtype=np.uint8).reshape(3, 4)
    expected = by_display_matrix(coded, orientation.display_matrix())
    assert np.array_equal(orientation.upright(coded), expected)


@pytest.mark.parametrize("orientation", EIGHT)
def test_coded_undoes_upright(orientation: Orientation) -> None:
    coded = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(orientation.coded(orientation.upright(coded)), coded)


@pytest.mark.parametrize("orientation", EIGHT)
def test_display_matrix_round_trip(orientation: Orientation) -> None:
    assert Orientation.from_display_matrix(orientation.display_matrix()) == orientation


@pytest.mark.parametrize("orientation", EIGHT)
def test_boxes_turn_with_the_picture(orientation: Orientation) -> None:
    coded = np.zeros((7, 9), np.uint8)
    upright = orientation.upright(coded)
    left, top, right, bottom = 1, 2, 4, 6
    upright[top:bottom, left:right] = 1
    size = (upright.shape[1], upright.shape[0])
    box = orientation.coded_box((left, top, right, bottom), size)
    assert coded[box[1] : box[3], box[0] : box[2]].all()
    assert coded.sum() == (box[3] - box[1]) * (box[2] - box[0])


def test_a_slightly_tilted_matrix_goes_to_the_nearest_quarter() -> None:
    tilted = (3000, 65400, 0, -65400, 3000, 0, 0, 0, 1 << 30)
    assert Orientation.from_display_matrix(tilted).degrees == 90
