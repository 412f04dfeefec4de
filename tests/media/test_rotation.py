"""Display rotation: frames are upright, outputs look like their source and are turned once."""

from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from vidswap.media import VideoReader, VideoWriter

from .clips import decoded_planes, make_clip, moving_picture

Copy = Callable[..., Path]
SIZE = (96, 64)
TURNS = [(turn, mirror) for turn in (0, 90, 180, 270) for mirror in (False, True)]


def as_shown(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """First frame as the ffmpeg program shows it, with its own handling of rotation."""
    reader = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24")
    size = next(reader)["size"]
    assert size == shape[::-1] or size == shape
    height, width = shape
    return np.frombuffer(next(reader), np.uint8).reshape(height, width, 3)


def first_rgb(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        return next(iter(reader)).rgb


@pytest.mark.parametrize(("turn", "mirror"), TURNS)
def test_frames_are_as_a_player_shows_them(tmp_path: Path, turn: int, mirror: bool) -> None:
    source = make_clip(tmp_path / "in.mp4", size=SIZE, frames=3, rotation=turn, mirrored=mirror)
    rgb = first_rgb(source)
    assert rgb.shape == ((96, 64, 3) if turn in (90, 270) else (64, 96, 3))
    shown = as_shown(source, rgb.shape[:2])
    assert np.abs(rgb.astype(int) - shown).mean() < 3.0


def test_a_quarter_turn_counter_clockwise_is_what_numpy_calls_it(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", size=SIZE, frames=2, rotation=90)
    expected = np.rot90(moving_picture(0, *SIZE))
    assert np.abs(first_rgb(source).astype(int) - expected).mean() < 4.0


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
@pytest.mark.parametrize(("turn", "mirror"), [(90, False), (180, False), (270, False), (90, True)])
def test_output_keeps_the_turn_and_looks_the_same(
    tmp_path: Path, copied: Copy, name: str, turn: int, mirror: bool
) -> None:
    source = make_clip(tmp_path / "in.mp4", size=SIZE, frames=3, rotation=turn, mirrored=mirror)
    out = copied(source, name)
    with VideoReader(source) as before, VideoReader(out) as after:
        assert after.orientation == before.orientation
        assert (after.coded_width, after.coded_height) == SIZE
    rgb = first_rgb(out)
    assert np.abs(rgb.astype(int) - first_rgb(source)).mean() < 3.0
    assert np.abs(rgb.astype(int) - as_shown(out, rgb.shape[:2])).mean() < 3.0


@pytest.mark.parametrize(("turn", "mirror"), TURNS)
def test_a_box_in_upright_pixels_lands_where_the_viewer_sees_it(
    tmp_path: Path, turn: int, mirror: bool
) -> None:
    source = make_clip(tmp_path / "in.mp4", size=SIZE, frames=2, rotation=turn, mirrored=mirror)
    out = tmp_path / "out.mkv"
    box = (10, 6, 30, 40)
    patch = np.full((34, 20, 3), (200, 30, 40), np.uint8)
    with VideoReader(source) as reader, VideoWriter(out, reader, codec="ffv1") as writer:
        for frame in reader:
            writer.write(frame.with_pixels(box, patch))
    before, after = first_rgb(source).astype(int), first_rgb(out).astype(int)
    changed = np.abs(after - before).max(axis=2) > 0
    assert np.abs(after[6:40, 10:30] - patch).max() <= 3
    changed[6:40, 10:30] = False
    assert not changed.any()
    planes = zip(decoded_planes(source)[0], decoded_planes(out)[0], strict=True)
    assert any((a != b).any() for a, b in planes)
