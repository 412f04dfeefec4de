"""Bad input gets one clear line; a clip that breaks off gives what there is."""

import shutil
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from vidswap.errors import BadOptionError, InputNotFoundError, NotAVideoError, VidswapError
from vidswap.media import (
    VideoReader,
    VideoWriter,
    probe,
    read_picture,
    sample_frames,
    write_picture,
)

from .clips import (
    decoded_planes,
    frame_times,
    make_clip,
    make_sound,
    moving_picture,
    sound_packets,
)

Reader = Callable[[Path], object]
READERS: list[Reader] = [probe, VideoReader, lambda path: sample_frames(path, 2)]


@pytest.fixture
def matroska(tmp_path: Path) -> Path:
    return make_clip(
        tmp_path / "in.mkv", frames=100, b_frames=2, sound=["aac"], options={"qp": "10"}
    )


@pytest.fixture
def front_loaded(tmp_path: Path) -> Path:
    """MP4 with its index in front, so that it opens when its end is missing."""
    return make_clip(
        tmp_path / "in.mp4",
        frames=100,
        b_frames=2,
        sound=["aac"],
        options={"qp": "10"},
        container_options={"movflags": "faststart"},
    )


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("read", READERS)
def test_missing_file(tmp_path: Path, read: Reader) -> None:
    with pytest.raises(InputNotFoundError, match=r"no such file: .*gone\.mp4"):
        read(tmp_path / "gone.mp4")


@pytest.mark.parametrize("read", READERS)
def test_folder(tmp_path: Path, read: Reader) -> None:
    with pytest.raises(NotAVideoError, match="is a folder"):
        read(tmp_path)


def test_where_a_clip_is_wanted_a_series_of_pictures_is_refused_with_the_way_out(
    tmp_path: Path,
) -> None:
    for number in range(3):
        write_picture(tmp_path / f"{number:05d}.png", moving_picture(number, 16, 16))
    with pytest.raises(NotAVideoError, match=r"an image sequence: make a clip of it first"):
        VideoReader(tmp_path)
    with pytest.raises(InputNotFoundError, match=r"%05d\.png; a clip is wanted here.*make a clip"):
        VideoReader(tmp_path / "%05d.png")
    assert probe(tmp_path).frames == 3
    assert len(sample_frames(tmp_path / "%05d.png", 2)) == 2


@pytest.mark.parametrize("read", READERS)
def test_zero_bytes(tmp_path: Path, read: Reader) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(NotAVideoError, match=r"empty \(0 bytes\)"):
        read(path)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes.mkv", "list.m3u8"])
def test_text_is_not_a_video_whatever_its_name(tmp_path: Path, read: Reader, name: str) -> None:
    path = tmp_path / name
    path.write_text("#EXTM3U\nfile one\nhttp://127.0.0.1/x.ts\n" * 40)
    with pytest.raises(NotAVideoError, match=name) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", ["song.mp3", "song.m4a", "song.wav"])
def test_sound_alone_is_not_a_video(tmp_path: Path, read: Reader, name: str) -> None:
    codec = {"song.mp3": "libmp3lame", "song.m4a": "aac", "song.wav": "pcm_s16le"}[name]
    with pytest.raises(NotAVideoError, match=r"no video in it \(only audio\)"):
        read(make_sound(tmp_path / name, codec))


def test_mp4_without_its_index_is_not_a_video(talking: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(talking, tmp_path / "half.mp4"))
    with pytest.raises(NotAVideoError, match=r"half\.mp4") as caught:
        VideoReader(cut(path, 0.5))
    assert "\n" not in str(caught.value)


def test_damaged_picture_is_not_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    with pytest.raises(NotAVideoError, match=r"half\.png"):
        read_picture(path)
    with pytest.raises(NotAVideoError, match=r"half\.png"):
        probe(path)


def test_whole_clips_are_not_called_truncated(
    talking: Path, uneven: Path, matroska: Path, front_loaded: Path
) -> None:
    for path in (talking, uneven, matroska, front_loaded):
        with VideoReader(path) as reader:
            assert len(list(reader)) == len(frame_times(path))
            assert reader.truncated is None


@pytest.mark.parametrize("kind", ["matroska", "front_loaded"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_clip_that_breaks_off_gives_what_is_there_and_says_so(
    kind: str, share: float, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(kind)
    whole = decoded_planes(path)
    with VideoReader(cut(path, share)) as reader:
        times = [frame.seconds for frame in reader]
    assert 100 * share * 0.6 < len(times) < len(whole) == 100
    assert times == sorted(set(times))
    assert reader.truncated is not None
    assert str(path) in reader.truncated
    assert "\n" not in reader.truncated


@pytest.mark.parametrize("kind", ["matroska", "front_loaded"])
def test_what_is_left_of_a_broken_clip_is_written_with_its_sound(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = cut(request.getfixturevalue(kind), 0.6)
    out = tmp_path / "out.mp4"
    with VideoReader(path) as reader, VideoWriter(out, reader) as writer:
        count = 0
        for frame in reader:
            writer.write(frame)
            count += 1
    assert count > 30
    assert len(frame_times(out)) == count
    assert len(sound_packets(out)) > 30


def test_damage_in_the_middle_does_not_lose_the_end(matroska: Path) -> None:
    content = bytearray(matroska.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 600] = bytes(600)
    matroska.write_bytes(content)
    with VideoReader(matroska) as reader:
        times = [frame.seconds for frame in reader]
    assert times[-1] == pytest.approx(99 / 25)
    assert len(times) > 60


def test_broken_clip_can_be_sampled(matroska: Path) -> None:
    frames = sample_frames(cut(matroska, 0.5), 5)
    assert len(frames) == 5
    assert frames[-1].seconds < 3.0


@pytest.mark.parametrize(
    ("start", "end"), [(-1.0, None), (2.0, 1.0), (1.0, 1.0), (None, 0.0), (99.0, None)]
)
def test_ranges_without_frames_are_refused(
    talking: Path, start: float | None, end: float | None
) -> None:
    with pytest.raises(BadOptionError) as caught:
        VideoReader(talking, start, end)
    assert isinstance(caught.value, VidswapError)
    assert "\n" not in str(caught.value)


def test_odd_names_are_taken_as_they_are(talking: Path, tmp_path: Path) -> None:
    for name in ("a %03d.mp4", "Grüße 顔.mp4", "concat:x.mp4", "-y.mp4"):
        path = Path(shutil.copy(talking, tmp_path / name))
        out = tmp_path / f"out {name}"
        with VideoReader(path) as reader, VideoWriter(out, reader) as writer:
            for frame in reader:
                writer.write(frame)
        with av.open(f"file:{out}") as container:
            assert container.streams.video[0].frames == 48
