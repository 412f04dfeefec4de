"""What is in a clip besides its picture: copied, or named where the container cannot hold it."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from vidswap.media import VideoReader, VideoWriter, write_picture

from .clips import ffmpeg, frame_times, make_clip, packets_of, sound_packets

Copy = Callable[..., Path]
FONT = bytes(range(256)) * 3


@pytest.fixture(scope="module")
def everything(clips: Path) -> Path:
    """Matroska with two sounds, two subtitles, chapters, a font, cover art and tags."""
    clip = make_clip(clips / "two sounds.mkv", frames=50, b_frames=2, sound=["aac", "libopus"])
    for name, word in (("one", "hello"), ("two", "hallo")):
        (clips / f"{name}.srt").write_text(f"1\n00:00:00,200 --> 00:00:01,000\n{word}\n\n")
    (clips / "font.ttf").write_bytes(FONT)
    cover = np.full((16, 24, 3), (200, 30, 60), np.uint8)
    write_picture(clips / "cover.jpg", cover, overwrite=True)
    (clips / "chapters.txt").write_text(
        ";FFMETADATA1\ntitle=the film\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle=first\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=900\nEND=2000\ntitle=second\n"
    )
    path = clips / "everything.mkv"
    ffmpeg(
        *("-i", clip, "-i", clips / "one.srt", "-i", clips / "two.srt"),
        *("-i", clips / "chapters.txt"),
        *("-map", "0", "-map", "1", "-map", "2", "-map_metadata", "3", "-map_chapters", "3"),
        *("-c", "copy", "-attach", clips / "font.ttf", "-metadata:s:t:0", "mimetype=font/ttf"),
        *("-attach", clips / "cover.jpg", "-metadata:s:t:1", "mimetype=image/jpeg"),
        *("-metadata:s:v:0", "title=the picture", "-metadata:s:v:0", "language=fre"),
        *("-metadata:s:a:0", "language=ger", "-metadata:s:a:0", "title=Deutsch"),
        *("-metadata:s:a:1", "language=eng", "-metadata:s:s:1", "language=ger"),
        *("-disposition:a:0", "default", "-disposition:a:1", "comment"),
        *("-disposition:s:1", "forced", path),
    )
    return path


def streams_of(path: Path) -> list[tuple[str, str | None, str | None, Disposition]]:
    """Type, language, title and disposition of every stream."""
    with av.open(str(path)) as container:
        return [
            (s.type, s.language, s.metadata.get("title"), s.disposition) for s in container.streams
        ]


def copy_naming(source: Path, target: Path) -> list[str]:
    """Send a clip through reader and writer; gives the lines of `dropped`."""
    with VideoReader(source) as reader, VideoWriter(target, reader) as writer:
        for frame in reader:
            writer.write(frame)
        return writer.dropped


def test_the_source_really_has_everything(everything: Path) -> None:
    kinds = [kind for kind, *_ in streams_of(everything)]
    assert kinds == ["video", "audio", "audio", "subtitle", "subtitle", "attachment", "video"]


def test_matroska_to_matroska_loses_nothing(everything: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    assert copy_naming(everything, out) == []
    assert streams_of(out) == streams_of(everything)
    for index in range(1, 5):
        assert packets_of(out, index) == packets_of(everything, index)
    with av.open(str(out)) as container, av.open(str(everything)) as source:
        (font,) = container.streams.attachments
        assert (font.name, font.mimetype, font.data) == ("font.ttf", "font/ttf", FONT)
        assert container.metadata["title"] == "the film"
        chapters = [(c["start"], c["end"], c["metadata"]) for c in container.chapters()]
        assert chapters == [(c["start"], c["end"], c["metadata"]) for c in source.chapters()]
        assert len(chapters) == 2


def test_cover_art_is_kept_and_never_taken_for_the_picture(
    everything: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mkv"
    copy_naming(everything, out)
    with av.open(str(out)) as container:
        picture, cover = container.streams.video
        assert cover.disposition & Disposition.attached_pic
        assert not picture.disposition & Disposition.attached_pic
        (packet,) = [p for p in container.demux(cover) if p.size]
        assert bytes(packet) == (everything.parent / "cover.jpg").read_bytes()
    assert len(frame_times(out)) == 50


def test_mp4_keeps_sounds_chapters_and_tags_and_names_the_rest(
    everything: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    dropped = copy_naming(everything, out)
    kinds = [line.split(" stream")[0] for line in dropped]
    assert kinds == ["subtitle", "subtitle", "attachment", "cover art"]
    assert "font.ttf" in dropped[2]
    before, after = streams_of(everything), streams_of(out)
    assert [s[0] for s in after] == ["video", "audio", "audio", "data"]  # the last: chapters
    for old, new in zip(before[:3], after, strict=False):
        assert new[1] == old[1]
        assert new[3] | Disposition.default == old[3] | Disposition.default
    with av.open(str(out)) as container:
        names = [s.metadata.get("name") for s in container.streams]
    assert names[:2] == ["the picture", "Deutsch"]
    for track in (0, 1):
        assert [d for _, d in sound_packets(out, track)] == [
            d for _, d in sound_packets(everything, track)
        ]
    with av.open(str(out)) as container:
        assert [c["metadata"]["title"] for c in container.chapters()] == ["first", "second"]
        assert container.metadata["title"] == "the film"


def test_mp4_subtitles_and_chapters_survive_a_second_time(everything: Path, tmp_path: Path) -> None:
    """The chapter track of an mp4 is neither copied as data nor named as lost."""
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    ffmpeg("-i", everything, "-map", "0:0", "-map", "0:1", "-map", "0:3", "-map", "0:4",
           "-c", "copy", "-c:s", "mov_text", first)  # fmt: skip
    assert copy_naming(first, second) == []
    with av.open(str(first)) as old, av.open(str(second)) as new:
        assert [s.type for s in new.streams] == [s.type for s in old.streams]
        assert [c["metadata"] for c in new.chapters()] == [c["metadata"] for c in old.chapters()]
        subtitles = [s.index for s in old.streams.subtitles]
    assert len(subtitles) == 2
    for index in subtitles:
        assert packets_of(second, index) == packets_of(first, index)
    assert streams_of(second) == streams_of(first)


def test_chapters_of_a_part_move_with_it(everything: Path, copied: Copy) -> None:
    with av.open(str(copied(everything, "part.mkv", start=0.4, end=1.4))) as container:
        chapters = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
            for c in container.chapters()
        ]
    half = Fraction(1, 2)
    assert chapters == [(0, half, "first"), (half, 1, "second")]


def test_data_is_copied_where_it_can_be_and_named_where_not(tmp_path: Path) -> None:
    """An action camera's `gpmd` track."""
    clip = make_clip(tmp_path / "clip.mp4", frames=25)
    source = tmp_path / "in.mp4"
    with av.open(str(clip)) as old, av.open(str(source), "w") as new:
        picture = new.add_stream_from_template(old.streams.video[0])
        track = new.add_data_stream("bin_data")
        track.time_base = Fraction(1, 1000)
        for number in range(5):
            packet = av.Packet(f"position {number}".encode())
            packet.pts = packet.dts = 200 * number
            packet.duration, packet.time_base, packet.stream = 200, Fraction(1, 1000), track
            new.mux(packet)
        for packet in old.demux():
            if packet.size:
                packet.stream = picture
                new.mux(packet)
    assert copy_naming(source, tmp_path / "out.mp4") == []
    assert packets_of(tmp_path / "out.mp4", 1) == packets_of(source, 1)
    assert len(packets_of(source, 1)) == 5
    (line,) = copy_naming(source, tmp_path / "out.mkv")
    assert line == "data stream 1 (bin_data)"


