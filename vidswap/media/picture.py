"""Pictures: PNG, JPEG, WebP, BMP, TIFF, AVIF and HEIC, as a clip of one frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, TiffImagePlugin

from vidswap.errors import CodecError, NotAVideoError
from vidswap.media.container import check_input, open_container
from vidswap.media.frame import Frame
from vidswap.media.output import check_output, replace_whole
from vidswap.media.picture_colour import ColourProfile
from vidswap.media.picture_file import Extras, encoded, orientation
from vidswap.media.picture_open import HEAD, UNREADABLE, check_size, coding_of, opened
from vidswap.media.picture_text import read_text

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

_FORMATS = (
    (b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"BM", "bmp"),
    (b"II*\x00", "tiff"), (b"MM\x00*", "tiff"),
)  # fmt: skip
_CLIPS_OF_JPEG = (".mjpeg", ".mjpg")
_WITH_ALPHA = (".png", ".webp", ".tif", ".tiff", ".gif")
_WITH_DEPTH = (".png", ".tif", ".tiff")
_BITS_PER_SAMPLE = 258  # TIFF's tag


def is_picture(path: Path) -> bool:
    """Whether a file's first bytes are those of a picture; False where it cannot be read."""
    if path.suffix.lower() in _CLIPS_OF_JPEG or not path.is_file():
        return False
    try:
        return _format(_head(path)) is not None
    except OSError:
        return False


