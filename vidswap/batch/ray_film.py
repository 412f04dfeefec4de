"""One clip by the workers of a Ray cluster, which see its files under the same paths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from vidswap.batch.film import FoundRanges, error_of, range_swaps
from vidswap.batch.ray_run import RayOptions, RayWorkers, cluster
from vidswap.batch.worker_process import Done, Failed, MakeRunner, Progressed, Task
from vidswap.swap.ranges import RangeProgress, RangeResult, RangeWork

_RETRIES = 2  # of a range whose machine dies
_TICK = 0.2  # seconds between two looks for ranges that were found


class RayRangeWorkers:
    """Swaps ranges on a Ray cluster; a `vidswap.swap.ranges.RangeSwapper`.

    number: of workers, None for as many as the cluster holds.
    """

    def __init__(
        self,
        options: RayOptions,
        number: int | None = None,
        make_runner: MakeRunner = range_swaps,
    ) -> None:
        self._options, self._number, self._make_runner = options, number, make_runner

    def __call__(self, works: Iterator[RangeWork]) -> Iterator[RangeProgress | RangeResult]:
        """What is told of the ranges, in any order. Raises what swapping one of them raises."""
        with cluster(self._options), FoundRanges(works) as found:
            workers = RayWorkers(self._make_runner, self._options, self._number, _RETRIES)
            with closing(workers):
                yield from _events(workers, found)


def _events(workers: RayWorkers, found: FoundRanges) -> Iterator[RangeProgress | RangeResult]:
    under_way: dict[str, RangeWork] = {}
    losses: dict[str, int] = {}
    while True:
        found.look()
        while workers.free and found.waiting:
            work = found.waiting.popleft()
            under_way[str(work.range.number)] = work
            workers.give(Task(str(work.range.number), work, None))
        if not under_way and found.is_through:
            return
        if found.is_through and not found.waiting:
            workers.rest()
        for message in workers.messages(_TICK):
            name = message.job_id
            if isinstance(message, Progressed):
                yield RangeProgress(int(name), message.frames)
            elif isinstance(message, Done):
                del under_way[name]
                yield message.answer["result"]
            elif _is_worth_another(message, losses):
                found.waiting.append(under_way.pop(name))
            else:
                raise error_of(message)


def _is_worth_another(answer: Failed, losses: dict[str, int]) -> bool:
    """Whether a range whose worker was lost is to be begun anew."""
    losses[answer.job_id] = losses.get(answer.job_id, 0) + 1
    return answer.kind == "WorkerKilledError" and losses[answer.job_id] <= _RETRIES
