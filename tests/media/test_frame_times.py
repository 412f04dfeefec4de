"""Frame times of the output are those of the source."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from vidswap.media import VideoReader, VideoWriter

from .clips import frame_times, make_clip

Copy = Callable[..., Path]


def end_of(path: Path) -> Fraction:
    """Time at which the last frame leaves the screen, by the container's own account."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return (stream.start_time + stream.duration) * stream.time_base


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_constant_rate_with_b_frames_keeps_times(talking: Path, copied: Copy, name: str) -> None:
    times = frame_times(copied(talking, name))
    assert times == [Fraction(index, 25) for index in range(48)]


def test_source_with_b_frames_really_has_them(talking: Path) -> None:
    with av.open(str(talking)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    assert any(p.pts != p.dts for p in packets)


def test_variable_rate_keeps_times_end_and_time_base(uneven: Path, copied: Copy) -> None:
    out = copied(uneven, "out.mp4")
    times = frame_times(uneven)
    assert len({b - a for a, b in pairwise(times)}) > 3
    assert frame_times(out) == times
    assert end_of(out) == end_of(uneven)
    with av.open(str(out)) as container:
        assert container.streams.video[0].time_base == Fraction(1, 90)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "ffv1"])
def test_every_codec_keeps_variable_times_in_mkv(uneven: Path, copied: Copy, codec: str) -> None:
    times = frame_times(copied(uneven, "out.mkv", codec=codec))
    exact = frame_times(uneven)
    assert len(times) == len(exact)
    # Matroska counts milliseconds.
    assert max(abs(a - b) for a, b in zip(times, exact, strict=True)) <= Fraction(1, 2000)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(50)])
def test_broadcast_rates_are_exact(tmp_path: Path, copied: Copy, rate: Fraction) -> None:
    source = make_clip(tmp_path / "in.mp4", time_base=1 / rate, rate=rate, frames=20)
    out = copied(source, "out.mp4")
    assert frame_times(out) == [index / rate for index in range(20)]
    with av.open(str(out)) as container:
        assert container.streams.video[0].average_rate == rate


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_start_offset_of_the_picture_is_kept(tmp_path: Path, copied: Copy, suffix: str) -> None:
    source = make_clip(tmp_path / f"in{suffix}", pts=range(10, 30), sound=["aac"], b_frames=2)
    exact = frame_times(source)
    assert exact[0] > Fraction(3, 10)
    assert frame_times(copied(source, f"out{suffix}")) == exact


def test_webm_source_without_sound_becomes_mp4_on_its_millisecond_grid(
    tmp_path: Path, copied: Copy
) -> None:
    rate = Fraction(30000, 1001)
    source = make_clip(
        tmp_path / "in.webm", codec="libvpx-vp9", time_base=1 / rate, rate=rate, frames=12
    )
    assert frame_times(copied(source, "out.mp4")) == frame_times(source)


def test_a_path_will_do_as_template(talking: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    with VideoReader(talking) as reader, VideoWriter(out, talking) as writer:
        for frame in reader:
            writer.write(frame)
    assert frame_times(out) == frame_times(talking)
