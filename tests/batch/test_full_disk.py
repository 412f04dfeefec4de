"""A disk that is really full: a small one, mounted for the test, which needs root and Linux."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.media.clips import decoded_planes, frame_times, make_clip
from tests.photographs import astronaut, grace_hopper
from tests.swap_fixtures import moved
from vidswap.batch.film import RangeWorkers
from vidswap.batch.manifest import written_jsonl
from vidswap.batch.run import BatchOptions, Event, run_batch
from vidswap.batch.state import state_folder_of
from vidswap.batch.status import retry_jobs, status_of
from vidswap.commands.main import main
from vidswap.errors import DiskFullError
from vidswap.swap import ranges
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest
from vidswap.swap.worker import swap_video

pytestmark = pytest.mark.slow

Resize = Callable[[int], None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Resize]]:
    """A disk of 1 MB, and what makes it one of so many KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1000k", "tmpfs", str(folder)]
    try:
        made = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no program mounts disks here")
    if made.returncode:
        pytest.skip(f"no disk can be mounted here: {made.stderr.strip()}")

    def resize(kilobytes: int) -> None:
        again = ["mount", "-o", f"remount,size={kilobytes}k", str(folder)]
        subprocess.run(again, check=True, capture_output=True)

    yield folder, resize
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two people in turns, 25 frames each; 80 frames are 1.5 MB and more in ffv1."""
    photos = (grace_hopper(), astronaut()[:300, 100:340])
    return make_clip(
        tmp_path / "clip.mp4", size=(192, 144), frames=100, options={"crf": "12"},
        picture=lambda n, width, height: moved(photos[n // 25 % 2], n % 25, width, height),
    )  # fmt: skip


@pytest.fixture
def options(untrained: Path) -> SwapOptions:
    return SwapOptions(
        checkpoint=untrained, segment_frames=25, codec="ffv1", no_provenance="a test"
    )


def whole(folder: Path) -> list[str]:
    """Names of what lies under a final name."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def written(path: Path, requests: list[SwapRequest]) -> Path:
    path.write_text("".join(f"{line}\n" for line in written_jsonl(requests)))
    return path


def test_a_job_whose_disk_is_full_fails_alone_and_is_done_once_there_is_room(
    tmp_path: Path, disk: tuple[Path, Resize], clip: Path, source_picture: Path,
    options: SwapOptions,
) -> None:  # fmt: skip
    small, resize = disk
    large = tmp_path / "out"
    outputs = [large / "a.mkv", small / "b.mkv", large / "c.mkv"]
    manifest = written(
        tmp_path / "jobs.jsonl",
        [SwapRequest.of([source_picture], clip, output, options) for output in outputs],
    )
    command = ["batch", "run", str(manifest), "--retries", "1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 41, result.stderr
    assert "3 jobs: 2 done, 1 failed" in result.stdout
    assert "exit code 9: no space left" in result.stderr
    record = status_of(manifest)[1].record
    assert record.error and record.error.exit_code == 9 and record.attempts == 2
    assert whole(large) == ["a.mkv", "c.mkv"] and whole(small) == []
    resize(20_000)
    assert len(retry_jobs(manifest)) == 1
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0 and "3 jobs: 3 done; 2 of them before" in result.stdout
    assert [path.name for path in small.iterdir()] == ["b.mkv"]
    assert frame_times(small / "b.mkv") == frame_times(large / "a.mkv")


def test_a_run_whose_state_cannot_be_written_ends_and_goes_on_once_there_is_room(
    disk: tuple[Path, Resize], clip: Path, source_picture: Path, options: SwapOptions
) -> None:
    small, resize = disk
    requests = [
        SwapRequest.of([source_picture], clip, small / f"{n}.mkv", options) for n in range(2)
    ]
    manifest = written(small / "jobs.jsonl", requests)
    filling, state = small / "filling", state_folder_of(manifest)

    def fill(event: Event | None = None) -> None:
        with filling.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))

    fill()
    with pytest.raises(DiskFullError):
        run_batch(manifest)
    assert [path for path in state.rglob("*") if path.is_file()] == []
    assert whole(small) == ["filling", "jobs.jsonl", "jobs.jsonl.state"]
    filling.unlink()
    with pytest.raises(DiskFullError):
        run_batch(manifest, notify=fill)  # when the first job has begun
    assert whole(small) == ["filling", "jobs.jsonl", "jobs.jsonl.state"]
    filling.unlink()
    result = run_batch(manifest, BatchOptions(retries=0))
    assert result.counts["failed"] == 2
    assert whole(small) == ["jobs.jsonl", "jobs.jsonl.state"]
    resize(30_000)
    retry_jobs(manifest)
    assert run_batch(manifest).counts["done"] == 2
    assert whole(small) == ["0.mkv", "1.mkv", "jobs.jsonl", "jobs.jsonl.state"]


def test_one_clip_by_two_workers_ends_and_goes_on_once_there_is_room(
    tmp_path: Path, disk: tuple[Path, Resize], clip: Path, source_picture: Path,
    options: SwapOptions, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(ranges, "shortest_range", lambda frames: 1)
    small, resize = disk
    output = small / "two.mkv"
    with pytest.raises(DiskFullError):
        swap_video([source_picture], clip, output, options, ranges_by=RangeWorkers(2))
    assert whole(small) == []
    # Of the worker that was killed meanwhile only what can be gone on with takes up space.
    left = [path.name for path in small.rglob("*") if path.is_file()]
    assert not [name for name in left if name.endswith(".part")]
    resize(30_000)
    swap_video([source_picture], clip, output, options, ranges_by=RangeWorkers(2))
    swap_video([source_picture], clip, tmp_path / "one.mkv", options)
    assert [path.name for path in small.iterdir()] == ["two.mkv"]
    assert frame_times(output) == frame_times(tmp_path / "one.mkv")
    for a, b in zip(decoded_planes(output), decoded_planes(tmp_path / "one.mkv"), strict=True):
        assert all((x == y).all() for x, y in zip(a, b, strict=True))
