"""What many workers make of one long film: simulated, since no test has 64 of them.

    python -m pipelines.benchmarks.film_workers

Shots have lengths as in films: log-normal, four seconds in the mean and 2.7 in the middle. Ranges
are cut as `vidswap.swap.ranges` does it, handed out as the search for cuts finds them, to whichever
worker is free. A range costs its frames, and a fixed time for opening the clip, seeking and filling
and emptying the stages; the end costs the joining. The search is one process: it decodes in threads
and looks at the frames in one. Frame, decoding and looking are measured at 1280x720; that decoding
is shared out evenly among its threads, the overhead, the start and the joining are assumed.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Iterator

import numpy as np

from vidswap.media.decoder import MAX_THREADS
from vidswap.swap.ranges import RANGE_FRAMES
from vidswap.swap.stages import SegmentEnds

MEAN, MEDIAN = 4.0, 2.7  # seconds of a shot
LONG_TAKE = 90.0  # seconds, the longest


def shot_lengths(seconds: float, rate: float, seed: int) -> list[int]:
    """Frames of the shots of a film."""
    rng = np.random.default_rng(seed)
    spread = np.sqrt(2.0 * np.log(MEAN / MEDIAN))
    left, shots = round(seconds * rate), list[int]()
    while left > 0:
        length = float(np.clip(rng.lognormal(np.log(MEDIAN), spread), 0.3, LONG_TAKE))
        shots.append(min(left, max(1, round(length * rate))))
        left -= shots[-1]
    return shots


def range_lengths(shots: list[int], segment_frames: int, shortest: int) -> Iterator[int]:
    """Frames of the ranges that these shots give, by the rule of `ranges_of`."""
    ends, given, start = SegmentEnds(segment_frames), 0, 0
    for shot in shots:
        for _ in range(shot - 1):
            given += 1
            ends.is_end(given, False)
        given += 1
        if ends.is_end(given, True) and given - start >= shortest:
            yield given - start
            start = given
    if given > start:
        yield given - start


def makespan(
    ranges: list[int], workers: int, frame: float, overhead: float, search: float
) -> tuple[float, float]:
    """Seconds until the last range is done, and of work in all; `search`: seconds per frame that
    the search for cuts takes."""
    free = [0.0] * workers
    found = work = last = 0.0
    for frames in ranges:
        found += frames * search
        took = overhead + frames * frame
        begun = max(heapq.heappop(free), found)
        heapq.heappush(free, begun + took)
        work += took
        last = max(last, begun + took)
    return last, work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=7200.0)
    parser.add_argument("--rate", type=float, default=24.0)
    parser.add_argument("--frame", type=float, default=0.080, help="seconds per frame and worker")
    parser.add_argument("--overhead", type=float, default=1.5, help="seconds per range")
    parser.add_argument(
        "--decode", type=float, default=0.0066, help="seconds per frame, one thread"
    )
    parser.add_argument("--look", type=float, default=0.0015, help="seconds per frame, for cuts")
    parser.add_argument("--join", type=float, default=60.0, help="seconds at the end")
    parser.add_argument("--start", type=float, default=15.0, help="seconds until workers have nets")
    options = parser.parse_args()
    shots = shot_lengths(options.seconds, options.rate, seed=1)
    alone = sum(shots) * options.frame
    searches = {  # by the threads that decode, besides the one that looks
        "one core": options.decode + options.look,
        **{f"{n} threads": max(options.decode / n, options.look) for n in (2, MAX_THREADS)},
        "none": 0.0,
    }
    for shortest in (1, 250, RANGE_FRAMES, 1000, 2000):
        ranges = list(range_lengths(shots, 250, shortest))
        for workers in (2, 8, 16, 64):
            for name, search in searches.items():
                last, work = makespan(
                    ranges, workers, options.frame, options.overhead, search
                )  # fmt: skip
                whole = options.start + last + options.join
                print(json.dumps({
                    "shortest_range": shortest, "ranges": len(ranges), "workers": workers,
                    "search": name, "seconds": round(whole),
                    "efficiency": round(alone / workers / whole, 3),
                    "of_overhead": round(1 - alone / work, 3),
                }))  # fmt: skip
    print(json.dumps({"shots": len(shots), "frames": sum(shots), "one_worker": round(alone)}))


if __name__ == "__main__":
    main()
