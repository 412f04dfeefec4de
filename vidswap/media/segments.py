"""The finished parts of an output that is still being made, so that a run can go on after them.

They lie in a folder beside the output: files of coded packets, each from its own key frame on; the
state of the run at the end of the last two; and a manifest that names them with their checksums
and says what they were made from and how. Whatever happens, each is there whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from vidswap.digest import file_sha256
from vidswap.errors import OutputInUseError
from vidswap.media.output import work_name, write_private, writing_errors
from vidswap.media.packet_file import PacketFile, PacketWriter, whole_packet_times
from vidswap.media.work_manifest import (
    Manifest,
    Segment,
    packets_name,
    read_manifest,
    state_name,
    written_manifest,
)
from vidswap.runtime.private import lock, make_private_folder, open_private
from vidswap.runtime.text import shown

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
LOCK = "lock"
COMPLETE = "complete"  # is there once the output is about to get its name
_KEPT_STATES = 2  # the last one, and the one before should the last segment be damaged
_LARGEST_STATE = 2**29  # bytes
_LONGEST_VALUE = 200  # characters of a fact that are told
_WORK = re.compile(r"\.(.+)\.[0-9a-f]{10}\.work", re.DOTALL)
_PART = ".part-{:05d}"  # in a folder's name, after the output's
_IS_PART = re.compile(r"\.part-\d{5,}(?=$|\.[0-9a-f]{10}\.work$)")
_OWN = re.compile(
    rf"({MANIFEST}|{LOCK}|{COMPLETE}|segment-\d{{5,}}\.packets|state-\d{{5,}})(\.part)?"
    r"|segment-\d{5,}\.part|frame-\d+"
)


class SegmentFolder:
    """The work folder of one output; leave its `with` block to let go of it.

    `facts` are what decides over the result: inputs, settings, weights, versions. Work done with
    the same facts is gone on with; that with others is left where it is, and `others` names it.
    `fresh` removes all earlier work.

    The folder and its files are their owner's alone: they hold faces. What lies in it is checked as
    any other input is, since it may have been damaged or changed.

    `part` names a part of the output that a process of its own is at; whoever joins the parts
    holds the output's own folder meanwhile.

    segments: those that are whole, in order. lost: how many were damaged and are made again.
    damaged: the manifest itself was, so that nothing of the earlier work is known.

    Raises OutputInUseError where another run is at work on the same output.
    """

    def __init__(
        self,
        output: Path,
        facts: Mapping[str, str],
        *,
        fresh: bool = False,
        part: int | None = None,
    ) -> None:
        self.output, self.facts = output, dict(facts)
        digest = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()
        name = work_name(output, output.name) + ("" if part is None else _PART.format(part))
        self.path = output.with_name(f".{name}.{digest[:10]}.work")
        if fresh:
            remove_work(output)
        with writing_errors(output):
            make_private_folder(self.path)
            lock = _locked(self.path / LOCK)
        others = [f for f in work_folders(output) if f != self.path and part is None]
        if lock is None or any(_is_in_use(folder) for folder in others):
            if lock is not None:
                lock.close()
                self._remove_if_new()
            raise OutputInUseError(
                f"another run is at work on {output}; wait for it, or name another output"
            )
        self._lock = lock
        self.damaged = False
        (self.path / COMPLETE).unlink(missing_ok=True)
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

    def mark_complete(self) -> None:
        """Note that all is made: what is left once the output has its name is of no more use."""
        mark_complete(self.path)

    def begin_segment(self) -> PacketWriter:
        """A writer for the next segment's packets."""
        return PacketWriter(self.path / packets_name(len(self.segments)))

    def add(self, packets: PacketFile, state: bytes) -> None:
        """Keep a segment whose writer is closed; once this returns a run can go on after it."""
        name = state_name(len(self.segments))
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
        if _manifest(self.path) is None:
            shutil.rmtree(self.path, ignore_errors=True)

    def others(self) -> list[tuple[Path, str]]:
        """Earlier work on this output with other facts: each folder, and what differs, in words."""
        found = []
        for folder in work_folders(self.output):
            manifest = _manifest(folder)
            if folder == self.path or _IS_PART.search(folder.name):
                continue  # parts are made anew, or gone on with, by whoever is at them
            if manifest is not None and manifest.segments:
                found.append((folder, differences(manifest.facts, self.facts)))
        return found

    def _whole_segments(self) -> tuple[list[Segment], int]:
        """The longest row of segments from the first on that ends with a state to go on from."""
        manifest = _manifest(self.path)
        if manifest is None or manifest.facts != self.facts:
            self.damaged = (self.path / MANIFEST).exists()
            return [], 0
        named, whole, last = manifest.segments, 0, None
        for segment in named:
            times = whole_packet_times(self.path, segment.packets)
            if times is None or (last is not None and times[0] <= last):
                break
            whole, last = whole + 1, times[-1]
        while whole and not self._has_state(named[whole - 1]):
            whole -= 1
        return list(named[:whole]), len(named) - whole

    def _has_state(self, segment: Segment) -> bool:
        path = self.path / segment.state
        if not path.is_file() or path.stat().st_size > _LARGEST_STATE:
            return False
        return file_sha256(path) == segment.state_sha256

    def _write_manifest(self) -> None:
        written = written_manifest(Manifest(self.facts, tuple(self.segments)), self.output.name)
        _write_safely(self.path / MANIFEST, written)