def picture_format(path: Path) -> str:
    """Name of a picture's format, in lower case: png, jpeg, webp, bmp, tiff, heic or avif."""
    return _format(_head(path)) or "unknown"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _format(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    known = (name for magic, name in _FORMATS if head.startswith(magic))
    return next(known, coding_of(head))


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture: the view of it that nets are given, and what the file has beyond the view.

    frame: the view, 8-bit sRGB, upright. samples: (H, W, 3) R'G'B' in the picture's own colours,
    uint8 or uint16, upright. alpha: (H, W) of the same type, None without. extras: profile and
    metadata. is_grey: the file has one channel of colour. coded_bits: those of a sample in the file
    where they are more than are read.
    """

    frame: Frame
    samples: npt.NDArray[Any]
    alpha: npt.NDArray[Any] | None = None
    extras: Extras = field(default_factory=Extras)
    is_grey: bool = False
    coded_bits: int = 8

    @property
    def is_deep(self) -> bool:
        """Whether samples have 16 bits."""
        return self.samples.dtype == np.uint16

    def lost(self, path: Path) -> list[str]:
        """What a file of that name cannot hold of the picture, a line each."""
        suffix = path.suffix.lower()
        lost = (
            []
            if self.alpha is None or suffix in _WITH_ALPHA
            else [f"transparency ({suffix} files have none)"]
        )
        if self.is_deep and suffix not in _WITH_DEPTH:
            lost.append(f"16 bits a sample ({suffix} files have 8)")
        if self.coded_bits > 8 and not self.is_deep:
            lost.append(f"{self.coded_bits} bits a sample (of HEIC and AVIF, 8 are read)")
        if self.extras.icc and not self._keeps_profile():
            lost.append("the ICC profile, which is not of R'G'B' colours")
        return lost + self.extras.lost(suffix, deep=self.is_deep)

    def with_view(self, view: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Samples (H, W, 3) of which `view` is the view: those that the view changes are new.

        They change by as much as the view does, so that what it had lost stays.
        """
        profile = ColourProfile.of(self.extras.icc)
        if not self.is_deep and profile is None:
            return view
        changed = np.any(view != self.frame.rgb, axis=2)
        if not changed.any():
            return self.samples
        rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        before, after = self.frame.rgb[box], view[box]
        if profile is not None:
            before, after = profile.own(before), profile.own(after)
        step, limit = (257, 65535) if self.is_deep else (1, 255)
        change = (after.astype(np.int32) - before) * step
        samples = self.samples.copy()
        moved = np.clip(samples[box] + change, 0, limit).astype(samples.dtype)
        np.copyto(samples[box], moved, where=changed[box][..., None])
        return samples

    def encoded(self, suffix: str, view: npt.NDArray[np.uint8], metadata: dict[str, str]) -> bytes:
        """The bytes of a file in which the picture looks like `view`."""
        return self.encoded_samples(suffix, self.with_view(view), metadata)

    def encoded_samples(
        self, suffix: str, samples: npt.NDArray[Any], metadata: dict[str, str]
    ) -> bytes:
        """The bytes of a file of other samples (H, W, 3) of the picture's kind."""
        if self.is_deep and suffix not in _WITH_DEPTH:
            samples = np.round(samples / 257).astype(np.uint8)
        if self.is_grey and self.is_deep and bool((samples == samples[..., :1]).all()):
            samples = samples[..., :1]
        elif self.alpha is not None and suffix in _WITH_ALPHA:
            alpha = self.alpha if samples.dtype == self.alpha.dtype else np.round(self.alpha / 257)
            samples = np.dstack([samples, alpha.astype(samples.dtype)])
        extras = self.extras if self._keeps_profile() else replace(self.extras, icc=None)
        return encoded(suffix, samples, metadata, extras.fitting(suffix))

    def pixels(self, suffix: str, view: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Samples (H, W, 3) or (H, W, 4) of which `view` is the view, with its transparency."""
        samples = self.with_view(view)
        if self.alpha is not None and suffix in _WITH_ALPHA:
            samples = np.dstack([samples, self.alpha])
        return samples

    def _keeps_profile(self) -> bool:
        return (self.extras.icc or b"")[16:20] in (b"RGB ", b"")


def open_picture(path: Path) -> Picture:
    """Read a picture with all it has, turned upright by its EXIF orientation.

    Raises InputNotFoundError, NotAVideoError, MissingLibraryError for a HEIC without pillow-heif.
    """
    check_input(path)
    check_size(path)
    if coding_of(_head(path)) is not None:
        return _read_whole(path)
    content = np.fromfile(path, dtype=np.uint8)
    rgb = _decoded(path, content, cv2.IMREAD_COLOR_RGB)
    view = np.asarray(rgb, dtype=np.uint8)
    try:
        with opened(path) as image:
            extras, turn = Extras.of(image), orientation(image)
            grey = image.mode in ("L", "LA", "1") or image.mode.startswith("I")
            alpha: npt.NDArray[Any] | None = None
            if "A" in image.getbands() or "transparency" in image.info:
                alpha, straight = _transparent(image, turn)
                # OpenCV darkens a TIFF's pixels by their transparency.
                view = straight if image.format == "TIFF" else view
            own_depth = _depth(image, content)
    except (*UNREADABLE, NotAVideoError):
        return Picture(Frame.from_rgb(view), view)
    if alpha is not None and alpha.shape != view.shape[:2]:
        alpha = None
    samples: npt.NDArray[Any] = view
    if own_depth == 16:
        deep, deep_alpha = _deep_samples(path, content, turn)
        if deep is not None and deep.shape == view.shape:
            samples, alpha = deep, deep_alpha
    profile = ColourProfile.of(extras.icc)
    seen = view if profile is None else profile.view(view)
    return Picture(Frame.from_rgb(seen), samples, alpha, extras, grey)


def read_picture(path: Path) -> Frame:
    """Read a picture as one Frame at time 0 in sRGB, turned upright by its EXIF orientation.

    Transparency is left out. Raises what `open_picture` does.
    """
    return open_picture(path).frame


def _read_whole(path: Path) -> Picture:
    """A HEIC or AVIF picture, put together from its tiles by Pillow."""
    with opened(path) as image:
        try:
            image.load()
            extras = Extras.of(image)
            upright = ImageOps.exif_transpose(image)
            has_alpha = "A" in image.getbands()
            alpha = np.asarray(upright.getchannel("A")) if has_alpha else None
            view = np.asarray(upright.convert("RGB"), dtype=np.uint8)
        except UNREADABLE as error:
            raise NotAVideoError(
                f"{path} is not a picture that can be read; it may be damaged"
            ) from error
    profile = ColourProfile.of(extras.icc)
    seen = view if profile is None else profile.view(view)
    return Picture(Frame.from_rgb(seen), view, alpha, extras, coded_bits=_coded_bits(path))


def _coded_bits(path: Path) -> int:
    """Bits of a coded sample of a HEIC or AVIF, by ffmpeg's reading of its header."""
    try:
        container = open_container(path)
        with container:
            streams = container.streams.video
            kinds = [s.codec_context.pix_fmt for s in streams if s.codec_context is not None]
            return max((av.VideoFormat(k).components[0].bits for k in kinds if k), default=8)
    except (av.FFmpegError, ValueError):
        return 8


def _decoded(path: Path, content: npt.NDArray[np.uint8], flags: int) -> npt.NDArray[Any]:
    try:
        pixels = cv2.imdecode(content, flags)
    except cv2.error:  # for some kinds of damage
        pixels = None
    if pixels is None:
        raise NotAVideoError(f"{path} is not a picture that can be read; it may be damaged")
    return np.asarray(pixels)


def _transparent(
    image: Image.Image, turn: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Alpha (H, W) and R'G'B' (H, W, 3) of 8 bits, upright."""
    rgba = _turned(np.asarray(image.convert("RGBA")), turn)
    return rgba[..., 3], np.ascontiguousarray(rgba[..., :3])


def _depth(image: Image.Image, content: npt.NDArray[np.uint8]) -> int:
    """Bits of a sample by the header."""
    if image.format == "PNG":
        return int(content[24])
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))))
    return 8


