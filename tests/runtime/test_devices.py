"""Which device computes, in which numbers, and what of it may be taken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vidswap.errors import BadOptionError
from vidswap.faces.nets import loading
from vidswap.faces.nets.attention_mesh import AttentionMesh
from vidswap.faces.nets.blazeface_full_range import BlazeFaceFullRange
from vidswap.faces.nets.blazeface_short_range import BlazeFaceShortRange
from vidswap.identity.encoder import IdentityEncoder
from vidswap.models.checkpoint import load_generator
from vidswap.models.face_net import FaceBatch
from vidswap.nets import choose_device, choose_precision
from vidswap.runtime import devices
from vidswap.runtime.memory import limit_vram, usual_batch

GIB = 2**30


def offer(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    monkeypatch.setattr(devices, "_is_offered", lambda kind: kind in kinds)


@pytest.mark.parametrize("kind", devices.GPUS)
def test_a_device_that_is_not_there_is_refused_and_the_others_are_named(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    other = "cuda" if kind == "mps" else "mps"
    offer(monkeypatch, other)
    with pytest.raises(BadOptionError) as refused:
        choose_device(kind)  # type: ignore[arg-type]
    words = str(refused.value)
    assert words.startswith(f"--device {kind}: ") and torch.__version__ in words
    assert f"use --device {other} or --device cpu" in words and "\n" not in words


def test_only_cuda_is_taken_without_being_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "mps", "xpu")
    assert choose_device("auto").type == "cpu"
    assert [choose_device(kind).type for kind in ("mps", "xpu")] == ["mps", "xpu"]
    offer(monkeypatch, *devices.GPUS)
    assert choose_device("auto").type == "cuda"


@pytest.mark.parametrize("kind", devices.GPUS)
def test_a_gpu_computes_in_fp16_and_in_larger_batches(kind: str) -> None:
    gpu = torch.device(kind)
    assert choose_precision("auto", gpu) == torch.float16
    assert usual_batch(gpu) > usual_batch(torch.device("cpu"))


def test_numbers_that_a_device_lacks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise TypeError("BFloat16 is not supported on MPS")

    assert choose_precision("bf16", torch.device("cpu")) == torch.bfloat16
    monkeypatch.setattr("torch.ones", refuse)
    with pytest.raises(BadOptionError, match="--precision bf16: the mps device"):
        choose_precision("bf16", torch.device("mps"))


def test_a_limit_is_a_share_of_what_the_gpu_has(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    module = SimpleNamespace(
        set_per_process_memory_fraction=lambda *arguments: given.append(arguments),
        get_device_properties=lambda _: SimpleNamespace(total_memory=16 * GIB),
    )
    monkeypatch.setattr(devices, "_module", lambda _: module)
    monkeypatch.setattr("torch.mps.recommended_max_memory", lambda: 8 * GIB)
    limit_vram(4 * GIB, torch.device("mps"))
    limit_vram(4 * GIB, torch.device("xpu"))
    assert given == [(0.5,), (0.25, torch.device("xpu"))]
    with pytest.raises(BadOptionError, match="the GPU has 8192 MiB"):
        limit_vram(9 * GIB, torch.device("mps"))
    del module.set_per_process_memory_fraction
    with pytest.raises(BadOptionError, match="cannot limit the memory of xpu"):
        limit_vram(4 * GIB, torch.device("xpu"))


class Formats(TorchDispatchMode):
    """Notes the number format of every tensor that comes out of an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        tensors = answer if isinstance(answer, (tuple, list)) else (answer,)
        self.seen |= {each.dtype for each in tensors if isinstance(each, torch.Tensor)}
        return answer


def test_no_net_computes_in_fp64_which_some_devices_lack() -> None:
    encoder, generator = IdentityEncoder(), load_generator(dtype=torch.float16).net
    crop = torch.zeros(1, 3, generator.size, generator.size)
    views = torch.zeros(1, 4, generator.size, generator.size, dtype=torch.float16)
    faces = (
        (AttentionMesh(), 192), (BlazeFaceFullRange(), 192), (BlazeFaceShortRange(), 128),
        (loading.load_selfie_segmentation(), 256),
    )  # fmt: skip
    with Formats() as formats, torch.inference_mode():
        for net, side in faces:
            net.eval()(torch.zeros(1, 3, side, side))
        identity = encoder(crop)
        generator.swap(FaceBatch(crop.half(), crop.half(), identity, views))
    assert {torch.float16, torch.float32} <= formats.seen
    assert torch.float64 not in formats.seen
