"""The state of a manifest's jobs in one folder that any number of hosts share; no database.

A job has a record, `<id>.json`, written whole or not at all, and while a run is at it a claim,
`<id>.claim-<generation>`, made by exclusive create. A claim whose process is gone is taken over by
the next generation, which again only one can create; a record says which generation wrote it, so
that a claim that comes late is known to be void.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import psutil

from vidswap.batch.records import JobRecord, JobState, is_job_id, read_record
from vidswap.errors import OutputNotWritableError
from vidswap.media.output import write_private, writing_errors
from vidswap.runtime.private import make_private_folder, open_private

HEARTBEAT = 5.0  # seconds between two signs of life of a claim
SILENT = 60.0  # seconds without one after which a run on another host is taken for gone

_LARGEST_CLAIM = 4096  # bytes
_CLAIM = ".claim-"
_CANCEL = ".cancel"
_SAME_START = 2.0  # seconds by which two readings of a process's start may differ


def state_folder_of(manifest: Path) -> Path:
    """Where the state of a manifest's jobs is kept: beside it."""
    return manifest.with_name(f"{manifest.name}.state")


class ClaimLostError(OutputNotWritableError):
    """Another run has taken a job over from this one."""


@dataclass(frozen=True)
class Owner:
    """Who holds a claim: a process of a host, by its number and when it started."""

    host: str
    pid: int
    started: float

    @classmethod
    def this_process(cls) -> Owner:
        return cls(socket.gethostname(), os.getpid(), psutil.Process().create_time())

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Whether the process still runs; only of this host's can it be told."""
        try:
            process = psutil.Process(self.pid)
            started = process.create_time()
            ended = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False
        return not ended and abs(started - self.started) < _SAME_START


class StateFolder:
    """The records and claims in a state folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._probe = path / f".now-{socket.gethostname()}-{os.getpid()}"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def make(self) -> None:
        """Make the folder, its owner's alone. Raises OutputNotWritableError, DiskFullError."""
        with writing_errors(self.path):
            make_private_folder(self.path)
            make_private_folder(self.logs)

    def log_of(self, job_id: str) -> Path:
        return self.logs / f"{job_id}.log"

    def records(self) -> list[JobRecord]:
        """All jobs, in the order of the manifest."""
        try:
            paths = list(self.path.glob("*.json"))
        except OSError:
            return []
        found = (read_record(path) for path in paths)
        return sorted((r for r in found if r is not None), key=lambda r: (r.line, r.id))

    def read(self, job_id: str) -> JobRecord | None:
        return read_record(self._record(job_id))

    def write(self, record: JobRecord, *, safely: bool = True) -> None:
        """Put a record in the place of the last one; `safely`: so that a power loss spares it."""
        path = self._record(record.id)
        part = path.with_name(f".{record.id}.{os.getpid()}-{secrets.token_hex(4)}.part")
        write_private(path, record.to_bytes(), part, safely=safely)

    def add(self, record: JobRecord) -> None:
        """Write a job's first record unless it has one, whoever writes it first."""
        path = self._record(record.id)
        if path.exists() and self.read(record.id) is not None:
            return
        if path.exists():  # damaged
            self.write(record, safely=False)
            return
        part = path.with_name(f".{record.id}.{os.getpid()}-{secrets.token_hex(4)}.part")
        try:
            with writing_errors(path):
                with open_private(part) as file:
                    file.write(record.to_bytes())
                try:
                    os.link(part, path)  # unlike a rename it replaces nothing
                except FileExistsError:
                    return
                except OSError:  # a file system without links
                    if not path.exists():
                        part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    # Claims

    def claim(self, job_id: str) -> Claim | None:
        """The claim on a job; None where another run has it."""
        last = self._last_claim(job_id)
        if last is not None and not self._is_gone(job_id, last):
            return None
        record = self.read(job_id)
        generation = max(last or 0, record.generation if record else 0) + 1
        path = self._claim(job_id, generation)
        if not _created(path, Owner.this_process()):
            return None
        claim = Claim(self, job_id, generation)
        record = self.read(job_id)
        if (record is not None and record.generation >= generation) or not claim.is_held():
            claim.release()  # it came late: another was quicker, and may be through already
            return None
        for old in range(1, generation):
            if last is not None and old <= last:
                self._claim(job_id, old).unlink(missing_ok=True)
        return claim

    def is_claimed(self, job_id: str) -> bool:
        """Whether a run that is alive is at a job."""
        last = self._last_claim(job_id)
        return last is not None and not self._is_gone(job_id, last)

    def _last_claim(self, job_id: str) -> int | None:
        prefix = f"{job_id}{_CLAIM}"
        try:
            with os.scandir(self.path) as entries:
                names = [each.name for each in entries if each.name.startswith(prefix)]
        except OSError:
            return None
        numbers = [name.removeprefix(prefix) for name in names]
        return max((int(n) for n in numbers if n.isascii() and n.isdecimal()), default=None)

    def _is_gone(self, job_id: str, generation: int) -> bool:
        path = self._claim(job_id, generation)
        try:
            beat = path.stat().st_mtime
            owner = _owner(path.read_bytes()[:_LARGEST_CLAIM])
        except FileNotFoundError:
            return True
        except OSError:
            return False
        if owner is not None and owner.is_here:
            return not owner.is_alive()
        return self._now() - beat > SILENT

    def _now(self) -> float:
        """The time by the clock of the disk, which all hosts share."""
        try:
            self._probe.touch()
            now = self._probe.stat().st_mtime
            self._probe.unlink()
        except OSError:
            return time.time()
        return now

    # Cancelling

    def cancel(self, job_id: str) -> None:
        """Ask whoever is or comes to be at a job to give it up."""
        with writing_errors(self.path):
            self._cancel(job_id).touch(mode=0o600)

    def is_cancelled(self, job_id: str) -> bool:
        return self._cancel(job_id).exists()

    def forget_cancel(self, job_id: str) -> None:
        self._cancel(job_id).unlink(missing_ok=True)

    def _record(self, job_id: str) -> Path:
        assert is_job_id(job_id), job_id
        return self.path / f"{job_id}.json"

    def _claim(self, job_id: str, generation: int) -> Path:
        return self.path / f"{job_id}{_CLAIM}{generation}"

    def _cancel(self, job_id: str) -> Path:
        assert is_job_id(job_id), job_id
        return self.path / f"{job_id}{_CANCEL}"


