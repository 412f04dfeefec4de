"""What is known of a job: one small JSON file each, read as any other foreign file is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

from vidswap.errors import BadOptionError
from vidswap.swap.request import SwapRequest

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
FINISHED: tuple[JobState, ...] = ("done", "failed", "cancelled")

_FORMAT = 1
_LARGEST = 2**22  # bytes of a record
_ID = re.compile(r"[A-Za-z0-9_.-]{1,60}-[0-9a-f]{12}")
_MOST = 2**53  # of a number in a record


@dataclass(frozen=True)
class JobError:
    """Why a job failed: `exit_code` as of `vidswap run`, the error's class and its line."""

    exit_code: int
    kind: str
    message: str


@dataclass(frozen=True)
class JobRecord:
    """A job as its file has it.

    line: in the manifest. request: as `SwapRequest.to_json` has it. generation: of the last claim
    that wrote this. attempts: begun so far. host, pid, worker: of the run that claimed it and the
    process that swaps. started, updated: Unix time in seconds. frames, expected: done and in all.
    fresh: no output was there when it first began, so that what lies there is its own. result: as
    `SwapResult.to_dict` has it, with the output's size and SHA-256 as `file`. facts: what it was
    made from (`facts.facts_of_job`).
    """

    id: str
    line: int
    request: str
    state: JobState = "queued"
    generation: int = 0
    attempts: int = 0
    host: str = ""
    pid: int = 0
    worker: int = 0
    started: float = 0.0
    updated: float = 0.0
    frames: int = 0
    expected: int = 0
    fresh: bool = False
    error: JobError | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    def swap(self) -> SwapRequest:
        """The request. Raises BadOptionError."""
        return SwapRequest.from_json(self.request)

    @property
    def output(self) -> str:
        """The output's path; the id where the request cannot be read."""
        try:
            return str(self.swap().output)
        except BadOptionError:
            return self.id

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the request's paths in the place of its line of JSON."""
        plain = asdict(self)
        try:
            request = self.swap()
        except BadOptionError:
            return plain
        plain["request"] = json.loads(request.to_json())
        return plain

    def to_bytes(self) -> bytes:
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self | None:
        """The record that was written; None for anything else."""
        try:
            given = json.loads(content)
        except (ValueError, RecursionError):
            return None
        if not isinstance(given, dict) or given.pop("format", None) != _FORMAT:
            return None
        if set(given) != {each.name for each in fields(cls)} or not _is_sound(given):
            return None
        if (error := given["error"]) is not None:
            if not _is_error(error):
                return None
            given["error"] = JobError(**error)
        return cls(**given)


def read_record(path: Path) -> JobRecord | None:
    """The record in a file that is named after it; None where there is none, or a damaged one."""
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST:
            return None
        record = JobRecord.from_bytes(path.read_bytes())
    except OSError:
        return None
    return record if record is not None and record.id == path.stem else None


def is_job_id(text: str) -> bool:
    """Whether a text may be a job's id, and so a file's name."""
    return bool(_ID.fullmatch(text))


def _is_sound(given: Mapping[str, Any]) -> bool:
    whole = ("line", "generation", "attempts", "pid", "worker", "frames", "expected")
    texts = ("id", "request", "host")
    return (
        all(isinstance(given[name], str) for name in texts)
        and is_job_id(given["id"])
        and given["state"] in get_args(JobState)
        and all(type(given[name]) is int and 0 <= given[name] < _MOST for name in whole)
        and all(_is_time(given[name]) for name in ("started", "updated"))
        and isinstance(given["fresh"], bool)
        and all(isinstance(given[name], dict) for name in ("result", "facts"))
    )


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < _MOST


def _is_error(given: Any) -> bool:
    return (
        isinstance(given, dict)
        and set(given) == {each.name for each in fields(JobError)}
        and type(given["exit_code"]) is int
        and all(isinstance(given[name], str) for name in ("kind", "message"))
    )
