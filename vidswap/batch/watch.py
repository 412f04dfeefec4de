"""A hot folder: clips are swapped as they arrive, `vidswap batch watch`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vidswap.batch.ledger import Ledger
from vidswap.batch.manifest import Job
from vidswap.batch.plan import output_of
from vidswap.batch.run import BatchOptions, BatchResult, Notify, run_ledger
from vidswap.batch.state import StateFolder
from vidswap.batch.swapping import swaps
from vidswap.batch.worker_process import MakeRunner
from vidswap.errors import BadOptionError, InputNotFoundError
from vidswap.media.output import writing_errors
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest

STATE = ".vidswap-watch.state"  # in the folder of the outputs
SETTLE = 5.0  # seconds for which a file must stay as it is
TEMPLATE = "{target}{ext}"

_LOOK = 1.0  # seconds between two looks into the folder
# What browsers, rsync, Finder and transfer programs call a file that is still being written.
_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download")

_Stamp = tuple[int, int, int]  # inode, bytes, time of the last change in nanoseconds


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """What becomes of a folder's clips. Raises BadOptionError, InputNotFoundError.

    folder: where clips arrive. sources, options: of every swap. output: folder of the results;
    template: their names in it, as `plan.output_of` has them. settle: seconds for which a file
    must neither grow nor change before it is taken for complete.
    """

    folder: Path
    sources: tuple[Path, ...]
    output: Path
    options: SwapOptions
    template: str = TEMPLATE
    settle: float = SETTLE

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise InputNotFoundError(f"{self.folder}: no such folder; name the one to watch")
        if not self.settle >= 0:
            raise BadOptionError(f"--settle {self.settle}; it must be 0 seconds or more")
        if self.output.resolve() == self.folder.resolve():
            raise BadOptionError(f"-o {self.output} is the folder that is watched; name another")
        self.request(self.folder / "clip.mp4", 1)

    def request(self, target: Path, number: int) -> SwapRequest:
        """The swap of a clip that has arrived. Raises BadOptionError."""
        name = output_of(self.template, self.sources, target, number)
        output = self.output / name
        if self.output.resolve() not in output.resolve().parents:
            raise BadOptionError(f"--name {self.template} leads out of {self.output}")
        return SwapRequest(self.sources, target, output, self.options)


class HotFolder:
    """Notices clips that are complete: those that stay as they are for a while.

    A file that is replaced, by one of another size or time, is a new one.
    """

    def __init__(self, options: WatchOptions) -> None:
        self._options = options
        self._seen: dict[Path, tuple[_Stamp, float]] = {}  # and since when it is as it is
        self._taken: dict[Path, _Stamp] = {}
        self._numbers: dict[Path, int] = {}

    def arrived(self) -> list[Job]:
        """The clips that have become complete since the last call, by name."""
        now, jobs = time.monotonic(), []
        found = dict(self._stamps())
        self._seen = {path: seen for path, seen in self._seen.items() if path in found}
        for path, stamp in sorted(found.items()):
            before = self._seen.get(path)
            since = before[1] if before is not None and before[0] == stamp else now
            self._seen[path] = (stamp, since)
            if now - since >= self._options.settle and self._taken.get(path) != stamp:
                self._taken[path] = stamp
                number = self._numbers.setdefault(path, len(self._numbers) + 1)
                jobs.append(Job(number, self._options.request(path, number)))
        return jobs

    def is_quiet(self) -> bool:
        """Whether every file that is there has been taken."""
        return all(self._taken.get(path) == stamp for path, stamp in self._stamps())

    def _stamps(self) -> Iterator[tuple[Path, _Stamp]]:
        for path in self._options.folder.iterdir():
            name = path.name.lower()
            if name.startswith((".", "~")) or name.endswith(_UNFINISHED):
                continue
            try:
                found = path.stat()
            except OSError:  # gone, or a link to nothing yet
                continue
            if path.is_file() and found.st_size:
                yield path, (found.st_ino, found.st_size, found.st_mtime_ns)


class _Feed:
    """Looks into the folder now and then, and gives its clips to the ledger."""

    def __init__(self, folder: HotFolder, ledger: Ledger, once: bool) -> None:
        self._folder, self._ledger, self._once = folder, ledger, once
        self._next = 0.0

    def __call__(self) -> bool:
        """Look; whether more may come."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LOOK
            for job in self._folder.arrived():
                self._ledger.take_up(job)
        return not (self._once and self._folder.is_quiet())


def watch_folder(
    watch: WatchOptions,
    batch: BatchOptions | None = None,
    notify: Notify = lambda event: None,
    make_runner: MakeRunner = swaps,
    *,
    once: bool = False,
) -> BatchResult:
    """Swap a folder's clips as they arrive, until KeyboardInterrupt; `once`: those that are there.

    The state lies in the folder of the outputs, so that a clip is done once over restarts too. Two
    clips whose outputs have one name are one job: the later one replaces the earlier.
    """
    with writing_errors(watch.output):
        watch.output.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(StateFolder(watch.output / STATE), [], (batch or BatchOptions()).retries)
    ledger.queue()
    feed = _Feed(HotFolder(watch), ledger, once)
    return run_ledger(ledger, batch or BatchOptions(), notify, make_runner, feed)
