"""Time of measuring a swap, by metric, as plain values to print as JSON."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from pipelines.bench import FPS, machine
from pipelines.demo import ASTRONAUT, GRACE_HOPPER, load_photograph, make_clip
from pipelines.memory import peak_memory_mib
from pipelines.nets import DeviceName, load_nets
from pipelines.photo_motion import talking
from pipelines.report.measure import measure_clip
from pipelines.stage_clock import StageClock
from pipelines.swap import SwapJob, read_source
from pipelines.swap_options import SwapOptions
from vidswap.media.picture import write_picture


def metrics_benchmark(n_frames: int, checkpoint: Path | None, device: DeviceName) -> dict[str, Any]:
    """Frames a second of a report with all default metrics at 1280x720, and milliseconds by part.

    The parts overlap on the same cores, so that their sum exceeds the wall time.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, clip, swapped = (folder / n for n in ("source.png", "target.mp4", "swapped.mp4"))
        write_picture(source, load_photograph(ASTRONAUT))
        make_clip(clip, load_photograph(GRACE_HOPPER), talking, n_frames / FPS, (1280, 720))
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
