"""Frames of sequences in and out: each format by its own reader, and from one format to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidswap.errors import InputNotFoundError, NotAVideoError
from vidswap.media.colour_space import (
    Float,
    Pixels,
    named_space,
    space_of_clip,
    srgb_codes,
)
from vidswap.media.dpx import MAGICS, DpxPicture, encoded_dpx
from vidswap.media.exr import MAGIC, ExrPicture, encoded_exr
from vidswap.media.frame import Frame
from vidswap.media.picture import Picture, open_picture
from vidswap.media.picture_file import Extras, encoded
from vidswap.media.planes import converted, rows_of
from vidswap.media.still import Samples, SequencePicture, Still, bt709_light

_DEEP = (".png", ".tif", ".tiff")
_SYNTHETIC = "Synthetic: face swapped by vidswap"
_WITH_ALPHA = (".png", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class FlatPicture:
    """A PNG, TIFF, JPEG, WebP or BMP of a sequence."""

    still: Still
    picture: Picture
    suffix: str

    @classmethod
    def read(cls, path: Path, colour_space: str | None = None) -> FlatPicture:
        """That of a file, by default in sRGB or the space of its ICC profile."""
        picture = open_picture(path)
        bits = 16 if picture.is_deep else 8
        space = named_space(colour_space or "srgb")
        if colour_space is None or space.carries_all:
            still = Still(picture.samples, bits, space, picture.frame.rgb, picture.alpha)
        else:
            still = Still.of(picture.samples, bits, space, picture.alpha)
        return cls(still, picture, path.suffix.lower())

    def encoded(self, view: Pixels, metadata: dict[str, str]) -> bytes:
        """As `SequencePicture` has it."""
        return self.encoded_as(self.suffix, view, metadata)

    def encoded_as(self, suffix: str, view: Pixels, metadata: dict[str, str]) -> bytes:
        """The same as another of the formats that this class is for."""
        if self.still.space.carries_all:
            return self.picture.encoded(suffix, view, metadata)
        return self.picture.encoded_samples(suffix, self.still.with_view(view), metadata)


@dataclass(frozen=True, eq=False)
class ClipPicture:
    """A frame of a clip as a frame of a sequence."""

    still: Still
    suffix: str = ""

    @classmethod
    def of(cls, frame: Frame, *, deep: bool) -> ClipPicture:
        """`deep`: with samples of 16 bits, in which what 8 bits of R'G'B' round off is kept."""
        space = space_of_clip(frame.colour)
        if deep or frame.colour.is_hdr:
            return cls(Still(deep_samples(frame), 16, space, frame.rgb))
        return cls(Still(frame.rgb, 8, space, frame.rgb))

    def encoded(self, view: Pixels, metadata: dict[str, str]) -> bytes:
        """It has no file of its own."""
        raise NotImplementedError


def deep_samples(frame: Frame) -> Samples:
    """R'G'B' of a clip's frame in 16 bits, (H, W, 3) uint16, upright."""
    coded = frame.coded()
    lines = rows_of(converted(coded, "rgb48le", frame.height), 0).view("<u2")
    samples = lines[: coded.height, : coded.width * 3].reshape(coded.height, coded.width, 3)
    return np.ascontiguousarray(frame.orientation.upright(samples))


def read_sequence_picture(path: Path, colour_space: str | None = None) -> SequencePicture:
    """Read a frame of a sequence.

    Raises InputNotFoundError, NotAVideoError, BadOptionError, MissingLibraryError.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise InputNotFoundError(f"{path} cannot be read: {error.strerror}") from error
    if head == MAGIC:
        return ExrPicture.read(path, colour_space)
    if head in MAGICS:
        return DpxPicture.read(path, colour_space)
    if path.suffix.lower() in (".exr", ".dpx"):
        raise NotAVideoError(f"{path} is no {path.suffix[1:].upper()} picture; it may be damaged")
    return FlatPicture.read(path, colour_space)


def encoded_as(
    picture: SequencePicture, suffix: str, view: Pixels, metadata: dict[str, str]
) -> bytes:
    """The bytes of a file of a format in which a picture looks like `view`.

    In its own format it keeps all that its file has. Between formats light goes to OpenEXR; codes
    that are no light go elsewhere as they are, and light in sRGB.
    """
    if picture.suffix == suffix:
        return picture.encoded(view, metadata)
    if isinstance(picture, FlatPicture) and suffix not in (".exr", ".dpx"):
        return picture.encoded_as(suffix, view, metadata)
    still = picture.still
    codes, alpha = still.codes(still.with_view(view)), still.alpha_codes()
    if suffix == ".exr":
        light = still.space.light(codes)
        if alpha is not None and not isinstance(picture, ExrPicture):
            light = light * alpha[..., None]  # OpenEXR's is associated
        return encoded_exr(light, alpha, still.space.chromaticities, metadata)
    if still.space.is_linear:
        codes = srgb_codes(bt709_light(still, _straight(codes, alpha)))
    if suffix == ".dpx":
        return encoded_dpx(codes, 10 if 0 < still.bits <= 10 else 16, named_space("srgb"), metadata)
    samples = _whole(codes, 16 if still.bits != 8 and suffix in _DEEP else 8)
    if alpha is not None and suffix in _WITH_ALPHA:
        samples = np.dstack([samples, _whole(alpha, 16 if samples.dtype == np.uint16 else 8)])
    return encoded(suffix, samples, metadata, Extras())


def lost_as(picture: SequencePicture, suffix: str) -> list[str]:
    """What a format cannot hold of a picture, a line each."""
    if picture.suffix == suffix:
        return []
    if isinstance(picture, FlatPicture) and suffix not in (".exr", ".dpx"):
        return picture.picture.lost(Path(f"a{suffix}"))
    still, lost = picture.still, list[str]()
    if still.alpha is not None and suffix not in (*_WITH_ALPHA, ".exr"):
        lost.append(f"transparency ({suffix} files have none)")
    if still.space.is_linear and suffix != ".exr":
        lost.append(f"light above white ({suffix} files end there; write .exr)")
    if still.bits not in (8, 0) and suffix not in (*_DEEP, ".exr", ".dpx"):
        lost.append(f"{still.bits} bits a sample ({suffix} files have 8)")
    if isinstance(picture, ExrPicture):
        others = sum(len(part.channels) for part in picture.file.parts)
        others -= len(set(picture.names)) + (still.alpha is not None)
        if others:
            lost.append(f"{others} further channel(s) ({suffix} files have none)")
    return lost


def frame_rate(picture: SequencePicture) -> float | None:
    """Frames a second that a frame's file states."""
    return picture.frame_rate if isinstance(picture, ExrPicture | DpxPicture) else None


def texts_of(picture: SequencePicture) -> dict[str, str]:
    """The texts in the headers of an OpenEXR or DPX file, where a swap leaves its marks."""
    if isinstance(picture, ExrPicture):
        return picture.texts
    if isinstance(picture, DpxPicture) and picture.creator.startswith(_SYNTHETIC):
        return {"vidswap_synthetic": "true", "comment": picture.creator}
    return {}


def _straight(codes: Float, alpha: Float | None) -> Float:
    """Light not multiplied by opacity, which OpenEXR's is."""
    if alpha is None:
        return codes
    return np.where(alpha[..., None] > 0, codes / np.maximum(alpha, 1e-6)[..., None], codes)


def _whole(codes: Float, bits: int) -> Samples:
    kind = np.uint16 if bits == 16 else np.uint8
    whole: Samples = np.rint(np.clip(np.nan_to_num(codes), 0.0, 1.0) * (2**bits - 1)).astype(kind)
    return whole
