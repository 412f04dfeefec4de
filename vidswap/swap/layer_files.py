"""Layers as numbered files: one OpenEXR with all of them per frame, or a PNG for each."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidswap.choices import LayerFormat, MaskName
from vidswap.errors import OutputExistsError, OutputNotWritableError
from vidswap.media.colour_space import Float
from vidswap.media.decoder import VideoReader
from vidswap.media.exr_writer import ExrPart, write_exr
from vidswap.media.output import temporary_path, work_name, writing_errors
from vidswap.media.picture_file import Extras, encoded
from vidswap.media.sequence import SequenceName
from vidswap.media.sequence_reader import SequenceReader
from vidswap.swap.faces import SwappedFrame
from vidswap.swap.layers import NAMES, FrameLayers, display_of, layers_of, straight_face
from vidswap.swap.sequence_clip import Numbers

# Channels of OpenEXR beside the result's, by number format.
_HALVES = (*(f"{layer}.{c}" for layer in ("face", "raw") for c in "RGBA"), "matte.A", "occlusion.A")
_FLOATS = ("uv.R", "uv.G", "id.R")
_DIGITS = 4
_AT_ONCE = min(4, os.cpu_count() or 1)  # frames; each takes 80 bytes a pixel
_MARK = ".vidswap-layers"


class LayerFiles:
    """Writes the layers of a run's frames into a folder, under the target's own numbers.

    only_faces: frames without a face get no file. facts: those of the run, by which a rerun knows
    the files of the one it goes on with. Raises OutputExistsError for others that are there, unless
    `overwrite`; OutputNotWritableError.
    """

    def __init__(
        self,
        folder: Path,
        kind: LayerFormat,
        reader: VideoReader | SequenceReader,
        marks: Mapping[str, str],
        facts: Mapping[str, str],
        mask: MaskName,
        *,
        first: int | None = None,
        only_faces: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.folder, self._kind, self._mask, self._reader = folder, kind, mask, reader
        self._marks, self._only_faces = dict(marks), only_faces
        self._numbers = Numbers(reader, first)
        self._prefix, self._digits = _named_after(reader, folder)
        self._pool = ThreadPoolExecutor(_AT_ONCE, "layers")
        self._writing = deque[Future[None]]()
        self._state = hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()
        self._check(overwrite)
        with writing_errors(folder):
            for each in self._folders():
                each.mkdir(exist_ok=True)
            (folder / _MARK).write_text(self._state)

    def write(self, item: SwappedFrame, index: int) -> None:
        """Write the layers of the `index`-th frame of the range."""
        assert item.made_of is not None
        if self._only_faces and not item.made_of.faces:
            return
        number = self._numbers.of(item.made_of.frame, index)
        while len(self._writing) >= _AT_ONCE:
            self._writing.popleft().result()
        self._writing.append(self._pool.submit(self._make, item, number))
        if item.state is not None:
            self.wait()  # what a rerun takes for finished is finished

    def wait(self) -> None:
        """Until all that was given is written. Raises what the writing did."""
        while self._writing:
            self._writing.popleft().result()

    def close(self) -> None:
        """Let what is being written end, and nothing begin; what is empty goes."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if any(name.numbers() for name in self._names()):
            return
        with suppress(OSError):  # unless something else is in it
            (self.folder / _MARK).unlink(missing_ok=True)
            for each in reversed(self._folders()):
                each.rmdir()

    def _make(self, item: SwappedFrame, number: int) -> None:
        layers = layers_of(item, self._mask)
        with writing_errors(self.folder):
            if self._kind != "png":
                self._write_exr(self._name(self.folder, ".exr").path(number), layers)
            else:
                self._write_pngs(number, layers)

    def missing(self, kept: int) -> list[str]:
        """A warning where layers of frames that an earlier run finished are not there."""
        if self._only_faces:
            return []
        reader = self._reader
        own = reader.numbers[:kept] if isinstance(reader, SequenceReader) else range(kept)
        numbers = [self._numbers.shifted(number) for number in own]
        name = self._names()[0]
        lost = [number for number in numbers if not name.path(number).is_file()]
        if not lost:
            return []
        return [
            f"layers of {len(lost)} finished frame(s) from {name.path(lost[0])} on are missing; "
            "make all anew with --no-resume"
        ]

    def finish(self) -> None:
        """Wait for the last, and note that no rerun goes on with these files."""
        self.wait()
        with suppress(OSError):
            (self.folder / _MARK).unlink()

    def _check(self, overwrite: bool) -> None:
        if not self.folder.parent.is_dir() or (self.folder.exists() and not self.folder.is_dir()):
            raise OutputNotWritableError(
                f"{self.folder} cannot be made a folder; name another for --layers"
            )
        mark = self.folder / _MARK
        is_ours = mark.is_file() and mark.read_bytes()[:64] == self._state.encode()
        if overwrite or is_ours:
            return
        for name in self._names():
            if there := self._numbers.written(name.numbers()):
                more = f" and {len(there) - 1} more" if len(there) > 1 else ""
                raise OutputExistsError(
                    f"{name.path(there[0])}{more} exist; give --overwrite or name another folder "
                    "for --layers"
                )

    def _folders(self) -> list[Path]:
        if self._kind != "png":
            return [self.folder]
        return [self.folder, *(self.folder / layer for layer in NAMES)]

    def _names(self) -> list[SequenceName]:
        if self._kind != "png":
            return [self._name(self.folder, ".exr")]
        return [self._name(self.folder / layer, ".png") for layer in NAMES]

    def _name(self, folder: Path, suffix: str) -> SequenceName:
        return SequenceName(folder, self._prefix, self._digits, suffix)

    def _write_exr(self, path: Path, layers: FrameLayers) -> None:
        part = temporary_path(path)
        try:
            final, others = _final(layers), _cropped(layers)
            parts = [ExrPart("rgba", final, inset=others)]
            if self._kind == "exr":
                parts = [ExrPart("rgba", final), others]
            height, width = layers.final.shape[:2]
            write_exr(part, parts, (width, height), layers.chromaticities, self._marks)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _write_pngs(self, number: int, layers: FrameLayers) -> None:
        for layer, samples in _pictures(layers).items():
            path = self._name(self.folder / layer, ".png").path(number)
            part = temporary_path(path)
            try:
                part.write_bytes(encoded(".png", samples, self._marks, Extras()))
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)


