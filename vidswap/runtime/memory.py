"""How much memory a swap takes, and how it is held within a limit."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import av
import torch

from vidswap.errors import BadOptionError, OutOfMemoryError
from vidswap.media.decoder import VideoReader
from vidswap.media.sequence_reader import SequenceReader
from vidswap.runtime.devices import device_memory, free_unused_memory, limit_device_memory
from vidswap.runtime.sizes import MIB as MIB

logger = logging.getLogger(__name__)

T = TypeVar("T")
Item = TypeVar("Item")

_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)

# Fitted to peaks measured at 1280x720, 1920x1080 and 3840x2160 with queues of 1, 2 and 4 and
# batches of 1, 2 and 4: frames held by tracker, codecs and stages, those of each place in the
# queues, those of each place in a batch, and what the nets work with.
_FRAMES_ALWAYS = 41.0
_FRAMES_A_PLACE = 4.0
_FRAMES_A_BATCH_PLACE = 1.2
_BYTES_ALWAYS = 60 * MIB
_BYTES_A_BATCH_PLACE = 30 * MIB
_MARGIN = 1.08
_BYTES_A_PIXEL = 21  # of a picture: a JPEG of 14200x14200 added 3.9 GiB

CPU_BATCH, GPU_BATCH = 4, 16
QUEUE_DEPTH = 4  # frames or batches between two stages


@dataclass(frozen=True)
class MemoryPlan:
    """How many frames may wait between two stages, and how many faces go into one generator call.

    expected: bytes that the process is expected to need at its peak.
    """

    queue_depth: int
    batch_size: int
    expected: int


def frame_bytes(reader: VideoReader | SequenceReader) -> int:
    """Bytes of one of a clip's frames as the stages hold it: its planes, and its picture in RGB."""
    if isinstance(reader, SequenceReader):
        return reader.bytes_per_frame
    pixels = reader.coded_width * reader.coded_height
    return pixels * 3 + pixels * av.VideoFormat(reader.pixel_format).padded_bits_per_pixel // 8


def plan_memory(
    limit: int | None, batch_size: int | None, device: torch.device, frame: int, base: int
) -> MemoryPlan:
    """The largest queues and batches whose expected peak is within `limit` bytes.

    `batch_size` None is the device's usual one; `frame` is `frame_bytes`, `base` what the process
    has needed before the first frame. Raises BadOptionError where even the smallest do not fit.
    """
    usual = batch_size or usual_batch(device)
    plans = [
        MemoryPlan(queue, batch, _expected(queue, batch, frame, base))
        for queue in range(QUEUE_DEPTH, 0, -1)
        for batch in range(usual, 0, -1)
    ]
    if limit is None:
        return _logged(plans[0])
    fitting = [plan for plan in plans if plan.expected <= limit]
    if not fitting:
        least = min(plan.expected for plan in plans)
        raise BadOptionError(
            f"--max-memory of {limit // MIB} MiB; frames of this size need about "
            f"{-(-least // MIB)} MiB at least: allow that, or make the clip smaller"
        )
    # A full batch keeps the generator fast; deep queues only even out the stages.
    return _logged(max(fitting, key=lambda plan: (plan.batch_size, plan.queue_depth)))


def usual_batch(device: torch.device) -> int:
    """Faces per call of the generator where memory allows and nobody says otherwise."""
    return CPU_BATCH if device.type == "cpu" else GPU_BATCH


def check_picture_memory(limit: int | None, size: tuple[int, int], base: int) -> None:
    """Raise BadOptionError where a picture of a size (width, height) does not fit into `limit`.

    `base` is what the process has needed before; small pictures are not counted.
    """
    needed = round(_MARGIN * size[0] * size[1] * _BYTES_A_PIXEL)
    if limit is None or needed < _BYTES_ALWAYS or base + needed <= limit:
        return
    raise BadOptionError(
        f"--max-memory of {limit // MIB} MiB; a picture of {size[0]}x{size[1]} needs about "
        f"{-(-(base + needed) // MIB)} MiB: allow that, or make the picture smaller"
    )


def _logged(plan: MemoryPlan) -> MemoryPlan:
    logger.info(
        "memory plan: queues of %d, batches of %d, about %d MiB",
        plan.queue_depth, plan.batch_size, plan.expected // MIB,
    )  # fmt: skip
    return plan


def _expected(queue: int, batch: int, frame: int, base: int) -> int:
    frames = _FRAMES_ALWAYS + _FRAMES_A_PLACE * queue + _FRAMES_A_BATCH_PLACE * batch
    grown = frames * frame + _BYTES_ALWAYS + _BYTES_A_BATCH_PLACE * batch
    return base + round(_MARGIN * grown)


def limit_vram(limit: int | None, device: torch.device) -> None:
    """Let torch take at most `limit` bytes of a GPU's memory. Raises BadOptionError."""
    if limit is None:
        return
    if device.type == "cpu":
        raise BadOptionError(f"--max-vram, but the device is {device}; leave it out")
    total = device_memory(device)
    if limit > total:
        raise BadOptionError(
            f"--max-vram of {limit // MIB} MiB; the GPU has {total // MIB} MiB: allow that or less"
        )
    limit_device_memory(limit, device)


class ShrinkingBatches:
    """Calls a net on batches, and on smaller ones from then on where memory does not suffice."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, items: Sequence[Item], net: Callable[[Sequence[Item]], list[T]]) -> list[T]:
        """The answers to all items, in order.

        Raises OutOfMemoryError where not even one item can be held.
        """
        answers: list[T] = []
        while len(answers) < len(items):
            part = items[len(answers) : len(answers) + self.size]
            try:
                answers += net(part)
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if len(part) == 1:
                    raise OutOfMemoryError(
                        "not enough memory for one face; close other programs, allow more "
                        "(--max-memory, --max-vram) or give --device cpu"
                    ) from error
                self.size = len(part) // 2
                logger.warning("not enough memory; going on with batches of %d", self.size)
                free_unused_memory()
        return answers


def _is_out_of_memory(error: Any) -> bool:
    words = ("can't allocate memory", "not enough memory", "MPS backend out of memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        word in str(error) for word in words
    )


def peak_memory_bytes() -> int:
    """The process's largest resident memory so far.

    On Linux `getrusage` counts that of the process that started this one as well.
    """
    try:
        told = _PEAK.search(Path("/proc/self/status").read_text())
    except OSError:
        told = None
    if told is not None:
        return int(told[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_memory_mib() -> float:
    """The process's largest resident memory so far, in MiB."""
    return peak_memory_bytes() / MIB
