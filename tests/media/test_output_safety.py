"""Nothing is lost and nothing half-written is left under the final name."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidswap.errors import (
    BadOptionError,
    CodecError,
    DiskFullError,
    InputNotFoundError,
    OutputExistsError,
    OutputNotWritableError,
)
from vidswap.media import VideoReader, VideoWriter, check_output, encoder, picture, write_picture
from vidswap.media.codecs import CODECS
from vidswap.media.container import check_input
from vidswap.media.output import temporary_path, writing_errors
from vidswap.media.segments import SegmentFolder, work_folders

from .clips import frame_times


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_output_that_exists_is_kept(talking: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_text("precious")
    with (
        VideoReader(talking) as reader,
        pytest.raises(OutputExistsError, match=r"out\.mp4 exists.*--overwrite"),
    ):
        VideoWriter(out, reader)
    assert out.read_text() == "precious"
    assert names(tmp_path) == ["out.mp4"]


def test_overwriting_replaces_only_at_the_end(talking: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_text("precious")
    with VideoReader(talking) as reader, VideoWriter(out, reader, overwrite=True) as writer:
        for frame in reader:
            writer.write(frame)
            assert out.read_text() == "precious"
    assert len(frame_times(out)) == 48
    assert names(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_interrupted_write_leaves_nothing(
    talking: Path, tmp_path: Path, failure: type[BaseException]
) -> None:
    out = tmp_path / "out.mp4"
    with (
        VideoReader(talking) as reader,
        pytest.raises(failure),
        VideoWriter(out, reader) as writer,
    ):
        for index, frame in enumerate(reader):
            writer.write(frame)
            if index == 20:
                assert names(tmp_path) == [".out.part.mp4"]
                raise failure
    assert names(tmp_path) == []


def test_abort_then_close_does_nothing_more(talking: Path, tmp_path: Path) -> None:
    with VideoReader(talking) as reader:
        writer = VideoWriter(tmp_path / "out.mp4", reader)
        writer.write(next(iter(reader)))
        writer.abort()
        writer.close()
    assert names(tmp_path) == []


def test_missing_folder(talking: Path, tmp_path: Path) -> None:
    out = tmp_path / "nowhere" / "out.mp4"
    with (
        VideoReader(talking) as reader,
        pytest.raises(OutputNotWritableError, match=r"no such folder: .*nowhere"),
    ):
        VideoWriter(out, reader)


def test_folder_as_output(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(OutputNotWritableError, match="is a folder"):
        check_output(tmp_path / "out.mp4", overwrite=True)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputNotWritableError, match="no such folder"):
        check_output(tmp_path / "file" / "out.mp4")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputNotWritableError, match="cannot be written"):
            check_output(tmp_path / "out.mp4")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EIO])
def test_other_refusals_by_the_system_are_not_writable(code: int) -> None:
    with (
        pytest.raises(OutputNotWritableError, match=r"x\.mp4 cannot be written"),
        writing_errors(Path("x.mp4")),
    ):
        raise OSError(code, os.strerror(code))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_full_disk(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The temporary file leads to a device that is always full, so the system itself says so."""

    original = VideoWriter._open_output

    def open_on_full_disk(writer: VideoWriter) -> object:
        writer._part.symlink_to("/dev/full")
        return original(writer)

    monkeypatch.setattr(VideoWriter, "_open_output", open_on_full_disk)
    with (
        VideoReader(talking) as reader,
        pytest.raises(DiskFullError, match="no space left"),
        VideoWriter(tmp_path / name, reader, crf=0) as writer,
    ):
        for frame in reader:
            writer.write(frame)
    assert names(tmp_path) == []


def test_full_disk_while_a_picture_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(picture.Path, "write_bytes", full)
    with pytest.raises(DiskFullError, match="no space left"):
        write_picture(tmp_path / "out.png", np.zeros((4, 4, 3), np.uint8))
    assert names(tmp_path) == []


