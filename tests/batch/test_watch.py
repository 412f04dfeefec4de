"""A hot folder takes what is complete, once, and again when it is replaced."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.batch.fakes import fakes, times_done
from vidswap.batch.run import BatchOptions, BatchResult, Event
from vidswap.batch.watch import HotFolder, WatchOptions, watch_folder
from vidswap.errors import BadOptionError, InputNotFoundError
from vidswap.swap.options import SwapOptions


@pytest.fixture
def watched(tmp_path: Path) -> WatchOptions:
    (tmp_path / "in").mkdir()
    for name in ("alice.jpg", "weights"):
        (tmp_path / name).write_text(name)
    return WatchOptions(
        folder=tmp_path / "in", sources=(tmp_path / "alice.jpg",), output=tmp_path / "out",
        options=SwapOptions(checkpoint=tmp_path / "weights"), settle=0.3,
    )  # fmt: skip


def names(jobs: list) -> list[str]:  # type: ignore[type-arg]
    return [job.request.target.name for job in jobs]


def test_a_file_is_taken_when_it_no_longer_grows(watched: WatchOptions) -> None:
    folder = HotFolder(watched)
    clip = watched.folder / "a.mp4"
    clip.write_text("1")
    (watched.folder / "empty.mp4").touch()
    for n in range(4):
        assert names(folder.arrived()) == []
        time.sleep(0.1)
        with clip.open("a") as file:
            file.write(str(n))
    assert folder.arrived() == []
    time.sleep(0.35)
    assert names(folder.arrived()) == ["a.mp4"]
    assert folder.arrived() == [] and folder.is_quiet()
    os.utime(clip, (1, 1))
    assert not folder.is_quiet() and folder.arrived() == []
    time.sleep(0.35)
    assert names(folder.arrived()) == ["a.mp4"]


def test_names_of_unfinished_files_are_passed_over(watched: WatchOptions) -> None:
    for name in (".a.mp4", "b.mp4.part", "c.MP4.tmp", "~d.mp4", "e.crdownload", "good.mp4"):
        (watched.folder / name).write_text("x")
    (watched.folder / "folder.mp4").mkdir()
    (watched.folder / "dangling.mp4").symlink_to("nowhere")
    folder = HotFolder(watched)
    folder.arrived()
    time.sleep(0.35)
    assert names(folder.arrived()) == ["good.mp4"]


def once(watched: WatchOptions, events: list[Event] | None = None) -> BatchResult:
    notify = (lambda event: None) if events is None else events.append
    return watch_folder(watched, BatchOptions(), notify, make_runner=fakes, once=True)


def test_clips_are_swapped_once_over_restarts_and_again_when_replaced(
    watched: WatchOptions,
) -> None:
    for name in ("a.mp4", "b.mp4", "faceless-1.mp4"):
        (watched.folder / name).write_text("x")
    result = once(watched)
    assert (result.counts["done"], result.counts["failed"]) == (2, 1)
    assert times_done(watched.output) == ["a.mp4", "b.mp4"]
    once(watched)
    assert times_done(watched.output) == ["a.mp4", "b.mp4"]
    (watched.folder / "a.mp4").write_text("another")
    once(watched)
    assert times_done(watched.output) == ["a.mp4", "a.mp4", "b.mp4"]


def test_what_arrives_while_it_watches_is_done(watched: WatchOptions) -> None:
    def arrive() -> None:
        time.sleep(0.5)
        (watched.folder / "second.mp4").write_text("x")

    (watched.folder / "slow-1.mp4").write_text("x")
    thread = threading.Thread(target=arrive)
    thread.start()
    # The first clip settles after 0.3 s and its worker starts; the second comes meanwhile.
    (watched.folder / "growing.mp4.part").write_text("x")
    once(watched)
    thread.join()
    once(watched)
    assert times_done(watched.output) == ["second.mp4", "slow-1.mp4"]


def test_bad_folders_are_refused(watched: WatchOptions, tmp_path: Path) -> None:
    def options(**changes: object) -> WatchOptions:
        return WatchOptions(**(vars(watched) | changes))

    with pytest.raises(InputNotFoundError):
        options(folder=tmp_path / "absent")
    with pytest.raises(BadOptionError, match="is watched"):
        options(output=watched.folder)
    with pytest.raises(BadOptionError, match="leads out"):
        options(template="../{target}{ext}")
    with pytest.raises(BadOptionError, match="--settle"):
        options(settle=-1.0)


def test_a_clip_that_is_replaced_while_it_watches_counts_once(watched: WatchOptions) -> None:
    clip, events = watched.folder / "a.mp4", list[Event]()

    def replace() -> None:
        while not any(event.name == "done" for event in events):
            time.sleep(0.05)
        clip.write_text("another")

    for path in (clip, watched.folder / "long-1.mp4"):
        path.write_text("x")
    thread = threading.Thread(target=replace)
    thread.start()
    once(watched, events)  # while the long one is under way
    thread.join()
    assert times_done(watched.output) == ["a.mp4", "a.mp4", "long-1.mp4"]
    assert max(event.finished for event in events) == events[-1].finished == 2
