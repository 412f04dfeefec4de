"""The ranges of one clip by worker processes: each done, whatever happens to a worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.media.clips import decoded_planes, frame_times, make_clip
from tests.photographs import astronaut, grace_hopper
from tests.swap_fixtures import moved
from vidswap.batch.film import RangeWorkers
from vidswap.batch.worker_process import Report, Runner
from vidswap.errors import DiskFullError, VidswapError, WorkerKilledError
from vidswap.swap import ranges
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.ranges import FrameRange, RangeProgress, RangeResult, RangeWork
from vidswap.swap.request import SwapRequest
from vidswap.swap.resume import Work
from vidswap.swap.worker import swap_video


@contextmanager
def fake_ranges() -> Iterator[Runner]:
    """Does as the range's frames say: 1 dies once, 2 dies always, 3 fails, 4 has a fault."""

    def run(work: RangeWork, report: Report) -> dict[str, Any]:
        part = work.range
        report(part.frames, part.frames)
        flag = work.request.output.with_name("died")
        if part.frames == 2 or (part.frames == 1 and not flag.exists()):
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if part.frames == 3:
            raise DiskFullError("no space left")
        if part.frames == 4:
            raise ZeroDivisionError("of ours")
        made = Work(work.request.output.parent, ())
        return {"result": RangeResult(part.number, made, SwapCounts(part.frames), 0, None, ())}

    yield run


def works(folder: Path, frames: list[int]) -> Iterator[RangeWork]:
    request = SwapRequest.of(["a.jpg"], "t.mp4", folder / "o.mp4")
    for number, n in enumerate(frames):
        yield RangeWork(request, {}, FrameRange(number, number, None, n, 0))


def done(folder: Path, frames: list[int], jobs: int = 2) -> list[int]:
    events = RangeWorkers(jobs, make_runner=fake_ranges)(works(folder, frames))
    return sorted(event.number for event in events if isinstance(event, RangeResult))


def test_every_range_is_done_though_a_worker_is_killed(tmp_path: Path) -> None:
    assert done(tmp_path, [10, 1, *[20] * 8]) == list(range(10))
    assert (tmp_path / "died").exists()


@pytest.mark.parametrize(
    ("frames", "error"),
    [
        pytest.param(2, WorkerKilledError, marks=pytest.mark.slow),
        (3, DiskFullError),
        pytest.param(4, VidswapError, marks=pytest.mark.slow),
    ],
)
def test_what_ails_a_range_ails_the_clip(
    tmp_path: Path, frames: int, error: type[VidswapError]
) -> None:
    with pytest.raises(error):
        done(tmp_path, [10, frames, 10])


def test_what_ails_the_search_for_cuts_is_told(tmp_path: Path) -> None:
    def broken() -> Iterator[RangeWork]:
        yield from works(tmp_path, [10])
        raise DiskFullError("while looking")

    with pytest.raises(DiskFullError, match="while looking"):
        list(RangeWorkers(1, make_runner=fake_ranges)(broken()))


@pytest.mark.slow
def test_two_processes_make_the_clip_that_one_makes_though_one_is_killed(
    tmp_path: Path, source_picture: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "shortest_range", lambda frames: 1)
    photos = (grace_hopper(), astronaut()[:300, 100:340])
    clip = make_clip(
        tmp_path / "clip.mp4", size=(192, 144), frames=150, sound=["aac"], options={"crf": "12"},
        picture=lambda n, width, height: moved(photos[n // 30 % 2], n % 30, width, height),
    )  # fmt: skip
    options = SwapOptions(
        checkpoint=untrained, segment_frames=25, codec="ffv1", no_provenance="a test"
    )
    workers = RangeWorkers(2)
    killed: list[int] = []

    def killing(found: Iterator[RangeWork]) -> Iterator[RangeProgress | RangeResult]:
        for event in workers(found):
            yield event
            if not killed and isinstance(event, RangeResult):
                import psutil

                children = psutil.Process().children()
                busy = [c for c in children if "spawn_main" in " ".join(c.cmdline())]
                killed.append(busy[-1].pid)
                time.sleep(0.3)
                os.kill(killed[0], signal.SIGKILL)

    one, two = tmp_path / "one.mkv", tmp_path / "two.mkv"
    swap_video([source_picture], clip, one, options)
    result = swap_video([source_picture], clip, two, options, ranges_by=killing)
    assert killed and result.frames == 150
    assert frame_times(one) == frame_times(two)
    for a, b in zip(decoded_planes(one), decoded_planes(two), strict=True):
        assert all((x == y).all() for x, y in zip(a, b, strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "one.mkv", "two.mkv"]
