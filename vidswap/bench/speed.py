"""Speed by stage and peak memory of a swap, as plain values to print as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidswap.animation.clip import FPS, find_face, load_portrait, portrait_path
from vidswap.animation.motion import talking
from vidswap.animation.portrait import animate
from vidswap.bench.clips import SOURCE, TARGET, write_faces
from vidswap.bench.rates import rates
from vidswap.media.ffmpeg import write_h264, write_repeated
from vidswap.models.face_net import FaceBatch, FaceNet, NetInputs
from vidswap.nets import DeviceName, Nets, load_nets, one_core
from vidswap.people.source import SourceReader
from vidswap.runtime.memory import MIB, peak_memory_mib, usual_batch
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap.faces import FaceSource, SourceFace
from vidswap.swap.generation import swap_faces
from vidswap.swap.job import SwapJob, read_source
from vidswap.swap.options import SwapOptions
from vidswap.swap.stages import align

TIMED_REPEATS = 7
CURVE_POINTS = 40
MEMORY_CLIPS = (((1920, 1080), 10.0), ((3840, 2160), 4.0))  # size, seconds; the long one follows
LONG_SIZE = (1920, 1080)
SCENES = (4.0, 36.0)  # seconds with a face, then without one, over and over in the long clip


def stage_benchmark(
    n_frames: int,
    checkpoint: Path | None,
    device: DeviceName,
    size: tuple[int, int] = (1280, 720),
    faces: int = 1,
    face_height: int | None = None,
) -> dict[str, Any]:
    """Milliseconds a frame of `write_faces`' clip, all faces swapped, and start-up and memory.

    `whole_run` and `without_generator` are wall time from the first frame to the finished file, the
    second with a generator that gives its input back. `generator_alone` is a call on an idle
    processor. `stages` is the time inside each stage while all overlap on the same cores: their sum
    exceeds the wall time. Processor time, in `processor_milliseconds_a_frame`, changes less with
    what else the machine does: of the whole process, of each stage's own thread, and of all other
    threads (the codecs', torch's).
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        source, clip = portrait_path(SOURCE), folder / "target.mp4"
        write_faces(clip, n_frames, size, faces, face_height)
        start_up = StageClock()
        with start_up("load"):
            nets = stack.enter_context(closing(load_nets(checkpoint, device=device)))
        options = SwapOptions(face="largest" if faces == 1 else "all")
        with start_up("source"):
            identity = read_source(nets, [source], options)
        generator_alone = generator_milliseconds(checkpoint, device)
        unchanged = replace(
            nets, generator=replace(nets.generator, net=_Unchanged(nets.generator.net))
        )
        wall: dict[str, float] = {}
        worked: dict[str, float] = {}
        for run, run_nets in (("without_generator", unchanged), ("whole_run", nets)):
            job = SwapJob(run_nets, identity, options, StageClock(), None)
            wall[run], worked[run] = timed_swap(job, clip, folder / f"{run}.mp4")
        alone = generator_processor_milliseconds(nets, identity)
        reached = rates(nets, alone)
    stages, processor_stages = (
        {stage: round(1000.0 * t / job.counts.frames, 2) for stage, t in seconds.items()}
        for seconds in (job.clock.seconds(), job.clock.processor_seconds())
    )
    others = worked["whole_run"] - sum(processor_stages.values())
    return {
        "machine": machine(),
        "clip": {
            "size": list(size),
            "frames": job.counts.frames,
            "faces": faces,
            "face_height": face_height,
        },
        "faces_swapped": job.counts.faces_swapped,
        "device": str(nets.device),
        "precision": str(nets.dtype).removeprefix("torch."),
        "checkpoint_sha256": nets.generator.sha256,
        "milliseconds_a_frame": {
            **{run: round(milliseconds, 2) for run, milliseconds in wall.items()},
            "generator_alone": generator_alone,
            "stages": stages,
        },
        "processor_milliseconds_a_frame": {
            **{run: round(milliseconds, 2) for run, milliseconds in worked.items()},
            "generator_alone": round(alone, 2),
            "stages": processor_stages,
            "other_threads": round(others, 2),
        },
        "rates": reached,
        "frames_a_second": round(1000.0 / wall["whole_run"], 2),
        "start_up_seconds": {stage: round(t, 2) for stage, t in start_up.seconds().items()},
        "peak_memory_mib": round(peak_memory_mib()),
    }


def timed_swap(job: SwapJob, clip: Path, output: Path) -> tuple[float, float]:
    """Milliseconds a frame of a whole swap, by wall and by processor."""
    started, processor = time.monotonic(), time.process_time()
    job.swap_clip(clip, output)
    wall, worked = time.monotonic() - started, time.process_time() - processor
    return 1000.0 * wall / job.counts.frames, 1000.0 * worked / job.counts.frames


def generator_processor_milliseconds(nets: Nets, source: FaceSource) -> float:
    """Median milliseconds a face of one core, or of the GPU, for the generator alone."""
    photo = load_portrait(TARGET)
    batch = usual_batch(nets.device)
    faces = [align(photo, find_face(photo).landmarks, source)] * batch
    now = time.thread_time if nets.device.type == "cpu" else time.perf_counter
    times = []
    with one_core():
        for _ in range(TIMED_REPEATS + 1):
            started = now()
            swap_faces(faces, nets)
            times.append(1000.0 * (now() - started) / batch)
    return float(np.median(times[1:]))


