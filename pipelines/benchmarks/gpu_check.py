"""All that is to be known of a GPU, in one call of at most four minutes: a table and a JSON file.

    python -m pipelines.benchmarks.gpu_check -o FOLDER

It needs the repository, torch, NumPy, OpenCV and safetensors; checks that need more are skipped,
and name it. Each check works in a process of its own making, within a time of its own: one that
fails, hangs or takes the process down stops no other. `--dry` has all run on the CPU, tiny.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

TOTAL_SECONDS = 230.0  # of the whole call, its start included
START_SECONDS = 90.0  # for a process to import torch and to wake the GPU
_LEAVE = 5.0  # seconds kept for the report

State = Literal["done", "failed", "cut short", "skipped"]


@dataclass(frozen=True)
class Setting:
    """What every check is given. dry: tiny sizes. folder: for files of its own."""

    device: str
    dry: bool
    folder: Path


@dataclass(frozen=True)
class Row:
    """One figure. least, most: what it must be, None where it only is what it is."""

    case: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it is within what it must be, which a figure that is none never is."""
        if math.isnan(self.value):
            return self.least is None and self.most is None
        is_low = self.least is not None and self.value < self.least
        is_high = self.most is not None and self.value > self.most
        return not (is_low or is_high)


@dataclass(frozen=True)
class Check:
    """One thing to be known. seconds: its time; least: what it needs at least to be begun."""

    name: str
    run: Callable[[Setting], Iterator[Row]]
    seconds: float
    least: float
    needs: tuple[str, ...] = ()
    needs_gpu: bool = False


@dataclass
class Outcome:
    """What came of a check. why: in words, where it is not done."""

    name: str
    state: State
    seconds: float = 0.0
    why: str = ""
    rows: list[Row] = field(default_factory=list)

    @property
    def passes(self) -> bool:
        return self.state in ("done", "skipped") and all(row.holds for row in self.rows)


class Checker:
    """The process that does the checks; another is begun where it was lost."""

    def __init__(self, checks: Sequence[Check], setting: Setting) -> None:
        self._checks, self._setting = {check.name: check for check in checks}, setting
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    def outcome(self, name: str, seconds: float) -> Outcome:
        """Do one check, within so many seconds from when the process is there."""
        outcome, started = Outcome(name, "done"), time.monotonic()
        connection = self._started()
        ready = connection.poll(START_SECONDS) and self._told(connection, name)
        if not ready:
            outcome.state, outcome.why = "failed", "its process did not start"
            self.close()
            return outcome
        ends = time.monotonic() + seconds
        while True:
            if not connection.poll(max(0.0, ends - time.monotonic())):
                outcome.state, outcome.why = "cut short", f"its {seconds:.0f} s were over"
                break
            try:
                kind, said = connection.recv()
            except (EOFError, OSError):
                outcome.state, outcome.why = "failed", "its process ended"
                break
            if kind == "row":
                outcome.rows.append(said)
                continue
            outcome.state, outcome.why = kind, said
            break
        outcome.seconds = round(time.monotonic() - started, 1)
        if outcome.state in ("failed", "cut short"):  # an error may have spoilt the GPU's context
            self.close()
        return outcome

    def _told(self, connection: Connection, name: str) -> bool:
        try:
            connection.recv()
            connection.send(name)
        except (EOFError, OSError):
            return False
        return True

    def _started(self) -> Connection:
        if self._connection is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(
                target=_serve, args=(theirs, self._checks, self._setting), daemon=True
            )
            self._process.start()
            theirs.close()
        return self._connection

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join(10)
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def _serve(connection: Connection, checks: dict[str, Check], setting: Setting) -> None:
    """The process's own main function: it says that it is ready, is told a name, and answers."""
    from vidswap.runtime.process import configure_process

    configure_process()
    while True:
        connection.send(("ready", ""))
        try:
            name = connection.recv()
        except EOFError:
            return
        try:
            for row in checks[name].run(setting):
                connection.send(("row", row))
        except ModuleNotFoundError as error:
            connection.send(("skipped", f"needs {error.name}, which is not installed"))
        except Exception as error:  # whatever it is, the others go on
            words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            connection.send(("failed", words))
        else:
            connection.send(("done", ""))


