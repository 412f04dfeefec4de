"""Animated pictures are written frame by frame: exact, in time, in little memory."""

import itertools
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vidswap.errors import CodecError
from vidswap.media import VideoReader, VideoWriter, read_marks, synthetic_metadata
from vidswap.media.animated_picture import Animation, write_as_clip
from vidswap.media.animated_writer import AnimatedClip, AnimationWriter

from .clips import ffmpeg, make_clip, moving_picture
from .test_animated_pictures import DURATIONS, animated, read

MARKS = synthetic_metadata("1.2.3", "ab" * 32, {"alpha": 0.08, "name": "it's é"})


def written(path: Path, frames: list[np.ndarray], lasts: list[float], **options: object) -> Path:
    ends = list(itertools.accumulate(lasts))
    writer = AnimationWriter(path, metadata=MARKS, **options)  # type: ignore[arg-type]
    for frame, end, last in zip(frames, ends, lasts, strict=True):
        writer.write(frame, end - last, end)
    writer.close()
    return path


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", ["out.webp", "out.png"])
def test_frames_are_exact_whatever_changes_between_them(
    tmp_path: Path, name: str, channels: int
) -> None:
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 256, (47, 63, channels), np.uint8)
    frames = [frame]
    for top, left, side in [
        (3, 5, 7),
        (0, 0, 47),
        (46, 62, 1),
        (0, 0, 0),
        (20, 31, 13),
        (45, 0, 2),
    ]:
        frame = frame.copy()
        frame[top : top + side, left : left + side] = rng.integers(
            0, 256, frame[top : top + side, left : left + side].shape, np.uint8
        )
        frames.append(frame)
    lasts = [40, 1, 70_000, 33, 17, 100, 250]
    out, times, loops = read(written(tmp_path / name, frames, lasts, loops=7))
    assert times == lasts and loops == 7 and read_marks(tmp_path / name) == MARKS
    for got, wanted in zip(out, frames, strict=True):
        seen = np.ones(wanted.shape[:2], bool) if channels == 3 else wanted[..., 3] > 0
        np.testing.assert_array_equal(got[..., :channels][seen], wanted[seen])


def test_other_programs_read_them(tmp_path: Path) -> None:
    frames = [moving_picture(n, 64, 48) for n in range(6)]
    path = written(tmp_path / "out.png", frames, [40] * 6)
    ffmpeg("-i", path, "-c:v", "ffv1", "-pix_fmt", "bgr0", tmp_path / "out.mkv")
    with VideoReader(tmp_path / "out.mkv") as reader:
        for got, wanted in zip(reader, frames, strict=True):
            np.testing.assert_array_equal(got.rgb, wanted)


def test_a_gif_has_its_times_its_loops_and_its_marks(tmp_path: Path) -> None:
    frames = [moving_picture(n, 64, 48) for n in range(5)]
    path = written(tmp_path / "out.gif", frames, [40, 100, 70, 200, 30], loops=3)
    out, times, loops = read(path)
    assert times == [40, 100, 70, 200, 30] and loops == 3
    assert read_marks(path) == MARKS
    for got, wanted in zip(out, frames, strict=True):
        assert np.abs(got[..., :3].astype(int) - wanted).mean() < 4


@pytest.mark.parametrize(("loops", "stated"), [(0, 0), (1, None), (2, 2)])
def test_a_gif_is_shown_as_often_as_asked(tmp_path: Path, loops: int, stated: int | None) -> None:
    path = written(tmp_path / "out.gif", [moving_picture(n, 32, 32) for n in (0, 1)], [50, 50],
                   loops=loops)  # fmt: skip
    with Image.open(path) as image:
        assert image.info.get("loop") == stated


