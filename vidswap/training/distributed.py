"""Data-parallel training: every process has its own batches, all take the mean gradient.

The nets of a GAN are called several times a step, in parts and without gradients in between, which
`DistributedDataParallel` does not follow; the mean over all processes is the same one, taken once.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn


def join_processes() -> torch.device:
    """Join the processes that `torchrun` started, if it did; the device of this one."""
    cuda = torch.cuda.is_available()
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    if not cuda:
        return torch.device("cpu")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def leave_processes() -> None:
    """Undo `join_processes`."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process; that of the first, or only one, is 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def n_processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def same_everywhere(net: nn.Module) -> None:
    """Give every process the first one's parameters and buffers."""
    if n_processes() > 1:
        for tensor in net.state_dict().values():
            dist.broadcast(tensor, 0)


def average_gradients(net: nn.Module) -> None:
    """Replace every gradient by its mean over all processes, in one exchange."""
    if n_processes() == 1:
        return
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten().float() for g in gradients])
    dist.all_reduce(flat)
    flat /= n_processes()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view(gradient.shape))
        offset += gradient.numel()


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    if n_processes() == 1:
        return flag
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    votes = torch.tensor([float(flag)], device=device)
    dist.all_reduce(votes)
    return bool(votes > 0)


def wait_for_all() -> None:
    """Return when every process has come here."""
    if n_processes() > 1:
        dist.barrier()
