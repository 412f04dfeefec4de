"""Worker processes that draw the batches of a training run, in order and bit for bit the same.

Samplers are Python, NumPy and OpenCV calls of microseconds, so threads of one interpreter mostly
wait for each other. The processes are forked from a server that has imported all and computed
nothing (forkserver): a fork of the training process itself would inherit CUDA and pools of threads
that do not survive it, and with spawn each would import torch anew, into memory of its own.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from vidswap.errors import OutOfMemoryError, VidswapError, WorkerKilledError
from vidswap.runtime.orphans import end_with
from vidswap.runtime.process import hold_opencv_to_one_thread, variables_set
from vidswap.runtime.processor import usable_cores
from vidswap.training.packed import Packed, pack, packed_size

logger = logging.getLogger(__name__)

AHEAD = 2  # batches per worker that are drawn or wait to be taken
CORES_LEFT = 2  # for the training process itself and what copies to the GPU
_SHARED_MEMORY = Path("/dev/shm")
_ONE_THREAD = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


def default_workers(device: torch.device) -> int:
    """How many worker processes a run has by itself: on a CPU none, which the nets keep busy."""
    if device.type != "cuda":
        return 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes that torchrun started here
    return max(0, usable_cores() // here - CORES_LEFT)


def drawn_by_workers(
    sampler: Any, first: int, stride: int, workers: int, pinned: bool = False
) -> Generator[Any, None, None]:
    """Batches number `first`, `first + stride`, ... in order.

    `pinned`: in memory that a GPU reads by itself. Raises what the sampler raises,
    WorkerKilledError when a worker ends by itself.
    """
    before = set(multiprocessing.active_children())
    loader = DataLoader(
        _Batches(pack(sampler)),
        batch_size=None,
        sampler=itertools.count(first, stride),
        num_workers=workers,
        collate_fn=_as_it_is,
        prefetch_factor=AHEAD,
        pin_memory=pinned,
        multiprocessing_context="forkserver",
        worker_init_fn=_begin_worker,
        generator=torch.Generator(),  # or it would draw from the training's random numbers
    )
    with _started_quietly(type(sampler).__module__):
        batches = iter(loader)
    own = set(multiprocessing.active_children()) - before
    lost = None
    try:
        while lost is None:
            try:
                drawn = next(batches)
            except (RuntimeError, OSError, EOFError) as error:
                lost = " ".join(str(error).split())
                continue
            if isinstance(drawn, _Failed):
                raise drawn.error
            yield drawn.unpack()
    finally:
        del batches  # ends the workers
        for process in own:
            if process.is_alive():
                process.kill()
    raise WorkerKilledError(
        f"a worker process that draws batches has ended by itself ({lost}), as when the system "
        "runs out of memory; resume with fewer --workers"
    )


def workers_with_room(sampler: Any, number: int, workers: int) -> int:
    """How many of `workers` there is shared memory for, told by the batch of a number."""
    if not _SHARED_MEMORY.is_dir():
        return workers
    size = packed_size(sampler.batch(number))
    free = shutil.disk_usage(_SHARED_MEMORY).free - packed_size(sampler)
    room = max(0, free // max(size, 1) - 2) // (AHEAD + 1)
    if room < workers:
        logger.warning(
            "%s has room for %d of %d worker processes; a container gets more by --shm-size",
            _SHARED_MEMORY, room, workers,
        )  # fmt: skip
    return min(room, workers)


@dataclass(frozen=True)
class _Failed:
    """What a worker's sampler has raised."""

    error: BaseException


class _Batches(Dataset[Any]):
    """The batches of a sampler by number."""

    def __init__(self, sampler: Packed) -> None:
        self._packed = sampler
        self._sampler: Any = None

    def __getitem__(self, number: int) -> Packed | _Failed:
        try:
            if self._sampler is None:
                self._sampler = self._packed.unpack()
            batch = self._sampler.batch(number)
        except Exception as error:
            return _Failed(_that_travels(error))
        try:
            return pack(batch)
        except RuntimeError as error:
            words = " ".join(str(error).split())
            return _Failed(
                OutOfMemoryError(
                    f"no shared memory for a batch ({words}); give fewer --workers, or a container "
                    "a larger --shm-size"
                )
            )


def _that_travels(error: Exception) -> Exception:
    """The error, or its words where it cannot be sent; with where it came from for `--debug`."""
    told = "".join(traceback.format_exception(error)).rstrip()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    if not isinstance(error, VidswapError):
        error.add_note(f"in a worker process:\n{told}")
    return error


def _as_it_is(drawn: Any) -> Any:
    return drawn


def _begin_worker(_number: int) -> None:
    """Ctrl-C and SIGTERM also come to the training process, which ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with(os.getppid())
    hold_opencv_to_one_thread()


@contextmanager
def _started_quietly(*modules: str) -> Iterator[None]:
    """Within the block processes begin with one thread each and `modules` imported, and this one's
    signals stay its own.

    `DataLoader` has SIGCHLD raise errors amid whatever is going on, as amid a step; that a worker
    is gone is told between two steps as well.
    """
    handler = signal.getsignal(signal.SIGCHLD)
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__, *modules])
    try:
        with variables_set(dict.fromkeys(_ONE_THREAD, "1")):
            yield
    finally:
        if signal.getsignal(signal.SIGCHLD) is not handler:
            signal.signal(signal.SIGCHLD, handler)
