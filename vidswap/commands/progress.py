"""Progress of the command line's jobs, on stderr."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from vidswap.swap.options import SwapCounts
    from vidswap.tuning.tune import TuneProgress


LINE_SECONDS = 10.0  # between two lines where no bar can be shown


class Bar:
    """Progress on stderr: a bar in a terminal, else now and then a line; `look` is for tqdm.

    It appears with the first step, when errors are behind.
    """

    def __init__(self, silent: bool, **look: Any) -> None:
        self._silent, self._look = silent, look
        self._bar: Any = None

    def opened(self, total: int | None, **look: Any) -> Any:
        """The bar of tqdm, or what has the same methods."""
        if self._bar is None:
            look = self._look | look
            if self._silent or sys.stderr.isatty():
                from tqdm import tqdm

                self._bar = tqdm(total=total, disable=self._silent, dynamic_ncols=True, **look)
            else:
                self._bar = ProgressLines(total, look.get("initial", 0), look["unit"])
        return self._bar

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


class ProgressLines:
    """A line every LINE_SECONDS: done / total, the speed since the beginning, and the time left.

    n: how much is done, of which `initial` was before the beginning.
    """

    def __init__(self, total: int | None, initial: int, unit: str) -> None:
        self.total, self.n, self._initial, self._unit = total, float(initial), initial, unit
        self._began = self._last = time.monotonic()

    def update(self, n: float) -> None:
        """`n` more are done."""
        self.n += n
        now = time.monotonic()
        if now - self._last >= LINE_SECONDS:
            self._last = now
            click.echo(f"vidswap: {self.line(now - self._began)}", err=True)

    def line(self, seconds: float) -> str:
        """What is shown `seconds` after the beginning."""
        rate, done = (self.n - self._initial) / seconds, f"{self.n:.1f}".removesuffix(".0")
        words = [f"{done} / {self.total} {self._unit}s" if self.total else f"{done} {self._unit}s"]
        if rate >= 1:
            words.append(f"{rate:.1f} {self._unit}s/s")
        elif rate > 0:
            words.append(f"{1 / rate:.1f} s/{self._unit}")
        if self.total and rate > 0:
            left = timedelta(seconds=round(max(0.0, self.total - self.n) / rate))
            words.append(f"{left} left")
        return ", ".join(words)

    def set_postfix(self, *_: object, **__: object) -> None:
        """Lines have no place for it."""

    set_postfix_str = set_postfix

    def close(self) -> None:
        """There is nothing to end."""


class SwapBar(Bar):
    """Frames done, frames a second and time left."""

    def __init__(self, target: Path, start: float | None, end: float | None, silent: bool) -> None:
        super().__init__(silent, unit="frame")
        self._target, self._start, self._end = target, start, end

    def show(self, counts: SwapCounts) -> None:
        """Called after every frame."""
        if self._bar is None:
            from vidswap.media.probing import expected_frames

            total = None
            if not self._silent:
                total = expected_frames(self._target, self._start, self._end)
            # Those of an earlier run are not this one's speed.
            self.opened(total, initial=counts.frames - 1)
        self._bar.update(counts.frames - self._bar.n)


class PeopleBar(Bar):
    """Frames looked at."""

    def __init__(self, silent: bool) -> None:
        super().__init__(silent, unit="frame")

    def show(self, done: int, expected: int) -> None:
        """Called after every frame."""
        bar = self.opened(expected, initial=done - 1)
        bar.update(done - bar.n)


class CountBar(Bar):
    """Things done, of how many."""

    def __init__(self, unit: str, silent: bool) -> None:
        super().__init__(silent, unit=unit)

    def show(self, done: int, total: int) -> None:
        """Called after each."""
        bar = self.opened(total)
        bar.update(done - bar.n)


class TuneBar(Bar):
    """Seconds of training and the losses."""

    def __init__(self, minutes: float, silent: bool) -> None:
        look = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        super().__init__(silent, unit="second", bar_format=look)
        self._seconds = round(60.0 * minutes)

    def show(self, progress: TuneProgress) -> None:
        """Called after every step."""
        bar = self.opened(self._seconds)
        shown = {name: f"{progress.losses[name]:.3f}" for name in ("answer", "across", "identity")}
        bar.set_postfix({"images": progress.images} | shown, refresh=False)
        bar.update(min(round(progress.seconds), self._seconds) - bar.n)


class ReportBar(Bar):
    """Frames measured."""

    def __init__(self, name: str | None, silent: bool) -> None:
        super().__init__(silent, desc=name, unit="frame")

    def show(self, done: int, expected: int) -> None:
        """Called after every frame; what is expected may change."""
        bar = self.opened(expected)
        bar.total = expected
        bar.update(done - bar.n)
