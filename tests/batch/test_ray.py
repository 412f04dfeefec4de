"""Jobs on a Ray cluster of this computer: each done once, also when a machine dies."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.batch.fakes import fakes, manifest_of, times_done
from tests.batch.test_film import fake_ranges, works
from tests.media.clips import decoded_planes, frame_times, make_clip
from tests.photographs import astronaut, grace_hopper
from tests.swap_fixtures import moved
from vidswap.batch.manifest import written_jsonl
from vidswap.batch.ray_film import RayRangeWorkers
from vidswap.batch.ray_run import LOCAL, RayOptions, run_batch_on_ray
from vidswap.batch.run import BatchOptions, Event, run_batch
from vidswap.batch.state import state_folder_of
from vidswap.batch.status import cancel_jobs, status_of
from vidswap.batch.storage import Storage
from vidswap.errors import BadOptionError, DiskFullError
from vidswap.swap import ranges
from vidswap.swap.options import SwapOptions
from vidswap.swap.ranges import RangeProgress, RangeResult, RangeWork
from vidswap.swap.request import SwapRequest
from vidswap.swap.worker import swap_video

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.slow
RAY = RayOptions(address=LOCAL)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    ray.init(address=found.address, log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.mp4")}


def test_a_node_that_dies_in_the_middle_costs_no_job(tmp_path: Path, cluster: Any) -> None:
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    names = [f"slow-{n}" for n in range(40)]
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    run_batch(manifest_of(here, names), BatchOptions(jobs=2), make_runner=fakes)
    manifest, events = manifest_of(there, names), list[Event]()
    pids: set[int] = set()

    def watch(event: Event) -> None:
        events.append(event)
        if event.name == "done" and event.record is not None:
            pids.add(event.record.result["pid"])
            if event.finished == 10:
                cluster.remove_node(node, allow_graceful=False)

    result = run_batch_on_ray(manifest, RAY, BatchOptions(), watch, fakes)
    assert result.counts["done"] == 40 and len(pids) >= 2
    assert contents(there / "out") == contents(here / "out")
    assert times_done(there / "out") == times_done(here / "out")  # once each
    assert sum(event.name == "done" for event in events) == 40
    assert not list(state_folder_of(manifest).glob("*.claim-*"))


def test_bad_jobs_fail_alone_and_what_is_done_is_skipped(tmp_path: Path, cluster: Any) -> None:
    names = ["good-1", "faceless-1", "killed-1", "full-1", "good-2"]
    manifest = manifest_of(tmp_path, names)
    result = run_batch_on_ray(manifest, RAY, BatchOptions(retries=1), make_runner=fakes)
    assert (result.counts["done"], result.counts["failed"]) == (2, 3)
    codes = {
        job.record.swap().target.stem: job.record.error and job.record.error.exit_code
        for job in status_of(manifest)
    }
    assert codes == {
        "good-1": None, "faceless-1": 5, "killed-1": 42, "full-1": 9, "good-2": None
    }  # fmt: skip
    again = run_batch_on_ray(manifest, RAY, make_runner=fakes)
    assert again.skipped == 5 and times_done(tmp_path / "out") == ["good-1.mp4", "good-2.mp4"]


def test_progress_timeouts_and_cancelling(tmp_path: Path, cluster: Any) -> None:
    manifest = manifest_of(tmp_path, ["long-1", "late-1", "late-2", "good-1"])
    seen: list[str] = []

    def watch(event: Event) -> None:
        seen.append(event.name)
        if event.name == "began" and event.record and event.record.line == 3:
            threading.Timer(0.5, cancel_jobs, (manifest, ["3"])).start()

    began = time.monotonic()
    result = run_batch_on_ray(
        manifest, RAY, BatchOptions(jobs=1, retries=0, timeout=15), watch, fakes
    )
    assert time.monotonic() - began < 90
    assert result.counts["failed"] == result.counts["cancelled"] == 1
    assert result.counts["done"] == 2 and "progress" in seen


def test_files_come_from_a_store_and_go_back(tmp_path: Path, cluster: Any) -> None:
    manifest, store = tmp_path / "jobs.jsonl", tmp_path / "store"
    store.mkdir()
    stored = manifest_of(store, ["good-1", "good-2"])
    manifest.write_text(stored.read_text().replace(f"{store}/", ""))
    options = RayOptions(address=LOCAL, storage=Storage(store.as_uri()))
    result = run_batch_on_ray(manifest, options, make_runner=fakes)
    assert result.counts["done"] == 2
    assert contents(store / "out") == {"good-1.mp4": "good-1.mp4", "good-2.mp4": "good-2.mp4"}
    assert run_batch_on_ray(manifest, options, make_runner=fakes).skipped == 2


def test_a_worker_too_large_for_the_cluster_is_refused(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidswap.batch.ray_run._PATIENCE", 0.0)
    manifest = manifest_of(tmp_path, ["good-1"])
    with pytest.raises(BadOptionError, match="too few for one worker"):
        run_batch_on_ray(manifest, RayOptions(cpus=999), make_runner=fakes)


def test_the_ranges_of_a_clip_are_swapped_by_the_cluster(tmp_path: Path, cluster: Any) -> None:
    swapper = RayRangeWorkers(RAY, make_runner=fake_ranges)
    events = list(swapper(works(tmp_path, [20, 1, 30])))  # the second kills its worker once
    results = {event.number: event for event in events if isinstance(event, RangeResult)}
    assert {n: result.counts.frames for n, result in results.items()} == {0: 20, 1: 1, 2: 30}
    with pytest.raises(DiskFullError):
        list(swapper(works(tmp_path, [20, 3])))


def two_shots(path: Path, frames: int, shift: int = 0) -> Path:
    """Two people in turns, 30 frames each; `shift` makes clips differ."""
    photos = (grace_hopper(), astronaut()[:300, 100:340])
    return make_clip(
        path, size=(192, 144), frames=frames, sound=["aac"], options={"crf": "12"},
        picture=lambda n, width, height: moved(
            photos[(n // 30 + shift) % 2], n % 30 + shift, width, height
        ),
    )  # fmt: skip


def assert_same_clips(one: Path, other: Path) -> None:
    assert frame_times(one) == frame_times(other)
    for a, b in zip(decoded_planes(one), decoded_planes(other), strict=True):
        assert all((x == y).all() for x, y in zip(a, b, strict=True))


@pytest.fixture
def real_options(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> SwapOptions:
    """Options whose outputs are the same bits from run to run."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray sets it for a worker of one CPU
    return SwapOptions(
        checkpoint=untrained, segment_frames=20, codec="ffv1", no_provenance="a test"
    )


