"""Replacing a box: its pixels arrive, and nothing outside it changes by a bit."""

from fractions import Fraction

import av
import numpy as np
import pytest

from vidswap.media.frame import Frame
from vidswap.media.orientation import Orientation

from .clips import moving_picture, planes_of

FORMATS = {
    # name: pixels a chroma sample covers, largest error of a flat patch in 8-bit codes
    "yuv420p": (2, 2),
    "yuvj420p": (2, 2),
    "yuv422p": (2, 1),
    "yuv444p": (1, 1),
    "nv12": (2, 2),
    "yuv420p10le": (2, 2),
    "yuv422p10le": (2, 1),
    "yuv444p10le": (1, 1),
    "rgb24": (1, 1),
    "bgr24": (1, 1),
    "rgba": (1, 1),
    "bgr0": (1, 1),
}


def decoded(
    pixel_format: str, size: tuple[int, int] = (96, 64), matrix: int = 5, colour_range: int = 0
) -> av.VideoFrame:
    picture = av.VideoFrame.from_ndarray(moving_picture(3, *size), format="rgb24")
    full = colour_range == 2 or pixel_format.startswith("yuvj")
    coded = picture.reformat(
        format=pixel_format,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=2 if full else 1,
    )
    coded.colorspace = matrix
    coded.color_range = colour_range
    return coded