def test_unknown_codec_lists_the_known_ones(talking: Path, tmp_path: Path) -> None:
    with VideoReader(talking) as reader, pytest.raises(CodecError, match="divx") as caught:
        VideoWriter(tmp_path / "out.mp4", reader, codec="divx")
    assert all(name in str(caught.value) for name in CODECS)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "codec"),
    [("out.webm", "h264"), ("out.mp4", "prores"), ("out.mov", "vp9"), ("out.mp4", "ffv1")],
)
def test_codec_the_container_does_not_hold(
    talking: Path, tmp_path: Path, name: str, codec: str
) -> None:
    with VideoReader(talking) as reader, pytest.raises(CodecError, match=f"cannot hold {codec}"):
        VideoWriter(tmp_path / name, reader, codec=codec)


@pytest.mark.parametrize("name", ["out.avi", "out.xyz", "out", "out.png"])
def test_unknown_container_lists_the_known_ones(talking: Path, tmp_path: Path, name: str) -> None:
    with VideoReader(talking) as reader, pytest.raises(CodecError, match=r"\.mp4.*\.mkv"):
        VideoWriter(tmp_path / name, reader)


@pytest.mark.parametrize(("codec", "crf"), [("h264", 52), ("h264", -1), ("hevc", 60)])
def test_quality_outside_the_codecs_range(
    talking: Path, tmp_path: Path, codec: str, crf: int
) -> None:
    with VideoReader(talking) as reader, pytest.raises(BadOptionError, match=f"crf {crf}"):
        VideoWriter(tmp_path / "out.mp4", reader, codec=codec, crf=crf)


def test_unknown_preset_leaves_nothing(talking: Path, tmp_path: Path) -> None:
    with VideoReader(talking) as reader, pytest.raises(CodecError, match="another codec or preset"):
        VideoWriter(tmp_path / "out.mp4", reader, preset="warp")
    assert names(tmp_path) == []


def test_frames_out_of_order_are_refused(talking: Path, tmp_path: Path) -> None:
    with VideoReader(talking) as reader:
        frames = list(reader)
        with (
            pytest.raises(CodecError, match="in order"),
            VideoWriter(tmp_path / "out.mp4", reader) as writer,
        ):
            writer.write(frames[1])
            writer.write(frames[0])
    assert names(tmp_path) == []


def test_quality_setting_reaches_the_encoder(talking: Path, tmp_path: Path) -> None:
    sizes = []
    for crf in (10, 40):
        out = tmp_path / f"{crf}.mp4"
        with VideoReader(talking) as reader, VideoWriter(out, reader, crf=crf) as writer:
            for frame in reader:
                writer.write(frame)
        sizes.append(out.stat().st_size)
    assert sizes[0] > 1.2 * sizes[1]
    assert encoder.DEFAULT_CRF == 18


@pytest.mark.parametrize("length", [200, 230, 240, 250, 254, 255])
@pytest.mark.parametrize("letter", ["a", "\u540d"], ids=["latin", "kanji"])
def test_any_name_that_the_file_system_takes_works(
    talking: Path, tmp_path: Path, copied: Callable[..., Path], length: int, letter: str
) -> None:
    room = length - len(".mp4")
    name = letter * (room // len(letter.encode())) + "b" * (room % len(letter.encode())) + ".mp4"
    assert len(name.encode()) == length
    out = copied(talking, name)
    assert names(tmp_path) == [name]
    with SegmentFolder(out, {"target": "1"}) as folder:
        assert work_folders(out) == [folder.path]
    write_picture(out.with_suffix(".png"), np.zeros((8, 8, 3), np.uint8))
    assert names(tmp_path) == sorted([name, out.with_suffix(".png").name])


def test_names_that_are_near_the_limit_have_work_files_of_their_own(tmp_path: Path) -> None:
    first, second = (tmp_path / f"{letter * 251}.mp4" for letter in "ab")
    assert temporary_path(first) != temporary_path(second)
    assert temporary_path(tmp_path / "out.mp4").name == ".out.part.mp4"


def test_a_name_too_long_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputNotWritableError, match="has 304 bytes and its folder takes 255"):
        check_output(tmp_path / ("a" * 300 + ".mp4"))
    with pytest.raises(InputNotFoundError, match="cannot be read: file name too long"):
        check_input(tmp_path / ("a" * 300 + ".mp4"))
