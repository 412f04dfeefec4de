"""What the layers of a swap cost: processor time per frame without them and with them, in turns.

    python -m pipelines.benchmarks.layers_cost SOURCE CLIP [--runs 3] [--seconds 1]

The first run warms up and does not count. Memory is the peak of the whole process.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from vidswap import SwapOptions, swap_video
from vidswap.runtime.memory import MIB, peak_memory_bytes

KINDS = ("none", "exr", "exr-flat")


def main() -> None:
    """Print a line per kind of layers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of the clip")
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in KINDS}
    for turn in range(given.runs + 1):
        for kind in KINDS:
            taken = measured(given.source, given.clip, given.seconds, kind)
            if turn:
                found[kind].append(taken)
    base = median(cpu for cpu, _, _ in found["none"])
    for kind, runs in found.items():
        cpu, wall, size = (median(values) for values in zip(*runs, strict=True))
        print(
            f"{kind:9} {cpu:.3f} s CPU per frame ({cpu / base - 1:+.0%}), {wall:.3f} s wall, "
            f"{size / 1e6:.1f} MB of layers"
        )
    print(f"peak {peak_memory_bytes() // MIB} MiB; load {os.getloadavg()[0]:.1f}")


def measured(source: Path, clip: Path, seconds: float, kind: str) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and bytes of layers per frame of a run."""
    with tempfile.TemporaryDirectory(prefix="vidswap-layers-") as folder:
        layers = Path(folder) / "layers"
        more = {} if kind == "none" else {"layers": layers, "layer_format": kind}
        options = SwapOptions(no_provenance="a measurement", end=seconds, **more)
        cpu, wall = time.process_time(), time.perf_counter()
        result = swap_video([source], clip, Path(folder) / "out.mp4", options)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        size = sum(path.stat().st_size for path in layers.iterdir()) if more else 0
        return cpu / result.frames, wall / result.frames, size / result.frames


if __name__ == "__main__":
    main()
