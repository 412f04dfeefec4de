"""How many operations a second the machine can do, and how many the generator gets."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vidswap.models.face_net import FaceBatch
from vidswap.nets import Nets, one_core
from vidswap.runtime.devices import wait_for

SIDE = 1024  # of the matrices
REPEATS = 7


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Best rate of a square matrix product, in 10^9 operations a second, on one core or the GPU."""
    a = torch.randn(SIDE, SIDE, device=device).to(dtype)
    times = []
    with one_core(), torch.inference_mode():
        for _ in range(REPEATS + 1):
            wait_for(device)
            started = _now(device)
            a @ a
            wait_for(device)
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
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net.swap(batch)
    return counter.get_total_flops() / 1e9


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
