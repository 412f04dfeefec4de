"""Batches drawn by worker processes are those that threads draw, and so is all that goes wrong."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from dataclasses import fields, is_dataclass
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from tests.training.small_dataset import album_dataset
from tests.training.test_trainer import sampler
from vidswap.errors import DatasetError, OutOfMemoryError, WorkerKilledError
from vidswap.training import workers
from vidswap.training.data.aligned_faces import FaceSampler, Placing, read_aligned_faces
from vidswap.training.inpainting.content import ContentSampler
from vidswap.training.inpainting.context import ContextSampler
from vidswap.training.inpainting.idgan import HoleSampler
from vidswap.training.inpainting.parsing import LabelSampler
from vidswap.training.inpainting.swapinpaint import ReferenceSampler
from vidswap.training.loop import Pace, TrainingLoop
from vidswap.training.packed import LARGE, pack, packed_size
from vidswap.training.pair_batch import PairBatch
from vidswap.training.recogniser.albums import read_albums
from vidswap.training.recogniser.views import PeopleSampler, ViewConfig
from vidswap.training.records import RunFolder
from vidswap.training.workers import default_workers, drawn_by_workers, workers_with_room


class Troubled:
    """Draws pairs, up to the batch of a number, which does `what` instead."""

    def __init__(self, number: int, what: str) -> None:
        self.pairs, self.number, self.what = sampler(), number, what

    def batch(self, number: int) -> PairBatch:
        if number == self.number:
            if self.what == "damaged":
                raise DatasetError("faces-00.zip: 3.webp is damaged; copy the shard again")
            if self.what == "wrong":
                raise KeyError("a mistake")
            os.kill(os.getpid(), signal.SIGKILL)
        return self.pairs.batch(number)


class Learner:
    """A trainer as the loop sees it; its weight follows from every pixel and random number."""

    def __init__(self) -> None:
        torch.manual_seed(5)
        self.device, self.steps, self.images, self.steps_back = torch.device("cpu"), 0, 0, 0
        self.weight = torch.zeros(1)

    def step(self, batch: PairBatch) -> dict[str, float]:
        self.steps, self.images = self.steps + 1, self.images + len(batch.targets)
        seen = (batch.targets * torch.rand(batch.targets.shape)).mean() + batch.references.mean()
        self.weight = 0.7 * self.weight + seen
        return {"weight": float(self.weight)}

    def state(self) -> dict[str, Any]:
        counts = {"steps": self.steps, "images": self.images, "torch_rng": torch.get_rng_state()}
        return {**counts, "weight": self.weight}

    def load(self, state: dict[str, Any]) -> None:
        self.steps, self.images, self.weight = state["steps"], state["images"], state["weight"]
        torch.set_rng_state(state["torch_rng"])


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Values, types and layout in memory of two batches are the same, however deep."""
    assert type(one) is type(other), where
    if is_dataclass(one):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name), field.name)
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and one.stride() == other.stride(), where
        assert torch.equal(one, other), where
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and np.array_equal(one, other), where
    elif isinstance(one, np.random.Generator):
        assert one.bit_generator.state == other.bit_generator.state, where
    else:
        assert one == other, where


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = album_dataset(tmp_path_factory.mktemp("workers") / "faces", "")
    return read_aligned_faces(folder, folder.parent / "cache", 128)


def test_what_is_packed_comes_out_as_it_was(tmp_path: Path) -> None:
    np.save(tmp_path / "mapped.npy", np.arange(60).reshape(3, 20))
    given = SimpleNamespace(
        large=np.arange(LARGE).astype(np.int16),
        mapped=np.load(tmp_path / "mapped.npy", mmap_mode="r"),
        channels_last=torch.rand(2, 5, 5, 3).permute(0, 3, 1, 2),
        part=torch.rand(4, 6)[:, 1:3].contiguous(),
        none=torch.zeros(0, 3),
        flags=torch.tensor([True, False, True]),
        number=torch.tensor(3),
    )
    packed = pack(given)
    assert len(packed.block) == packed_size(given) and packed.block.is_shared()
    assert len(packed.rest) < 4096  # neither the array nor what is mapped travels
    unpacked = packed.unpack()
    for name, value in vars(given).items():
        assert_same(value, getattr(unpacked, name), name)
    assert Path(unpacked.mapped.filename) == given.mapped.filename  # mapped anew, not copied


def test_every_kind_of_sampler_can_be_sent(read: Any) -> None:
    drawn = FaceSampler(read, 3, 1, Placing(0.5, 15.0, 8.0))
    content = ContentSampler(drawn, 0.5, 0.2)
    samplers: list[Any] = [
        sampler(), drawn, content, ReferenceSampler(content, 0.3), ContextSampler(drawn),
        HoleSampler(drawn, 0.5), LabelSampler(drawn),
        PeopleSampler(read_albums(read), 8, 0.25, 1, ViewConfig()),
    ]  # fmt: skip
    for each in samplers:
        sent = pack(each).unpack()
        assert_same(each.batch(3), pack(sent.batch(3)).unpack(), type(each).__name__)


