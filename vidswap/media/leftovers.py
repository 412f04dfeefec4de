"""Files and folders that commands leave when they are killed: told by their names, never in use.

A file in the making has a hidden name beside its later one; long ones are locked while they are
written. Shorter ones are told to be in use by an open handle or by a change of late.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vidswap.media.animated_writer import ANIMATED_SUFFIXES
from vidswap.media.codecs import CONTAINERS
from vidswap.media.output import TEMPORARY
from vidswap.media.picture import PICTURE_SUFFIXES
from vidswap.runtime.private import HAS_LOCKS, lock

_SUFFIXES = "|".join(
    sorted(
        suffix[1:]
        for suffix in {
            *CONTAINERS, *PICTURE_SUFFIXES, *ANIMATED_SUFFIXES, ".exr", ".dpx", ".html", ".json",
            ".toml", ".vsid", ".safetensors", ".csv", ".npz",
        }
    )
)  # fmt: skip
_IN_THE_MAKING = (
    re.compile(rf"\..+\.part\.(?:{_SUFFIXES})", re.DOTALL | re.IGNORECASE),  # `temporary_path`
    re.compile(rf"\..+\.unsigned\.(?:{_SUFFIXES})", re.DOTALL | re.IGNORECASE),  # not signed yet
    re.compile(rf"\..+\.(?:{_SUFFIXES})\.part", re.DOTALL | re.IGNORECASE),  # put into a store
    re.compile(r"\..+\.\d{1,10}-[0-9a-f]{8}\.part", re.DOTALL),  # records of a batch
)
# Folders that Python's tempfile makes for us: beside outputs, and in the system's own folder.
_BESIDE = re.compile(rf"{re.escape(TEMPORARY)}[a-z0-9_]{{8}}")
_TEMPORARY = re.compile(r"vidswap-(?:(?:plan|exr|ranges|store)-)?[a-z0-9_]{8}")
_YOUNG, _YOUNG_FOLDER = 600.0, 3600.0  # seconds since a change, within which it may be in use


@dataclass(frozen=True)
class Leftover:
    """A file or folder that a killed command left. is_young: it was changed of late."""

    path: Path
    n_bytes: int
    is_young: bool


def left_in(folder: Path) -> list[Leftover]:
    """What killed commands of this user left in a folder, but whatever is in use."""
    in_use = _open_files()
    found = [_file(path, in_use) for path in sorted(folder.iterdir()) if _is_named(path.name)]
    is_systems = folder.resolve() == Path(tempfile.gettempdir()).resolve()
    for path in sorted(folder.iterdir()):
        if _BESIDE.fullmatch(path.name) or (is_systems and _TEMPORARY.fullmatch(path.name)):
            found.append(_folder(path, in_use))
    return [each for each in found if each is not None]


def remove_leftover(path: Path) -> bool:
    """Remove what `left_in` found; whether it is gone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
    return not path.exists()


def _is_named(name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern in _IN_THE_MAKING)


def _file(path: Path, in_use: frozenset[tuple[int, int]]) -> Leftover | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    is_ours = not path.is_symlink() and path.is_file() and status.st_uid == _user()
    if not is_ours or (status.st_dev, status.st_ino) in in_use or _is_locked(path):
        return None
    return Leftover(path, status.st_size, time.time() - status.st_mtime < _YOUNG)


def _folder(path: Path, in_use: frozenset[tuple[int, int]]) -> Leftover | None:
    """A temporary folder; one that was changed within the hour may be in use."""
    try:
        inside = [] if path.is_symlink() or not path.is_dir() else [path, *path.rglob("*")]
        states = [each.lstat() for each in inside]
    except OSError:
        return None
    if not states or any(state.st_uid != _user() for state in states):
        return None
    is_open = any((state.st_dev, state.st_ino) in in_use for state in states)
    if is_open or time.time() - max(state.st_mtime for state in states) < _YOUNG_FOLDER:
        return None
    return Leftover(path, sum(state.st_size for state in states[1:]), False)


def _is_locked(path: Path) -> bool:
    if not HAS_LOCKS:
        return False
    try:
        with path.open("r+b") as file:
            return not lock(file)
    except OSError:
        return True


def _open_files() -> frozenset[tuple[int, int]]:
    """Device and number of the files that this user's processes hold open, where that is told."""
    return frozenset(_handles(Path("/proc")))


def _handles(processes: Path) -> Iterator[tuple[int, int]]:
    if not processes.is_dir():
        return
    for process in processes.iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            for handle in (process / "fd").iterdir():
                with suppress(OSError):
                    status = handle.stat()
                    yield status.st_dev, status.st_ino


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
