"""Progress of `vidswap batch`: a bar over all jobs, a line per finished one, or JSON lines."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Self

import click

from vidswap.commands.progress import Bar
from vidswap.runtime.text import escaped

if TYPE_CHECKING:
    from vidswap.batch.run import Event


_MOST_WARNINGS = 3  # of a job that are told with it


class BatchBar(Bar):
    """Jobs done, with the time left.

    events: print what happens as JSON lines on stdout. row: what a job's number counts.
    """

    def __init__(
        self, total: int | None, *, silent: bool, events: bool = False, row: str = "line"
    ) -> None:
        look = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        super().__init__(silent, unit="job", bar_format=look)
        self._total, self._events, self._row = total, events, row

    def __enter__(self) -> Self:
        return self

    def planned(self, done: int) -> None:
        """So many jobs are planned."""
        self._go_to(done, self._total or done)

    def measured(self, done: float, total: int) -> None:
        """So many jobs of a total are measured."""
        self._go_to(done, total)

    def show(self, event: Event) -> None:
        """Called with everything that happens."""
        if self._events:
            click.echo(json.dumps(event.to_dict()))
            return
        if self._silent:
            return
        if event.name == "skipped":  # what an earlier run did is not this one's speed
            self.opened(event.total, initial=event.finished)
        self._go_to(event.share * event.total, event.total, event.finished)
        line = line_of(event, self._row)
        if line:
            self._say(line)

    def _go_to(self, done: float, total: int, finished: int | None = None) -> None:
        bar = self.opened(total)
        bar.total = total  # more jobs may come to a hot folder
        if finished is not None:
            bar.set_postfix_str(f"{finished} of {total} jobs", refresh=False)
        bar.update(max(0.0, done - bar.n))

    def _say(self, line: str) -> None:
        import sys

        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(f"vidswap: {line}", file=sys.stderr)
        else:
            click.echo(f"vidswap: {line}", err=True)


def line_of(event: Event, row: str = "line") -> str:
    """What is said of an event; empty where nothing is."""
    record = event.record
    if event.name == "skipped":
        return f"{event.finished} of {event.total} jobs were finished before"
    if record is None or event.name in ("began", "progress"):
        return ""
    took = str(timedelta(seconds=round(event.took)))
    if event.name == "done":
        warnings = [str(words) for words in record.result.get("warnings", ())]
        told = "".join(f"; warning: {words}" for words in warnings[:_MOST_WARNINGS])
        more = len(warnings) - _MOST_WARNINGS
        told += f"; and {more} more" if more > 0 else ""
        return escaped(
            f"{row} {record.line}: {record.output}: {record.frames} frames in {took}{told}"
        )
    words = {"cancelled": "cancelled", "lost": "taken over by another run"}.get(event.name, "")
    if record.error is not None and not words:
        again = "; trying again" if event.name == "again" else ""
        words = f"exit code {record.error.exit_code}: {record.error.message}{again}"
    return escaped(f"{row} {record.line}: {record.output}: {words}")