@pytest.fixture
def with_timecode(tmp_path: Path) -> Path:
    clip = make_clip(tmp_path / "clip.mov", frames=25)
    source = tmp_path / "in.mov"
    ffmpeg("-i", clip, "-c", "copy", "-timecode", "01:02:03:04", source)
    with av.open(str(source)) as container:
        assert [s.type for s in container.streams] == ["video", "data"]
    return source


@pytest.mark.parametrize("name", ["out.mov", "out.mp4"])
def test_timecode_track_is_written_again(with_timecode: Path, tmp_path: Path, name: str) -> None:
    assert copy_naming(with_timecode, tmp_path / name) == []
    with av.open(str(tmp_path / name)) as container:
        (track,) = container.streams.data
        assert track.metadata["timecode"] == "01:02:03:04"
    (data,) = [data for _, data in packets_of(tmp_path / name, 1)]
    assert data == packets_of(with_timecode, 1)[0][1]


def test_timecode_becomes_a_tag_in_matroska_and_is_named(
    with_timecode: Path, tmp_path: Path
) -> None:
    (line,) = copy_naming(with_timecode, tmp_path / "out.mkv")
    assert line == "timecode stream 1 (kept as the picture's tag)"
    with av.open(str(tmp_path / "out.mkv")) as container:
        tags = {key.lower(): value for key, value in container.streams[0].metadata.items()}
    assert tags["timecode"] == "01:02:03:04"


def test_timecode_is_left_out_where_the_output_begins_later(
    with_timecode: Path, tmp_path: Path
) -> None:
    with (
        VideoReader(with_timecode, 0.4) as reader,
        VideoWriter(tmp_path / "out.mov", reader) as writer,
    ):
        for frame in reader:
            writer.write(frame)
        assert writer.dropped == ["timecode (the output begins later than it)"]
    with av.open(str(tmp_path / "out.mov")) as container:
        assert "timecode" not in container.streams[0].metadata


def test_a_second_picture_is_named_not_copied(tmp_path: Path) -> None:
    """Copied, it would still show the face that was swapped in the first."""
    first = make_clip(tmp_path / "first.mkv", frames=5)
    source = tmp_path / "in.mkv"
    ffmpeg("-i", first, "-i", first, "-map", "0", "-map", "1", "-c", "copy", source)
    assert copy_naming(source, tmp_path / "out.mkv") == ["video stream 1 (h264)"]


def test_webm_names_what_it_cannot_hold(tmp_path: Path) -> None:
    source = make_clip(
        tmp_path / "in.mkv", frames=5, codec="libvpx-vp9", sound=["libopus"], b_frames=0
    )
    (tmp_path / "font.ttf").write_bytes(FONT)
    whole = tmp_path / "whole.mkv"
    ffmpeg("-i", source, "-map", "0", "-c", "copy", "-attach", tmp_path / "font.ttf",
           "-metadata:s:t:0", "mimetype=font/ttf", whole)  # fmt: skip
    (line,) = copy_naming(whole, tmp_path / "out.webm")
    assert line.startswith("attachment")
    assert len(sound_packets(tmp_path / "out.webm")) > 5