def mark_complete(folder: Path) -> None:
    """As the method of `SegmentFolder`, of the folder of a part."""
    _write_safely(folder / COMPLETE, b"")


def whole_frames(output: Path, facts: Mapping[str, str]) -> int:
    """Frames in segments of all parts of an output that were made with these facts."""
    found = (_manifest(f) for f in work_folders(output) if _IS_PART.search(f.name))
    same = [m for m in found if m is not None and facts.items() <= m.facts.items()]
    return sum(segment.packets.packets for manifest in same for segment in manifest.segments)


def work_folders(output: Path) -> list[Path]:
    """The folders of unfinished work on an output."""
    name = _escaped(work_name(output, output.name))
    return sorted(p for p in output.parent.glob(f".{name}.*.work") if p.is_dir())


def remove_work(output: Path) -> None:
    """Remove all unfinished work on an output but that which a run is at."""
    for folder in work_folders(output):
        remove_folder(folder)


def remove_unfinished_parts(output: Path) -> None:
    """Remove what killed processes have left of an output's parts and nobody can go on with.

    Those are segments that are not whole, which may be what fills the disk, and folders without one
    that is.
    """
    for folder in work_folders(output):
        if not _IS_PART.search(folder.name) or _is_in_use(folder):
            continue
        manifest = _manifest(folder)
        if not (folder / MANIFEST).exists() or (manifest is not None and not manifest.segments):
            remove_folder(folder)
        else:
            for path in folder.glob("*.part"):
                path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Work:
    """A work folder as it is found: is_finished says that its output is there and newer."""

    path: Path
    is_finished: bool
    n_bytes: int


def work_in(folder: Path) -> list[Work]:
    """All work folders in a folder, of whatever output, but those that runs are at."""
    found = []
    for path in sorted(folder.iterdir()):
        if _is_work_folder(path) and not _is_in_use(path):
            size = sum(inside.lstat().st_size for inside in path.iterdir())
            found.append(Work(path, _is_finished(path), size))
    return found


def remove_finished_work(folder: Path) -> None:
    """Remove what a run left that was killed after its output had its name."""
    with suppress(OSError):
        for work in work_in(folder):
            if work.is_finished:
                remove_folder(work.path)


def remove_folder(folder: Path) -> bool:
    """Remove a work folder unless a run is at it; whether it is gone."""
    if folder.is_symlink():
        return False
    try:
        lock = _locked(folder / LOCK) if (folder / LOCK).is_file() else None
    except OSError:
        lock = None
    if lock is None and _is_in_use(folder):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        lock.close()
    return not folder.exists()


def _is_work_folder(path: Path) -> bool:
    """By its name and by what lies in it: nothing else is ever removed."""
    if not _WORK.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
        return False
    try:
        return all(_OWN.fullmatch(inside.name) for inside in path.iterdir())
    except OSError:
        return False


def _is_finished(folder: Path) -> bool:
    mark = folder / COMPLETE
    try:
        return mark.is_file() and _output_of(folder).stat().st_mtime_ns >= mark.stat().st_mtime_ns
    except OSError:
        return False


def _output_of(folder: Path) -> Path:
    """The output that a work folder is of, whose name it may have as a digest."""
    match = _WORK.fullmatch(folder.name)
    name = _IS_PART.sub("", match[1]) if match else ""
    named = (path for path in folder.parent.iterdir() if work_name(path, path.name) == name)
    return next(named, folder.with_name(name))


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What differs between the facts of two runs, in words."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(
        f"another {name}" if _is_digest(before.get(name) or now.get(name, ""))
        else f"{name} {_told(before.get(name, 'none'))}, now {_told(now.get(name, 'none'))}"
        for name in names
    )  # fmt: skip


def _told(value: str) -> str:
    return value if value.isprintable() and len(value) <= _LONGEST_VALUE else shown(value)


def _is_digest(value: str) -> bool:
    return len(value) == 64 and set(value) <= set("0123456789abcdef")


def _manifest(folder: Path) -> Manifest | None:
    return read_manifest(folder / MANIFEST)


def _write_safely(path: Path, content: bytes) -> None:
    """Write a file so that after a power loss it is there whole, or as it was before."""
    write_private(path, content)
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
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
    file = open_private(path, "ab")
    if lock(file):
        return file
    file.close()
    return None


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


__all__: Sequence[str] = (
    "PacketFile", "Segment", "SegmentFolder", "Work", "differences", "mark_complete",
    "remove_finished_work", "remove_folder", "remove_unfinished_parts", "remove_work",
    "whole_frames", "work_folders", "work_in",
)  # fmt: skip
