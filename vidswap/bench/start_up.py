"""How long the command line takes to start: its help, and a run of one frame."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from vidswap.animation.clip import portrait_path
from vidswap.bench.clips import SOURCE, write_faces
from vidswap.bench.speed import machine


def start_up_benchmark(
    checkpoint: Path | None, device: str, size: tuple[int, int], rounds: int = 5
) -> dict[str, Any]:
    """Median seconds of whole processes, by wall and by processor: `vidswap --help`, and
    `vidswap run` of one frame with one face.

    Each has run once before, so that compiled kernels and Python's own files are there.
    """
    with tempfile.TemporaryDirectory() as name:
        clip, output = Path(name) / "target.mp4", Path(name) / "out.mp4"
        write_faces(clip, 1, size)
        run: list[str | Path] = ["run", portrait_path(SOURCE), clip, "-o", output, "--overwrite"]
        run += ["--device", device]
        run += ["--checkpoint", checkpoint] if checkpoint else []
        return {
            "machine": machine(),
            "rounds": rounds,
            "help": _seconds(["--help"], rounds),
            "run_of_one_frame": _seconds([*run, "--json"], rounds),
        }


def _seconds(arguments: list[str | Path], rounds: int) -> dict[str, float]:
    """Raises CalledProcessError with the command's words."""
    command = [sys.executable, "-m", "vidswap", *map(str, arguments)]
    taken = []
    for _ in range(rounds + 1):
        started, before = time.monotonic(), os.times()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        worked = sum(after[2:4]) - sum(before[2:4])  # of children: in their own code, in the system
        taken.append((time.monotonic() - started, worked))
    wall, processor = np.median(taken[1:], axis=0)
    return {"wall": round(float(wall), 3), "processor": round(float(processor), 3)}
