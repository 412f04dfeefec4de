"""Outside the box a lossless output is the input, bit for bit; and failures known of other tools.

Tools that swap faces in videos are known to scramble rotated clips, resample uneven frame times,
reduce 10 bits to 8, keep one sound track, drop subtitles and chapters, and pad 1080 lines to 1088.
"""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from vidswap.media import VideoReader, VideoWriter
from vidswap.media.codecs import lost_by_format
from vidswap.media.probing import probe

from .clips import decoded_planes, ffmpeg, frame_times, make_clip, sound_packets

Copy = Callable[..., Path]
BOX = (21, 13, 59, 43)  # odd on purpose


def noise(index: int, width: int, height: int) -> np.ndarray:
    """Pixels that no lossy codec keeps."""
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)


def outside(planes: list[np.ndarray], span: tuple[int, int], sample: int) -> list[np.ndarray]:
    """Planes with the box, and the chroma that it touches, set to zero."""
    left, top, right, bottom = BOX
    kept = []
    for index, plane in enumerate(planes):
        x, y = span if index else (1, 1)
        copy = plane.copy()
        columns = slice(left // x * sample, -(-right // x) * sample)
        copy[top // y : -(-bottom // y), columns] = 0
        kept.append(copy)
    return kept


@pytest.mark.parametrize("codec", ["ffv1", "h264"])
@pytest.mark.parametrize(
    ("pixel_format", "span", "sample"),
    [
        ("yuv420p", (2, 2), 1),
        ("yuv444p", (1, 1), 1),
        ("yuv420p10le", (2, 2), 2),
        ("yuv422p10le", (2, 1), 2),
    ],
)
def test_lossless_output_is_the_input_outside_the_box(
    tmp_path: Path,
    codec: str,
    pixel_format: str,
    span: tuple[int, int],
    sample: int,
) -> None:
    source = make_clip(
        tmp_path / "in.mkv", picture=noise, frames=5, codec="ffv1", pixel_format=pixel_format
    )
    out = tmp_path / "out.mkv"
    patch = noise(99, BOX[2] - BOX[0], BOX[3] - BOX[1])
    with VideoReader(source) as reader, VideoWriter(out, reader, codec=codec, crf=0) as writer:
        for frame in reader:
            writer.write(frame.with_pixels(BOX, patch))
        assert writer.dropped == []
    before, after = decoded_planes(source), decoded_planes(out)
    assert len(before) == len(after) == 5
    for old, new in zip(before, after, strict=True):
        assert all((a != b).any() for a, b in zip(old, new, strict=True))
        pairs = zip(outside(old, span, sample), outside(new, span, sample), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_planar_rgb_of_10_bits_keeps_them(tmp_path: Path) -> None:
    source = make_clip(
        tmp_path / "in.mkv", picture=noise, frames=3, codec="ffv1", pixel_format="gbrp10le"
    )
    out = tmp_path / "out.mkv"
    patch = np.full((BOX[3] - BOX[1], BOX[2] - BOX[0], 3), (200, 100, 50), np.uint8)
    with VideoReader(source) as reader, VideoWriter(out, reader, codec="ffv1") as writer:
        for frame in reader:
            writer.write(frame.with_pixels(BOX, patch))
    assert probe(out).pixel_format == "gbrp10le"
    for old, new in zip(decoded_planes(source), decoded_planes(out), strict=True):
        pairs = zip(outside(old, (1, 1), 2), outside(new, (1, 1), 2), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    inside = [plane.view(np.uint16)[20, 30] for plane in decoded_planes(out)[0]]
    assert inside == [round(v * 1023 / 255) for v in (100, 50, 200)]  # G, B, R


@pytest.mark.parametrize(
    ("width", "height", "pixel_format"), [(1920, 1080, "yuv420p"), (1919, 1079, "yuv444p")]
)
def test_1080_lines_are_not_padded_to_1088(
    tmp_path: Path, copied: Copy, width: int, height: int, pixel_format: str
) -> None:
    source = make_clip(
        tmp_path / "in.mp4",
        size=(width, height),
        frames=1,
        pixel_format=pixel_format,
        options={"preset": "ultrafast"},
    )
    out = copied(source, "out.mp4", preset="ultrafast")
    info = probe(out)
    assert (info.width, info.height) == (width, height)
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == (width, height)
    with VideoReader(source) as before, VideoReader(out) as after:
        old, new = next(iter(before)).rgb, next(iter(after)).rgb
    for edge in (np.s_[-1], np.s_[:, -1]):
        assert np.abs(old[edge].astype(int) - new[edge]).mean() < 4


def test_pixels_that_the_source_crops_away_do_not_come_back(tmp_path: Path, copied: Copy) -> None:
    """H.264 codes whole macroblocks; the flags in the stream say what of them is shown."""
    source = make_clip(tmp_path / "in.mp4", size=(90, 54), frames=3)
    cropped = tmp_path / "cropped.mp4"
    ffmpeg("-i", source, "-c", "copy", "-bsf:v",
           "h264_metadata=crop_left=4:crop_top=6:crop_right=8:crop_bottom=10", cropped)  # fmt: skip
    with VideoReader(cropped) as reader:
        size = (reader.width, reader.height)
        rgb = next(iter(reader)).rgb
    assert size[0] < 90
    assert size[1] < 54
    with VideoReader(copied(cropped, "out.mp4")) as reader:
        assert (reader.width, reader.height) == size
        again = next(iter(reader)).rgb
    assert np.abs(again.astype(int) - rgb).mean() < 3


def test_rotated_clip_is_not_scrambled(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=3, rotation=90, options={"qp": "4"})
    out = tmp_path / "out.mp4"
    with VideoReader(source) as reader:
        shown = [frame.rgb for frame in reader]
        assert shown[0].shape == (96, 64, 3)
    with VideoReader(source) as reader, VideoWriter(out, reader, crf=4) as writer:
        for frame in reader:
            writer.write(frame.with_pixels((8, 60, 24, 80), frame.rgb[60:80, 8:24] // 2))
    with VideoReader(out) as reader:
        again = next(iter(reader)).rgb
    expected = shown[0].copy()
    expected[60:80, 8:24] //= 2
    assert np.abs(again.astype(int) - expected).mean() < 2.5


def test_uneven_frame_times_are_not_resampled_and_no_frame_is_black(
    uneven: Path, copied: Copy
) -> None:
    out = copied(uneven, "out.mp4")
    times = frame_times(out)
    assert times == frame_times(uneven)
    assert len({b - a for a, b in pairwise(times)}) > 3
    with VideoReader(out) as reader:
        assert min(frame.rgb.mean() for frame in reader) > 80


@pytest.mark.parametrize(
    ("name", "codec"),
    [("out.mp4", "h264"), ("out.mp4", "hevc"), ("out.mkv", "av1"), ("out.mov", "prores")],
)
def test_10_bits_stay_10_bits(tmp_path: Path, copied: Copy, name: str, codec: str) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=2, codec="ffv1", pixel_format="yuv420p10le")
    assert "10le" in probe(copied(source, name, codec=codec)).pixel_format


@pytest.mark.parametrize(
    ("source_format", "encoded", "lost"),
    [
        ("yuv420p10le", "yuv420p", ["10 bits a sample (the encoder takes 8)"]),
        ("yuv444p", "yuv420p", ["chroma resolution (yuv444p became yuv420p)"]),
        ("yuva420p", "yuv420p", ["transparency"]),
        ("yuvj420p", "yuv420p", []),
        ("nv12", "yuv420p", []),
        ("yuv420p", "yuv422p10le", []),
    ],
)
def test_what_a_pixel_format_loses_is_named(
    source_format: str, encoded: str, lost: list[str]
) -> None:
    assert lost_by_format(source_format, encoded) == lost


def test_every_sound_track_survives(tmp_path: Path, copied: Copy) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=25, sound=["aac", "libmp3lame", "aac"])
    out = copied(source, "out.mp4")
    for track in range(3):
        assert sound_packets(out, track) == sound_packets(source, track)


@pytest.mark.parametrize("location", ["topleft", "center", "top"])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_chroma_location_is_kept(tmp_path: Path, copied: Copy, location: str, codec: str) -> None:
    options = {"chroma_sample_location": location}
    source = make_clip(tmp_path / "in.mp4", frames=2, options=options)
    with VideoReader(copied(source, "out.mp4", codec=codec)) as reader:
        assert reader.chroma_location == location


def test_asking_for_the_chroma_location_leaves_the_log_as_it_was(talking: Path) -> None:
    assert av.logging.get_level() is None
    with VideoReader(talking):
        assert av.logging.get_level() is None


@pytest.mark.parametrize("aspect", [Fraction(64, 45), Fraction(8, 9)])
def test_anamorphic_pictures_are_not_squeezed(
    tmp_path: Path, copied: Copy, aspect: Fraction
) -> None:
    source = make_clip(tmp_path / "in.mkv", size=(72, 58), frames=2, aspect=aspect)
    for name, codec in (("out.mp4", "vp9"), ("out.mkv", "h264"), ("out.mov", "prores")):
        with VideoReader(copied(source, name, codec=codec)) as reader:
            assert reader.sample_aspect_ratio == aspect
            assert (reader.coded_width, reader.coded_height) == (72, 58)
    with VideoReader(source) as reader:
        writer = VideoWriter(tmp_path / "out.webm", reader)
        writer.abort()
    (line,) = writer.dropped
    assert line.startswith(f"pixel shape {aspect.numerator}:{aspect.denominator} (libvpx-vp9")


@pytest.mark.parametrize("size", [(2048, 16), (16, 2048), (2, 2)])
def test_very_wide_very_tall_and_tiny(tmp_path: Path, copied: Copy, size: tuple[int, int]) -> None:
    source = make_clip(tmp_path / "in.mkv", size=size, frames=2, codec="ffv1")
    for name in ("out.mp4", "out.mkv"):
        info = probe(copied(source, name))
        assert (info.width, info.height, info.frames) == (*size, 2)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("out.mp4", "h264"),
        ("out.mp4", "hevc"),
        ("out.webm", "vp9"),
        ("out.mkv", "av1"),
        ("out.mov", "prores"),
        ("out.mkv", "ffv1"),
    ],
)
def test_a_single_frame(tmp_path: Path, copied: Copy, name: str, codec: str) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=1, sound=[])
    out = copied(source, name, codec=codec)
    assert frame_times(out) == [0]