def _deep_samples(
    path: Path, content: npt.NDArray[np.uint8], turn: int
) -> tuple[npt.NDArray[np.uint16] | None, npt.NDArray[np.uint16] | None]:
    """R'G'B' (H, W, 3) and alpha of 16 bits, upright; None where there are none."""
    raw = _decoded(path, content, cv2.IMREAD_UNCHANGED)
    if raw.dtype != np.uint16:
        return None, None
    raw = _turned(raw, turn)
    if raw.ndim == 2:
        return np.repeat(raw[..., None], 3, axis=2), None
    return raw[..., 2::-1], (raw[..., 3] if raw.shape[2] == 4 else None)


def _turned(pixels: npt.NDArray[Any], turn: int) -> npt.NDArray[Any]:
    """Pixels (H, W, ...) turned upright from an EXIF orientation, 1 to 8."""
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def check_picture_suffix(path: Path) -> None:
    """Raise CodecError unless the suffix names a format that `write_picture` knows."""
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise CodecError(
            f"no picture format is known for {path.name!r}; end it in one of "
            f"{', '.join(PICTURE_SUFFIXES)}"
        )


def write_picture(
    path: Path,
    rgb: npt.NDArray[np.uint8],
    metadata: Mapping[str, str] | None = None,
    *,
    overwrite: bool = False,
    like: Picture | None = None,
) -> None:
    """Write (H, W, 3) uint8 pixels; the suffix chooses the format, `metadata` goes along.

    With `like` they are a new view of that picture, whose depth, transparency, profile and
    metadata are kept where the format has them (`Picture.lost`).
    PNG holds metadata as text chunks, JPEG, WebP and TIFF as JSON in the EXIF description.
    Raises CodecError for another suffix, and what `check_output` raises; the file appears
    under its name only when complete.
    """
    check_picture_suffix(path)
    suffix, text = path.suffix.lower(), dict(metadata or {})
    check_output(path, overwrite)
    if like is None:
        content = encoded(suffix, rgb, text, Extras())
    else:
        content = like.encoded(suffix, rgb, text)
    write_whole(path, content, overwrite)


def write_whole(path: Path, content: bytes, overwrite: bool = False) -> None:
    """Write a file that appears under its name only when complete. Raises as `check_output`."""
    check_output(path, overwrite)
    replace_whole(path, content)


def read_picture_metadata(path: Path) -> dict[str, str]:
    """Text that `write_picture` put into a picture; empty where there is none."""
    return read_text(path)
