"""What `gpu_check` measures of a GPU; each check gives its figures as they come.

Beyond torch, NumPy, OpenCV and safetensors a check imports what it needs by itself, so that what a
machine lacks costs the checks that need it, and no other.
"""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.benchmarks.gpu_check import Check, Row, Setting
from vidswap.runtime.devices import (
    device_memory,
    device_name,
    free_unused_memory,
    offered,
    wait_for,
)

FORMATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# Mean difference from the CPU's fp32, in standard deviations of its answer: that of rounding, with
# room. On a CPU the generator in fp16 is 0.0004 apart, and in bf16 0.0032.
MOST_APART = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.05}
# Nets of which a swap computes in fewer bits; the others are fp32 on every device, and what fewer
# bits would do to them is only told. (On a CPU grid_sample in 16 bits reads what is not there.)
IN_FEWER_BITS = ("generator", "occlusion")
BATCHES = (1, 2, 4, 8, 16, 32, 64)
REPEAT_SECONDS = 0.7  # that a generator's batch is timed
CLIPS = tuple(((width, height), faces) for width, height in ((1280, 720), (1920, 1080))
              for faces in (1, 5))  # fmt: skip
FRAMES = 60
LIMITS_MIB = (4096, 2048, 1024)
PHOTOS = Path(__file__).resolve().parents[2] / "vidswap" / "animation" / "portraits"
TRAINING_BATCH = 16
SMALL_CHANNELS = tuple((side, 8 if side > 32 else 16) for side in (256, 128, 64, 32, 16, 8, 4))
CODECS = ("libx264", "libx265", "libvpx-vp9")

Answer = Callable[[torch.nn.Module, list[Tensor]], Any]


def device_here() -> str:
    """The GPU that torch offers, else the CPU."""
    return next(iter(offered()), "cpu")


