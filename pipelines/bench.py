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
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.demo import photographs
from pipelines.nets import DeviceName, load_nets
from pipelines.photo_motion import animate
from pipelines.source import SourceReader
from pipelines.swap import CPU_BATCH, CUDA_BATCH, SwapOptions, align, swap_faces, swap_video

FPS = 25
TIMED_REPEATS = 7


def stage_benchmark(n_frames: int, checkpoint: Path | None, device: DeviceName) -> dict[str, Any]:
    """Milliseconds a frame of every stage, at 1280x720 with one face.

    `alone` is each generator call and the whole run; `stages` the time inside each stage while all
    of them overlap on the same processor, so that their sum exceeds the wall time.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, clip = Path(folder) / "source.png", Path(folder) / "target.mp4"
        target_photo, source_photo = photographs()
        cv2.imwrite(str(source), source_photo[:, :, ::-1])
        write_clip(clip, moving_frames(target_photo, 1280, 720, n_frames))
        options = SwapOptions(checkpoint=checkpoint, device=device)
        result = swap_video([source], clip, Path(folder) / "out.mp4", options)
    once = {"load", "source"}
    stages = {
        name: round(1000.0 * seconds / result.frames, 2)
        for name, seconds in result.seconds_by_stage.items()
        if name not in once
    }
    running = result.seconds - sum(result.seconds_by_stage[name] for name in once)
    return {
        "machine": machine(),
        "frames": result.frames,
        "faces_swapped": result.faces_swapped,
        "device": result.device,
        "precision": result.precision,
        "checkpoint_sha256": result.checkpoint_sha256,
        "milliseconds_a_frame": {
            "stages_while_overlapping": stages,
            "everything_but_the_generator": round(
                sum(ms for name, ms in stages.items() if name != "generate"), 2
            ),
            "generator_alone": generator_milliseconds(checkpoint, device),
            "whole_run": round(1000.0 * running / result.frames, 2),
        },
        "frames_a_second": round(result.frames / running, 2),
        "start_up_seconds": {
            name: round(result.seconds_by_stage[name], 2) for name in sorted(once)
        },
        "peak_memory_mib": round(result.peak_memory_mib),
    }


def generator_milliseconds(checkpoint: Path | None, device: DeviceName) -> dict[str, float]:
    """Median milliseconds a face of the generator alone, by number format, on an idle processor."""
    target_photo, _ = photographs()
    report = {}
    formats = ["fp32", "bf16"] + (["fp16"] if torch.cuda.is_available() else [])
    for precision in formats:
        with closing(load_nets(checkpoint, device=device, precision=precision)) as nets:  # type: ignore[arg-type]
            reader = SourceReader(nets.detector, nets.landmark_finder, nets.encoder)
            face = reader.faces(target_photo)[0]
            identity = reader.embed(target_photo, face)[1]
            batch = CUDA_BATCH if nets.device.type == "cuda" else CPU_BATCH
            faces = [align(target_photo, face.landmarks)] * batch
            swap_faces(faces, identity, nets)
            times = []
            for _ in range(TIMED_REPEATS):
                started = time.monotonic()
                swap_faces(faces, identity, nets)
                times.append(1000.0 * (time.monotonic() - started) / batch)
        report[precision] = round(float(np.median(times)), 2)
    return report


def memory_benchmark(checkpoint: Path | None, minutes: float) -> dict[str, Any]:
    """Peak memory of a swap of 10 seconds and of `minutes` of 1080p, each in its own process."""
    report: dict[str, Any] = {"machine": machine(), "clips": []}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.png"
        target_photo, source_photo = photographs()
        cv2.imwrite(str(source), source_photo[:, :, ::-1])
        for seconds in (10.0, 60.0 * minutes):
            clip = Path(folder) / "target.mp4"
            n_frames = round(FPS * seconds)
            write_clip(clip, repeated(list(moving_frames(target_photo, 1920, 1080, 50)), n_frames))
            out = Path(folder) / "out.mp4"
            command = [sys.executable, "-m", "cli", "run", str(source), str(clip), "-o", str(out)]
            command += ["--json", "--overwrite"]
            command += ["--checkpoint", str(checkpoint)] if checkpoint else []
            answer = subprocess.run(
                command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]
            )
            result = json.loads(answer.stdout)
            report["clips"].append(
                {
                    "seconds_of_1080p": seconds,
                    "frames": result["frames"],
                    "peak_memory_mib": round(result["peak_memory_mib"]),
                }
            )
    return report


def moving_frames(
    photo: NDArray[np.uint8], width: int, height: int, count: int
) -> Iterator[NDArray[np.uint8]]:
    """A photograph's face moved, letterboxed to (height, width, 3) by its own blurred picture."""
    with closing(SourceReader.load()) as reader:
        face = reader.faces(photo)[0]
    for frame in animate(photo, face, np.arange(count) / FPS):
        scale = height / frame.shape[0]
        middle = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        wide = cv2.GaussianBlur(cv2.resize(frame, (width, height)), (0, 0), 15)
        left = (width - middle.shape[1]) // 2
        wide[:, left : left + middle.shape[1]] = middle
        yield wide


def repeated(frames: list[NDArray[np.uint8]], count: int) -> Iterator[NDArray[np.uint8]]:
    """The frames to and fro until there are `count`."""
    cycle = frames + frames[::-1]
    for index in range(count):
        yield cycle[index % len(cycle)]


def write_clip(path: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    """Encode frames (H, W, 3) RGB as H.264 at 25 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", FPS, options={"preset": "ultrafast", "crf": "20"})
        stream.pix_fmt = "yuv420p"
        for index, rgb in enumerate(frames):
            stream.height, stream.width = rgb.shape[:2]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


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
