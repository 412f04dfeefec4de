"""The folders that the page may read and write, and nothing outside of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidswap.errors import BadOptionError, InputNotFoundError
from vidswap.media.codecs import CONTAINERS
from vidswap.media.picture import PICTURE_SUFFIXES
from vidswap.runtime.text import shown

MOST_LISTED = 2000  # entries of a folder that are shown
_PLAN = "people.toml"  # of a cast folder
_LONGEST = 4096  # characters of a path
_MEDIA = frozenset(
    {
        *CONTAINERS, *PICTURE_SUFFIXES, ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".mxf",
        ".wmv", ".flv", ".3gp", ".ogv", ".gif", ".avif", ".heic", ".heif",
    }
)  # fmt: skip
_KINDS = {".vsid": "identity", ".safetensors": "checkpoint", ".jsonl": "manifest",
          ".csv": "manifest"}  # fmt: skip


class OutsideError(BadOptionError):
    """A path that leads out of the folders that the page may use."""


@dataclass(frozen=True)
class Entry:
    """A file or folder of a listing. kind: folder, cast, state, media, identity, checkpoint,
    manifest."""

    name: str
    path: str
    kind: str
    size: int


class Roots:
    """Folders, with their links followed; a path is allowed where it ends in one of them."""

    def __init__(self, folders: Sequence[Path]) -> None:
        resolved = (Path(os.path.realpath(folder)) for folder in folders)
        self.folders = tuple(dict.fromkeys(resolved))

    def inside(self, text: object) -> Path:
        """The file that a path of the page means, links followed; it need not exist.

        Raises OutsideError, BadOptionError.
        """
        if not isinstance(text, str) or not text or len(text) > _LONGEST or "\0" in text:
            raise BadOptionError("a path is a text of up to 4096 characters; choose a file")
        if not Path(text).is_absolute():
            raise BadOptionError(f"{shown(text)} is no full path; it must begin with /")
        path = Path(os.path.realpath(text))
        if not any(path.is_relative_to(folder) for folder in self.folders):
            names = ", ".join(map(str, self.folders))
            raise OutsideError(
                f"{shown(text)} is outside of the folders that this page may use ({names}); "
                "allow its folder with vidswap ui --root FOLDER"
            )
        return path

    def listing(self, text: str | None) -> tuple[str, str | None, list[Entry], bool]:
        """A folder's path, the one above it, what it holds that the page can use, and whether that
        is all; without a path the folders themselves. Raises as `inside`, InputNotFoundError.
        """
        if not text:
            return "", None, [Entry(str(f), str(f), "folder", 0) for f in self.folders], True
        folder = self.inside(text)
        try:
            found = sorted(self._entries(folder), key=_order)
        except OSError as error:
            words = (error.strerror or "unknown reason").lower()
            raise InputNotFoundError(f"{folder} cannot be listed: {words}") from error
        above = str(folder.parent) if folder not in self.folders else ""
        return str(folder), above, found[:MOST_LISTED], len(found) <= MOST_LISTED

    def _entries(self, folder: Path) -> Iterator[Entry]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    path = self.inside(entry.path)  # also where a link leads out
                    is_folder, size = entry.is_dir(), entry.stat().st_size
                except (BadOptionError, OSError):
                    continue
                suffix = Path(entry.name).suffix.lower()
                kind = "media" if suffix in _MEDIA else _KINDS.get(suffix)
                if is_folder:
                    kind = "state" if suffix == ".state" else "folder"
                    kind = "cast" if (path / _PLAN).is_file() else kind
                    yield Entry(entry.name, str(path), kind, 0)
                elif kind is not None and entry.is_file():
                    yield Entry(entry.name, str(path), kind, size)


def _order(entry: Entry) -> tuple[bool, str]:
    return entry.kind not in ("folder", "state", "cast"), entry.name.casefold()
