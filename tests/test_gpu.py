"""A GPU computes what the CPU does: generator, identity encoder, a whole swap; and how it trains.

`make test-gpu` runs these on CUDA, MPS or XPU, whichever is there; without one they are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import vidswap
from tests.training.test_trainer import config, identity_loss, sampler
from vidswap.animation.clip import find_face, load_portrait, make_clip, portrait_path
from vidswap.animation.motion import talking
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.faces.boundary_map import draw_boundary_map
from vidswap.identity.encoder import IdEmbedding, IdentityEncoder
from vidswap.media.decoder import VideoReader
from vidswap.models.checkpoint import load_generator
from vidswap.models.face_net import FaceBatch
from vidswap.people.source import SourceReader
from vidswap.runtime.devices import offered
from vidswap.swap.options import SwapOptions
from vidswap.training.guarded_trainer import as_numbers
from vidswap.training.trainer import Trainer
from vidswap.training.workers import drawn_by_workers

DEVICE = next(iter(offered()), "none")
SOURCE, TARGETS = "clara", ("mei", "nora")
FRAMES = 5

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not offered(), reason="torch offers no GPU"),
]


@pytest.fixture(autouse=True)
def full_fp32() -> Iterator[None]:
    """Without cuDNN's default, TF32, which rounds fp32 factors to 10 bits."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@pytest.fixture(scope="module")
def faces() -> tuple[torch.Tensor, torch.Tensor]:
    """Aligned targets (B, 3, 256, 256) in [-1, 1] and their boundary maps in [0, 1]."""
    crops, maps = [], []
    for name in TARGETS:
        photo = load_portrait(name)
        landmarks = find_face(photo).landmarks
        affine = face_affine(landmarks)
        crops.append(align_face(photo, affine))
        maps.append(draw_boundary_map(warp_points(affine, landmarks)))
    return 2.0 * as_tensor(crops) - 1.0, as_tensor(maps)


def as_tensor(pictures: list[NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255.0


@pytest.fixture(scope="module")
def identity() -> IdEmbedding:
    with closing(SourceReader.load()) as reader:
        return reader.read([portrait_path(SOURCE)]).identity


def swapped(
    faces: tuple[torch.Tensor, torch.Tensor], ids: IdEmbedding, device: str, dtype: torch.dtype
) -> torch.Tensor:
    """What the packaged generator makes of the faces, in levels of 0 to 255."""
    net = load_generator(None, torch.device(device), dtype).net
    target, maps = (tensor.to(device, dtype) for tensor in faces)
    with torch.inference_mode():
        of_each = ids.expand(len(target)).map(lambda x: x.to(device))
        answer = net.swap(FaceBatch(target, maps, of_each))
    return 127.5 * (answer.float().cpu() + 1.0)


@pytest.mark.parametrize(
    ("dtype", "mean", "largest"),
    [(torch.float32, 0.05, 2.0), (torch.float16, 0.5, 20.0), (torch.bfloat16, 2.0, 60.0)],
)
def test_the_generator_gives_the_cpus_pixels(
    faces: tuple[torch.Tensor, torch.Tensor],
    identity: IdEmbedding,
    dtype: torch.dtype,
    mean: float,
    largest: float,
) -> None:
    exact = swapped(faces, identity, "cpu", torch.float32)
    difference = (swapped(faces, identity, DEVICE, dtype) - exact).abs()
    assert difference.mean() < mean and difference.max() < largest
    changed = (exact - 127.5 * (faces[0] + 1.0)).abs().mean()
    assert changed > 5 * difference.mean(), "the swap must be far larger than the rounding"


def test_a_k_shot_embedding_is_the_cpus(faces: tuple[torch.Tensor, torch.Tensor]) -> None:
    on_cpu = IdentityEncoder()(faces[0]).mean().rows()
    on_gpu = IdentityEncoder().to(DEVICE)(faces[0].to(DEVICE)).mean().rows().cpu()
    assert on_gpu.shape == (1, 1120)
    torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("precision", "mean", "largest"), [("fp32", 0.05, 8), ("fp16", 0.5, 40), ("bf16", 1.0, 80)]
)
def test_a_whole_swap_is_the_cpus(
    tmp_path: Path, precision: str, mean: float, largest: int
) -> None:
    target = tmp_path / "target.mp4"
    make_clip(target, load_portrait(TARGETS[0]), talking, FRAMES / 25, size=(320, 240))
    clips = {}
    for device, numbers in (("cpu", "fp32"), (DEVICE, precision)):
        out = tmp_path / f"{device}-{numbers}.mkv"
        options = SwapOptions(device=device, precision=numbers, codec="ffv1", overwrite=True)
        result = vidswap.swap_video([portrait_path(SOURCE)], target, out, options)
        assert (result.faces_swapped, result.device) == (FRAMES, device)
        with VideoReader(out) as reader:
            clips[device] = np.stack([frame.rgb for frame in reader]).astype(int)
    with VideoReader(target) as reader:
        before = np.stack([frame.rgb for frame in reader]).astype(int)
    changed = (clips["cpu"] != before).any(axis=-1)
    difference = np.abs(clips[DEVICE] - clips["cpu"])
    assert difference[changed].mean() < mean and difference.max() <= largest
    assert not difference[:, :20].any(), "the background stays the target's on every device"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="training knows no GPU but CUDA")
def test_batches_of_workers_are_pinned_and_reach_the_gpu_as_they_were_drawn() -> None:
    with closing(drawn_by_workers(sampler(), 0, 1, workers=2, pinned=True)) as drawn:
        for number, batch in zip(range(6), drawn, strict=False):
            expected, there = sampler().batch(number), batch.to(torch.device("cuda"))
            assert batch.targets.is_pinned() and batch.references.is_pinned()
            assert torch.equal(there.targets.cpu(), expected.targets)
            assert torch.equal(there.keep.cpu(), expected.keep)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="training knows no GPU but CUDA")
def test_no_part_of_a_training_step_waits_for_the_gpu() -> None:
    net = Trainer(config(), deepcopy(identity_loss()), torch.device("cuda"))
    net.step(sampler().batch(0))  # cuDNN's choices wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = net.learn(sampler().batch(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(np.isfinite(value) for value in as_numbers(losses).values())
    assert net.generator_optimiser.defaults["fused"]
