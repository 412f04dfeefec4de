"""The devices that PyTorch computes on: which it offers here, and in what they differ."""

from __future__ import annotations

from typing import Any

import torch

from vidswap.errors import BadOptionError

# In the order of `doctor`. Arithmetic is fp32 or less everywhere: MPS and many an XPU have no fp64.
GPUS = ("cuda", "mps", "xpu")
_NAMES = {"cuda": "CUDA device", "mps": "Apple GPU (MPS)", "xpu": "Intel GPU (XPU)"}
_BUILDS = {
    "cuda": "a CUDA build of torch and a driver",
    "mps": "torch on a Mac with Apple silicon and macOS 14 or newer",
    "xpu": "an XPU build of torch and Intel's driver",
}
_WORDS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def offered() -> tuple[str, ...]:
    """The kinds of GPU that this PyTorch can use here."""
    return tuple(kind for kind in GPUS if _is_offered(kind))


def device_of(kind: str) -> torch.device:
    """The device of a kind, `cpu` or one of `GPUS`. Raises BadOptionError where it is not offered.

    Nothing else takes its place: a swap on another device would take many times as long.
    """
    if kind != "cpu" and not _is_offered(kind):
        others = " or ".join(f"--device {other}" for other in (*offered(), "cpu"))
        raise BadOptionError(
            f"--device {kind}: this PyTorch ({torch.__version__}) finds no {_NAMES[kind]}; use "
            f"{others}, or install {_BUILDS[kind]}"
        )
    return torch.device(kind)


def check_computes_in(dtype: torch.dtype, device: torch.device) -> None:
    """Raise BadOptionError where a device has no arithmetic of a number format."""
    try:
        torch.ones(1, dtype=dtype, device=device).add_(1)
    except (RuntimeError, TypeError) as error:
        if "memory" in str(error):
            raise
        raise BadOptionError(
            f"--precision {_WORDS[dtype]}: the {device.type} device of this computer has no such "
            "numbers; use --precision auto"
        ) from error


def device_name(device: torch.device) -> str:
    """What the device calls itself, empty for the CPU."""
    if device.type == "cpu":
        return ""
    if device.type == "mps":
        return "Apple GPU"
    return str(_module(device).get_device_name(device))


def device_memory(device: torch.device) -> int:
    """Bytes of a GPU's memory that torch may take."""
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return int(_module(device).get_device_properties(device).total_memory)


def limit_device_memory(limit: int, device: torch.device) -> None:
    """Let torch take at most `limit` bytes of a GPU's memory. Raises BadOptionError."""
    set_fraction = getattr(_module(device), "set_per_process_memory_fraction", None)
    if set_fraction is None:
        raise BadOptionError(
            f"--max-vram: torch {torch.__version__} cannot limit the memory of {device}; leave it "
            "out, or give a smaller --batch-size"
        )
    share = limit / device_memory(device)
    set_fraction(share) if device.type == "mps" else set_fraction(share, device)


def free_unused_memory() -> None:
    """Give back what torch keeps of the GPUs' memory for later."""
    for kind in offered():
        _module(torch.device(kind)).empty_cache()


def wait_for(device: torch.device) -> None:
    """Wait until a device has done all that it was given; the CPU does it at once."""
    if device.type != "cpu":
        _module(device).synchronize()


def _is_offered(kind: str) -> bool:
    if kind == "mps":
        return torch.backends.mps.is_available()
    return bool(getattr(torch, kind).is_available())


def _module(device: torch.device) -> Any:
    return torch.get_device_module(device)