def machine_here() -> dict[str, Any]:
    """What the figures are measured on."""
    device = torch.device(device_here())
    memory = 0 if device.type == "cpu" else device_memory(device)
    return {
        "device": device_name(device) or platform.processor() or platform.machine(),
        "device_memory_gib": round(memory / 2**30, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
    }


def parity(setting: Setting) -> Iterator[Row]:
    """Every net on the device, in each number format, against the CPU in fp32."""
    device = torch.device(setting.device)
    for name, (made, inputs, answer) in nets().items():
        if setting.dry and name not in IN_FEWER_BITS:
            continue
        try:
            net = made().eval().requires_grad_(False)
            given = [tensor.float() for tensor in inputs()]
        except ModuleNotFoundError as error:
            yield Row(f"{name}: skipped, needs {error.name}", 0.0, "")
            continue
        expected = _flat(answer(net, given))
        for word, dtype in FORMATS.items():
            if setting.dry and word != "bf16":  # the CPU's own, and one that it is slow in
                continue
            moved = copy.deepcopy(net).to(device, dtype)
            on_device = [tensor.to(device, dtype) for tensor in given]
            try:
                found = _flat(answer(moved, on_device))
            except (RuntimeError, TypeError, ValueError) as error:
                words = " ".join(str(error).split())[:120]
                most = 0.0 if word == "fp32" or name in IN_FEWER_BITS else None
                yield Row(f"{name} {word}: {words}", float("nan"), "", most=most)
                continue
            apart = float((found - expected).abs().mean() / expected.std().clamp(min=1e-6))
            is_used = word == "fp32" or name in IN_FEWER_BITS
            most = MOST_APART[word] if is_used else None
            yield Row(f"{name} {word}", apart, "deviations apart", most=most)


def nets() -> dict[str, tuple[Callable[[], Any], Callable[[], list[Tensor]], Answer]]:
    """By name: what makes a net, its inputs in fp32 on the CPU, and how it answers them."""
    from vidswap.faces.nets import attention_mesh, blazeface_full_range, blazeface_short_range
    from vidswap.faces.nets.loading import load_selfie_segmentation, with_weights
    from vidswap.identity.encoder import IdentityEncoder

    def face_net(module: Any, kind: type, name: str) -> tuple[Any, Any, Answer]:
        low, high = module.INPUT_RANGE
        return (
            lambda: with_weights(kind(), name),
            lambda: [low + (high - low) * photos(module.INPUT_SIZE)],
            lambda net, given: net(*given),
        )

    return {
        "generator": (_generator, _generator_inputs, _swapped),
        "attention mesh": face_net(
            attention_mesh, attention_mesh.AttentionMesh, "attention_mesh"
        ),
        "BlazeFace, full range": face_net(
            blazeface_full_range, blazeface_full_range.BlazeFaceFullRange, "blazeface_full_range"
        ),
        "BlazeFace, short range": face_net(
            blazeface_short_range, blazeface_short_range.BlazeFaceShortRange,
            "blazeface_short_range",
        ),
        "person": (
            load_selfie_segmentation, lambda: [photos(256)], lambda net, given: net(*given),
        ),
        "occlusion": (
            _occlusion, lambda: [2.0 * photos(256) - 1.0], lambda net, given: net(*given),
        ),
        "identity": (
            IdentityEncoder, lambda: [2.0 * photos(256) - 1.0],
            lambda net, given: net(*given).rows(),
        ),
        "content net of swapinpaint": (
            _content, lambda: [2.0 * photos(256) - 1.0, _holes()],
            lambda net, given: net.content(*given),
        ),
    }  # fmt: skip


def generator(setting: Setting) -> Iterator[Row]:
    """Images per second by batch, and the share of the rate of bf16 matrix products."""
    from vidswap.bench.rates import generator_operations, matrix_rate, random_faces

    device = torch.device(setting.device)
    rate = matrix_rate(torch.bfloat16, device)
    needed = generator_operations(_generator(), torch.device("cpu"), torch.float32)
    yield Row("bf16 matrix products", rate / 1e3, "TFLOP/s")
    yield Row("generator, operations per face", needed, "GFLOP")
    for word in ("bf16",) if setting.dry else ("fp16", "bf16"):
        net = _generator().to(device, FORMATS[word])
        net.to(memory_format=torch.channels_last)
        for batch in BATCHES[:2] if setting.dry else BATCHES:
            faces = random_faces(net, batch, device, FORMATS[word])
            seconds = _median_seconds(partial(net.swap, faces), device, setting.dry)
            yield Row(f"{word}, batches of {batch}", batch / seconds, "faces/s")
            share = 100.0 * batch * needed / seconds / rate
            yield Row(f"{word}, batches of {batch}, of the matrix rate", share, "%")


def whole_swaps(setting: Setting) -> Iterator[Row]:
    """Frames per second from file to file, and the milliseconds of each stage."""
    from vidswap.animation.clip import portrait_path
    from vidswap.bench.clips import SOURCE, write_faces
    from vidswap.bench.speed import timed_swap
    from vidswap.nets import load_nets
    from vidswap.runtime.stage_clock import StageClock
    from vidswap.swap.job import SwapJob, read_source
    from vidswap.swap.options import SwapOptions

    clips = (((256, 144), 1), ((256, 144), 2)) if setting.dry else CLIPS
    options = SwapOptions(face="all", overwrite=True)
    with closing(load_nets(device=setting.device)) as loaded:  # type: ignore[arg-type]
        source = read_source(loaded, [portrait_path(SOURCE)], options)
        for size, faces in clips:
            clip, output = setting.folder / "target.mp4", setting.folder / "out.mp4"
            case = f"{size[0]}x{size[1]}, {faces} face(s)"
            for frames in (3,) if setting.dry else (3, FRAMES):  # the first compile and allocate
                write_faces(clip, frames, size, faces)
                job = SwapJob(loaded, source, options, StageClock(), None)
                wall, worked = timed_swap(job, clip, output)
            yield Row(f"{case}", 1e3 / wall, "frames/s")
            swapped = job.counts.faces_swapped / job.counts.frames
            yield Row(f"{case}, swapped", swapped, "faces/frame", least=faces - 0.05)
            yield Row(f"{case}, processor", worked, "ms/frame")
            for stage, seconds in job.clock.seconds().items():
                yield Row(f"{case}, {stage}", 1e3 * seconds / job.counts.frames, "ms/frame")


def training(setting: Setting) -> Iterator[Row]:
    """Images per second of AP-GAN's training step, on random pictures."""
    from vidswap.identity.encoder import ID_WIDTH, IdentityEncoder
    from vidswap.models.apgan.discriminator import DiscriminatorConfig
    from vidswap.models.apgan.generator import GeneratorConfig
    from vidswap.training.config import TrainConfig
    from vidswap.training.identity_loss import IdentityLoss
    from vidswap.training.pair_batch import PairConfig
    from vidswap.training.trainer import Trainer

    device = torch.device(setting.device)
    for size in (128,) if setting.dry else (128, 256):
        pairs = PairConfig(size=size, batch=4 if setting.dry else TRAINING_BATCH)
        config = TrainConfig(GeneratorConfig(size=size), DiscriminatorConfig(), pairs)
        if setting.dry:
            small = GeneratorConfig(size=size, channels=SMALL_CHANNELS, id_width=32)
            config = TrainConfig(small, DiscriminatorConfig(widths=(8, 8, 8)), pairs)
        torch.manual_seed(0)
        rows = torch.randn(64, ID_WIDTH)
        trainer = Trainer(config, IdentityLoss(IdentityEncoder(), rows), device)
        batch = random_pairs(pairs, len(rows))
        steps = 1 if setting.dry else 20
        if not setting.dry:
            trainer.step(batch)
            trainer.step(batch)
        wait_for(device)
        started = time.perf_counter()
        losses = [trainer.step(batch) for _ in range(steps)]
        wait_for(device)
        seconds = (time.perf_counter() - started) / steps
        good = sum(each is not None for each in losses) / steps
        yield Row(f"{size} pixels, batches of {pairs.batch}", pairs.batch / seconds, "images/s")
        yield Row(f"{size} pixels, steps with finite losses", 100.0 * good, "%", least=100.0)


def memory(setting: Setting) -> Iterator[Row]:
    """What the generator takes of the GPU's memory within limits, and the batches that remain."""
    from vidswap.bench.rates import random_faces
    from vidswap.models.checkpoint import load_generator
    from vidswap.runtime.memory import MIB, ShrinkingBatches, limit_vram

    device = torch.device(setting.device)
    module, whole = torch.get_device_module(device), device_memory(device)
    net = load_generator(None, device, torch.float16).net
    for limit in (whole // MIB, *LIMITS_MIB):
        free_unused_memory()
        module.reset_peak_memory_stats()
        limit_vram(limit * MIB, device)
        batches = ShrinkingBatches(64)
        with torch.inference_mode():
            answers = batches(
                range(128), lambda faces: list(net.swap(random_faces(net, len(faces), device,
                                                                    torch.float16)).cpu())
            )  # fmt: skip
        case = f"--max-vram {limit}M"
        yield Row(f"{case}, faces", len(answers), "", least=128, most=128)
        yield Row(f"{case}, batches", batches.size, "faces")
        taken = module.max_memory_reserved() / MIB
        yield Row(f"{case}, taken", taken, "MiB", most=limit)
    limit_vram(whole, device)


def out_of_memory(setting: Setting) -> Iterator[Row]:
    """The device's own error, raised above a size: batches shrink to it, and no face is lost."""
    from vidswap.runtime.memory import ShrinkingBatches

    device, most, count = torch.device(setting.device), 4, 37

    def net(faces: Sequence[int]) -> list[int]:
        if len(faces) > most:
            if device.type == "cpu":
                raise torch.OutOfMemoryError("raised for this check")
            torch.empty(2**62, dtype=torch.uint8, device=device)
        return torch.tensor(list(faces), device=device).mul(2).tolist()

    batches = ShrinkingBatches(32)
    answers = batches(range(count), net)
    right = sum(answer == 2 * i for i, answer in enumerate(answers))
    yield Row("faces answered in order", right, "", least=count, most=count)
    yield Row("batches after it", batches.size, "faces", least=most, most=most)


def hardware_decoding(setting: Setting) -> Iterator[Row]:
    """Frames of which a device gives other samples than the software decoder."""
    import av

    from vidswap.errors import CodecError
    from vidswap.media.decoder import VideoReader
    from vidswap.media.hardware import working_devices

    found = working_devices()
    yield Row("devices that decode", len(found), "")
    for codec in CODECS if found else ():
        clip = setting.folder / f"{codec}.mkv"
        with av.open(str(clip), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
            for number in range(30):
                moved = np.roll(_photo(0, (640, 360)), 4 * number, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, "rgb24")))
            container.mux(stream.encode(None))
        for device in found:
            case = f"{codec} on {device}"
            try:
                with VideoReader(clip, hwaccel=device) as ours, VideoReader(clip) as theirs:
                    pairs = [(a.coded().to_ndarray(), b.coded().to_ndarray())
                             for a, b in zip(ours, theirs, strict=True)]  # fmt: skip
            except CodecError as error:  # it says what it does not decode
                yield Row(f"{case}: {str(error)[:100]}", 0.0, "")
                continue
            differing = sum(not np.array_equal(a, b) for a, b in pairs)
            yield Row(f"{case}, of {len(pairs)}", differing, "frames differ", most=0)


def random_pairs(config: Any, faces: int) -> Any:
    """A batch of random pictures, made as `PairSampler` makes one."""
    from vidswap.training.pair_batch import PairBatch

    n, side = config.batch, config.size
    same, back, warped, across = config.counts
    random = torch.Generator().manual_seed(0)

    def pictures(count: int, channels: int = 3) -> Tensor:
        return torch.rand(count, channels, side, side, generator=random)

    def rows(count: int) -> Tensor:
        return torch.randint(faces, (count,), generator=random)

    eyes_and_mouth = side * (0.3 + 0.4 * torch.rand(n, 3, 2, 2, generator=random))
    return PairBatch(
        targets=2.0 * pictures(n) - 1.0,
        boundary_maps=pictures(n),
        sources=rows(n),
        target_rows=rows(n),
        same_person=torch.zeros(n, dtype=torch.bool),
        keep=pictures(n, 1),
        n_same_picture=same,
        n_swap_back=back,
        swap_back_sources=rows(back),
        warped=2.0 * pictures(warped) - 1.0,
        answers=2.0 * pictures(across) - 1.0,
        references=pictures(n, 4),
        corners=eyes_and_mouth,
    )


def photos(side: int) -> Tensor:
    """Three packaged portraits, (3, 3, side, side) in [0, 1]."""
    stacked = np.stack([_photo(number, (side, side)) for number in range(3)])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255.0


@cache
def _photo(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    path = sorted(PHOTOS.glob("*.jpg"))[number]
    picture = cv2.imread(str(path))
    assert picture is not None, path
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[:, :, ::-1])


def _generator() -> Any:
    from vidswap.models.checkpoint import load_generator

    return load_generator().net


def _generator_inputs() -> list[Tensor]:
    """Targets, boundary maps, ids and references of the portraits, the next one as source."""
    from vidswap.faces.boundary_map import draw_boundary_map
    from vidswap.faces.nets import attention_mesh
    from vidswap.faces.nets.loading import with_weights
    from vidswap.identity.encoder import IdentityEncoder

    net = with_weights(attention_mesh.AttentionMesh(), "attention_mesh")
    low, high = attention_mesh.INPUT_RANGE
    side = attention_mesh.INPUT_SIZE
    crops = 2.0 * photos(256) - 1.0
    with torch.inference_mode():
        meshes = net(low + (high - low) * photos(side))[0].numpy() * (256.0 / side)
        ids = IdentityEncoder()(crops).rows().roll(1, 0)
    maps = np.stack([draw_boundary_map(mesh[:, :2]) for mesh in meshes])
    drawn = torch.from_numpy(maps).permute(0, 3, 1, 2).float() / 255.0
    views = torch.cat([crops.roll(1, 0), torch.ones(3, 1, 256, 256)], dim=1)
    return [crops, drawn, ids, views]


def _swapped(net: Any, given: list[Tensor]) -> Tensor:
    from vidswap.identity.encoder import IdEmbedding
    from vidswap.models.face_net import FaceBatch

    targets, maps, ids, views = given
    identity = IdEmbedding.from_rows(ids.float())
    shown = views if net.takes.reference else None
    answer: Tensor = net.swap(FaceBatch(targets, maps, identity, shown))
    return answer


def _occlusion() -> Any:
    from vidswap.faces.occlusion import packaged

    return copy.deepcopy(packaged()).float()


def _content() -> Any:
    from vidswap.models.checkpoint import load_generator
    from vidswap.models.checkpoint_file import packaged_checkpoint

    net: Any = load_generator(packaged_checkpoint("swapinpaint.safetensors", "swapinpaint")).net
    return net.content


def _holes() -> Tensor:
    holes = torch.zeros(3, 1, 256, 256)
    holes[:, :, 96:176, 80:176] = 1.0
    return holes


def _flat(answer: Any) -> Tensor:
    """All of an answer's numbers in one row, on the CPU in fp32."""
    tensors = answer if isinstance(answer, (tuple, list)) else (answer,)
    return torch.cat([tensor.detach().float().cpu().flatten() for tensor in tensors])


def _median_seconds(work: Callable[[], object], device: torch.device, is_dry: bool) -> float:
    """Of a call, once it has been made twice."""
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(1 if is_dry else 2):
            work()
        wait_for(device)
        ends = time.perf_counter() + (0.0 if is_dry else REPEAT_SECONDS)
        while not times or time.perf_counter() < ends:
            started = time.perf_counter()
            work()
            wait_for(device)
            times.append(time.perf_counter() - started)
    return float(np.median(times))


# The whole swaps come last and have what is left: their parts are kept one by one.
CHECKS = (
    Check("parity", parity, seconds=45, least=10),
    Check("generator", generator, seconds=45, least=10),
    Check("training", training, seconds=40, least=15, needs=("tqdm",)),
    Check("memory", memory, seconds=20, least=8, needs=("av", "numba"), needs_gpu=True),
    Check("out of memory", out_of_memory, seconds=10, least=5, needs=("av", "numba")),
    Check("hardware decoding", hardware_decoding, seconds=15, least=5, needs=("av", "numba")),
    Check("whole swaps", whole_swaps, seconds=120, least=20, needs=("av", "numba", "scipy")),
)
