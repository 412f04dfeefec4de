"""Sound is copied packet by packet."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from vidswap.errors import CodecError
from vidswap.media import VideoReader, VideoWriter

from .clips import ffmpeg, frame_times, make_clip, sound_packets

Copy = Callable[..., Path]


def test_mp4_sound_is_bit_identical_with_the_same_times(talking: Path, copied: Copy) -> None:
    packets = sound_packets(copied(talking, "out.mp4"))
    assert packets == sound_packets(talking)
    assert len(packets) > 80
    assert packets[0][0] < 0  # the codec's priming stays before the picture


@pytest.mark.parametrize(
    ("source_name", "codec", "sound", "target_name"),
    [
        ("in.mkv", "libx264", "flac", "out.mkv"),
        ("in.mp4", "libx264", "libmp3lame", "out.mov"),
        ("in.webm", "libvpx-vp9", "libopus", "out.webm"),
        ("in.webm", "libvpx-vp9", "libopus", "out.mp4"),
        ("in.mov", "libx264", "pcm_s16le", "out.mov"),
        ("in.mp4", "libx264", "aac", "out.mkv"),
    ],
)
def test_sound_bytes_survive_every_container(
    tmp_path: Path, copied: Copy, source_name: str, codec: str, sound: str, target_name: str
) -> None:
    source = make_clip(tmp_path / source_name, codec=codec, sound=[sound])
    before, after = sound_packets(source), sound_packets(copied(source, target_name))
    assert [data for _, data in after] == [data for _, data in before]
    drift = max(abs(a[0] - b[0]) for a, b in zip(after, before, strict=True))
    assert drift <= Fraction(1, 1000)


def test_all_tracks_are_copied_with_their_language(tmp_path: Path, copied: Copy) -> None:
    source = tmp_path / "in.mkv"
    make_clip(source, sound=["aac", "libopus"])
    tagged = tmp_path / "tagged.mkv"
    with av.open(str(source)) as old, av.open(str(tagged), "w") as new:
        streams = [new.add_stream_from_template(stream) for stream in old.streams]
        streams[1].metadata["language"] = "ger"
        for packet in old.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
    out = copied(tagged, "out.mkv")
    for track in (0, 1):
        assert sound_packets(out, track) == sound_packets(tagged, track)
    with av.open(str(out)) as container:
        assert [s.language for s in container.streams.audio] == ["ger", None]


def test_sound_that_starts_late_stays_late(tmp_path: Path, copied: Copy) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=50, sound=["aac"], sound_start=0.5)
    out = copied(source, "out.mp4")
    assert sound_packets(out)[0][0] == sound_packets(source)[0][0] > Fraction(2, 5)
    assert frame_times(out)[0] == 0


def test_sound_the_container_cannot_hold_is_refused_by_name(talking: Path, tmp_path: Path) -> None:
    with VideoReader(talking) as reader, pytest.raises(CodecError, match=r"webm.*\(aac\)"):
        VideoWriter(tmp_path / "out.webm", reader)
    assert list(tmp_path.iterdir()) == []


def test_sound_the_container_refuses_late_is_named_too(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.webm", codec="libvpx-vp9", sound=["libopus"])
    with VideoReader(source) as reader, pytest.raises(CodecError, match=r"\.mov.*opus"):
        VideoWriter(tmp_path / "out.mov", reader)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.webm"]


@pytest.mark.parametrize(
    ("codec", "source_name", "name", "takers"),
    [
        ("pcm_s16le", "in.avi", "out.mp4", ".mov or .mkv"),
        ("pcm_s16le", "in.mov", "out.webm", ".mp4 or .m4v or .mov or .mkv"),
        ("flac", "in.mkv", "out.mov", ".mp4 or .m4v or .mkv"),
    ],
)
def test_sound_refused_at_the_end_of_a_file_is_refused_before_the_work(
    talking: Path, tmp_path: Path, codec: str, source_name: str, name: str, takers: str
) -> None:
    source = tmp_path / source_name
    ffmpeg("-i", talking, "-c:v", "mpeg4", "-c:a", codec, "-ac", "2", source)
    with VideoReader(source) as reader, pytest.raises(CodecError) as refused:
        VideoWriter(tmp_path / name, reader)
    said = str(refused.value)
    assert said.startswith(f"{Path(name).suffix} files cannot hold the sound of {source}")
    assert f"stream 1 ({codec}); write to {takers}" in said
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("codec", ["pcm_s16le", "ac3", "eac3", "libmp3lame", "flac", "alac"])
@pytest.mark.parametrize("name", ["out.mov", "out.mkv", "out.mp4"])
def test_sound_is_refused_at_once_or_written_to_the_end(
    talking: Path, tmp_path: Path, copied: Copy, codec: str, name: str
) -> None:
    source = tmp_path / "in.mkv"
    ffmpeg("-i", talking, "-c:v", "copy", "-c:a", codec, source)
    with VideoReader(source) as reader:
        try:
            VideoWriter(tmp_path / name, reader).abort()
        except CodecError:
            return
    before, after = sound_packets(source), sound_packets(copied(source, name))
    assert b"".join(content for _, content in after) == b"".join(content for _, content in before)


def test_interleaving_keeps_sound_near_its_picture(talking: Path, copied: Copy) -> None:
    latest = {"video": 0.0, "audio": 0.0}
    with av.open(str(copied(talking, "out.mkv"))) as container:
        for packet in container.demux():
            if packet.size:
                latest[packet.stream.type] = float(packet.pts * packet.time_base)
                if min(latest.values()) > 0:
                    assert abs(latest["video"] - latest["audio"]) < 0.5
    assert min(latest.values()) > 1.0


def test_subtitles_are_copied_where_the_container_takes_them(
    talking: Path, tmp_path: Path, copied: Copy
) -> None:
    with_text = tmp_path / "text.mkv"
    lines = tmp_path / "lines.srt"
    lines.write_text("1\n00:00:00,200 --> 00:00:01,000\nhello\n\n")
    with (
        av.open(str(talking)) as clip,
        av.open(str(lines)) as text,
        av.open(str(with_text), "w") as output,
    ):
        streams = [output.add_stream_from_template(s) for s in clip.streams]
        subtitle = output.add_stream_from_template(text.streams[0])
        for packet in text.demux():
            if packet.size:
                packet.stream = subtitle
                output.mux(packet)
        for packet in clip.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                output.mux(packet)
    with av.open(str(copied(with_text, "out.mkv"))) as container:
        texts = [bytes(p) for p in container.demux(subtitles=0) if p.size]
    assert texts == [b"hello"]
    with (
        VideoReader(with_text) as reader,
        VideoWriter(tmp_path / "out.mp4", reader) as writer,
    ):
        assert any("subtitle" in line for line in writer.dropped)
        for frame in reader:
            writer.write(frame)
