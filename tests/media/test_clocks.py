"""Clocks of files: those that start late, that jump, and a start at 0."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from vidswap.media import VideoReader, VideoWriter
from vidswap.media.probing import probe
from vidswap.media.sampling import packet_times
from vidswap.media.timeline import timeline_of

from .clips import ffmpeg, frame_times, make_clip, packets_of, sound_packets

Copy = Callable[..., Path]

FRAME = Fraction(1, 25)
PART = 18  # frames
TICK = Fraction(1, 48_000)


@pytest.fixture(scope="module")
def talk(clips: Path) -> Path:
    return make_clip(
        clips / "talk.mp4", frames=60, b_frames=2, key_every=15, time_base=Fraction(1, 12_800),
        pts=[512 * n for n in range(60)], sound=["aac"],
    )  # fmt: skip


def transport(talk: Path, path: Path, *options: str, start: str = "0") -> Path:
    """A stretch of 18 frames as a transport stream."""
    ffmpeg("-ss", start, "-t", "0.72", "-i", talk, "-c:v", "libx264", "-g", "15", "-c:a", "aac",
           *options, "-f", "mpegts", path)  # fmt: skip
    return path


@pytest.fixture(scope="module")
def first(talk: Path, clips: Path) -> Path:
    return transport(talk, clips / "first.ts")


def joined(parts: list[Path], path: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def spans(path: Path) -> list[tuple[Fraction, Fraction]]:
    """First and last time of every stream's packets, in seconds."""
    with av.open(str(path)) as container:
        count = len(container.streams)
    return [
        (min(times), max(times))
        for times in (
            [time for time, _ in packets_of(path, n) if time is not None] for n in range(count)
        )
    ]


@pytest.mark.parametrize("options", [[], ["-flags", "+ildct+ilme", "-x264opts", "tff=1"]])
def test_start_at_0_gives_all_frames_of_a_transport_stream(
    talk: Path, tmp_path: Path, options: list[str]
) -> None:
    source = transport(talk, tmp_path / "in.ts", *options)
    with VideoReader(source, 0.0) as reader:
        given = [frame.pts * frame.time_base for frame in reader]
    assert given == frame_times(source)
    assert len(given) == PART


@pytest.mark.parametrize("wanted", [0.1, 0.3, 0.61, 0.65])
def test_a_seek_in_a_transport_stream_never_lands_late(first: Path, wanted: float) -> None:
    with av.open(str(first)) as container:
        zero = Fraction(container.start_time or 0, av.time_base)
    after = zero + Fraction(wanted).limit_denominator(1000)
    with VideoReader(first, wanted) as reader:
        given = [frame.pts * frame.time_base for frame in reader]
    assert given == [time for time in frame_times(first) if time >= after]


@pytest.mark.parametrize("container", ["mpegts", "matroska"])
@pytest.mark.parametrize("start", [None, 0.0, 0.3])
def test_a_clock_far_from_0_starts_at_0_and_streams_keep_their_offset(
    talk: Path, tmp_path: Path, copied: Copy, container: str, start: float | None
) -> None:
    plain = tmp_path / "plain"
    ffmpeg("-i", talk, "-c", "copy", "-f", container, plain)
    far = tmp_path / "far"
    ffmpeg("-i", talk, "-c", "copy", "-output_ts_offset", "30000", "-f", container, far)
    out = copied(far, "out.mp4", start=start)
    same = copied(plain, "same.mp4", start=start)
    (begin, end), (sound, _) = spans(out)
    expected = spans(same)
    assert -0.05 < min(begin, sound) < 0.1
    assert end - begin == pytest.approx(float(expected[0][1] - expected[0][0]), abs=1e-3)
    offset = expected[1][0] - expected[0][0]
    assert sound - begin == pytest.approx(float(offset), abs=2e-3)
    assert len(sound_packets(out)) == len(sound_packets(same))
    assert probe(far).start > 29_000


@pytest.mark.parametrize("ahead", [None, "3600"], ids=["back", "an hour ahead"])
@pytest.mark.parametrize("sound", [True, False])
def test_joined_files_go_on_where_the_clock_jumps(
    talk: Path, first: Path, tmp_path: Path, copied: Copy, ahead: str | None, sound: bool
) -> None:
    options = ["-output_ts_offset", ahead] if ahead else []
    parts = [first, transport(talk, tmp_path / "second.ts", *options, start="1")]
    if not sound:
        for n, part in enumerate(parts):
            ffmpeg("-i", part, "-an", "-c", "copy", "-copyts", parts_path := tmp_path / f"{n}.ts")
            parts[n] = parts_path
    source = joined(parts, tmp_path / "joined.ts")
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mp4", reader) as writer:
        for frame in reader:
            writer.write(frame)
    times = frame_times(tmp_path / "out.mp4")
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == 2 * PART
    assert all(step == FRAME for n, step in enumerate(steps) if n != PART - 1)
    assert FRAME <= steps[PART - 1] < 3 * FRAME
    assert reader.truncated is None
    (line,) = reader.warnings
    assert "its clock jumps at 0.7" in line and "\n" not in line
    assert packet_times(source).frames == tuple(
        round(time / packet_times(source).time_base) for time in times
    )
    assert probe(source).frames == 2 * PART
    assert probe(source).duration == pytest.approx(2 * PART / 25, abs=0.2)
    if sound:
        packets = [time for time, _ in sound_packets(tmp_path / "out.mp4")]
        assert packets == sorted(packets)
        seam = times[PART]
        # Both parts have their sound beside their picture as it was.
        assert min(abs(time - seam) for time in packets) < 2 * FRAME
        assert packets[-1] - times[-1] < 3 * FRAME


def test_three_parts_on_the_same_clock_follow_each_other(
    first: Path, tmp_path: Path, copied: Copy
) -> None:
    source = joined([first] * 3, tmp_path / "joined.ts")
    assert len(timeline_of(source).jumps) == 2
    times = frame_times(copied(source, "out.mkv"))
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == 3 * PART
    assert all(Fraction(35, 1000) < step < 3 * FRAME for step in steps)


def test_a_range_across_a_jump_counts_on_the_mended_clock(first: Path, tmp_path: Path) -> None:
    source = joined([first, first], tmp_path / "joined.ts")
    with VideoReader(source, 0.6, 1.0) as reader:
        times = [float(frame.pts * frame.time_base - reader.beginning) for frame in reader]
    assert times == sorted(times) and times[0] >= 0 and times[-1] < 0.4
    assert 8 <= len(times) <= 10


def test_a_pause_of_less_than_ten_seconds_is_kept(talk: Path, first: Path, tmp_path: Path) -> None:
    later = transport(talk, tmp_path / "later.ts", "-output_ts_offset", "5", start="1")
    source = joined([first, later], tmp_path / "joined.ts")
    assert timeline_of(source).is_plain
    with VideoReader(source) as reader:
        times = [frame.seconds for frame in reader]
    assert times[PART] - times[PART - 1] > 4
