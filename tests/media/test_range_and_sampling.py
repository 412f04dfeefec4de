"""A part of a clip, and frames evenly spaced over one."""

import weakref
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidswap.media import VideoReader, VideoWriter, sample_frames, write_picture
from vidswap.media.sampling import spaced_frames

from .clips import frame_times, make_clip, sound_packets

Copy = Callable[..., Path]


def all_frames(path: Path) -> dict[float, np.ndarray]:
    with VideoReader(path) as reader:
        return {frame.seconds: frame.rgb for frame in reader}


@pytest.fixture(scope="module", params=["mp4", "mkv", "webm", "mpg", "avi"])
def long_clip(request: pytest.FixtureRequest, clips: Path) -> Path:
    """Six seconds, a key frame every 0.8 s, B-frames and sound where the container has them."""
    suffix = request.param
    codec = {"webm": "libvpx-vp9", "mpg": "mpeg2video", "avi": "mpeg4"}.get(suffix, "libx264")
    sound = {"webm": "libopus", "mpg": "mp2", "avi": "libmp3lame"}.get(suffix, "aac")
    return make_clip(
        clips / f"long.{suffix}",
        frames=150,
        codec=codec,
        sound=[sound],
        key_every=20,
        b_frames=2 if suffix in ("mp4", "mkv", "mpg") else 0,
        options={"qp": "20"} if codec == "libx264" else {},
    )


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, 0.5), (0.5, 1.0), (0.76, 0.84), (0.8, 1.3), (2.03, 2.9), (5.5, None), (0.0, None)],
)
def test_range_holds_exactly_its_frames(
    long_clip: Path, start: float | None, end: float | None
) -> None:
    everything = all_frames(long_clip)
    with av.open(str(long_clip)) as container:
        zero = container.start_time / av.time_base
    low, high = zero + (start or 0), zero + (end if end is not None else 1e9)
    expected = [t for t in everything if low - 1e-6 <= t < high - 1e-6]
    with VideoReader(long_clip, start, end) as reader:
        frames = list(reader)
    assert [frame.seconds for frame in frames] == expected
    for frame in frames:
        assert np.array_equal(frame.rgb, everything[frame.seconds])


def test_part_of_a_clip_begins_at_zero_with_sound_aligned(talking: Path, copied: Copy) -> None:
    start = Fraction(4, 5)
    out = copied(talking, "out.mp4", start=0.8, end=1.6)
    assert frame_times(out) == [Fraction(index, 25) for index in range(20)]
    kept = sound_packets(out)
    wanted = [p for p in sound_packets(talking) if start <= p[0] < 2 * start]
    assert [data for _, data in kept] == [data for _, data in wanted]
    for (time, _), (original, _) in zip(kept, wanted, strict=True):
        assert abs(original - start - time) <= Fraction(1, 48000)


def test_a_start_between_ticks_keeps_the_spacing(tmp_path: Path, copied: Copy) -> None:
    source = make_clip(tmp_path / "in.mp4", container_options={"video_track_timescale": "25"})
    times = frame_times(copied(source, "out.mp4", start=0.5))  # 12.5 ticks
    assert np.diff(times).tolist() == [Fraction(1, 25)] * 10


@pytest.mark.parametrize("name", ["out.mkv", "out.mov"])
def test_only_an_end_cuts_picture_and_sound_there(talking: Path, copied: Copy, name: str) -> None:
    out = copied(talking, name, end=1.0)
    assert frame_times(out) == [Fraction(index, 25) for index in range(25)]
    whole = sound_packets(talking)
    kept = sound_packets(out)
    assert [data for _, data in kept] == [data for time, data in whole if time < 1]


def test_samples_are_the_middles_of_equal_parts(long_clip: Path) -> None:
    everything = all_frames(long_clip)
    times = list(everything)
    frames = sample_frames(long_clip, 5)
    assert [frame.seconds for frame in frames] == [times[i] for i in (15, 45, 75, 105, 135)]
    for frame in frames:
        assert np.array_equal(frame.rgb, everything[frame.seconds])


@pytest.mark.parametrize("count", [1, 7, 150, 400])
def test_samples_are_evenly_spaced_and_never_repeated(long_clip: Path, count: int) -> None:
    seconds = [frame.seconds for frame in sample_frames(long_clip, count)]
    assert len(seconds) == len(set(seconds)) == min(count, 150)
    assert seconds == sorted(seconds)
    gaps = np.diff(seconds)
    assert count == 1 or gaps.max() - gaps.min() <= 0.0401


def test_sampling_does_not_trust_the_header(tmp_path: Path) -> None:
    """The header says ten times the frames and the length that there are."""
    path = make_clip(tmp_path / "in.avi", codec="mpeg4", frames=30)
    content = bytearray(path.read_bytes())
    at = content.index(b"avih") + 8 + 16  # dwTotalFrames of the main header
    assert int.from_bytes(content[at : at + 4], "little") == 30
    content[at : at + 4] = (300).to_bytes(4, "little")
    at = content.index(b"strh") + 8 + 32  # dwLength of the stream header
    assert int.from_bytes(content[at : at + 4], "little") == 30
    content[at : at + 4] = (300).to_bytes(4, "little")
    path.write_bytes(content)
    seconds = [frame.seconds for frame in sample_frames(path, 3)]
    assert seconds == pytest.approx([0.2, 0.6, 1.0])


def test_sampling_a_clip_without_any_header_count(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mkv", frames=40, b_frames=2)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 0
    seconds = [frame.seconds for frame in sample_frames(path, 4)]
    assert seconds == pytest.approx([0.2, 0.6, 1.0, 1.4])


def test_a_picture_is_its_only_sample(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    write_picture(tmp_path / "a.png", pixels)
    frames = sample_frames(tmp_path / "a.png", 10)
    assert len(frames) == 1
    assert np.array_equal(frames[0].rgb, pixels)


def test_samples_are_decoded_one_at_a_time(talking: Path) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    for frame in spaced_frames(talking, 8):
        alive.append(weakref.ref(frame.rgb))
        del frame
        most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == 8 and most <= 2


def test_no_samples_is_a_mistake_of_the_caller(talking: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        sample_frames(talking, 0)


def test_reader_holds_few_frames_at_a_time(tmp_path: Path) -> None:
    """Frames that were given out and dropped are freed while the clip is being read."""
    source = make_clip(tmp_path / "in.mp4", frames=80, key_every=80)
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    out = tmp_path / "out.mp4"
    with VideoReader(source) as reader, VideoWriter(out, reader) as writer:
        for frame in reader:
            writer.write(frame)
            alive.append(weakref.ref(frame.rgb))
            del frame
            most = max(most, sum(ref() is not None for ref in alive))
    assert most <= 2


@pytest.mark.parametrize("start", [None, 0.2])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_a_reader_that_goes_back_to_its_beginning_gives_every_frame_again(
    tmp_path: Path, name: str, start: float | None
) -> None:
    clip = make_clip(tmp_path / name, frames=20)
    with VideoReader(clip, start=start) as reader:
        reader.go_to(None)
        wanted = [frame.pts for frame in VideoReader(clip, start=start)]
        assert [frame.pts for frame in reader] == wanted
        reader.go_to(None)
        assert [frame.pts for frame in reader] == wanted
