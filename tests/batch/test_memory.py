"""A worker process that has done a hundred swaps holds no more than after twenty."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from vidswap.batch.manifest import written_jsonl
from vidswap.batch.run import BatchOptions, Event, run_batch
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest

JOBS = 100


@pytest.mark.slow
def test_the_memory_of_a_worker_is_flat_over_a_hundred_jobs(
    tmp_path: Path, source_picture: Path, target_clip: Path, untrained: Path
) -> None:
    options = SwapOptions(checkpoint=untrained, end=0.12, no_provenance="a test")
    requests = [
        SwapRequest.of([source_picture], target_clip, tmp_path / "out" / f"{n}.mp4", options)
        for n in range(JOBS)
    ]
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text("".join(f"{line}\n" for line in written_jsonl(requests)))
    held: list[int] = []
    workers: set[int] = set()

    def watch(event: Event) -> None:
        if event.name == "done" and event.record is not None:
            workers.add(event.record.worker)
            held.append(psutil.Process(event.record.worker).memory_info().rss)

    assert run_batch(manifest, BatchOptions(), watch).counts["done"] == JOBS
    assert len(workers) == 1
    early, late = sum(held[20:40]) / 20, sum(held[-20:]) / 20
    print(f"MiB after 20 to 40 jobs {early / 2**20:.0f}, after 80 to 100 {late / 2**20:.0f}")
    assert late < 1.05 * early
