"""Memory is planned, held, and told; what does not fit is done in smaller pieces."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests.media.clips import make_clip
from vidswap.commands.main import main
from vidswap.errors import BadOptionError, OutOfMemoryError
from vidswap.media.decoder import VideoReader
from vidswap.runtime.memory import (
    MIB,
    MemoryPlan,
    ShrinkingBatches,
    check_picture_memory,
    frame_bytes,
    limit_vram,
    plan_memory,
)
from vidswap.runtime.sizes import format_size, parse_size

CPU = torch.device("cpu")
HD, UHD = 1920 * 1080 * 9 // 2, 3840 * 2160 * 9 // 2
BASE = 580 * MIB
LIMITS = (1400, 1310, 1200, 1150)


@pytest.mark.parametrize(
    ("text", "size"),
    [("800M", 800 * MIB), ("2G", 2048 * MIB), ("1.5GiB", 1536 * MIB), ("1 gb", 1024 * MIB),
     ("1048576", MIB)],
)  # fmt: skip
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("size", [1, 1023, 1024, 1536 * 1024, 2 * 1024**3, 5 * MIB + 1])
def test_a_size_is_written_so_that_it_is_read_back_exactly(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("text", ["", "much", "-1G", "0", "2T", "1G5"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(BadOptionError, match="800M, 2G"):
        parse_size(text)


def test_a_frame_is_its_planes_and_its_picture(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=1)
    with VideoReader(clip) as reader:
        assert frame_bytes(reader) == 96 * 64 * 3 + 96 * 64 * 3 // 2
    deep = make_clip(tmp_path / "b.mkv", frames=1, codec="ffv1", pixel_format="yuv444p10le")
    with VideoReader(deep) as reader:
        assert frame_bytes(reader) == 96 * 64 * 3 + 96 * 64 * 6


def test_without_a_limit_all_is_as_large_as_it_may_be() -> None:
    plan = plan_memory(None, None, CPU, HD, BASE)
    assert (plan.queue_depth, plan.batch_size) == (4, 4)


@pytest.mark.parametrize(("frame", "measured"), [(HD, 1284), (UHD, 2790)])
def test_the_expected_peak_is_above_the_measured_one_and_near_it(frame: int, measured: int) -> None:
    expected = plan_memory(None, None, CPU, frame, BASE).expected / MIB
    assert measured <= expected <= 1.15 * measured


def test_4k_fits_into_three_gigabytes() -> None:
    assert plan_memory(parse_size("3G"), None, CPU, UHD, BASE).expected <= parse_size("3G")


def test_a_smaller_limit_gives_smaller_queues_and_then_smaller_batches() -> None:
    plans = [plan_memory(limit * MIB, None, CPU, HD, BASE) for limit in LIMITS]
    assert [plan.batch_size for plan in plans] == sorted(
        (p.batch_size for p in plans), reverse=True
    )
    assert plans[0].queue_depth == 4 and plans[1].batch_size == 4 > plans[3].batch_size
    assert plans[1].queue_depth < 4
    assert all(plan.expected <= limit * MIB for plan, limit in zip(plans, LIMITS, strict=True))


def test_a_limit_below_the_least_says_what_is_needed() -> None:
    with pytest.raises(BadOptionError, match=r"800 MiB; .* need about 11\d\d MiB at least"):
        plan_memory(800 * MIB, None, CPU, HD, BASE)


def test_a_limit_that_cannot_be_held_is_refused_before_any_work(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    arguments = [source_picture, target_clip, "-o", tmp_path / "o.mp4", "--checkpoint", untrained]
    result = CliRunner().invoke(main, ["run", *map(str, arguments), "--max-memory", "90M"])
    assert result.exit_code == 2 and "90 MiB" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_tells_its_peak_and_keeps_within_the_limit(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    arguments = [source_picture, target_clip, "-o", tmp_path / "o.mp4", "--checkpoint", untrained]
    result = CliRunner().invoke(main, ["run", *map(str, arguments), "--max-memory", "8G", "--json"])
    told = json.loads(result.stdout)
    assert 100 < told["peak_memory_mib"] < 8192
    assert not any("memory reached" in warning for warning in told["warnings"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
def test_the_peak_is_the_processes_own_however_large_its_parent_is() -> None:
    code = "from vidswap.runtime.memory import peak_memory_bytes as peak; before = peak(); "
    code += "block = bytearray(b'x') * 2**28; print(before, peak())"
    parent = (
        "import subprocess, sys; block = bytearray(b'x') * 2**30; "
        f"subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    )
    told = subprocess.run(
        [sys.executable, "-c", parent], check=True, capture_output=True, text=True
    ).stdout
    before, after = map(int, told.split())
    assert before < 2**30
    assert before + 0.9 * 2**28 < after < before + 2**29


class SmallMemory:
    """A net that holds so many items and no more."""

    def __init__(self, room: int, error: BaseException) -> None:
        self.room, self.error = room, error
        self.calls: list[int] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.calls.append(len(items))
        if len(items) > self.room:
            raise self.error
        return [item * item for item in items]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_batches_shrink_and_go_on_in_order(error: BaseException) -> None:
    batches, net = ShrinkingBatches(16), SmallMemory(5, error)
    assert batches(range(20), net) == [i * i for i in range(20)]
    assert net.calls == [16, 8, 4, 4, 4, 4, 4]
    assert batches(range(3), net) == [0, 1, 4] and batches.size == 4


def test_memory_that_does_not_hold_one_is_an_error_with_advice() -> None:
    with pytest.raises(OutOfMemoryError, match="--max-memory"):
        ShrinkingBatches(4)(range(4), SmallMemory(0, MemoryError()))


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        ShrinkingBatches(4)(range(4), SmallMemory(1, RuntimeError("shape mismatch")))


def test_vram_without_a_gpu_is_refused() -> None:
    with pytest.raises(BadOptionError, match="--max-vram, but the device is cpu"):
        limit_vram(MIB, CPU)
    limit_vram(None, CPU)


def test_a_plan_is_plain_values() -> None:
    assert MemoryPlan(2, 3, 4) == MemoryPlan(queue_depth=2, batch_size=3, expected=4)


def test_a_picture_that_does_not_fit_is_refused_with_what_it_needs() -> None:
    check_picture_memory(None, (14_200, 14_200), 800 * MIB)
    check_picture_memory(6000 * MIB, (14_200, 14_200), 800 * MIB)
    check_picture_memory(100 * MIB, (1280, 720), 800 * MIB)
    with pytest.raises(
        BadOptionError, match=r"2000 MiB; a picture of 14200x14200 needs about 5\d{3}"
    ):
        check_picture_memory(2000 * MIB, (14_200, 14_200), 800 * MIB)
