"""What a finished job was made from, by which a rerun knows that it need not be done again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from vidswap.digest import file_sha256
from vidswap.errors import VidswapError
from vidswap.media.sequence import found_sequence, is_pattern
from vidswap.options import names_where
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest
from vidswap.version import __version__

# What a run sets by its own means, and what only says how to get to the same result.
_NOT_SETTINGS = frozenset({"max_memory", "max_vram", "overwrite", "resume", "hwaccel"})
MORE_OUTPUTS = ("layers", "face_clip")  # options that name what is written beside the output

JobFacts = dict[str, Any]
Hash = Callable[[Path], str]


def facts_of_job(request: SwapRequest, hashed: Hash = file_sha256) -> JobFacts:
    """Inputs and weights by size, time and SHA-256; the settings and the version.

    A folder counts as the files in it, an image sequence as its frames. Raises OSError where a file
    is gone, and InputNotFoundError for a sequence without frames.
    """
    return {
        "files": {str(path): _file_facts(path, hashed) for path in _files(request)},
        "settings": settings_of(request),
        "version": __version__,
    }


def is_unchanged(
    request: SwapRequest, facts: Mapping[str, Any], hashed: Hash = file_sha256
) -> bool:
    """Whether a result made from `facts` is what the request would give now.

    A file of the same size and time is the same; of another time it is hashed.
    """
    if facts.get("settings") != settings_of(request) or facts.get("version") != __version__:
        return False
    known = facts.get("files")
    try:
        files = list(_files(request))
    except (OSError, VidswapError):
        return False
    if not isinstance(known, dict) or set(known) != {str(path) for path in files}:
        return False
    return all(is_same_file(path, known[str(path)], hashed) for path in files)


def is_same_file(path: Path, known: Any, hashed: Hash = file_sha256) -> bool:
    """Whether a file is what was noted of it: `size` in bytes, `changed` in ns, `sha256`."""
    if not isinstance(known, dict):
        return False
    try:
        found = path.stat()
        if found.st_size != known.get("size"):
            return False
        return found.st_mtime_ns == known.get("changed") or hashed(path) == known.get("sha256")
    except OSError:
        return False


def output_facts(output: Path) -> JobFacts:
    """The facts of a file that was just made; none of frames, which are many."""
    return _file_facts(output, file_sha256) if output.is_file() else {}


class KnownHashes:
    """SHA-256 of files, each read once while it stays as it is: many jobs share their source."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], str] = {}

    def __call__(self, path: Path) -> str:
        found = path.stat()
        key = (path, found.st_size, found.st_mtime_ns)
        if key not in self._known:
            self._known[key] = file_sha256(path)
        return self._known[key]


def _file_facts(path: Path, hashed: Hash) -> JobFacts:
    found = path.stat()
    return {"size": found.st_size, "changed": found.st_mtime_ns, "sha256": hashed(path)}


def _files(request: SwapRequest) -> Iterator[Path]:
    """Every file that decides over the result, in a fixed order, each once."""
    named = inputs_of(request)
    seen = set[Path]()
    for path in named:
        for file in _files_of(path):
            if file not in seen:
                seen.add(file)
                yield file
    if request.options.checkpoint is None:
        from vidswap.models.checkpoint_file import default_checkpoint  # imports torch

        yield default_checkpoint()


def _files_of(path: Path) -> list[Path]:
    """A file itself, those of a folder, or the frames of an image sequence."""
    if is_pattern(path):
        name = found_sequence(path)
        return [name.path(number) for number in name.numbers()]
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def has_output(output: Path) -> bool:
    """Whether something lies under an output's name: a file, a folder, or frames."""
    if not is_pattern(output):
        return output.exists()
    try:
        return bool(found_sequence(output).numbers())
    except VidswapError:
        return False


def inputs_of(request: SwapRequest) -> list[Path]:
    """The files and folders that a request names as inputs, weights and keys included."""
    named = [path for name in _inputs() for path in _paths(getattr(request, name))]
    options = asdict(request.options).items()
    return named + [v for name, v in options if isinstance(v, Path) and name not in MORE_OUTPUTS]


def outputs_of(request: SwapRequest) -> list[Path]:
    """The output of a request, and what its options have written beside it."""
    more = (getattr(request.options, name, None) for name in MORE_OUTPUTS)
    return [request.output, *(path for path in more if isinstance(path, Path))]


def _inputs() -> Iterator[str]:
    """The fields of a request that name what it is made from."""
    yield from (each.name for each in fields(SwapRequest) if each.name not in ("output", "options"))


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _paths(each)


def settings_of(request: SwapRequest) -> dict[str, str]:
    """The settings that decide over a result or are told in it."""
    deciding = names_where(SwapOptions, "pixels") | names_where(SwapOptions, "recorded")
    values = asdict(request.options)
    return {name: str(values[name]) for name in sorted(deciding - _NOT_SETTINGS)}


def digest_of(text: str) -> str:
    """Twelve hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
