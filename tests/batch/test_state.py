"""Claims: one run at a job at a time, and what a run that is gone has left is taken over."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from vidswap.batch import state as state_module
from vidswap.batch.records import JobError, JobRecord, read_record
from vidswap.batch.state import ClaimLostError, StateFolder

ID = "out.mp4-0123456789ab"
RECORD = JobRecord(ID, 3, '{"sources": ["a"], "target": "t.mp4", "output": "out.mp4"}')


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    found = StateFolder(tmp_path / "state")
    found.make()
    return found


def test_a_record_is_read_back_as_it_was_written(folder: StateFolder) -> None:
    record = replace(
        RECORD, state="failed", attempts=2, started=1.5, error=JobError(5, "E", "no face"),
        result={"frames": 3}, facts={"files": {}},
    )  # fmt: skip
    folder.write(record)
    assert folder.read(ID) == record and folder.records() == [record]
    assert (folder.path / f"{ID}.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2}, {"id": "../../x-0123456789ab"}, {"state": "stolen"}, {"attempts": -1},
        {"attempts": True}, {"attempts": 1e300}, {"error": {"exit_code": "0"}}, {"more": 1},
        {"result": []}, {"started": "now"}, {"line": None}, {"request": 1},
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_no_record(folder: StateFolder, change: dict[str, object]) -> None:
    path = folder.path / f"{ID}.json"
    path.write_text(json.dumps(json.loads(RECORD.to_bytes()) | change))
    assert read_record(path) is None
    path.write_bytes(RECORD.to_bytes()[:-5])
    assert read_record(path) is None
    path.write_text("[" * 100_000)
    assert read_record(path) is None
    folder.add(RECORD)  # which mends it
    assert folder.read(ID) == RECORD


def test_a_record_under_another_jobs_name_is_none(folder: StateFolder) -> None:
    folder.write(RECORD)
    other = folder.path / "other.mp4-0123456789ab.json"
    (folder.path / f"{ID}.json").rename(other)
    assert read_record(other) is None


def test_adding_replaces_nothing(folder: StateFolder) -> None:
    done = replace(RECORD, state="done")
    folder.write(done)
    folder.add(RECORD)
    assert folder.read(ID) == done


def test_one_of_many_gets_a_claim(folder: StateFolder) -> None:
    for _ in range(20):
        with ThreadPoolExecutor(8) as pool:
            claims = [claim for claim in pool.map(lambda _: folder.claim(ID), range(8)) if claim]
        assert len(claims) == 1
        claims[0].release()
    assert not folder.is_claimed(ID)


def _claim_and_die(path: Path) -> None:
    claim = StateFolder(path).claim(ID)
    assert claim is not None
    claim.write(RECORD, "running")
    os._exit(9)


def test_a_claim_whose_process_is_gone_is_taken_over_by_one(folder: StateFolder) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_claim_and_die, args=(folder.path,))
    child.start()
    child.join()
    assert list(folder.path.glob(f"{ID}.claim-*")) and not folder.is_claimed(ID)
    with ThreadPoolExecutor(8) as pool:
        claims = [claim for claim in pool.map(lambda _: folder.claim(ID), range(8)) if claim]
    assert len(claims) == 1
    assert claims[0].write(RECORD, "done").generation == claims[0].generation == 2


def foreign_claim(folder: StateFolder, generation: int, silent: float) -> Path:
    path = folder.path / f"{ID}.claim-{generation}"
    path.write_text(json.dumps({"host": "another", "pid": 1, "started": 1.0}))
    then = time.time() - silent
    os.utime(path, (then, then))
    return path


def test_a_claim_of_another_host_is_good_while_it_gives_signs_of_life(folder: StateFolder) -> None:
    foreign_claim(folder, 1, state_module.SILENT / 2)
    assert folder.is_claimed(ID) and folder.claim(ID) is None
    foreign_claim(folder, 1, state_module.SILENT * 2)
    assert not folder.is_claimed(ID) and folder.claim(ID) is not None


def test_a_claim_that_was_taken_over_writes_nothing(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "HEARTBEAT", 0.0)
    claim = folder.claim(ID)
    assert claim is not None and claim.beat()
    foreign_claim(folder, 2, 0.0)
    assert not claim.beat()
    with pytest.raises(ClaimLostError):
        claim.write(RECORD, "done")
    assert folder.read(ID) is None
    claim.release()
    assert folder.is_claimed(ID)  # by the other


def test_a_late_claim_on_a_job_that_was_done_meanwhile_is_void(folder: StateFolder) -> None:
    """It saw a dead claim of generation 1; before it made its own another did 2 and was through."""
    folder.write(replace(RECORD, state="done", generation=2))
    claim = folder.claim(ID)
    assert claim is not None and claim.generation == 3
    claim.release()
    late = folder.path / f"{ID}.claim-2"
    assert state_module._created(late, state_module.Owner.this_process())
    late.unlink()


def test_a_claim_without_an_owner_counts_by_its_age(folder: StateFolder) -> None:
    path = foreign_claim(folder, 1, 0.0)
    path.write_bytes(b"\x00")
    assert folder.is_claimed(ID)
    then = time.time() - 2 * state_module.SILENT
    os.utime(path, (then, then))
    assert not folder.is_claimed(ID)
