"""Packets of copied streams keep their times: edit lists, B-frame delay, late starts."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from .clips import ffmpeg, frame_times, make_clip, packets_of

Copy = Callable[..., Path]


@pytest.fixture(scope="module")
def whole(clips: Path) -> Path:
    return make_clip(
        clips / "whole.mp4", frames=60, b_frames=2, key_every=10, sound=["aac", "libmp3lame"]
    )


@pytest.fixture(scope="module")
def edited(whole: Path, clips: Path) -> Path:
    """MP4 whose edit list hides the frames and the sound before 0.5 s, with B-frames."""
    path = clips / "edited.mp4"
    ffmpeg("-ss", "0.5", "-i", whole, "-map", "0", "-c", "copy", path)
    return path


def hidden(path: Path) -> int:
    """Number of packets that the edit list hides."""
    with av.open(str(path)) as container:
        return sum(packet.is_discard for packet in container.demux() if packet.size)


@pytest.mark.parametrize("name", ["out.mp4", "out.mov"])
def test_edit_list_is_obeyed_and_sound_keeps_its_place(
    edited: Path, copied: Copy, name: str
) -> None:
    assert hidden(edited) > 0
    out = copied(edited, name)
    assert frame_times(out) == frame_times(edited)
    for index in (1, 2):
        assert packets_of(out, index) == packets_of(edited, index)


@pytest.mark.parametrize(
    ("source_name", "name"),
    [
        ("in.mkv", "out.mkv"),
        ("in.mov", "out.mov"),
        ("in.mp4", "out.mp4"),
        ("in.mkv", "out.mp4"),
        ("in.ts", "out.mp4"),
        ("in.ts", "out.mkv"),
    ],
)
def test_a_clip_that_starts_late_keeps_all_times(
    whole: Path, tmp_path: Path, copied: Copy, source_name: str, name: str
) -> None:
    source = tmp_path / source_name
    ffmpeg("-i", whole, "-map", "0", "-c", "copy", "-output_ts_offset", "2.5",
           "-avoid_negative_ts", "disabled", source)  # fmt: skip
    out = copied(source, name)
    assert frame_times(source)[0] > 2
    pairs = list(zip(frame_times(out), frame_times(source), strict=True))
    # Matroska counts milliseconds.
    step = Fraction(1, 2000) if name.endswith(".mkv") else 0
    assert max(abs(a - b) for a, b in pairs) <= step
    for index in (1, 2):
        before, after = packets_of(source, index), packets_of(out, index)
        assert len(after) == len(before)
        # A transport stream's AAC packets begin with 7 bytes that other containers do without.
        assert all(old[1].endswith(new[1]) for old, new in zip(before, after, strict=True))
        tick = max(step, Fraction(1, 48_000))
        assert max(abs(a[0] - b[0]) for a, b in zip(after, before, strict=True)) <= tick


def test_offset_between_sound_and_picture_is_kept_to_the_tick(tmp_path: Path, copied: Copy) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=30, sound=["aac"], sound_start=0.31)
    out = copied(source, "out.mp4")
    assert packets_of(out, 1) == packets_of(source, 1)
    assert frame_times(out) == frame_times(source)