def real_manifest(folder: Path, clips: list[Path], source: Path, options: SwapOptions) -> Path:
    requests = [
        SwapRequest.of([source], clip, folder / "out" / f"{clip.stem}.mkv", options)
        for clip in clips
    ]
    path = folder / "jobs.jsonl"
    path.write_text("".join(f"{line}\n" for line in written_jsonl(requests)))
    return path


def test_real_swaps_are_those_of_a_local_run_though_a_node_dies(
    tmp_path: Path, cluster: Any, source_picture: Path, real_options: SwapOptions
) -> None:
    clips = [two_shots(tmp_path / f"{n}.mp4", 50, shift=n) for n in range(4)]
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    local = run_batch(
        real_manifest(here, clips, source_picture, real_options), BatchOptions(jobs=2)
    )
    assert local.counts["done"] == 4
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    manifest, at_work = real_manifest(there, clips, source_picture, real_options), set[str]()
    removed, finished = list[str](), list[str]()

    def watch(event: Event) -> None:
        if event.record is None:
            return
        if event.name == "done":
            finished.append(event.record.id)
        if event.name == "progress":
            at_work.add(event.record.id)
        if not removed and len(at_work - set(finished)) == 2:  # both nodes are at a clip
            removed.append(event.record.id)
            cluster.remove_node(node, allow_graceful=False)

    result = run_batch_on_ray(manifest, RAY, BatchOptions(), watch)
    assert removed and result.counts["done"] == 4 and len(set(finished)) == len(finished) == 4
    begun = []
    for job in status_of(manifest):
        log = job.log.read_text()
        begun.append(log.count(": begin "))
        assert log.count(": done\n") == 1
    assert sorted(begun) == [1, 1, 1, 2]  # the dead node's clip was begun anew
    for clip in clips:
        name = f"{clip.stem}.mkv"
        assert_same_clips(here / "out" / name, there / "out" / name)
    assert len(list((there / "out").iterdir())) == 4  # and no work left


def test_a_real_swap_comes_from_a_store_and_goes_back(
    tmp_path: Path, cluster: Any, source_picture: Path, target_clip: Path,
    real_options: SwapOptions,
) -> None:  # fmt: skip
    store, weights = tmp_path / "store", real_options.checkpoint
    assert weights is not None
    (store / "in").mkdir(parents=True)
    for file in (source_picture, target_clip, weights):
        shutil.copy(file, store / "in" / file.name)
    options = replace(real_options, checkpoint=Path("in") / weights.name)
    request = SwapRequest.of(
        [Path("in") / source_picture.name], Path("in") / target_clip.name,
        Path("out") / f"{target_clip.stem}.mkv", options,
    )  # fmt: skip
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text("".join(f"{line}\n" for line in written_jsonl([request])))
    on_ray = RayOptions(address=LOCAL, storage=Storage(store.as_uri()))
    assert run_batch_on_ray(manifest, on_ray).counts["done"] == 1
    assert [store / path for path in (store / "out").iterdir()] == [store / request.output]
    (tmp_path / "here").mkdir()
    here = real_manifest(tmp_path / "here", [target_clip], source_picture, real_options)
    assert run_batch(here).counts["done"] == 1
    assert_same_clips(store / request.output, here.parent / request.output)
    assert run_batch_on_ray(manifest, on_ray).skipped == 1


def test_one_clip_by_a_cluster_is_that_of_one_worker_though_a_node_dies(
    tmp_path: Path, cluster: Any, source_picture: Path, real_options: SwapOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(ranges, "shortest_range", lambda frames: 1)
    clip = two_shots(tmp_path / "clip.mp4", 180)
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    workers, removed = RayRangeWorkers(RAY), list[int]()

    def killing(found: Iterator[RangeWork]) -> Iterator[RangeProgress | RangeResult]:
        for event in workers(found):
            yield event
            if not removed and isinstance(event, RangeResult):
                removed.append(event.number)
                cluster.remove_node(node, allow_graceful=False)

    one, many = tmp_path / "one.mkv", tmp_path / "many.mkv"
    swap_video([source_picture], clip, one, real_options)
    result = swap_video([source_picture], clip, many, real_options, ranges_by=killing)
    assert removed and result.frames == 180
    assert_same_clips(one, many)
    assert sorted(path.name for path in tmp_path.glob("*")) == ["clip.mp4", "many.mkv", "one.mkv"]