def as_frame(coded: av.VideoFrame) -> Frame:
    return Frame.from_decoded(coded, pts=0, time_base=Fraction(1, 25), orientation=Orientation())


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize(
    "box", [(20, 12, 60, 44), (21, 13, 58, 41), (0, 0, 96, 64), (95, 63, 96, 64)]
)
def test_samples_outside_the_box_stay_bit_for_bit(
    pixel_format: str, box: tuple[int, int, int, int]
) -> None:
    coded = decoded(pixel_format)
    frame = as_frame(coded)
    before = planes_of(coded)
    left, top, right, bottom = box
    noise = np.random.default_rng(1).integers(0, 256, (bottom - top, right - left, 3), np.uint8)
    after = planes_of(frame.with_pixels(box, noise).coded())
    across, down = FORMATS[pixel_format]
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        changed = np.argwhere((old != new).reshape(old.shape[0], -1))
        assert len(changed) > 0
        step_x, step_y = (across, down) if index else (1, 1)
        line_bytes = old.shape[1] / -(-96 // step_x)  # of one sample, or of one packed pixel
        rows, columns = changed[:, 0], changed[:, 1] // line_bytes
        assert rows.min() >= top // step_y
        assert rows.max() <= (bottom - 1) // step_y
        assert columns.min() >= left // step_x
        assert columns.max() <= (right - 1) // step_x


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_original_frame_is_not_written_to(pixel_format: str) -> None:
    coded = decoded(pixel_format)
    frame = as_frame(coded)
    before, pixels = planes_of(coded), frame.rgb.copy()
    frame.with_pixels((10, 10, 50, 50), np.zeros((40, 40, 3), np.uint8))
    assert all(np.array_equal(a, b) for a, b in zip(before, planes_of(coded), strict=True))
    assert np.array_equal(pixels, frame.rgb)


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("colour_range", [1, 2])
def test_smooth_pixels_come_back_as_they_were_put(
    pixel_format: str, matrix: int, colour_range: int
) -> None:
    frame = as_frame(decoded(pixel_format, matrix=matrix, colour_range=colour_range))
    ramp = np.empty((32, 40, 3), np.uint8)
    ramp[..., 0] = 90 + np.arange(40) // 4 * 2
    ramp[..., 1] = (60 + np.arange(32) // 4 * 3)[:, None]
    ramp[..., 2] = 128
    replaced = frame.with_pixels((20, 12, 60, 44), ramp)
    assert np.array_equal(replaced.rgb[12:44, 20:60], ramp)
    again = as_frame(replaced.coded())
    assert np.abs(again.rgb[12:44, 20:60].astype(int) - ramp).max() <= 2
    untouched = np.ones((64, 96), bool)
    untouched[12:44, 20:60] = False
    assert np.array_equal(again.rgb[untouched], frame.rgb[untouched])


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_putting_back_the_same_pixels_changes_nothing(pixel_format: str) -> None:
    coded = decoded(pixel_format)
    frame = as_frame(coded)
    same = frame.with_pixels((11, 9, 70, 51), frame.rgb[9:51, 11:70].copy())
    pairs = zip(planes_of(coded), planes_of(same.coded()), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("size", "box"), [((97, 65), (80, 50, 97, 65)), ((33, 21), (0, 0, 33, 21))]
)
def test_odd_sizes_are_written_to_the_last_pixel(
    size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    frame = as_frame(decoded("yuv420p", size))
    patch = np.full((box[3] - box[1], box[2] - box[0], 3), (180, 90, 60), np.uint8)
    again = as_frame(frame.with_pixels(box, patch).coded())
    inner = again.rgb[box[1] + 1 : box[3], box[0] + 1 : box[2]]
    assert np.abs(inner.astype(int) - (180, 90, 60)).max() <= 2


def test_grey_takes_the_luma_of_the_new_pixels() -> None:
    frame = as_frame(decoded("gray"))
    patch = np.full((10, 10, 3), (200, 100, 50), np.uint8)
    planes = planes_of(frame.with_pixels((5, 5, 15, 15), patch).coded())
    luma = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)  # BT.601, full range
    assert np.all(planes[0][5:15, 5:15] == luma)


@pytest.mark.parametrize("pixel_format", ["yuyv422", "gbrp", "p010le", "rgb565le", "pal8"])
def test_other_formats_are_converted_as_a_whole(pixel_format: str) -> None:
    if pixel_format == "pal8":
        coded = av.VideoFrame.from_ndarray(moving_picture(3, 96, 64), format="rgb24")
        coded = coded.reformat(format="rgb8")
    else:
        coded = decoded(pixel_format)
    frame = as_frame(coded)
    patch = np.full((20, 20, 3), (30, 160, 90), np.uint8)
    again = as_frame(frame.with_pixels((10, 10, 30, 30), patch).coded())
    assert np.abs(again.rgb[10:30, 10:30].astype(int) - patch[0, 0]).max() <= 2
    difference = np.abs(again.rgb.astype(int) - frame.rgb)
    difference[8:32, 8:32] = 0
    assert difference.max() <= 4


def test_box_values_by_the_equations_of_bt709() -> None:
    """BT.709: Y' = 0.2126 R + 0.7152 G + 0.0722 B, limited to 16 + 219 Y', 128 + 224 C."""
    red, green, blue = 200, 40, 90
    frame = as_frame(decoded("yuv444p", matrix=1, colour_range=1))
    patch = np.full((8, 8, 3), (red, green, blue), np.uint8)
    planes = planes_of(frame.with_pixels((0, 0, 8, 8), patch).coded())
    luma = (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255
    expected = (
        16 + 219 * luma,
        128 + 224 * (blue / 255 - luma) / 1.8556,
        128 + 224 * (red / 255 - luma) / 1.5748,
    )
    for plane, value in zip(planes, expected, strict=True):
        assert np.all(plane[:8, :8] == round(value))


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((0, 0, 97, 10), (10, 97, 3)),
        ((-1, 0, 9, 10), (10, 10, 3)),
        ((5, 5, 5, 9), (4, 0, 3)),
        ((0, 0, 10, 10), (10, 9, 3)),
    ],
)
def test_boxes_that_do_not_fit_are_refused(
    box: tuple[int, int, int, int], shape: tuple[int, int, int]
) -> None:
    with pytest.raises(ValueError, match="box"):
        as_frame(decoded("yuv420p")).with_pixels(box, np.zeros(shape, np.uint8))
