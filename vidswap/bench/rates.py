"""How many operations a second the machine can do, and how many the generator gets."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vidswap.identity.encoder import ID_WIDTH, IdEmbedding
from vidswap.models.face_net import FaceBatch, FaceNet
from vidswap.runtime.devices import wait_for

if TYPE_CHECKING:
    from vidswap.nets import Nets

SIDE, GPU_SIDE = 1024, 8192  # of the matrices: a GPU is not filled by small ones
REPEATS = 7


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Best rate of a square matrix product, in 10^9 operations a second, on one core or the GPU."""
    on_gpu = device.type != "cpu"
    side = GPU_SIDE if on_gpu else SIDE
    a = torch.randn(side, side, device=device).to(dtype)
    times = []
    with nullcontext() if on_gpu else _one_core(), torch.inference_mode():
        for _ in range(REPEATS + 1):
            wait_for(device)
            started = _now(device)
            a @ a
            wait_for(device)
            times.append(_now(device) - started)
    return 2.0 * side**3 / min(times[1:]) / 1e9


def random_faces(
    net: FaceNet, count: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> FaceBatch:
    """A batch of noise, with all that a net takes."""
    takes = net.takes
    noise = torch.rand(count, 4, net.size, net.size, device=device).to(dtype)
    noise = noise.contiguous(memory_format=torch.channels_last)
    nobody = IdEmbedding.from_rows(torch.randn(count, ID_WIDTH, device=device) / ID_WIDTH**0.5)
    return FaceBatch(
        noise[:, :3],
        noise[:, :3] if takes.boundary_map else None,
        nobody if takes.id_embedding else None,
        noise if takes.reference else None,
        noise[:, :1] if takes.mask else None,
    )


def generator_operations(net: FaceNet, device: torch.device, dtype: torch.dtype) -> float:
    """Additions and multiplications of the generator for one face, in 10^9."""
    # The inference form's convolutions are oneDNN's own operation, unknown to the counter.
    known = {}
    if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        known[torch.ops.mkldnn._convolution_pointwise] = _convolution_operations
    counter = FlopCounterMode(display=False, custom_mapping=known)
    with torch.no_grad(), counter:
        net.swap(random_faces(net, 1, device, dtype))
    return counter.get_total_flops() / 1e9


def _convolution_operations(
    _map: Sequence[int], weight: Sequence[int], *_: object, out_shape: Sequence[int], **__: object
) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


def rates(nets: Nets, processor_milliseconds: float) -> dict[str, Any]:
    """The machine's rate, the generator's operations, and the share of the rate that it reaches.

    `processor_milliseconds` is what the generator takes for a face, of one core or of the GPU.
    """
    rate, needed = (
        matrix_rate(nets.dtype, nets.device),
        generator_operations(nets.generator.net, nets.device, nets.dtype),
    )
    reached = needed / (processor_milliseconds / 1e3)
    return {
        "matrix_gflops": round(rate, 1),
        "generator_gflop": round(needed, 2),
        "share_of_matrix_rate": round(reached / rate, 3),
    }


def _one_core() -> AbstractContextManager[None]:
    from vidswap.nets import one_core  # numba: only a CPU needs it

    return one_core()


def _now(device: torch.device) -> float:
    return time.thread_time() if device.type == "cpu" else time.perf_counter()
