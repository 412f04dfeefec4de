"""Jobs on a Ray cluster of this computer: each done once, also when a machine dies."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.batch.fakes import fakes, manifest_of, times_done
from tests.batch.test_film import fake_ranges, works
from vidswap.batch.ray_film import RayRangeWorkers
from vidswap.batch.ray_run import LOCAL, RayOptions, run_batch_on_ray
from vidswap.batch.run import BatchOptions, Event, run_batch
from vidswap.batch.state import state_folder_of
from vidswap.batch.status import cancel_jobs, status_of
from vidswap.batch.storage import Storage
from vidswap.errors import BadOptionError, DiskFullError
from vidswap.swap.ranges import RangeResult

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
