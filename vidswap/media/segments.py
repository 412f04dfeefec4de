"""The finished parts of an output that is still being made, so that a run can go on after them.

They lie in a folder beside the output: files of coded packets, each from its own key frame on; the
state of the run at the end of the last two; and a manifest that names them with their checksums
and says what they were made from and how. Whatever happens, each is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, Self

from vidswap.digest import file_sha256
from vidswap.errors import OutputNotWritableError
from vidswap.media.output import work_name, writing_errors
from vidswap.media.packet_file import PacketFile, PacketWriter, is_intact

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
LOCK = "lock"
_KEPT_STATES = 2  # the last one, and the one before should the last segment be damaged
_FORMAT = 1


@dataclass(frozen=True)
class Segment:
    """Packets, and the state (name and SHA-256 of its file) of the run that goes on after them."""

    packets: PacketFile
    state: str
    state_sha256: str


class SegmentFolder:
    """The work folder of one output; leave its `with` block to let go of it.

    `facts` are what decides over the result: inputs, settings, weights, versions. Work done with
    the same facts is gone on with; that with others is left where it is, and `others` names it.
    `fresh` removes all earlier work.

    segments: those that are whole, in order. lost: how many were damaged and are made again.

    Raises OutputNotWritableError where another run is at work on the same output.
    """

    def __init__(self, output: Path, facts: Mapping[str, str], *, fresh: bool = False) -> None:
        self.output, self.facts = output, dict(facts)
        digest = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()
        self.path = output.with_name(f".{work_name(output, output.name)}.{digest[:10]}.work")
        if fresh:
            remove_work(output)
        with writing_errors(output):
            self.path.mkdir(exist_ok=True)
            lock = _locked(self.path / LOCK)
        others = [folder for folder in work_folders(output) if folder != self.path]
        if lock is None or any(_is_in_use(folder) for folder in others):
            if lock is not None:
                lock.close()
                self._remove_if_new()
            raise OutputNotWritableError(
                f"another run is at work on {output}; wait for it, or name another output"
            )
        self._lock = lock
        self.segments, self.lost = self._whole_segments()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def packet_files(self) -> list[PacketFile]:
        return [segment.packets for segment in self.segments]

    def state(self) -> bytes | None:
        """The state at the end of the last segment; None where there is none yet."""
        return (self.path / self.segments[-1].state).read_bytes() if self.segments else None

    def drop_all(self) -> None:
        """Begin anew: none of the segments is of use."""
        self.segments = []
        self._write_manifest()

    def begin_segment(self) -> PacketWriter:
        """A writer for the next segment's packets."""
        return PacketWriter(self.path / f"segment-{len(self.segments):05d}.packets")

    def add(self, packets: PacketFile, state: bytes) -> None:
        """Keep a segment whose writer is closed; once this returns a run can go on after it."""
        name = f"state-{len(self.segments):05d}"
        _write_safely(self.path / name, state)
        self.segments.append(Segment(packets, name, hashlib.sha256(state).hexdigest()))
        self._write_manifest()
        logger.info("segment %d finished: %d frames", len(self.segments), packets.packets)
        for old in self.segments[:-_KEPT_STATES]:
            (self.path / old.state).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the folder; where it holds no segment it is removed."""
        self._lock.close()
        if not self.segments:
            shutil.rmtree(self.path, ignore_errors=True)

    def _remove_if_new(self) -> None:
        if not _read_manifest(self.path):
            shutil.rmtree(self.path, ignore_errors=True)

    def others(self) -> list[tuple[Path, str]]:
        """Earlier work on this output with other facts: each folder, and what differs, in words."""
        found = []
        for folder in work_folders(self.output):
            manifest = _read_manifest(folder)
            if folder != self.path and manifest.get("segments"):
                found.append((folder, differences(manifest.get("facts", {}), self.facts)))
        return found

    def _whole_segments(self) -> tuple[list[Segment], int]:
        """The longest row of segments from the first on that ends with a state to go on from."""
        manifest = _read_manifest(self.path)
        named = [_segment(entry) for entry in manifest.get("segments", [])]
        if manifest.get("facts") != self.facts or manifest.get("format") != _FORMAT:
            return [], 0
        whole = 0
        for segment in named:
            if segment is None or not is_intact(self.path, segment.packets):
                break
            whole += 1
        while whole and not self._has_state(named[whole - 1]):
            whole -= 1
        return [s for s in named[:whole] if s is not None], len(named) - whole

    def _has_state(self, segment: Segment | None) -> bool:
        if segment is None or not (path := self.path / segment.state).is_file():
            return False
        return file_sha256(path) == segment.state_sha256

    def _write_manifest(self) -> None:
        manifest = {
            "format": _FORMAT,
            "output": self.output.name,
            "facts": self.facts,
            "segments": [asdict(segment) for segment in self.segments],
        }
        _write_safely(self.path / MANIFEST, json.dumps(manifest, indent=1).encode())


def work_folders(output: Path) -> list[Path]:
    """The folders of unfinished work on an output."""
    name = _escaped(work_name(output, output.name))
    return sorted(p for p in output.parent.glob(f".{name}.*.work") if p.is_dir())


def remove_work(output: Path) -> None:
    """Remove all unfinished work on an output but that which a run is at."""
    for folder in work_folders(output):
        if not _is_in_use(folder):
            shutil.rmtree(folder, ignore_errors=True)


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What differs between the facts of two runs, in words."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(
        f"another {name}" if _is_digest(before.get(name) or now.get(name, ""))
        else f"{name} {before.get(name, 'none')}, now {now.get(name, 'none')}"
        for name in names
    )  # fmt: skip


def _is_digest(value: str) -> bool:
    return len(value) == 64 and set(value) <= set("0123456789abcdef")


def _segment(entry: Any) -> Segment | None:
    """A manifest's entry; None where it is not one."""
    try:
        packets = entry["packets"]
        names = [field.name for field in fields(PacketFile)]
        return Segment(
            PacketFile(**{name: packets[name] for name in names}),
            entry["state"],
            entry["state_sha256"],
        )
    except (KeyError, TypeError):
        return None


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _write_safely(path: Path, content: bytes) -> None:
    """Write a file so that after a power loss it is there whole, or as it was before."""
    part = path.with_name(path.name + ".part")
    with writing_errors(path):
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every system lets a folder be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_in_use(folder: Path) -> bool:
    """Whether a run, this one or another, holds a work folder."""
    if not (folder / LOCK).is_file():
        return False
    lock = _locked(folder / LOCK)
    if lock is not None:
        lock.close()
    return lock is None


def _locked(path: Path) -> IO[bytes] | None:
    """The lock file, held until it is closed or the process ends; None where it is held already."""
    file = path.open("ab")
    try:
        import fcntl
    except ImportError:  # no such locks there
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


__all__: Sequence[str] = (
    "PacketFile", "Segment", "SegmentFolder", "differences", "remove_work", "work_folders",
)  # fmt: skip
