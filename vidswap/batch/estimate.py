"""What a batch would take and lose, from each job's own plan: `vidswap batch plan --dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vidswap.batch.manifest import Job
from vidswap.errors import VidswapError
from vidswap.runtime.text import escaped, first_lines
from vidswap.swap.plan import SwapPlan, plan_swap
from vidswap.swap.plan_text import duration_words, size_words
from vidswap.swap.request import SwapRequest
from vidswap.swap.worker import Worker

_LOST = "not in the output: "


@dataclass(frozen=True)
class JobEstimate:
    """A job's plan, or why it has none."""

    job: Job
    plan: SwapPlan | None
    problem: str = ""


@dataclass(frozen=True)
class BatchEstimate:
    """The sums over all jobs: by one worker, one job after the other.

    seconds, bytes: of all jobs. bytes_held: of all outputs and the largest job's work beside them.
    bytes_free: of the outputs' disks, each counted once. lost: what outputs do not keep, and
    warnings: each with how many jobs have it.
    """

    jobs: tuple[JobEstimate, ...]
    seconds: float
    frames: int
    bytes: int
    bytes_held: int
    bytes_free: int
    lost: dict[str, int]
    warnings: dict[str, int]

    @property
    def problems(self) -> list[tuple[int, str]]:
        """Rows that cannot be done, and why."""
        return [(each.job.line, each.problem) for each in self.jobs if each.plan is None]

    def to_dict(self) -> dict[str, Any]:
        return {
            "jobs": len(self.jobs),
            "seconds": self.seconds,
            "frames": self.frames,
            "bytes": self.bytes,
            "bytes_held": self.bytes_held,
            "bytes_free": self.bytes_free,
            "lost": self.lost,
            "warnings": self.warnings,
            "problems": [{"line": line, "message": words} for line, words in self.problems],
            "plans": [
                {"line": each.job.line, **each.plan.to_dict()} for each in self.jobs if each.plan
            ],
        }


def estimate(
    jobs: Iterable[Job], progress: Callable[[int], None] = lambda done: None
) -> BatchEstimate:
    """Plan every job with nets that are loaded once; nothing is left. `progress`: jobs planned."""
    planned = []
    with Worker() as worker:
        for done, job in enumerate(jobs, 1):
            planned.append(_planned(job, worker))
            progress(done)
    return _summed(planned)


def _planned(job: Job, worker: Worker) -> JobEstimate:
    request = job.request
    with ExitStack() as stack:
        if not request.output.parent.is_dir():  # a run would make it
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="vidswap-plan-")))
            request = replace(request, output=folder / request.output.name)
        try:
            plan = _plan_of(request, worker)
        except VidswapError as error:
            return JobEstimate(job, None, str(error))
    output = replace(plan.output, path=str(job.request.output))
    return JobEstimate(job, replace(plan, output=output))


def _plan_of(request: SwapRequest, worker: Worker) -> SwapPlan:
    return plan_swap(request.sources, request.target, request.output, request.options, worker)


def _summed(planned: list[JobEstimate]) -> BatchEstimate:
    plans = [each.plan for each in planned if each.plan is not None]
    lost, warnings = Counter[str](), Counter[str]()
    for plan in plans:
        for words in plan.warnings:
            is_loss = words.startswith(_LOST)
            (lost if is_loss else warnings)[words.removeprefix(_LOST)] += 1
    size = sum(plan.estimate.bytes for plan in plans)
    beside = max((p.estimate.bytes_held - p.estimate.bytes for p in plans), default=0)
    return BatchEstimate(
        jobs=tuple(planned),
        seconds=sum(plan.estimate.seconds for plan in plans),
        frames=sum(plan.target.frames for plan in plans),
        bytes=size,
        bytes_held=size + beside,
        bytes_free=_free(planned),
        lost=dict(lost.most_common()),
        warnings=dict(warnings.most_common()),
    )


def _free(planned: list[JobEstimate]) -> int:
    import shutil

    free: dict[int, int] = {}
    for each in planned:
        folder = each.job.request.output.absolute().parent
        while not folder.is_dir():
            folder = folder.parent
        free[folder.stat().st_dev] = shutil.disk_usage(folder).free
    return sum(free.values())


def estimate_as_text(found: BatchEstimate) -> str:
    """The sums in lines for a terminal."""
    n = len(found.jobs)
    lines = [
        f"jobs      {n}, {found.frames} frames",
        f"time      about {duration_words(found.seconds)} by one worker",
        f"disk      about {size_words(found.bytes)} of outputs, up to "
        f"{size_words(found.bytes_held)} while running; {size_words(found.bytes_free)} free",
    ]
    for title, listed in (("lost", found.lost), ("warnings", found.warnings)):
        if listed:
            lines.append(title)
            lines += first_lines(f"  {count} of {n}: {words}" for words, count in listed.items())
    return "\n".join(map(escaped, lines))
