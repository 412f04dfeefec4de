"""What a dataset is built from: photographs and clips, their names, and whom they show."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import InputNotFoundError
from vidswap.media.decoder import VideoReader
from vidswap.media.picture import PICTURE_SUFFIXES, is_picture
from vidswap.media.sampling import frames_at, packet_times
from vidswap.runtime.inputs import check_readable

IdentityRule = Literal["folder", "file", "none"]
IDENTITY_RULES: tuple[IdentityRule, ...] = ("folder", "file", "none")
CLIPS_ONLY = "a clip is one person"  # the rule of an input whose photographs show nobody known

CLIP_SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".flv", ".3gp", ".ogv", ".mjpeg", ".mjpg", ".gif",
)  # fmt: skip
# Named like pictures, whether or not anything here reads them.
_PICTURE_NAMES = (*PICTURE_SUFFIXES, ".heic", ".heif", ".avif", ".jp2", ".dng")


@dataclass(frozen=True)
class Material:
    """A photograph or clip: its path, its name in the index, and who it shows, if known."""

    path: Path
    name: str
    identity: str


@dataclass(frozen=True)
class FoundMaterial:
    """All photographs and clips of the inputs, in order.

    `rules` says of each input how identities were given, `n_other_files` how many files are
    neither photograph nor clip.
    """

    material: list[Material]
    rules: dict[str, str]
    n_other_files: int


def find_material(
    inputs: Sequence[Path], output: Path, identity: IdentityRule | None
) -> FoundMaterial:
    """Everything to read in files and folders, at any depth; hidden files are passed over.

    `output` is the dataset to be made, which may lie in an input. `identity` None chooses for each
    input: `folder` where all its photographs lie in sub-folders, else `CLIPS_ONLY`.
    Raises InputNotFoundError.
    """
    material: list[Material] = []
    rules: dict[str, str] = {}
    n_other = 0
    for given, prefix in zip(inputs, _prefixes(inputs), strict=True):
        check_readable(given, hint="check the name")
        root = given.resolve() if given.is_dir() else given.absolute().parent
        files = list(_walk(root, output)) if given.is_dir() else [given.absolute()]
        found = [path for path in files if not given.is_dir() or _is_material(path)]
        n_other += len(files) - len(found)
        rule = identity or (_rule_of_folder(found, root) if given.is_dir() else CLIPS_ONLY)
        for path in found:
            inside = path.relative_to(root)
            name = one_line(Path(prefix) / inside if given.is_dir() else inside)
            material.append(Material(path, name, _identity(path, inside, name, root, rule)))
        rules[str(given)] = rule
    if not material:
        names = ", ".join(str(path) for path in inputs)
        raise InputNotFoundError(f"{names}: no photograph or clip in it; name other folders")
    return FoundMaterial(material, rules, n_other)


def _prefixes(inputs: Sequence[Path]) -> list[str]:
    """What distinguishes the inputs' files: nothing for one input, folder names, or whole paths."""
    if len(inputs) == 1:
        return [""]
    names = [given.resolve().name for given in inputs]
    return names if len(set(names)) == len(names) else [str(given) for given in inputs]


def _rule_of_folder(found: list[Path], root: Path) -> str:
    photographs = [path for path in found if not is_clip(path)]
    in_folders = bool(photographs) and all(path.parent != root for path in photographs)
    return "folder" if in_folders else CLIPS_ONLY


def _identity(path: Path, inside: Path, name: str, root: Path, rule: str) -> str:
    """The first sub-folder's name, the file's own, or nothing where it is not known."""
    if rule == "folder":
        return one_line(inside.parts[0] if len(inside.parts) > 1 else root.name)
    if rule == "file" or (rule == CLIPS_ONLY and is_clip(path)):
        return name
    return ""


def one_line(name: str | Path) -> str:
    """A name as it can stand in a list with one name per line."""
    return " ".join(str(name).split())


def _walk(root: Path, output: Path) -> Iterator[Path]:
    """Files below a folder in a fixed order; nothing hidden, and not the dataset itself."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name[0] != "." and Path(folder, name) != output
        )
        yield from (Path(folder, name) for name in sorted(files) if name[0] != ".")


def _is_material(path: Path) -> bool:
    """Whether a file is a photograph or clip by its name, or a photograph by its first bytes."""
    return path.suffix.lower() in (*_PICTURE_NAMES, *CLIP_SUFFIXES) or _begins_as_picture(path)


def is_clip(path: Path) -> bool:
    """Whether a file is to be read as a clip, not as a photograph."""
    return path.suffix.lower() not in _PICTURE_NAMES and not _begins_as_picture(path)


def _begins_as_picture(path: Path) -> bool:
    try:
        return is_picture(path)
    except OSError:
        return False


def content_digest(path: Path) -> bytes:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def clip_frames(
    path: Path, every: float, per_clip: int
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Frames of a clip, `every` seconds but at most `per_clip`, one in memory at a time.

    Each is (seconds from the clip's first frame, (H, W, 3) uint8 RGB): the middles of equal parts,
    as the first frame after a cut is often black or blurred. Raises NotAVideoError.
    """
    times = packet_times(path)
    seconds = np.array([float(pts * times.time_base) for pts in times.frames])
    with VideoReader(path) as reader:
        if len(seconds) < 2:
            frame = next(iter(reader))
            yield 0.0, frame.rgb
            return
        length = (seconds[-1] - seconds[0]) * len(seconds) / (len(seconds) - 1)
        count = max(1, min(per_clip, round(length / every)))
        wanted = seconds[0] + length * (np.arange(count) + 0.5) / count
        # The frame that is on the screen at that time.
        indices = np.searchsorted(seconds, wanted + 1e-6, side="right") - 1
        rising = dict.fromkeys(times.frames[index] for index in indices.tolist())
        for found in frames_at(reader, rising, times.keys):
            yield found.seconds - float(seconds[0]), found.rgb
