"""Two checkouts timed in turns, so that what else the machine does falls on both alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidswap.errors import InputNotFoundError

Report = dict[str, Any]
MEASURES: dict[str, Callable[[Report], float]] = {
    "wall_milliseconds_a_frame": lambda r: float(r["milliseconds_a_frame"]["whole_run"]),
    "processor_milliseconds_a_frame": lambda r: float(
        r["processor_milliseconds_a_frame"]["whole_run"]
    ),
}


def paired_benchmark(
    other: Path, arguments: Sequence[str], rounds: int, run: Callable[[Path], Report] | None = None
) -> dict[str, Any]:
    """`vidswap bench` of this checkout and of `other`, A B A B.

    Each measure has the median of both and the ratio, other to this, of each pair of
    neighbours: its median and range. A ratio above one: this one is faster. Raises
    InputNotFoundError where `other` is no checkout.
    """
    here = Path(__file__).resolve().parents[2]
    if not (other / "vidswap" / "bench").is_dir():
        raise InputNotFoundError(
            f"{other}: no checkout of vidswap; give the folder that holds pyproject.toml"
        )
    run = run or (lambda checkout: _benched(checkout, arguments))
    runs: dict[str, list[Report]] = {"this": [], "other": []}
    for _ in range(rounds):
        for name, checkout in (("this", here), ("other", other)):
            runs[name].append(run(checkout))
            print(f"{name}: {_said(runs[name][-1])}", file=sys.stderr, flush=True)
    return {"rounds": rounds, "measures": {name: _compared(name, runs) for name in MEASURES}}


def _compared(measure: str, runs: dict[str, list[Report]]) -> dict[str, Any]:
    values = {}
    for name, reports in runs.items():
        try:
            values[name] = [MEASURES[measure](report) for report in reports]
        except KeyError:  # an older checkout does not measure it
            return {"missing": name}
    ratios = np.divide(values["other"], values["this"])
    return {
        **{name: round(float(np.median(v)), 2) for name, v in values.items()},
        "ratio": round(float(np.median(ratios)), 3),
        "ratio_range": [round(float(ratios.min()), 3), round(float(ratios.max()), 3)],
    }


def _said(report: Report) -> str:
    return f"{report['milliseconds_a_frame']['whole_run']} ms a frame"


def _benched(checkout: Path, arguments: Sequence[str]) -> Report:
    """What `vidswap bench` of a checkout prints. Raises CalledProcessError with its words."""
    command = [sys.executable, "-m", "vidswap", "bench", *arguments]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(
        command, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    report: Report = json.loads(done.stdout)
    return report
