"""Runs: every job once, whatever happens to the others, to workers and to the run itself."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.batch.fakes import FRAMES, fakes, manifest_of, times_done
from vidswap.batch.manifest import read_manifest
from vidswap.batch.run import BatchOptions, Event, run_batch
from vidswap.batch.state import StateFolder, state_folder_of
from vidswap.batch.status import cancel_jobs, retry_jobs, status_of
from vidswap.errors import BadOptionError

REPOSITORY = Path(__file__).resolve().parents[2]
BAD = {
    "absent-1": 3, "damaged-1": 4, "faceless-1": 5, "full-1": 9, "killed-1": 42, "late-1": 43,
    "fault-1": 1,
}  # fmt: skip


def run(manifest: Path, **options: object) -> tuple[list[Event], dict[str, int]]:
    events: list[Event] = []
    result = run_batch(manifest, BatchOptions(**options), events.append, fakes)  # type: ignore[arg-type]
    return events, dict(result.counts)


def states(manifest: Path) -> dict[str, str]:
    """State by target."""
    return {job.record.swap().target.stem: job.state for job in status_of(manifest)}


def test_bad_jobs_among_fifty_fail_alone(tmp_path: Path) -> None:
    names = [f"good-{n}" for n in range(42)] + ["once-1", *BAD]
    random.Random(18).shuffle(names)
    manifest = manifest_of(tmp_path, names, absent=("absent-1",))
    _, counts = run(manifest, jobs=2, retries=1, timeout=1.5)
    assert counts == {"queued": 0, "running": 0, "done": 43, "failed": 7, "cancelled": 0}
    failed = {
        job.record.swap().target.stem: job.record for job in status_of(manifest)
        if job.state == "failed"
    }  # fmt: skip
    codes = {name: record.error and record.error.exit_code for name, record in failed.items()}
    assert codes == BAD
    once_again = {"full-1", "killed-1", "late-1", "fault-1"}
    assert {name for name, record in failed.items() if record.attempts == 2} == once_again
    out = {path.name for path in (tmp_path / "out").iterdir()}
    assert out == {f"{name}.mp4" for name in names if name not in BAD} | {"done.txt"}
    assert times_done(tmp_path / "out") == sorted(out - {"done.txt"})
    state = state_folder_of(manifest)
    assert not list(state.glob("*.claim-*")) and not list(state.glob(".*"))


def test_finished_jobs_are_skipped_until_what_they_were_made_from_changes(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, ["a", "b", "c", "faceless"])
    run(manifest)
    events, counts = run(manifest)
    assert [event.name for event in events] == ["skipped"] and counts["done"] == 3
    out = tmp_path / "out"
    (tmp_path / "a.mp4").write_text("A")
    (out / "b.mp4").unlink()
    os.utime(tmp_path / "c.mp4", (1, 1))  # another time, the same bytes
    run(manifest)
    assert times_done(out) == ["a.mp4", "a.mp4", "b.mp4", "b.mp4", "c.mp4"]
    (tmp_path / "weights").write_text("other")
    run(manifest)
    assert len(times_done(out)) == 8


def test_the_result_of_a_changed_job_replaces_its_own_earlier_one_only(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, ["a", "b"])
    run(manifest)
    (tmp_path / "a.mp4").write_text("A")
    (tmp_path / "b.mp4").write_text("B")
    (tmp_path / "out" / "b.mp4").write_text("edited by hand")
    seen: dict[str, bool] = {}

    from vidswap.batch.ledger import Ledger

    ledger = Ledger(StateFolder(state_folder_of(manifest)), read_manifest(manifest))
    while (assignment := ledger.next_job()) is not None:
        seen[assignment.request.target.stem] = assignment.request.options.overwrite
        ledger.put_back(assignment)
        ledger._waiting.clear() if len(seen) == 2 else None
    assert seen == {"a": True, "b": False}


def test_fail_fast_stops_at_the_first_failure(tmp_path: Path) -> None:
    names = ["good-1", "faceless-1", *(f"slow-{n}" for n in range(8))]
    _, counts = run(manifest_of(tmp_path, names), keep_going=False)
    assert (counts["failed"], counts["done"], counts["queued"]) == (1, 1, 8)


def test_shards_share_the_jobs_out(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, [f"good-{n}" for n in range(7)])
    for part in range(3):
        run(manifest, shard=(part, 3), wait=False)
        assert len(times_done(tmp_path / "out")) == [3, 5, 7][part]
    with pytest.raises(BadOptionError, match="--shard 3/3"):
        BatchOptions(shard=(3, 3))


def test_memory_and_cores_are_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    options = BatchOptions(jobs=4, gpus=(2, 5), max_memory=8000, max_vram=3000)
    (job,) = read_manifest(manifest_of(tmp_path, ["a"]))
    shared = options.with_share(job.request).options
    assert (shared.max_memory, shared.max_vram) == (2000, 1500)
    devices = [options.environment(n)["CUDA_VISIBLE_DEVICES"] for n in range(4)]
    assert devices == ["2", "5", "2", "5"]
    cores = len(os.sched_getaffinity(0))
    assert options.environment(0)["OMP_NUM_THREADS"] == str(max(1, cores // 4))
    assert BatchOptions(gpus=(0, 1)).workers == 2 and BatchOptions().environment(0) == {}


def test_retry_and_cancel(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, ["good-1", "absent-1", "good-2"], absent=("absent-1",))
    assert [record.line for record in cancel_jobs(manifest, ["3"])] == [3]
    run(manifest)
    assert states(manifest) == {"good-1": "done", "absent-1": "failed", "good-2": "cancelled"}
    assert retry_jobs(manifest, ["1"]) == []
    with pytest.raises(BadOptionError, match='"9" is no job'):
        retry_jobs(manifest, ["9"])
    (tmp_path / "absent-1.mp4").write_text("now")
    assert len(retry_jobs(manifest)) == 2
    assert states(manifest)["absent-1"] == "queued"
    run(manifest)
    assert set(states(manifest).values()) == {"done"}


def test_cancelling_ends_a_job_under_way(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, ["late-1", "good-1"])

    def stop(event: Event) -> None:
        if event.name == "began" and event.record and event.record.line == 1:
            cancel_jobs(manifest, ["1"])

    began = time.monotonic()
    result = run_batch(manifest, BatchOptions(), stop, fakes)
    assert time.monotonic() - began < 20
    assert result.counts["cancelled"] == result.counts["done"] == 1
    assert not list(state_folder_of(manifest).glob("*.cancel"))


# Runs as programs of their own, which may be killed.

PROGRAM = """
import sys
from pathlib import Path
from tests.batch.fakes import fakes
from vidswap.batch.run import BatchOptions, run_batch

