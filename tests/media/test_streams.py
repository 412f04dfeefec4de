"""What is in a clip besides its picture: copied, or named where the container cannot hold it."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from vidswap.media import VideoReader, VideoWriter, write_picture
from vidswap.media.artwork import add_artwork

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
    assert kinds == ["subtitle", "subtitle", "attachment"]
    assert "font.ttf" in dropped[2]
    before, after = streams_of(everything), streams_of(out)
    # The last two: chapters and cover.
    assert [s[0] for s in after] == ["video", "audio", "audio", "data", "video"]
    assert after[4][3] == Disposition.attached_pic
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


@pytest.fixture(scope="module", params=["jpg", "png"])
def with_cover(request: pytest.FixtureRequest, clips: Path) -> tuple[Path, bytes]:
    """An mp4 with sound and a cover, and the cover's bytes."""
    kind = str(request.param)
    clip = make_clip(clips / f"uncovered {kind}.mp4", frames=20, b_frames=2, sound=["aac"])
    cover = clips / f"front.{kind}"
    write_picture(cover, np.full((18, 26, 3), (30, 200, 60), np.uint8), overwrite=True)
    path = clips / f"covered {kind}.mp4"
    ffmpeg("-i", clip, "-i", cover, "-map", "0", "-map", "1", "-c", "copy",
           "-disposition:v:1", "attached_pic", path)  # fmt: skip
    return path, cover.read_bytes()


def covers_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        covers = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        return [bytes(packet) for packet in container.demux(covers) if packet.size]


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.m4v", "out.mkv"])
def test_cover_of_an_mp4_is_kept_with_all_else(
    with_cover: tuple[Path, bytes], tmp_path: Path, name: str
) -> None:
    source, cover = with_cover
    assert covers_of(source) == [cover]
    out = tmp_path / name
    with VideoReader(source) as reader:
        with VideoWriter(out, reader, metadata={"vidswap_synthetic": "true"}) as writer:
            for frame in reader:
                writer.write(frame)
        assert writer.dropped == []
    assert covers_of(out) == [cover]
    with av.open(str(out)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
        assert tags["vidswap_synthetic"] == "true"
        assert container.streams[0].type == "video"
        assert not container.streams[0].disposition & Disposition.attached_pic
    assert frame_times(out) == frame_times(source)
    assert [d for _, d in sound_packets(out)] == [d for _, d in sound_packets(source)]


def test_cover_survives_a_second_time(with_cover: tuple[Path, bytes], tmp_path: Path) -> None:
    first, second = tmp_path / "first.mov", tmp_path / "second.mp4"
    assert copy_naming(with_cover[0], first) == []
    assert copy_naming(first, second) == []
    assert covers_of(second) == [with_cover[1]]


def test_a_cover_is_added_only_to_an_index_at_the_end(
    with_cover: tuple[Path, bytes], tmp_path: Path
) -> None:
    """Elsewhere it would move the samples that the index points to."""
    front = tmp_path / "front.mp4"
    ffmpeg("-i", with_cover[0], "-map", "0:v:0", "-c", "copy", "-movflags", "+faststart", front)
    before = front.read_bytes()
    assert before.index(b"moov") < before.index(b"mdat")
    assert not add_artwork(front, "png", with_cover[1])
    assert front.read_bytes() == before


def test_a_second_cover_is_named_where_there_is_room_for_one(
    with_cover: tuple[Path, bytes], tmp_path: Path
) -> None:
    source, cover = with_cover
    picture, kind = tmp_path / "cover", "image/png" if b"PNG" in cover[:8] else "image/jpeg"
    picture.write_bytes(cover)
    two = tmp_path / "two.mkv"
    ffmpeg("-i", source, "-map", "0:v:0", "-c", "copy", "-attach", picture, "-attach", picture,
           "-metadata:s:t", f"mimetype={kind}", two)  # fmt: skip
    assert covers_of(two) == 2 * [cover]
    (line,) = copy_naming(two, tmp_path / "out.mp4")
    assert line.startswith("cover art stream 2")
    assert covers_of(tmp_path / "out.mp4") == [cover]


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


@pytest.mark.parametrize("kind", ["mkv", "mp4", "mov"])
def test_a_second_picture_is_named_not_copied(tmp_path: Path, kind: str) -> None:
    """Copied, it would still show the face that was swapped in the first."""
    first = make_clip(tmp_path / "first.mkv", frames=5)
    source = tmp_path / f"in.{kind}"
    ffmpeg("-i", first, "-i", first, "-map", "0", "-map", "1", "-c", "copy", source)
    assert copy_naming(source, tmp_path / f"out.{kind}") == ["video stream 1 (h264)"]
    assert [s[0] for s in streams_of(tmp_path / f"out.{kind}")] == ["video"]


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
