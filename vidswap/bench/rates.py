"""How many operations a second the machine can do, and how many the generator gets."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vidswap.models.face_net import FaceBatch
from vidswap.nets import Nets, one_core

SIDE = 1024  # of the matrices
REPEATS = 7


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Best rate of a square matrix product, in 10^9 operations a second, on one core or the GPU."""
    a = torch.randn(SIDE, SIDE, device=device).to(dtype)
    times = []
    with one_core(), torch.inference_mode():
        for _ in range(REPEATS + 1):
            _wait(device)
            started = _now(device)
            a @ a
            _wait(device)
            times.append(_now(device) - started)
    return 2.0 * SIDE**3 / min(times[1:]) / 1e9


def generator_operations(nets: Nets) -> float:
    """Additions and multiplications of the generator for one face, in 10^9."""
    net, size = nets.generator.net, nets.generator.size
    takes = net.takes
    blank = torch.zeros(1, 4, size, size, device=nets.device, dtype=nets.dtype)
    pictures = torch.zeros(1, 3, 256, 256, device=nets.device)
    batch = FaceBatch(
        blank[:, :3],
        blank[:, :3] if takes.boundary_map else None,
        nets.encoder(pictures) if takes.id_embedding else None,
        blank if takes.reference else None,
    )
    # The inference form's convolutions are oneDNN's own operation, unknown to the counter.
    known = {}
    if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        known[torch.ops.mkldnn._convolution_pointwise] = _convolution_operations
    counter = FlopCounterMode(display=False, custom_mapping=known)
    with torch.no_grad(), counter:
        net.swap(batch)
    return counter.get_total_flops() / 1e9


def _convolution_operations(
    _map: Sequence[int], weight: Sequence[int], *_: object, out_shape: Sequence[int], **__: object
) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


def rates(nets: Nets, processor_milliseconds: float) -> dict[str, Any]:
    """The machine's rate, the generator's operations, and the share of the rate that it reaches.

    `processor_milliseconds` is what the generator takes for a face, of one core or of the GPU.
    """
    rate, needed = matrix_rate(nets.dtype, nets.device), generator_operations(nets)
    reached = needed / (processor_milliseconds / 1e3)
    return {
        "matrix_gflops": round(rate, 1),
        "generator_gflop": round(needed, 2),
        "share_of_matrix_rate": round(reached / rate, 3),
    }


def _now(device: torch.device) -> float:
    return time.thread_time() if device.type == "cpu" else time.perf_counter()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