if __name__ == "__main__":
    result = run_batch(Path(sys.argv[1]), BatchOptions(jobs=int(sys.argv[2])), make_runner=fakes)
    print(dict(result.counts))
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return [sys.executable, str(file), str(tmp_path / "jobs.jsonl")]


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_two_runs_of_one_manifest_do_no_job_twice(tmp_path: Path, program: list[str]) -> None:
    names = [f"slow-{n}" for n in range(12)] + [f"good-{n}" for n in range(30)]
    manifest_of(tmp_path, names)
    runs = [started([*program, "1"]) for _ in range(2)]
    told = [each.communicate(timeout=60) for each in runs]
    assert [each.returncode for each in runs] == [0, 0], told
    assert all("'done': 42" in out for out, _ in told)
    assert times_done(tmp_path / "out") == sorted(f"{name}.mp4" for name in names)


def test_killed_at_ten_random_moments_a_run_goes_on(tmp_path: Path, program: list[str]) -> None:
    names = [f"slow-{n}" for n in range(16)]
    manifest = manifest_of(tmp_path, names)
    clock = random.Random(7)
    for _ in range(10):
        each = started([*program, "2"])
        time.sleep(clock.uniform(0.1, 1.3))
        each.kill()
        each.communicate()
        for job in status_of(manifest):
            done = job.record.swap().output.exists()
            assert done or job.state != "done"
    each = started([*program, "2"])
    out, error = each.communicate(timeout=60)
    assert each.returncode == 0 and "'done': 16" in out, error
    times = times_done(tmp_path / "out")
    assert set(times) == {f"{name}.mp4" for name in names}
    # Only one whose record was not yet written when the run was killed may have been done again.
    assert len(times) <= len(names) + 10
    for name in names:
        assert (tmp_path / "out" / f"{name}.mp4").read_text() == f"{name}.mp4"


def test_a_run_that_is_told_to_end_puts_its_jobs_back(tmp_path: Path, program: list[str]) -> None:
    manifest = manifest_of(tmp_path, ["late-1", "good-1"])
    each = started([*program, "1"])
    end = time.monotonic() + 20
    while status_of(manifest)[0].record.worker == 0 and time.monotonic() < end:
        time.sleep(0.05)
    (job, _) = status_of(manifest)
    assert job.record.worker > 0
    each.send_signal(signal.SIGTERM)
    _, error = each.communicate(timeout=20)
    assert "KeyboardInterrupt: 0 of 2 jobs are finished" in error
    assert states(manifest) == {"late-1": "queued", "good-1": "queued"}
    with pytest.raises(ProcessLookupError):
        os.kill(job.record.worker, 0)


def test_the_workers_of_a_killed_run_die_with_it(tmp_path: Path, program: list[str]) -> None:
    manifest = manifest_of(tmp_path, ["late-1"])
    each = started([*program, "1"])
    end = time.monotonic() + 20
    while status_of(manifest)[0].record.worker == 0 and time.monotonic() < end:
        time.sleep(0.05)
    (job,) = status_of(manifest)
    each.kill()
    each.communicate()
    time.sleep(0.2)
    assert status_of(manifest)[0].state == "interrupted"
    gone = False
    while not gone and time.monotonic() < end:
        try:
            os.kill(job.record.worker, 0)
            time.sleep(0.05)
        except ProcessLookupError:
            gone = True
    assert gone


def test_a_log_has_what_a_job_said(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, ["fault-1"])
    run(manifest, retries=0)
    (job,) = status_of(manifest)
    log = job.log.read_text()
    assert "Traceback" in log and "ZeroDivisionError: of ours" in log and '"sources"' in log


def test_events_are_plain_data(tmp_path: Path) -> None:
    events, _ = run(manifest_of(tmp_path, ["slow-1", "faceless-1"]))
    told = [json.loads(json.dumps(event.to_dict())) for event in events]
    names = [each["event"] for each in told]
    assert names[0] == "began" and "progress" in names and names[-1] == "failed"
    done = next(each for each in told if each["event"] == "done")
    assert done["frames"] == done["expected"] == FRAMES and done["jobs"] == 2
    assert told[-1]["exit_code"] == 5 and told[-1]["finished"] == 2


def test_a_worker_holds_its_process_from_job_to_job(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, [f"good-{n}" for n in range(10)])
    run(manifest, jobs=2)
    assert len({job.record.result["pid"] for job in status_of(manifest)}) <= 2
