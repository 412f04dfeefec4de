"""OpenEXR pictures: read with all their channels, parts and attributes, and written with them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidswap.errors import MissingLibraryError, NotAVideoError
from vidswap.media.colour_space import BT709, Chromaticities, Float, Pixels, named_space
from vidswap.media.still import Still

MAGIC = b"v/1\x01"
_MOST_PIXELS = 2**28
_LONGEST_SIDE = 2**20
_MOST_BYTES = 2**34  # of the samples of a file, unpacked
_LOSSY = ("B44", "B44A", "DWAA", "DWAB", "LJ2K")


@dataclass(frozen=True, eq=False)
class ExrPicture:
    """An OpenEXR file: the R'G'B' of its first part that has it, and everything else in it.

    The picture is the data window; `Still.samples` are floats that every half is exact in.
    """

    still: Still
    file: Any
    part: int
    names: tuple[str, str, str]
    suffix: str = ".exr"

    @classmethod
    def read(cls, path: Path, colour_space: str | None = None) -> ExrPicture:
        """That of a file; by default linear light in the primaries that it states, else BT.709's.

        Raises NotAVideoError, MissingLibraryError.
        """
        exr = load_openexr(path)
        _check(exr, path)
        file = _opened(exr, path, header_only=False)
        part, names = _colours(path, file)
        channels = file.channels(part)
        planes = [channels[name].pixels for name in names]
        if any(plane.dtype.kind != "f" for plane in planes):
            raise NotAVideoError(f"{path} has R, G and B that are whole numbers; read are floats")
        alpha = channels["A"].pixels if "A" in channels else None
        stated = file.header(part).get("chromaticities")
        chromaticities = tuple(map(float, stated)) if stated else BT709
        space = named_space(colour_space or "linear", _sound(chromaticities))
        samples = np.stack([np.asarray(plane, np.float32) for plane in planes], axis=2)
        if alpha is not None:
            alpha = np.asarray(alpha, np.float32)
        return cls(Still.of(samples, 0, space, alpha), file, part, names)

    def encoded(self, view: Pixels, metadata: Mapping[str, str]) -> bytes:
        """As `SequencePicture` has it; metadata become string attributes.

        Compressions that lose something give way to ZIP, which does not.
        """
        changed, samples = self.still.changed(view), self.still.with_view(view)
        channels, header = self.file.channels(self.part), self.file.header(self.part)
        before = {name: channels[name].pixels for name in self.names}
        try:
            for place, name in enumerate(self.names):
                plane = before[name].copy()
                np.copyto(plane, samples[..., place], where=changed, casting="same_kind")
                channels[name].pixels = plane
            header.update(metadata)
            for number in range(len(self.file.parts)):
                own = self.file.header(number)
                if own["compression"].name.removesuffix("_COMPRESSION") in _LOSSY:
                    own["compression"] = load_openexr().ZIP_COMPRESSION
            return _written(self.file)
        finally:
            for name, plane in before.items():
                channels[name].pixels = plane

    @property
    def texts(self) -> dict[str, str]:
        """The attributes that are text, whoever wrote them."""
        header = self.file.header(self.part)
        return {name: value for name, value in header.items() if isinstance(value, str)}

    @property
    def frame_rate(self) -> float | None:
        """Frames a second, by the header."""
        rate = self.file.header(self.part).get("framesPerSecond")
        value = getattr(rate, "n", 0) / (getattr(rate, "d", 0) or 1) if rate is not None else 0.0
        return value if 1.0 <= value <= 1000.0 else None


def load_openexr(path: Path | None = None) -> Any:
    """The OpenEXR module. Raises MissingLibraryError."""
    try:
        return import_module("OpenEXR")
    except ImportError as error:
        what = f"{path} is an OpenEXR picture, which" if path else "OpenEXR pictures"
        raise MissingLibraryError(
            f"{what} need{'s' * bool(path)} the openexr package; install it (pip install "
            "'vidswap[layers]'), or use another format, such as 16-bit PNG"
        ) from error


def written_exr(
    path: Path,
    channels: Mapping[str, npt.NDArray[Any]],
    chromaticities: Chromaticities,
    metadata: Mapping[str, str],
) -> None:
    """Write a file of one part, ZIP; channels by name, or (H, W, 3 or 4) by a layer's name."""
    exr = load_openexr()
    header = {
        "compression": exr.ZIP_COMPRESSION,
        "type": exr.scanlineimage,
        "chromaticities": tuple(chromaticities),
        **metadata,
    }
    exr.File(header, dict(channels)).write(str(path))


