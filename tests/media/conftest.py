"""Fixtures: clips made once a session, and a plain copy through reader and writer."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from vidswap.media import VideoReader, VideoWriter

from .clips import make_clip


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for clips that several tests read."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def talking(clips: Path) -> Path:
    """MP4 of 48 frames with B-frames and AAC sound, whose priming lies before time 0."""
    return make_clip(clips / "talking.mp4", frames=48, b_frames=2, sound=["aac"])


@pytest.fixture(scope="session")
def uneven(clips: Path) -> Path:
    """MP4 whose frames last 1 to 5 ticks of 1/90 s, with B-frames."""
    pts, now = [], 0
    for index in range(30):
        pts.append(now)
        now += 1 + index * 7 % 5
    return make_clip(
        clips / "uneven.mp4",
        pts=pts,
        time_base=Fraction(1, 90),
        rate=Fraction(30),
        b_frames=2,
        container_options={"video_track_timescale": "90"},
    )


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., Path]:
    """Function that sends a clip through reader and writer unchanged and gives the new path."""

    def copy(
        source: Path,
        name: str,
        *,
        start: float | None = None,
        end: float | None = None,
        **options: object,
    ) -> Path:
        target = tmp_path / name
        with (
            VideoReader(source, start, end) as reader,
            VideoWriter(target, reader, **options) as writer,  # type: ignore[arg-type]
        ):
            for frame in reader:
                writer.write(frame)
        return target

    return copy
