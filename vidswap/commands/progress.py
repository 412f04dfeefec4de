"""Progress bars of the command line, on standard error when that is a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from vidswap.swap.options import SwapCounts
    from vidswap.tuning.tune import TuneProgress


class Bar:
    """A bar that appears with the first step, when errors are behind; `look` is for tqdm."""

    def __init__(self, silent: bool, **look: Any) -> None:
        self._silent, self._look = silent, look
        self._bar: Any = None

    def opened(self, total: int | None, **look: Any) -> Any:
        """The bar of tqdm."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                disable=True if self._silent else None,  # None: off unless a terminal
                dynamic_ncols=True,
                **self._look | look,
            )
        return self._bar

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


class SwapBar(Bar):
    """Frames done, frames a second and time left."""

    def __init__(self, target: Path, start: float | None, end: float | None, silent: bool) -> None:
        super().__init__(silent, unit="frame")
        self._target, self._start, self._end = target, start, end

    def show(self, counts: SwapCounts) -> None:
        """Called after every frame."""
        if self._bar is None:
            total = None if self._silent else self._expected_frames()
            # Those of an earlier run are not this one's speed.
            self.opened(total, initial=counts.frames - 1)
        self._bar.update(counts.frames - self._bar.n)

    def _expected_frames(self) -> int:
        """How many frames the range should have, by the clip's header."""
        from vidswap.media.probe import probe

        info = probe(self._target)
        if self._start is None and self._end is None:
            return info.frames
        seconds = min(self._end or info.duration, info.duration) - (self._start or 0.0)
        return max(1, round(seconds * info.fps))


class TuneBar(Bar):
    """Seconds of training and the losses."""

    def __init__(self, minutes: float, silent: bool) -> None:
        look = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        super().__init__(silent, unit="s", bar_format=look)
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
