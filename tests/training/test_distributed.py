"""Two processes that train together take the step of one with both their batches."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from tests.training.test_trainer import batch, config, trainer
from vidswap.training.config import LossWeights, TrainConfig
from vidswap.training.distributed import any_process, join_processes, leave_processes, rank
from vidswap.training.pair_batch import PairBatch

# Losses that are means over a batch, without random views: two halves then have a whole.
_MEANS = LossWeights(
    adversarial=1.0, identity_dlib=0.0, identity_mobilefacenet=0.0, identity_apart=0.0,
    saturation=1.0, reconstruction=10.0, occlusion=1.0, style=0.0,
)  # fmt: skip


def _config() -> TrainConfig:
    given = config()
    pairs = replace(given.pairs, same_picture=1.0, swap_back=0.0, warped=0.0, across=0.0)
    return replace(given, weights=_MEANS, pairs=pairs, generator_rate=1e-3)


def _plain(number: int) -> PairBatch:
    """A batch of pairs that are all the same picture, so that no loss of identity is taken."""
    given = batch(number=number)
    return replace(
        given, sources=given.target_rows, n_same_picture=4, n_swap_back=0, warped=given.warped[:0],
        answers=given.answers[:0],
    )  # fmt: skip


def _one_of_two(index: int, port: int, folder: str) -> None:
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "RANK": str(index), "LOCAL_RANK": str(index), "WORLD_SIZE": "2",
    }  # fmt: skip
    torch.set_num_threads(1)
    join_processes()
    torch.manual_seed(100 + index)
    net = trainer(_config())
    for step in range(2):
        net.step(_plain(number=2 * step + rank()))
    torch.save({**net.state(), "stop": any_process(index == 1)}, Path(folder) / f"state-{index}.pt")
    leave_processes()


def test_two_processes_are_one_with_twice_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two pools that spin while they wait would starve each other on two cores.
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_one_of_two, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"state-{i}.pt", weights_only=True) for i in range(2))
    assert first["images"] == second["images"] == 16
    assert first["stop"] and second["stop"]
    for name, tensor in first["generator"].items():
        assert torch.equal(tensor, second["generator"][name]), name

    single = trainer(_config())
    for step in range(2):
        one, other = _plain(number=2 * step), _plain(number=2 * step + 1)
        joined = {
            name: torch.cat([getattr(one, name), getattr(other, name)])
            for name in (
                "targets",
                "boundary_maps",
                "sources",
                "target_rows",
                "same_person",
                "keep",
            )
        }
        single.step(replace(one, n_same_picture=8, **joined))
    before = trainer(_config()).generator.state_dict()
    moved = torch.cat([(first["generator"][n] - before[n]).flatten() for n in before])
    expected = torch.cat(
        [(t - before[n]).flatten() for n, t in single.generator.state_dict().items()]
    )
    assert float(torch.nn.functional.cosine_similarity(moved, expected, dim=0)) > 0.95