def encoded_exr(
    light: Float,
    alpha: Float | None,
    chromaticities: Chromaticities,
    metadata: Mapping[str, str],
) -> bytes:
    """A new file of light (H, W, 3) and opacity (H, W), in halves."""
    name = "RGB" if alpha is None else "RGBA"
    planes = light if alpha is None else np.dstack([light, alpha])
    with tempfile.TemporaryDirectory(prefix="vidswap-exr-") as folder:
        file = Path(folder) / "frame.exr"
        written_exr(file, {name: halves(planes)}, chromaticities, metadata)
        return file.read_bytes()


def halves(values: Float) -> npt.NDArray[np.float16]:
    """As halves; what they do not reach becomes their greatest, not infinite."""
    return np.clip(values, -65504.0, 65504.0).astype(np.float16)


def _written(file: Any) -> bytes:
    with tempfile.TemporaryDirectory(prefix="vidswap-exr-") as folder:
        path = Path(folder) / "frame.exr"
        file.write(str(path))
        return path.read_bytes()


def _check(exr: Any, path: Path) -> None:
    """Refuse by the header what would need too much memory, or is no picture of pixels."""
    with path.open("rb") as opened:
        if opened.read(4) != MAGIC:
            raise _damaged(path)
    file, total = _opened(exr, path, header_only=True), 0
    for number in range(len(file.parts)):
        header = file.header(number)
        if "deep" in header["type"].name:
            raise NotAVideoError(f"{path} has deep pixels; flatten them first")
        low, high = (np.asarray(corner, np.int64) for corner in header["dataWindow"])
        width, height = (int(n) for n in high - low + 1)
        if (
            min(width, height) < 1
            or width * height >= _MOST_PIXELS
            or max(width, height) > (_LONGEST_SIDE)
        ):
            raise NotAVideoError(f"{path} states {width}x{height} pixels, more than can be read")
        total += width * height * 4 * len(header["channels"])
    if total > _MOST_BYTES:
        raise NotAVideoError(f"{path} has {total >> 30} GiB of channels; leave some out")


def _opened(exr: Any, path: Path, *, header_only: bool) -> Any:
    try:
        file = exr.File(str(path), separate_channels=True, header_only=header_only)
        file.header()
        return file
    except (RuntimeError, ValueError, TypeError, OSError, MemoryError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> NotAVideoError:
    return NotAVideoError(f"{path} is not an OpenEXR picture that can be read; it may be damaged")


def _colours(path: Path, file: Any) -> tuple[int, tuple[str, str, str]]:
    """The part, and the names of its channels of red, green and blue; grey has one for all."""
    for names in (("R", "G", "B"), ("Y", "Y", "Y")):
        for number in range(len(file.parts)):
            channels = file.channels(number)
            sizes = {channels[n].pixels.shape for n in names if n in channels}
            full = all(channels[n].xSampling == channels[n].ySampling == 1 for n in channels)
            if all(name in channels for name in names) and len(sizes) == 1 and full:
                if "RY" in channels or "BY" in channels:
                    break
                return number, names
    raise NotAVideoError(f"{path} has no channels R, G and B of full size; name them so")


def _sound(chromaticities: tuple[float, ...]) -> Chromaticities:
    """Those of a file, or BT.709's where no light could have them."""
    values = np.array(chromaticities)
    if values.shape != (8,) or not np.isfinite(values).all() or (np.abs(values) > 10).any():
        return BT709
    primaries = np.array([[x, y, 1.0 - x - y] for x, y in values[:6].reshape(3, 2)])
    if abs(np.linalg.det(primaries)) < 1e-3 or values[7] <= 0.01 or values[[1, 3]].min() <= 0:
        return BT709
    return chromaticities