class _Unchanged(FaceNet):
    """In place of another net: takes the same, and gives the target back."""

    name = "unchanged"

    def __init__(self, net: FaceNet) -> None:
        super().__init__()
        self._size, self._takes = net.size, net.takes

    @property
    def size(self) -> int:
        """As that of the other net."""
        return self._size

    @property
    def takes(self) -> NetInputs:
        """As the other net."""
        return self._takes

    def swap(self, batch: FaceBatch) -> Tensor:
        """The target itself."""
        return batch.targets.float()


def generator_milliseconds(checkpoint: Path | None, device: DeviceName) -> dict[str, float]:
    """Median milliseconds a face of the generator alone, by number format, on an idle processor."""
    photo = load_portrait(TARGET)
    mesh = find_face(photo)
    report = {}
    formats = ["fp32", "bf16"] + (["fp16"] if torch.cuda.is_available() else [])
    for precision in formats:
        with closing(load_nets(checkpoint, device=device, precision=precision)) as nets:  # type: ignore[arg-type]
            reader = SourceReader.of(nets)
            identity = reader.embed(photo, mesh)[1]
            batch = usual_batch(nets.device)
            faces = [align(photo, mesh.landmarks, SourceFace(identity))] * batch
            swap_faces(faces, nets)
            times = []
            for _ in range(TIMED_REPEATS):
                started = time.monotonic()
                swap_faces(faces, nets)
                times.append(1000.0 * (time.monotonic() - started) / batch)
        report[precision] = round(float(np.median(times)), 2)
    return report


def memory_benchmark(
    checkpoint: Path | None, minutes: float, max_memory: str | None = None, long_fps: int = FPS
) -> dict[str, Any]:
    """Memory of swaps of 10 s and `minutes` of 1080p, and of 4 s in 4K, each in its own process.

    The long one has `long_fps` frames a second and shows a face for a tenth of its time, in
    `SCENES` with hard cuts.
    `memory_mib` is a curve of the resident memory, at CURVE_POINTS evenly spread moments. A line
    for each clip that is done goes to stderr.
    """
    report: dict[str, Any] = {"machine": machine(), "clips": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, clip = portrait_path(SOURCE), folder / "target.mp4"
        photo = load_portrait(TARGET)
        times = np.arange(2 * FPS) / FPS
        command = [sys.executable, "-m", "vidswap", "run", source, clip, "-o", folder / "out.mp4"]
        command += ["--json", "--overwrite", "--no-resume"]
        command += ["--checkpoint", checkpoint] if checkpoint else []
        command += ["--max-memory", max_memory] if max_memory else []
        for size, seconds in (*MEMORY_CLIPS, (LONG_SIZE, 60.0 * minutes)):
            moving = list(animate(photo, find_face(photo), times, talking, size))
            if seconds > sum(SCENES):
                write_scenes(clip, moving, seconds, long_fps)
            else:
                write_h264(clip, repeated(moving, round(FPS * seconds)), FPS)
            measured = {"size": size, "seconds": seconds, **_watched(command)}
            print(
                f"{size[0]}x{size[1]}, {seconds:.0f} s: {measured['peak_memory_mib']} MiB",
                file=sys.stderr,
            )
            report["clips"].append(measured)
    return report


def write_scenes(
    path: Path, moving: list[NDArray[np.uint8]], seconds: float, fps: int = FPS
) -> None:
    """A clip of about so many seconds: a face in motion and a pan without one, by turns."""
    height, width = moving[0].shape[:2]
    corner = moving[0][-height // 8 :, : width // 4]
    still = np.asarray(cv2.resize(corner, (width, height + 4 * len(moving))), np.uint8)
    pan = [still[4 * i : 4 * i + height] for i in range(len(moving))]
    counts = [round(fps * length) for length in SCENES]
    frames = chain(repeated(moving, counts[0]), repeated(pan, counts[1]))
    with tempfile.TemporaryDirectory() as name:
        turn = Path(name) / "turn.mp4"
        write_h264(turn, frames, fps)
        write_repeated(path, turn, max(1, round(seconds / sum(SCENES))))


def _watched(command: list[Any]) -> dict[str, Any]:
    """Run a swap and look at its memory meanwhile. Raises CalledProcessError with its words."""
    curve: list[float] = []
    with tempfile.TemporaryFile("w+") as answer:
        job = subprocess.Popen([str(word) for word in command], stdout=answer, text=True)
        while job.poll() is None:
            curve.append(_resident_mib(job.pid))
            time.sleep(0.5)
        if job.returncode:
            raise subprocess.CalledProcessError(job.returncode, command)
        answer.seek(0)
        result = json.load(answer)
    chosen = np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).astype(int))
    return {
        "frames": result["frames"],
        "peak_memory_mib": round(result["peak_memory_mib"]),
        "memory_mib": [round(curve[i]) for i in chosen],
        "warnings": result["warnings"],
    }


def _resident_mib(process: int) -> float:
    """Resident memory of a process; 0 where the system does not tell, or it has ended."""
    try:
        return int(psutil.Process(process).memory_info().rss) / MIB
    except psutil.Error:
        return 0.0


def repeated(frames: list[NDArray[np.uint8]], count: int) -> Iterator[NDArray[np.uint8]]:
    """The frames to and fro until there are `count`."""
    cycle = frames + frames[::-1]
    for index in range(count):
        yield cycle[index % len(cycle)]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
