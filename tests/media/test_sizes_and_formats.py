"""Size and pixel format: kept to the pixel, and to the bit where the codec is lossless."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidswap.errors import CodecError
from vidswap.media import Frame, VideoReader, VideoWriter
from vidswap.media.codecs import CODECS, encoder_format
from vidswap.media.probing import probe

from .clips import decoded_planes, make_clip

Copy = Callable[..., Path]


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le", "gray"]
)
@pytest.mark.parametrize("size", [(96, 64), (97, 65)])
def test_ffv1_gives_back_untouched_planes_bit_for_bit(
    tmp_path: Path, copied: Copy, pixel_format: str, size: tuple[int, int]
) -> None:
    source = make_clip(
        tmp_path / "in.mkv", size=size, frames=6, codec="ffv1", pixel_format=pixel_format
    )
    before = decoded_planes(source)
    after = decoded_planes(copied(source, "out.mkv", codec="ffv1"))
    assert len(before) == len(after) == 6
    for old, new in zip(before, after, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))


def test_h264_source_is_bit_for_bit_in_ffv1(talking: Path, copied: Copy) -> None:
    before, after = decoded_planes(talking), decoded_planes(copied(talking, "o.mkv", codec="ffv1"))
    assert len(before) == len(after) == 48
    for old, new in zip(before, after, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))


@pytest.mark.parametrize("size", [(161, 99), (162, 99), (161, 100)])
@pytest.mark.parametrize(
    ("codec", "name", "pixel_format"),
    [
        ("h264", "out.mp4", "yuv444p"),
        ("hevc", "out.mp4", "yuv444p"),
        ("av1", "out.mp4", "yuv420p"),
        ("vp9", "out.webm", "yuv420p"),
        ("ffv1", "out.mkv", "yuv420p"),
        ("prores", "out.mov", "yuv444p12le"),  # the decoder's format for ProRes 4444
    ],
)
def test_odd_sizes_are_neither_padded_nor_cropped(
    tmp_path: Path,
    copied: Copy,
    size: tuple[int, int],
    codec: str,
    name: str,
    pixel_format: str,
) -> None:
    source = make_clip(tmp_path / "in.webm", size=size, frames=3, codec="libvpx-vp9")
    out = copied(source, name, codec=codec)
    info = probe(out)
    assert (info.width, info.height) == size
    if size == (162, 99):  # whole chroma samples across: half as many will do
        pixel_format = pixel_format.replace("444p12", "422p10").replace("444", "422")
    assert info.pixel_format == pixel_format
    with VideoReader(source) as before, VideoReader(out) as after:
        pairs = list(zip(before, after, strict=True))
    assert len(pairs) == 3
    for old, new in pairs:
        difference = np.abs(old.rgb.astype(int) - new.rgb)
        assert difference.mean() < 2.5
        assert difference[-1].mean() < 6.0  # the last row and column are there, too
        assert difference[:, -1].mean() < 6.0


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [
        ("h264", "yuv422p"),
        ("h264", "yuv420p10le"),
        ("h264", "yuvj420p"),
        ("hevc", "yuv444p10le"),
        ("vp9", "yuv444p"),
        ("av1", "yuv420p10le"),
        ("h264", "nv12"),
    ],
)
def test_the_clips_own_format_is_used_where_the_encoder_has_it(
    codec: str, pixel_format: str
) -> None:
    assert encoder_format(CODECS[codec], pixel_format, 96, 64) == pixel_format


@pytest.mark.parametrize(
    ("codec", "pixel_format", "expected"),
    [
        ("vp9", "yuvj420p", "yuv420p"),
        ("vp9", "nv12", "yuv420p"),
        ("av1", "yuv444p", "yuv420p"),
        ("av1", "yuv422p10le", "yuv420p10le"),
        ("prores", "yuv420p", "yuv422p10le"),
        ("prores", "yuv444p", "yuv444p10le"),
        ("h264", "yuv411p", "yuv422p"),
        ("ffv1", "rgb24", "bgr0"),
        ("ffv1", "nv12", "yuv420p"),
    ],
)
def test_the_nearest_format_loses_least(codec: str, pixel_format: str, expected: str) -> None:
    assert encoder_format(CODECS[codec], pixel_format, 96, 64) == expected


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "prores", "ffv1"])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p10le", "gray"])
def test_colours_survive_a_change_of_format(
    tmp_path: Path, copied: Copy, codec: str, pixel_format: str
) -> None:
    source = make_clip(
        tmp_path / "in.mkv", frames=2, codec="ffv1", pixel_format=pixel_format, size=(96, 64)
    )
    out = copied(source, "out.mkv", codec=codec)
    with VideoReader(source) as before, VideoReader(out) as after:
        old, new = next(iter(before)), next(iter(after))
    assert np.abs(old.rgb.astype(int) - new.rgb).mean() < 2.5


def test_rgb_clip_becomes_h264_in_the_same_colours(tmp_path: Path, copied: Copy) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=2, codec="ffv1", pixel_format="bgr0")
    out = copied(source, "out.mp4")
    with VideoReader(source) as before, VideoReader(out) as after:
        old, new = next(iter(before)), next(iter(after))
    assert np.abs(old.rgb.astype(int) - new.rgb).mean() < 2.5


def test_frames_of_another_format_and_made_from_pixels_are_taken(
    talking: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    patch = np.full((64, 96, 3), (200, 80, 40), np.uint8)
    with VideoReader(talking) as reader, VideoWriter(out, reader) as writer:
        for index in range(5):
            writer.write(Frame.from_rgb(patch, pts=index, time_base=Fraction(1, 25)))
    with VideoReader(out) as result:
        frames = list(result)
    assert len(frames) == 5
    assert np.abs(frames[2].rgb.astype(int) - patch).max() <= 4


def test_a_frame_of_another_size_is_refused(talking: Path, tmp_path: Path) -> None:
    with (
        VideoReader(talking) as reader,
        pytest.raises(CodecError, match="50x40 in a clip of 96x64"),
        VideoWriter(tmp_path / "out.mp4", reader) as writer,
    ):
        writer.write(Frame.from_rgb(np.zeros((40, 50, 3), np.uint8)))


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
def test_sample_aspect_ratio_is_kept(tmp_path: Path, copied: Copy, name: str) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=3, aspect=Fraction(4, 3))
    with VideoReader(copied(source, name)) as reader:
        assert reader.sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize("name", ["out.mp4", "out.mov"])
def test_hevc_has_the_tag_that_apple_players_need(talking: Path, copied: Copy, name: str) -> None:
    with av.open(str(copied(talking, name, codec="hevc"))) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"
