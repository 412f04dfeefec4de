"""Time of measuring a swap, by metric, as plain values to print as JSON."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from vidswap.animation.clip import FPS, load_portrait, make_clip, portrait_path
from vidswap.animation.motion import talking
from vidswap.bench.clips import SOURCE, TARGET
from vidswap.bench.speed import machine
from vidswap.nets import DeviceName, load_nets
from vidswap.report.measure import measure_clip
from vidswap.runtime.memory import peak_memory_mib
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap.job import SwapJob, read_source
from vidswap.swap.options import SwapOptions


def metrics_benchmark(n_frames: int, checkpoint: Path | None, device: DeviceName) -> dict[str, Any]:
    """Frames a second of a report with all default metrics at 1280x720, and milliseconds by part.

    The parts overlap on the same cores, so that their sum exceeds the wall time.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, clip, swapped = portrait_path(SOURCE), folder / "target.mp4", folder / "swapped.mp4"
        make_clip(clip, load_portrait(TARGET), talking, n_frames / FPS, (1280, 720))
        with closing(load_nets(checkpoint, device=device)) as nets:
            options = SwapOptions()
            identity = read_source(nets, [source], options)
            SwapJob(nets, identity, options, StageClock(), None).swap_clip(clip, swapped)
        started = time.monotonic()
        report = measure_clip(clip, swapped, [source])
        seconds = time.monotonic() - started
    by_part = report.settings["seconds_by_metric"]
    return {
        "machine": machine(),
        "clip": {"size": [1280, 720], "frames": report.frames},
        "frames_a_second": round(report.frames / seconds, 2),
        "milliseconds_a_frame": {
            part: round(1000.0 * taken / report.frames, 2) for part, taken in by_part.items()
        },
        "peak_memory_mib": round(peak_memory_mib()),
    }