def _named_after(reader: VideoReader | SequenceReader, folder: Path) -> tuple[str, int]:
    if isinstance(reader, SequenceReader):
        return reader.name.prefix, reader.name.digits
    stem = reader.path.stem.replace("%", "_")
    return f"{work_name(folder / stem, stem)}.", _DIGITS  # a number and a suffix follow


def _final(layers: FrameLayers) -> dict[str, NDArray[np.float16]]:
    """The result, whose channels have no layer's name."""
    return {name: layers.final[..., place] for place, name in enumerate("RGBA")}


def _cropped(layers: FrameLayers) -> ExrPart:
    """The other layers' channels in their box; one empty pixel without a face."""
    faces = layers.faces
    if faces is None:
        nothing = np.zeros((1, 1), np.float32)
        return ExrPart("layers", dict.fromkeys(_HALVES, nothing), dict.fromkeys(_FLOATS, nothing))
    colours = {
        f"{layer}.{name}": values[..., place]
        for layer, values in (("face", faces.face), ("raw", faces.raw))
        for place, name in enumerate("RGBA")
    }
    halves = {**colours, "matte.A": faces.matte, "occlusion.A": faces.occlusion}
    floats = {"uv.R": faces.uv[..., 0], "uv.G": faces.uv[..., 1], "id.R": faces.identity}
    return ExrPart("layers", halves, floats, (faces.box[0], faces.box[1]))


def _pictures(layers: FrameLayers) -> dict[str, NDArray[np.uint16]]:
    """16-bit samples of each layer; colours as the target's codes, not multiplied by opacity.

    Light, as of OpenEXR, is in sRGB here. `face` over the target by `matte` is `final` in codes.
    """
    still, faces = layers.still, layers.faces
    codes = display_of(still, still.codes(still.with_view(layers.view)))
    height, width = codes.shape[:2]
    shapes = {"face": (4,), "raw": (4,), "uv": (3,)}
    found = {
        name: np.zeros((height, width, *shapes.get(name, (1,))), np.uint16) for name in NAMES[1:]
    }
    final = codes if layers.alpha is None else np.dstack([codes, layers.alpha])
    if faces is not None:
        left, top, right, bottom = faces.box
        window = np.s_[top:bottom, left:right]
        found["face"][window] = _deep(straight_face(layers))
        shown = display_of(still, still.space.from_light(faces.raw[..., :3]))
        covered = faces.raw[..., 3:]
        found["raw"][window] = _deep(np.dstack([shown * (covered > 0), covered]))
        found["matte"][window] = _deep(faces.matte)[..., None]
        found["occlusion"][window] = _deep(faces.occlusion)[..., None]
        found["uv"][window] = _deep(np.dstack([faces.uv, np.zeros_like(faces.matte)]))
        found["id"][window] = np.clip(faces.identity, 0, 65535).astype(np.uint16)[..., None]
    return {"final": _deep(final), **found}


def _deep(values: Float) -> NDArray[np.uint16]:
    finite = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0)
    deep: NDArray[np.uint16] = np.rint(np.clip(finite, 0.0, 1.0) * 65535.0).astype(np.uint16)
    return deep
