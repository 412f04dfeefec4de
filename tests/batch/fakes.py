"""Jobs that swap nothing: the target's name says how each of them goes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vidswap.batch.facts import facts_of_job, output_facts
from vidswap.batch.manifest import written_jsonl
from vidswap.batch.worker_process import Report, Runner
from vidswap.errors import (
    DiskFullError,
    InputNotFoundError,
    NoFaceInSourceError,
    NotAVideoError,
)
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest

FRAMES = 10
_BAD = {
    "faceless": NoFaceInSourceError("no usable face"),
    "damaged": NotAVideoError("no frame can be decoded"),
    "full": DiskFullError("no space left"),
}


@contextmanager
def fakes() -> Iterator[Runner]:
    """A runner that writes the target's name to the output, slowly where the name says so."""
    yield fake


def fake(request: SwapRequest, report: Report) -> dict[str, Any]:
    kind = request.target.stem.split("-")[0]
    if not request.target.exists():
        raise InputNotFoundError(f"{request.target}: no such file")
    if kind in _BAD:
        raise _BAD[kind]
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "fault":
        raise ZeroDivisionError("of ours")
    if kind == "late":
        time.sleep(60)
    flag = request.target.with_suffix(".once")
    if kind == "once" and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "slow":
        for frame in range(FRAMES):
            report(frame + 1, FRAMES)
            time.sleep(0.03)
    if kind == "long":
        for frame in range(FRAMES):
            report(frame + 1, FRAMES)
            time.sleep(0.4)
    facts = facts_of_job(request)
    _done(request)
    result = {"output": str(request.output), "frames": FRAMES, "pid": os.getpid()}
    return {"result": result | {"file": output_facts(request.output)}, "facts": facts}


def _done(request: SwapRequest) -> None:
    """Appear whole, and leave a line for every time that this was done."""
    part = request.output.with_name(f".{request.output.name}.{os.getpid()}.part")
    part.write_text(request.target.name)
    part.replace(request.output)
    with (request.output.parent / "done.txt").open("a") as log:
        log.write(f"{request.output.name}\n")


def times_done(folder: Path) -> list[str]:
    """The outputs that were made in a folder, once for every time."""
    log = folder / "done.txt"
    return sorted(log.read_text().split()) if log.exists() else []


def manifest_of(folder: Path, names: list[str], absent: tuple[str, ...] = ()) -> Path:
    """A manifest of one job per target name, whose inputs and weights are small files."""
    source, weights, out = folder / "source.jpg", folder / "weights", folder / "out"
    for file in (source, weights):
        if not file.exists():
            file.write_text(file.name)
    out.mkdir(exist_ok=True)
    requests = []
    for name in names:
        target = folder / f"{name}.mp4"
        if name not in absent and not target.exists():
            target.write_text(name)
        options = SwapOptions(checkpoint=weights)
        requests.append(SwapRequest.of([source], target, out / f"{name}.mp4", options))
    path = folder / "jobs.jsonl"
    path.write_text("".join(f"{line}\n" for line in written_jsonl(requests)))
    return path
