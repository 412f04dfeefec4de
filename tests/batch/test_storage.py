"""Files in a store: fetched for a job, and nothing half-written left under a final name."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.batch.fakes import FRAMES, fake
from vidswap.batch.manifest import Job
from vidswap.batch.storage import Storage, StoredFiles, with_storage
from vidswap.batch.worker_process import MakeRunner
from vidswap.errors import (
    BadOptionError,
    InputNotFoundError,
    MissingLibraryError,
    OutputExistsError,
)
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest

pytest.importorskip("fsspec")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    (folder / "people" / "alice").mkdir(parents=True)
    for name in ("people/alice/1.jpg", "people/alice/2.jpg", "clip.mp4", "weights"):
        (folder / name).write_text(name)
    return folder


REQUEST = SwapRequest.of(
    ["people/alice"], "clip.mp4", "out/made.mp4", SwapOptions(checkpoint=Path("weights"))
)


def runner() -> Any:
    seen: list[SwapRequest] = []

    def run(request: SwapRequest, report: Any) -> dict[str, Any]:
        seen.append(request)
        (source,) = request.sources
        assert sorted(path.name for path in source.iterdir()) == ["1.jpg", "2.jpg"]
        assert request.options.checkpoint and request.options.checkpoint.read_text() == "weights"
        return fake(request, report)

    return seen, lambda: nullcontext(run)


def test_a_job_sees_copies_and_its_result_goes_back(store: Path) -> None:
    storage = Storage(store.as_uri())
    make: MakeRunner
    seen, make = runner()
    with with_storage(make, storage)() as run:
        answer = run(REQUEST, lambda *_: None)
        assert (store / "out" / "made.mp4").read_text() == "clip.mp4"
        assert [path.name for path in (store / "out").iterdir()] == ["made.mp4"]
        assert answer["result"]["output"] == "out/made.mp4"
        assert answer["result"]["frames"] == FRAMES
        with pytest.raises(OutputExistsError, match=r"made\.mp4 exists"):
            run(REQUEST, lambda *_: None)
        other = SwapRequest.of(REQUEST.sources, "clip.mp4", "out/2.mp4", REQUEST.options)
        run(other, lambda *_: None)
    assert seen[0].sources == seen[1].sources and not seen[0].sources[0].exists()
    assert store not in seen[0].target.parents


def test_a_finished_job_is_known_by_its_files_in_the_store(store: Path) -> None:
    storage = Storage(str(store))
    files = StoredFiles(storage)
    _, make = runner()
    with with_storage(make, storage)() as run:
        answer = run(REQUEST, lambda *_: None)
    facts, record = answer["facts"], Job(1, REQUEST).record()
    assert files.is_unchanged(REQUEST, facts) and files.has_output(REQUEST)
    record = replace(record, result=answer["result"])
    assert files.is_output_of(REQUEST, record)
    (store / "out" / "made.mp4").write_text("edited")
    assert not files.is_output_of(REQUEST, record)
    (store / "people" / "alice" / "2.jpg").write_text("another")
    assert not files.is_unchanged(REQUEST, facts)
    (store / "clip.mp4").unlink()
    assert not files.is_unchanged(REQUEST, facts)


def test_what_a_store_does_not_have_or_hold_is_refused(store: Path) -> None:
    storage = Storage(str(store))
    with pytest.raises(InputNotFoundError, match="absent"):
        storage.stamp(Path("absent.mp4"))
    for path in (Path("/etc/passwd"), Path("../other")):
        with pytest.raises(BadOptionError, match="leads out"):
            storage.has(path)
    with pytest.raises((BadOptionError, MissingLibraryError), match="--storage"):
        Storage("nosuch://place")
