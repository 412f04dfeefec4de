"""Files in a store that fsspec opens (s3, gs, a folder): fetched for a job, its result put back.

Paths of a manifest are then taken from the store's address on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from vidswap.batch.facts import digest_of, inputs_of, outputs_of, settings_of
from vidswap.batch.records import JobRecord
from vidswap.batch.worker_process import MakeRunner, Report, Runner
from vidswap.errors import (
    BadOptionError,
    InputNotFoundError,
    MissingLibraryError,
    OutputExistsError,
    OutputNotWritableError,
)
from vidswap.runtime.text import shown
from vidswap.swap.request import SwapRequest
from vidswap.version import __version__


@dataclass(frozen=True)
class Storage:
    """A store by its address, such as "s3://bucket/film"; plain data.

    Raises MissingLibraryError where fsspec or what it needs for the address is not installed, and
    BadOptionError for an address that it does not know.
    """

    url: str

    def __post_init__(self) -> None:
        self._opened()

    def has(self, path: Path) -> bool:
        system, place = self._placed(path)
        return bool(system.exists(place))

    def stamp(self, path: Path) -> str:
        """What changes when a file does: its size and checksum, of a folder those of its files.

        Raises InputNotFoundError.
        """
        system, place = self._placed(path)
        try:
            if not system.isdir(place):
                return f"{system.size(place)} {system.checksum(place)}"
            inside = sorted(system.find(place))
            return digest_of(" ".join(f"{name} {system.checksum(name)}" for name in inside))
        except FileNotFoundError as error:
            raise InputNotFoundError(f"{self.url}/{path}: no such file") from error

    def fetch(self, path: Path, to: Path) -> None:
        """Copy a file or a folder to this computer. Raises InputNotFoundError."""
        system, place = self._placed(path)
        try:
            if system.isdir(place):
                system.get(f"{place}/", f"{to}/", recursive=True)
            else:
                system.get_file(place, str(to))
        except FileNotFoundError as error:
            raise InputNotFoundError(f"{self.url}/{path}: no such file") from error

    def put(self, file: Path, path: Path) -> None:
        """Copy a file to the store; it has its name only when it is whole."""
        system, place = self._placed(path)
        part = str(PurePosixPath(place).with_name(f".{PurePosixPath(place).name}.part"))
        try:
            system.makedirs(str(PurePosixPath(place).parent), exist_ok=True)
            system.put_file(str(file), part)
            system.mv(part, place)
        except OSError as error:
            raise OutputNotWritableError(f"{self.url}/{path} cannot be written: {error}") from error

    def _placed(self, path: Path) -> tuple[Any, str]:
        if path.is_absolute() or ".." in path.parts:
            raise BadOptionError(
                f"{path} leads out of the storage {self.url}; give paths from there on"
            )
        system, root = self._opened()
        return system, f"{root.rstrip('/')}/{path.as_posix()}"

    def _opened(self) -> tuple[Any, str]:
        try:
            import fsspec
        except ImportError as error:
            raise MissingLibraryError("--storage needs fsspec: pip install fsspec") from error
        try:
            system, root = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            raise MissingLibraryError(f"--storage {self.url}: {error}") from error
        except ValueError as error:
            raise BadOptionError(f"--storage {shown(self.url)}: {error}") from error
        return system, str(root)


class StoredFiles:
    """What a ledger knows of files in a store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def is_unchanged(self, request: SwapRequest, facts: Mapping[str, Any]) -> bool:
        if not all(self._storage.has(path) for path in inputs_of(request)):
            return False
        return bool(facts == stored_facts(self._storage, request))

    def has_output(self, request: SwapRequest) -> bool:
        return self._storage.has(request.output)

    def is_output_of(self, request: SwapRequest, record: JobRecord) -> bool:
        if not self.has_output(request):
            return False
        return record.result.get("stamp") == self._storage.stamp(request.output)


def stored_facts(storage: Storage, request: SwapRequest) -> dict[str, Any]:
    """Inputs by their stamps, the settings and the version."""
    stamps = {str(path): storage.stamp(path) for path in inputs_of(request)}
    return {"files": stamps, "settings": settings_of(request), "version": __version__}


def with_storage(make_runner: MakeRunner, storage: Storage) -> MakeRunner:
    """Runners that fetch a job's files, do it here, and put its result in the store."""
    return partial(_stored, make_runner, storage)


@contextmanager
def _stored(make_runner: MakeRunner, storage: Storage) -> Iterator[Runner]:
    with TemporaryDirectory(prefix="vidswap-store-") as folder, make_runner() as run:
        cache = _Cache(storage, Path(folder))

        def stored(request: SwapRequest, report: Report) -> dict[str, Any]:
            if storage.has(request.output) and not request.options.overwrite:
                raise OutputExistsError(
                    f"{storage.url}/{request.output} exists; give --overwrite or another name"
                )
            facts = stored_facts(storage, request)
            with cache.local(request) as local:
                answer = run(local, report)
                storage.put(local.output, request.output)
            result = answer["result"] | {
                "output": str(request.output), "stamp": storage.stamp(request.output)
            }  # fmt: skip
            return {"result": result, "facts": facts}

        yield stored


class _Cache:
    """Copies of the store's files: of sources and weights kept, of a target for its job alone."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder = storage, folder
        self._kept: dict[tuple[Path, str], Path] = {}

    def local(self, request: SwapRequest) -> AbstractContextManager[SwapRequest]:
        """The request with the paths of copies."""
        return self._local(request)

    @contextmanager
    def _local(self, request: SwapRequest) -> Iterator[SwapRequest]:
        if len(outputs_of(request)) > 1:
            raise BadOptionError(
                f"{outputs_of(request)[1]} is written beside the output, and --storage takes the "
                "output alone; leave it out"
            )
        work = Path(self._folder / "job")
        shutil.rmtree(work, ignore_errors=True)
        (work / "out").mkdir(parents=True)
        target, output = work / request.target.name, work / "out" / request.output.name
        self._storage.fetch(request.target, target)
        given = asdict(request.options)
        copies: dict[str, Any] = {
            name: self._copy(value) for name, value in given.items() if isinstance(value, Path)
        }
        options = replace(request.options, **copies)
        sources = tuple(self._copy(path) for path in request.sources)
        try:
            yield replace(request, sources=sources, target=target, output=output, options=options)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _copy(self, path: Path) -> Path:
        key = (path, self._storage.stamp(path))
        if key not in self._kept:
            folder = self._folder / digest_of(f"{path} {key[1]}")
            folder.mkdir(exist_ok=True)
            self._storage.fetch(path, folder / path.name)
            self._kept[key] = folder / path.name
        return self._kept[key]