class Claim:
    """The right to work at a job and to write its record, while `is_held`."""

    def __init__(self, folder: StateFolder, job_id: str, generation: int) -> None:
        self.folder, self.job_id, self.generation = folder, job_id, generation
        self._path = folder._claim(job_id, generation)
        self._beat = time.monotonic()

    def is_held(self) -> bool:
        """Whether nobody has taken it over, as happens to one that gave no sign of life."""
        return self.folder._last_claim(self.job_id) == self.generation

    def beat(self) -> bool:
        """Give a sign of life when one is due; whether the claim is still held."""
        if time.monotonic() - self._beat < HEARTBEAT:
            return True
        self._beat = time.monotonic()
        with suppress(OSError):
            os.utime(self._path)
        return self.is_held()

    def write(self, record: JobRecord, state: JobState, *, safely: bool = True) -> JobRecord:
        """Write the job's record in a new state, which is returned.

        Raises ClaimLostError, OutputNotWritableError, DiskFullError.
        """
        if not self.is_held():
            raise ClaimLostError(f"{self.job_id} was taken over by another run")
        record = replace(record, state=state, generation=self.generation, updated=time.time())
        self.folder.write(record, safely=safely)
        return record

    def release(self) -> None:
        """Let others have the job; does nothing where the claim was lost."""
        self._path.unlink(missing_ok=True)

    close = release


def _created(path: Path, owner: Owner) -> bool:
    """Make a claim's file with its content, unless it is there.

    The content is linked into place, so that nobody reads a claim without an owner.
    """
    content = json.dumps({"host": owner.host, "pid": owner.pid, "started": owner.started})
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with writing_errors(path):
            with open_private(part) as file:
                file.write(content.encode())
            try:
                os.link(part, path)
            except FileExistsError:
                return False
            except OSError:  # a file system without links: the name is what is exclusive
                return _created_by_name(path, content)
    finally:
        part.unlink(missing_ok=True)
    return True


def _created_by_name(path: Path, content: str) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(handle, "wb") as file:
        file.write(content.encode())
    return True


def _owner(content: bytes) -> Owner | None:
    try:
        given: Any = json.loads(content)
        return Owner(str(given["host"]), int(given["pid"]), float(given["started"]))
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None


def counted(records: Iterable[JobRecord]) -> dict[str, int]:
    """How many jobs are in each state."""
    counts: dict[str, int] = dict.fromkeys(get_args(JobState), 0)
    for record in records:
        counts[record.state] += 1
    return counts
