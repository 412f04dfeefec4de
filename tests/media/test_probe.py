"""What `probe` says of clips."""

from fractions import Fraction
from pathlib import Path

import pytest

from vidswap.media import ColourTags, probe

from .clips import make_clip


def test_clip_with_sound(talking: Path) -> None:
    info = probe(talking)
    assert info.kind == "video"
    assert "mp4" in info.container
    assert (info.width, info.height, info.rotation) == (96, 64, 0)
    assert info.fps == 25.0
    assert (info.frames, info.frames_from) == (48, "header")
    assert info.duration == pytest.approx(48 / 25)
    assert info.pixel_format == "yuv420p"
    assert info.colour == ColourTags()
    assert info.has_audio
    assert [(s.kind, s.codec) for s in info.streams] == [("video", "h264"), ("audio", "aac")]
    assert (info.streams[1].channels, info.streams[1].sample_rate) == (1, 48_000)


def test_frames_are_counted_where_the_header_is_silent(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "in.mkv", frames=33, b_frames=2))
    assert (info.frames, info.frames_from) == (33, "packets")
    assert info.duration == pytest.approx(33 / 25)
    assert not info.has_audio


@pytest.mark.parametrize(("turn", "clockwise"), [(0, 0), (90, 270), (180, 180), (270, 90)])
def test_rotation_and_upright_size(tmp_path: Path, turn: int, clockwise: int) -> None:
    info = probe(make_clip(tmp_path / "in.mp4", frames=2, rotation=turn))
    assert info.rotation == clockwise
    assert (info.width, info.height) == ((64, 96) if turn in (90, 270) else (96, 64))


def test_variable_rate_gives_the_average(uneven: Path) -> None:
    info = probe(uneven)
    assert info.frames == 30
    assert info.time_base == Fraction(1, 90)
    assert info.fps == pytest.approx(info.frames / info.duration, rel=0.05)