def run_checks(
    checks: Sequence[Check],
    setting: Setting,
    total: float = TOTAL_SECONDS,
    told: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """The outcomes, in order; what the time left does not allow is skipped, and says so."""
    ends, checker, outcomes = time.monotonic() + total - _LEAVE, Checker(checks, setting), []
    try:
        for check in checks:
            left = ends - time.monotonic()
            missing = [name for name in check.needs if importlib.util.find_spec(name) is None]
            if missing:
                why = f"needs {', '.join(missing)}, which is not installed"
                outcome = Outcome(check.name, "skipped", why=why)
            elif check.needs_gpu and setting.device == "cpu":
                outcome = Outcome(check.name, "skipped", why="needs a GPU")
            elif left < check.least:
                why = f"{max(left, 0.0):.0f} s were left and it needs {check.least:.0f}"
                outcome = Outcome(check.name, "skipped", why=why)
            else:
                outcome = checker.outcome(check.name, min(check.seconds, left))
            outcomes.append(outcome)
            told(outcome)
    finally:
        checker.close()
    return outcomes


def as_text(outcome: Outcome) -> str:
    """A line for the check, and one for each of its figures."""
    why = f": {outcome.why}" if outcome.why else ""
    lines = [f"{outcome.name} ({outcome.state}, {outcome.seconds:.1f} s){why}"]
    width = max((len(row.case) for row in outcome.rows), default=0)
    for row in outcome.rows:
        bounds = [f"least {row.least:g}"] if row.least is not None else []
        bounds += [f"most {row.most:g}"] if row.most is not None else []
        mark = "" if row.holds else "  FAILS"
        limits = f"  ({', '.join(bounds)})" if bounds else ""
        lines.append(f"  {row.case:<{width}}  {row.value:>10.4g} {row.unit}{limits}{mark}".rstrip())
    return "\n".join(lines)


def verdict(outcomes: Sequence[Outcome]) -> str:
    """Which checks fail, in one line."""
    failing = [outcome.name for outcome in outcomes if not outcome.passes]
    return f"failing: {', '.join(failing)}" if failing else "all that ran holds"


def report_of(outcomes: Sequence[Outcome], setting: Setting, seconds: float) -> dict[str, Any]:
    """All as plain values."""
    checks = [
        asdict(outcome) | {"rows": [asdict(row) | {"holds": row.holds} for row in outcome.rows]}
        for outcome in outcomes
    ]
    return {
        "device": setting.device,
        "dry": setting.dry,
        "seconds": round(seconds, 1),
        "passes": all(outcome.passes for outcome in outcomes),
        "checks": checks,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is 1 where a check fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder of the report")
    parser.add_argument("--dry", action="store_true", help="run on the CPU, with tiny sizes")
    parser.add_argument("--seconds", type=float, default=TOTAL_SECONDS, help="time for all")
    parser.add_argument("--only", nargs="*", default=[], metavar="CHECK", help="names of checks")
    given = parser.parse_args(arguments)
    from pipelines.benchmarks.gpu_checks import CHECKS, device_here, machine_here

    chosen = [check for check in CHECKS if not given.only or check.name in given.only]
    if not chosen:
        parser.error(f"--only: checks are {', '.join(check.name for check in CHECKS)}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        setting = Setting("cpu" if given.dry else device_here(), given.dry, Path(name))
        outcomes = run_checks(
            chosen, setting, given.seconds, lambda outcome: print(as_text(outcome), flush=True)
        )
    report = {"machine": machine_here()} | report_of(outcomes, setting, time.monotonic() - started)
    lines = [json.dumps(report["machine"]), *map(as_text, outcomes), verdict(outcomes)]
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "gpu_check.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    (given.output / "gpu_check.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print(lines[-1])
    return 0 if report["passes"] else 1


if __name__ == "__main__":
    sys.exit(main())