def test_a_gif_keeps_what_is_transparent(tmp_path: Path) -> None:
    frames = []
    for number in range(4):
        alpha = np.zeros((32, 32), np.uint8)
        alpha[:, number * 6 : number * 6 + 10] = 255
        frames.append(np.dstack([moving_picture(number, 32, 32), alpha]))
    out, _, _ = read(written(tmp_path / "out.gif", frames, [50] * 4))
    for got, wanted in zip(out, frames, strict=True):
        np.testing.assert_array_equal(got[..., 3], wanted[..., 3])


def test_a_gif_shows_at_most_50_frames_a_second_and_stays_in_time(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "in.mp4", frames=60, rate=Fraction(60), time_base=Fraction(1, 60), sound=["aac"]
    )
    with VideoReader(clip) as reader:
        writer = AnimatedClip(tmp_path / "out.gif", reader, metadata=MARKS)
        for frame in reader:
            writer.write(frame)
        writer.close()
    _, times, loops = read(tmp_path / "out.gif")
    assert min(times) >= 20 and abs(sum(times) - 1000) <= 20 and loops == 0
    assert any("at most 50 a second" in line for line in writer.dropped)
    assert any(line.startswith("audio stream 1 (aac)") for line in writer.dropped)


@pytest.mark.parametrize("name", ["out.webp", "out.png", "out.gif"])
def test_memory_does_not_grow_with_the_frames(tmp_path: Path, name: str) -> None:
    peaks = []
    for count in (6, 40):
        writer = AnimationWriter(tmp_path / name, overwrite=True)
        tracemalloc.start()
        for number in range(count):
            writer.write(moving_picture(number, 160, 120), number * 40, number * 40 + 40)
        writer.close()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.3


def test_an_abort_leaves_nothing(tmp_path: Path) -> None:
    for name in ("a.webp", "a.png", "a.gif"):
        writer = AnimationWriter(tmp_path / name)
        writer.write(moving_picture(0, 64, 48), 0, 40)
        assert len(list(tmp_path.iterdir())) == 1
        writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_picture_too_wide_for_webp_is_refused_by_name(tmp_path: Path) -> None:
    writer = AnimationWriter(tmp_path / "a.webp")
    with pytest.raises(CodecError, match=r"\.webp files hold at most 16383 pixels.*16384x1"):
        writer.write(np.zeros((1, 16_384, 3), np.uint8), 0, 40)
    writer.abort()


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("name", ["in.webp", "in.png"])
def test_an_animation_becomes_a_clip_with_its_times(tmp_path: Path, name: str, alpha: bool) -> None:
    frames = animated(tmp_path / name, alpha=alpha)
    write_as_clip(Animation.of(tmp_path / name), tmp_path / "clip")
    with VideoReader(tmp_path / "clip") as reader:
        assert reader.pixel_format == ("bgra" if alpha or name == "in.webp" else "bgr0")
        got = list(reader)
        with VideoWriter(tmp_path / "out.mkv", reader, codec="ffv1"):
            pass
    assert [round(frame.seconds * 1000) for frame in got] == [0, 40, 140, 210, 410]
    assert round(got[-1].duration * got[-1].time_base * 1000) == DURATIONS[-1]
    for frame, wanted in zip(got, frames, strict=True):
        seen = wanted[..., 3] > 0
        np.testing.assert_array_equal(frame.rgb[seen], wanted[..., :3][seen])
        if alpha:
            rgba = frame.coded().to_ndarray(format="rgba")
            np.testing.assert_array_equal(rgba[..., 3], wanted[..., 3])


def test_a_clip_with_transparency_keeps_it(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "bgra"
        for number in range(3):
            pixels = np.dstack(
                [moving_picture(number, 32, 24), np.full((24, 32), 60 * number, np.uint8)]
            )
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        container.mux(stream.encode(None))
    with VideoReader(tmp_path / "in.mkv") as reader:
        writer = AnimatedClip(tmp_path / "out.png", reader)
        for frame in reader:
            writer.write(frame)
        writer.close()
    out, times, _ = read(tmp_path / "out.png")
    assert [frame[0, 0, 3] for frame in out] == [0, 60, 120] and times == [100] * 3