def test_batches_of_workers_are_those_of_their_numbers_and_no_worker_is_left() -> None:
    before = torch.get_rng_state()
    with closing(drawn_by_workers(sampler(), first=3, stride=2, workers=2)) as drawn:
        batches = list(islice(drawn, 4))
        children = psutil.Process().children(recursive=True)
        at_work = [child for child in children if child.name() == "pt_data_worker"]
    for number, batch in zip((3, 5, 7, 9), batches, strict=True):
        assert_same(sampler().batch(number), batch)
    assert torch.equal(before, torch.get_rng_state())
    assert len(at_work) == 2 and not any(child.is_running() for child in at_work)


def test_a_run_by_workers_learns_and_resumes_bit_for_bit_as_one_by_threads(
    tmp_path: Path,
) -> None:
    def learnt(folder: Path, *parts: tuple[int, int]) -> dict[str, Any]:
        for images, n_workers in parts:
            net, run = Learner(), RunFolder(folder)
            if (state := run.read_state()) is not None:
                net.load(state)
            pace = Pace(images=images, workers=n_workers)
            TrainingLoop(net, sampler(), run, pace, _no_sheet).go()  # type: ignore[arg-type]
        return net.state()

    whole = learnt(tmp_path / "threads", (20, 0))
    halves = learnt(tmp_path / "workers", (8, 1), (16, 0), (20, 2))
    assert whole["steps"] == halves["steps"] == 5
    assert torch.equal(whole["weight"], halves["weight"])
    assert torch.equal(whole["torch_rng"], halves["torch_rng"])


def test_an_error_in_a_worker_is_the_one_that_a_thread_raises() -> None:
    with (
        closing(drawn_by_workers(Troubled(1, "damaged"), 0, 1, workers=1)) as drawn,
        pytest.raises(DatasetError, match=r"^faces-00.zip: 3.webp is damaged; copy") as raised,
    ):
        list(drawn)
    assert not hasattr(raised.value, "__notes__")
    with (
        closing(drawn_by_workers(Troubled(0, "wrong"), 0, 1, workers=1)) as drawn,
        pytest.raises(KeyError, match="a mistake") as wrong,
    ):
        next(drawn)
    assert "in batch" in wrong.value.__notes__[0]  # where in the worker it came from


def test_a_killed_worker_ends_the_run_with_its_state_saved(tmp_path: Path) -> None:
    net, folder = Learner(), RunFolder(tmp_path)
    deadly: Any = Troubled(3, "killed")
    loop = TrainingLoop(net, deadly, folder, Pace(workers=1), _no_sheet)  # type: ignore[arg-type]
    with pytest.raises(WorkerKilledError, match=r"ended by itself .*resume with fewer --workers"):
        loop.go()
    state = folder.read_state()
    # What it had drawn and nobody had taken is gone with it.
    assert state is not None and 1 <= state["steps"] == net.steps <= 3


def test_a_run_that_fails_at_its_first_batch_leaves_no_state(tmp_path: Path) -> None:
    net, folder = Learner(), RunFolder(tmp_path)
    damaged: Any = Troubled(0, "damaged")
    with pytest.raises(DatasetError, match="damaged"):
        TrainingLoop(net, damaged, folder, Pace(), _no_sheet).go()  # type: ignore[arg-type]
    assert folder.read_state() is None


def test_want_of_shared_memory_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_thing: Any) -> None:
        raise RuntimeError("unable to allocate shared memory(shm)\nfor file </x>")

    batches = workers._Batches(pack(sampler()))
    monkeypatch.setattr(workers, "pack", no_room)
    failed = batches[0]
    assert isinstance(failed, workers._Failed) and isinstance(failed.error, OutOfMemoryError)
    assert "(unable to allocate shared memory(shm) for file </x>); give" in str(failed.error)


def test_there_are_as_many_workers_as_shared_memory_has_room_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    size = packed_size(sampler().batch(0))
    free = 8 * size + packed_size(sampler())  # three for each worker, two at the trainer
    monkeypatch.setattr(workers.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert workers_with_room(sampler(), 0, 2) == 2 and not caplog.text
    assert workers_with_room(sampler(), 0, 14) == 2
    assert "room for 2 of 14 worker processes" in caplog.text


def test_a_cpu_has_no_workers_and_a_gpu_what_its_machine_spares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: 16)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert default_workers(torch.device("cpu")) == 0
    assert default_workers(torch.device("cuda")) == 14
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert default_workers(torch.device("cuda")) == 2


def _no_sheet() -> Any:
    raise AssertionError("no sheet is asked for")
