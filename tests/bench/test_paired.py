from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from vidswap.bench.paired import paired_benchmark
from vidswap.bench.rates import matrix_rate
from vidswap.errors import InputNotFoundError

REPOSITORY = Path(__file__).resolve().parents[2]


def report(wall: float, processor: float | None = None) -> dict[str, Any]:
    measured: dict[str, Any] = {"milliseconds_a_frame": {"whole_run": wall}}
    if processor is not None:
        measured["processor_milliseconds_a_frame"] = {"whole_run": processor}
    return measured


def test_checkouts_are_timed_in_turns_and_compared_pair_by_pair(tmp_path: Path) -> None:
    (tmp_path / "vidswap" / "bench").mkdir(parents=True)
    # The machine becomes three times slower meanwhile; the other takes a quarter longer throughout.
    reports: Iterator[dict[str, Any]] = iter(
        [report(80, 120), report(100, 150), report(240, 120), report(300, 156)]
    )
    asked: list[Path] = []

    def run(checkout: Path) -> dict[str, Any]:
        asked.append(checkout)
        return next(reports)

    measures = paired_benchmark(tmp_path, [], 2, run)["measures"]
    assert asked == [REPOSITORY, tmp_path, REPOSITORY, tmp_path]
    wall = measures["wall_milliseconds_a_frame"]
    assert wall == {"this": 160, "other": 200, "ratio": 1.25, "ratio_range": [1.25, 1.25]}
    processor = measures["processor_milliseconds_a_frame"]
    assert processor["ratio"] == 1.275 and processor["ratio_range"] == [1.25, 1.3]


def test_what_an_older_checkout_does_not_measure_is_said(tmp_path: Path) -> None:
    (tmp_path / "vidswap" / "bench").mkdir(parents=True)
    reports = iter([report(80, 120), report(100)])
    measures = paired_benchmark(tmp_path, [], 1, lambda _: next(reports))["measures"]
    assert measures["wall_milliseconds_a_frame"]["ratio"] == 1.25
    assert measures["processor_milliseconds_a_frame"] == {"missing": "other"}


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="no checkout"):
        paired_benchmark(tmp_path, [], 1)


def test_a_core_multiplies_at_least_a_billion_times_a_second() -> None:
    assert matrix_rate(torch.float32, torch.device("cpu")) > 1.0
