"""Interlaced clips: which field comes first is kept, or the clip is refused with a reason."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from vidswap.errors import CodecError
from vidswap.media import VideoReader, VideoWriter

from .clips import decoded_planes, ffmpeg, make_clip

Copy = Callable[..., Path]
TOP, BOTTOM = 2, 3  # AVFieldOrder


@pytest.fixture(scope="module", params=["top", "bottom"])
def fields(request: pytest.FixtureRequest, clips: Path) -> tuple[Path, int]:
    """An H.264 clip with that field first, and its AVFieldOrder."""
    first = str(request.param)
    progressive = make_clip(clips / f"progressive {first}.mkv", frames=8, options={"qp": "0"})
    path = clips / f"fields {first}.mp4"
    ffmpeg("-i", progressive, "-vf", f"setfield={first[0]}ff,interlace=scan={first[0]}ff",
           "-flags", "+ildct", "-x264-params", f"{first[0]}ff=1", path)  # fmt: skip
    return path, TOP if first == "top" else BOTTOM


def field_order(path: Path) -> int:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.field_order


@pytest.mark.parametrize(
    ("name", "codec"), [("out.mp4", "h264"), ("out.mkv", "h264"), ("out.mov", "prores")]
)
def test_field_order_is_kept(
    fields: tuple[Path, int], tmp_path: Path, name: str, codec: str
) -> None:
    source, order = fields
    assert field_order(source) == order
    out = tmp_path / name
    with VideoReader(source) as reader, VideoWriter(out, reader, codec=codec) as writer:
        assert reader.interlaced
        for frame in reader:
            pixels = np.full((20, 20, 3), 120, np.uint8)
            writer.write(frame.with_pixels((10, 10, 30, 30), pixels))
    assert field_order(out) == order
    with av.open(str(out)) as container:
        kept = [frame.interlaced_frame for frame in container.decode(video=0)]
    assert kept and all(kept)


def test_ffv1_keeps_every_field_bit_for_bit(fields: tuple[Path, int], copied: Copy) -> None:
    out = copied(fields[0], "out.mkv", codec="ffv1")
    pairs = zip(decoded_planes(fields[0]), decoded_planes(out), strict=True)
    assert all(np.array_equal(a, b) for old, new in pairs for a, b in zip(old, new, strict=True))
    with VideoReader(out) as reader:
        assert reader.interlaced


@pytest.mark.parametrize("codec", ["hevc", "vp9", "av1"])
def test_encoders_without_fields_are_refused_by_name(
    fields: tuple[Path, int], tmp_path: Path, codec: str
) -> None:
    with (
        VideoReader(fields[0]) as reader,
        pytest.raises(CodecError, match=r"interlaced.*use h264, prores or ffv1"),
    ):
        VideoWriter(tmp_path / "out.mkv", reader, codec=codec)
    assert list(tmp_path.iterdir()) == []
