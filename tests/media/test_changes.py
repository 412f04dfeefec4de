"""Clips that change their size or colour tags on the way, found before the work."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vidswap.errors import CodecError
from vidswap.media import VideoReader, VideoWriter
from vidswap.media.changes import looks_of

from .clips import ffmpeg, frame_times, make_clip

Copy = Callable[..., Path]

N = 12  # frames of a part
LIMITED_709, FULL_709, LIMITED_601 = (1, 1, 1, 1), (2, 1, 1, 1), (1, 6, 6, 6)


def joined(parts: list[Path], path: Path) -> Path:
    """Clips one after the other, by ffmpeg's concat demuxer, without coding them again."""
    names = path.with_suffix(".txt")
    names.write_text("".join(f"file '{part}'\n" for part in parts))
    ffmpeg("-f", "concat", "-safe", "0", "-i", names, "-c", "copy", path)
    return path


def retagged(clip: Path, path: Path, tags: tuple[int, int, int, int]) -> Path:
    """The clip's pictures coded with other tags, so that they look the same."""
    span = "full" if tags[0] == 2 else "limited"
    matrix = {1: "bt709", 6: "smpte170m"}[tags[3]]
    scale = f"scale=out_range={span}:out_color_matrix={matrix}:flags=accurate_rnd"
    ffmpeg("-i", clip, "-vf", scale, "-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p",
           "-color_range", str(tags[0]), "-color_primaries", matrix, "-color_trc", matrix,
           "-colorspace", matrix, path)  # fmt: skip
    return path


def still(index: int, width: int, height: int) -> np.ndarray:
    """The same soft colours in every frame."""
    del index
    x, y = np.meshgrid(np.linspace(70, 180, width), np.linspace(80, 150, height))
    return np.dstack([x, y, 210 - x]).astype(np.uint8)


@pytest.fixture(scope="module")
def soft(clips: Path) -> Path:
    return make_clip(
        clips / "soft.mkv", picture=still, frames=N, pixel_format="yuv444p", tags=LIMITED_709,
        options={"qp": "0"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        ("libx264", ".ts"),
        ("libx265", ".ts"),
        ("mpeg2video", ".ts"),
        ("libx264", ".mkv"),
        ("libvpx", ".mkv"),
        ("libvpx-vp9", ".mkv"),
        ("libsvtav1", ".mkv"),
        ("mjpeg", ".mkv"),
        ("mpeg4", ".ts"),
    ],
)
def test_a_change_of_size_is_refused_before_the_work(
    tmp_path: Path, codec: str, suffix: str
) -> None:
    extra = {"libx265": {"x265-params": "log-level=none"}}.get(codec, {})
    sizes = [(128, 96), (96, 64)]
    parts = [
        make_clip(
            tmp_path / f"{n}{suffix}", size=size, frames=N, codec=codec, options=extra,
            pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p",
        )
        for n, size in enumerate(sizes)
    ]  # fmt: skip
    source = joined(parts, tmp_path / f"joined{suffix}")
    assert [(look.width, look.height) for look in looks_of(source)] == sizes
    with (
        VideoReader(source) as reader,
        pytest.raises(CodecError, match=r"from 128x96 to 96x64 at 0\.4\d* s.*--start"),
    ):
        VideoWriter(tmp_path / "out.mp4", reader)


@pytest.mark.parametrize(("start", "end", "size"), [(None, 0.48, 128), (0.48, None, 96)])
def test_each_part_of_one_size_is_written(
    tmp_path: Path, copied: Copy, start: float | None, end: float | None, size: int
) -> None:
    parts = [
        make_clip(tmp_path / f"{n}.mkv", size=(width, 64), frames=N)
        for n, width in enumerate((128, 96))
    ]
    source = joined(parts, tmp_path / "joined.mkv")
    out = copied(source, "out.mp4", start=start, end=end)
    assert len(frame_times(out)) == N
    with VideoReader(out) as reader:
        assert reader.width == size


def test_parameter_sets_that_come_again_are_no_change(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.ts", frames=24, key_every=6)
    assert len(looks_of(clip)) == 1
    assert looks_of(clip)[0].seconds == frame_times(clip)[0]


@pytest.mark.parametrize("tags", [FULL_709, LIMITED_601])
@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_frames_of_other_tags_are_converted_to_those_of_the_first(
    soft: Path, tmp_path: Path, tags: tuple[int, int, int, int], codec: str
) -> None:
    second = retagged(soft, tmp_path / "second.mkv", tags)
    source = joined([soft, second], tmp_path / "joined.mkv")
    out = tmp_path / "out.mkv"
    with (
        VideoReader(source) as reader,
        VideoWriter(out, reader, codec=codec, crf=0 if codec == "h264" else None) as writer,
    ):
        (line,) = [line for line in writer.dropped if "colour tags" in line]
        for frame in reader:
            writer.write(frame)
    assert "at 0.480 s" in line
    with VideoReader(out) as result:
        pictures = [frame.rgb.astype(int) for frame in result]
    assert len(pictures) == 2 * N
    wanted = still(0, 96, 64).astype(int)
    assert np.abs(pictures[0] - wanted).mean() < 1.5
    # The second half looks as it did: without conversion it is some 9 levels off.
    assert np.abs(pictures[-1] - wanted).mean() < 2.0
    assert np.abs(pictures[-1] - pictures[0]).max() <= 5


def test_frames_before_a_change_of_tags_keep_their_samples(soft: Path, tmp_path: Path) -> None:
    second = retagged(soft, tmp_path / "second.mkv", FULL_709)
    source = joined([soft, second], tmp_path / "joined.mkv")
    with (
        VideoReader(source) as reader,
        VideoWriter(tmp_path / "out.mkv", reader, codec="ffv1") as writer,
    ):
        for frame in reader:
            writer.write(frame)
    with VideoReader(soft) as first, VideoReader(tmp_path / "out.mkv") as result:
        for before, after in zip(first, result, strict=False):
            assert np.array_equal(before.rgb, after.rgb)


def test_a_change_outside_the_range_is_not_told(soft: Path, tmp_path: Path) -> None:
    second = retagged(soft, tmp_path / "second.mkv", FULL_709)
    source = joined([soft, second], tmp_path / "joined.mkv")
    for number, (start, end) in enumerate([(None, 0.48), (0.48, None)]):
        with VideoReader(source, start, end) as reader:
            writer = VideoWriter(tmp_path / f"{number}.mkv", reader)
            writer.abort()
        assert not [line for line in writer.dropped if "colour tags" in line]
    assert looks_of(source)[1].seconds == Fraction(48, 100)
