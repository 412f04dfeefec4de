"""The swaps that the page begins: kept in a state folder as those of `vidswap batch` are.

A job's record outlives page and server; one whose server is gone is shown as interrupted, and
going on with it is a run of the same request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vidswap.batch.manifest import Job
from vidswap.batch.records import JobError, JobRecord, is_job_id
from vidswap.batch.state import Claim, StateFolder
from vidswap.batch.status import JobStatus, statuses
from vidswap.errors import BadOptionError, InputNotFoundError, JobCancelledError, VidswapError
from vidswap.runtime.text import escaped
from vidswap.swap.command_line import command_line
from vidswap.swap.request import SwapRequest
from vidswap.web.engine import Engine
from vidswap.web.roots import Roots

logger = logging.getLogger(__name__)

MOST_SHOWN = 500  # jobs of a table


@dataclass
class Running:
    """The job under way. picture: the last frame shown, JPEG; `shown` counts them."""

    record: JobRecord
    claim: Claim
    began: float = field(default_factory=time.monotonic)
    first_frames: int | None = None  # when the first word of progress came
    first_at: float = 0.0
    doing: str = "loading the nets"
    picture: bytes | None = None
    shown: int = 0
    is_cancelled: bool = False

    def seconds_left(self) -> float | None:
        """At the speed so far; None while that is not known."""
        record, first = self.record, self.first_frames
        if first is None or record.frames <= first or not record.expected:
            return None
        speed = (record.frames - first) / max(1e-6, time.monotonic() - self.first_at)
        return max(0.0, record.expected - record.frames) / speed


class Jobs:
    """Begins, cancels and lists the page's jobs; one at a time runs, in the engine's process."""

    def __init__(self, folder: Path, engine: Engine, viewer: Engine, roots: Roots) -> None:
        self.state, self._engine, self._viewer = StateFolder(folder), engine, viewer
        self._roots = roots
        self.state.make()
        self._lock = threading.Lock()
        self.running: Running | None = None

    def begin(self, request: SwapRequest) -> JobRecord:
        """Start a swap, or go on with it. Raises VidswapError where it would be refused at once."""
        self._viewer.call("check", request, self._roots)
        with self._lock:
            if self.running is not None:
                raise BadOptionError("a swap is running; cancel it or wait for its end")
            job = Job(1 + len(self.state.records()), request)
            claim = self.state.claim(job.id)
            if claim is None:
                raise BadOptionError(f"another vidswap ui is at work on {request.output}")
            before = self.state.read(job.id)
            record = job.record() if before is None else replace(job.record(), line=before.line)
            record = replace(record, started=time.time(), attempts=1)
            self.running = Running(claim.write(record, "running"), claim)
        threading.Thread(target=self._run, args=(self.running, request), daemon=True).start()
        return self.running.record

    def cancel(self, job_id: str) -> None:
        """End the job under way; whole segments of it are kept. Raises InputNotFoundError."""
        running = self.running
        if running is None or running.record.id != job_id:
            raise InputNotFoundError("no such swap is running")
        running.is_cancelled = True
        self._engine.cancel()

    def resume(self, job_id: str) -> JobRecord:
        """Go on with a job that was interrupted or cancelled."""
        return self.begin(self.record(job_id).swap())

    def record(self, job_id: str) -> JobRecord:
        """Raises InputNotFoundError."""
        found = self.state.read(job_id) if is_job_id(job_id) else None
        if found is None:
            raise InputNotFoundError("no such job")
        return found

    def told(self, job_id: str) -> dict[str, Any]:
        """What the page shows of a job."""
        running = self.running
        if running is not None and running.record.id == job_id:
            plain = row(JobStatus(running.record, True, self.state.log_of(job_id)))
            left = running.seconds_left()
            return plain | {
                "doing": running.doing,
                "took": round(time.monotonic() - running.began, 1),
                "left": None if left is None else round(left, 1),
                "shown": running.shown,
                "cancelling": running.is_cancelled,
            }
        (status,) = statuses(self.state, [self.record(job_id)])
        return row(status)

    def rows(self) -> list[dict[str, Any]]:
        """All jobs of the page, the latest first."""
        found = sorted(self.state.records(), key=lambda record: -record.started)
        return [row(status) for status in statuses(self.state, found[:MOST_SHOWN])]

    def _run(self, running: Running, request: SwapRequest) -> None:
        def listen(said: dict[str, Any]) -> None:
            if "picture" in said:
                running.picture, running.shown = said["picture"], running.shown + 1
            elif "frames" in said:
                if running.first_frames is None:
                    running.first_frames, running.first_at = said["frames"], time.monotonic()
                running.doing = "swapping"
                running.record = replace(
                    running.record, frames=said["frames"], expected=said["expected"]
                )
                running.claim.beat()
            else:
                running.doing = said["doing"]

        finish: Callable[[], object]
        try:
            answer = self._engine.call("run", request, listen=listen)
            frames = int(answer["result"]["frames"])
            record = replace(
                running.record, result=answer["result"], frames=frames, expected=frames
            )
            finish = lambda: running.claim.write(record, "done")  # noqa: E731
        except JobCancelledError:
            finish = lambda: running.claim.write(running.record, "cancelled")  # noqa: E731
        except VidswapError as error:
            why = JobError(error.exit_code, type(error).__name__, str(error))
            failed = replace(running.record, error=why)
            finish = lambda: running.claim.write(failed, "failed")  # noqa: E731
        try:
            if not self._engine.is_closed or running.is_cancelled:
                finish()
        except VidswapError as error:
            logger.error("%s", error)
        finally:
            running.claim.release()
            self.running = None


def row(status: JobStatus) -> dict[str, Any]:
    """A job as a row of the table, all of it plain and safe to show."""
    record = status.record
    plain: dict[str, Any] = {
        "id": record.id,
        "line": record.line,
        "state": status.state,
        "share": round(status.share, 4),
        "frames": record.frames,
        "expected": record.expected,
        "started": record.started,
        "host": escaped(record.host),
        "error": escaped(record.error.message) if record.error else None,
        "warnings": [escaped(str(each)) for each in record.result.get("warnings", ())][:20],
        "kept": record.result.get("frames_kept", 0),
        "seconds": record.result.get("seconds"),
        "faces": record.result.get("faces_swapped"),
    }
    try:
        request = record.swap()
    except VidswapError:
        return plain | {"sources": [], "target": "", "output": "", "command": ""}
    return plain | {
        "sources": [str(path) for path in request.sources],
        "target": str(request.target),
        "output": str(request.output),
        "command": command_line(request),
    }
