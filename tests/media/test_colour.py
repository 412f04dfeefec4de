"""Colour: the right matrix and range on the way in, the tags on the way out."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidswap.media import ColourTags, Frame, VideoReader
from vidswap.media.orientation import Orientation
from vidswap.media.probing import probe

from .clips import make_clip, moving_picture

Copy = Callable[..., Path]
BT709, BT601, BT2020 = (0.2126, 0.0722), (0.299, 0.114), (0.2627, 0.0593)


def flat_frame(
    pixel_format: str, codes: tuple[int, int, int], size: tuple[int, int] = (32, 16)
) -> av.VideoFrame:
    frame = av.VideoFrame(*size, pixel_format)
    dtype = np.uint16 if "10le" in pixel_format else np.uint8
    for plane, code in zip(frame.planes, codes, strict=True):
        np.frombuffer(plane, dtype)[:] = code
    return frame


def rgb_of(coded: av.VideoFrame) -> np.ndarray:
    frame = Frame.from_decoded(coded, pts=0, time_base=Fraction(1, 25), orientation=Orientation())
    assert (frame.rgb == frame.rgb[0, 0]).all()
    return frame.rgb[0, 0].astype(float)


def by_equations(
    codes: tuple[int, int, int], weights: tuple[float, float], full: bool, bits: int = 8
) -> np.ndarray:
    """R'G'B' in [0, 255] from Y'CbCr codes, ITU-T H.273 equations, in double precision."""
    k_r, k_b = weights
    scale = 2 ** (bits - 8)
    if full:
        luma = codes[0] / (2**bits - 1)
        blue, red = ((code - 128 * scale) / (2**bits - 1) for code in codes[1:])
    else:
        luma = (codes[0] / scale - 16) / 219
        blue, red = ((code / scale - 128) / 224 for code in codes[1:])
    r = luma + 2 * (1 - k_r) * red
    b = luma + 2 * (1 - k_b) * blue
    g = (luma - k_r * r - k_b * b) / (1 - k_r - k_b)
    return np.array([r, g, b]) * 255


@pytest.mark.parametrize(("matrix", "weights"), [(1, BT709), (5, BT601), (6, BT601), (9, BT2020)])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("pixel_format", "bits"), [("yuv420p", 8), ("yuv444p", 8), ("yuv422p", 8), ("yuv420p10le", 10)]
)
def test_pixels_follow_the_stated_matrix_and_range(
    matrix: int, weights: tuple[float, float], full: bool, pixel_format: str, bits: int
) -> None:
    scale = 2 ** (bits - 8)
    codes = (110 * scale, 118 * scale, 150 * scale)
    coded = flat_frame(pixel_format, codes)
    coded.colorspace, coded.color_range = matrix, 2 if full else 1
    assert np.abs(rgb_of(coded) - by_equations(codes, weights, full, bits)).max() <= 1.0


@pytest.mark.parametrize(
    ("size", "weights"), [((64, 718), BT601), ((64, 720), BT709), ((720, 64), BT601)]
)
def test_untagged_clips_are_bt601_below_720_lines(
    size: tuple[int, int], weights: tuple[float, float]
) -> None:
    codes = (110, 118, 150)
    rgb = rgb_of(flat_frame("yuv420p", codes, size))
    assert np.abs(rgb - by_equations(codes, weights, full=False)).max() <= 1.0


def test_yuvj_is_full_range_without_a_tag() -> None:
    codes = (110, 118, 150)
    rgb = rgb_of(flat_frame("yuvj420p", codes))
    assert np.abs(rgb - by_equations(codes, BT601, full=True)).max() <= 1.0


def test_chroma_is_not_shifted_for_a_clip_that_sites_it_left(tmp_path: Path) -> None:
    """H.264 sites chroma left; a square's edge must stay where the luma has it."""
    source = make_clip(tmp_path / "in.mp4", frames=1, options={"qp": "0"}, pixel_format="yuv420p")
    with VideoReader(source) as reader:
        rgb = next(iter(reader)).rgb
    picture = moving_picture(0, 96, 64).astype(int)
    blocks = np.abs(rgb.astype(int) - picture).reshape(32, 2, 48, 2, 3).max(axis=(1, 3, 4))
    assert np.median(blocks) <= 3
    edge = np.abs(rgb[10:22, 20:26].astype(int) - picture[10:22, 20:26])  # the square ends at 24
    assert edge.max() <= 4


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (2, 1, 1, 1), (1, 6, 6, 6), (1, 9, 16, 9)])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "out.mov"])
def test_tags_are_written_again(
    tmp_path: Path, copied: Copy, tags: tuple[int, int, int, int], name: str
) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=3, tags=tags)
    assert probe(source).colour == ColourTags(*tags)
    out = copied(source, name)
    assert probe(out).colour == ColourTags(*tags)
    with VideoReader(source) as before, VideoReader(out) as after:
        old, new = next(iter(before)), next(iter(after))
    assert np.abs(old.rgb.astype(int) - new.rgb).mean() < 2.5


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "ffv1"])
def test_every_codec_carries_the_tags(tmp_path: Path, copied: Copy, codec: str) -> None:
    tags = (1, 1, 1, 1)
    source = make_clip(tmp_path / "in.mkv", frames=3, tags=tags)
    assert probe(copied(source, "out.mkv", codec=codec)).colour == ColourTags(*tags)


def test_untagged_stays_untagged(talking: Path, copied: Copy) -> None:
    assert probe(copied(talking, "out.mp4")).colour == ColourTags(0, 2, 2, 2)


def test_full_range_of_a_yuvj_clip_is_stated_when_the_format_is_not(
    tmp_path: Path, copied: Copy
) -> None:
    source = make_clip(
        tmp_path / "in.mkv", frames=2, codec="mjpeg", pixel_format="yuvj420p", tags=(2, 2, 2, 5)
    )
    out = copied(source, "out.webm")
    assert probe(out).colour.range == 2
    with VideoReader(source) as before, VideoReader(out) as after:
        old, new = next(iter(before)), next(iter(after))
    assert np.abs(old.rgb.astype(int) - new.rgb).mean() < 2.5
