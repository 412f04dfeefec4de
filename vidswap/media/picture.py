"""Pictures: PNG, JPEG, WebP, BMP and TIFF, as a clip of one frame."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from vidswap.errors import CodecError, NotAVideoError
from vidswap.media.container import check_input
from vidswap.media.frame import Frame
from vidswap.media.output import check_output, temporary_path, writing_errors
from vidswap.media.picture_text import EXIF_DESCRIPTION, read_text

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

_FORMATS = (
    (b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"BM", "bmp"),
    (b"II*\x00", "tiff"), (b"MM\x00*", "tiff"),
)  # fmt: skip
_MAGIC = tuple(magic for magic, _ in _FORMATS)
_CLIPS_OF_JPEG = (".mjpeg", ".mjpg")
_JPEG_QUALITY = 95


def is_picture(path: Path) -> bool:
    """Whether a file's first bytes are those of a picture; False where it cannot be read."""
    if path.suffix.lower() in _CLIPS_OF_JPEG or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def picture_format(path: Path) -> str:
    """Name of a picture's format, in lower case: png, jpeg, webp, bmp or tiff."""
    with path.open("rb") as file:
        head = file.read(12)
    known = (name for magic, name in _FORMATS if head.startswith(magic))
    return next(known, "webp" if head[8:] == b"WEBP" else "unknown")


def read_picture(path: Path) -> Frame:
    """Read a picture as one Frame at time 0, turned upright by its EXIF orientation.

    Transparency is left out. Raises InputNotFoundError or NotAVideoError.
    """
    check_input(path)
    encoded = np.fromfile(path, dtype=np.uint8)
    try:
        rgb = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # for sizes beyond its bounds, and some damage
        rgb = None
    if rgb is None:
        raise NotAVideoError(f"{path} is not a picture that can be read; it may be damaged")
    return Frame.from_rgb(np.asarray(rgb, dtype=np.uint8))


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
) -> None:
    """Write (H, W, 3) uint8 pixels; the suffix chooses the format, `metadata` goes along.

    PNG holds metadata as text chunks, JPEG, WebP and TIFF as JSON in the EXIF description.
    Raises CodecError for another suffix, and what `check_output` raises; the file appears
    under its name only when complete.
    """
    check_picture_suffix(path)
    check_output(path, overwrite)
    encoded = _encoded(path.suffix.lower(), rgb, dict(metadata or {}))
    part = temporary_path(path)
    try:
        with writing_errors(path):
            part.write_bytes(encoded)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_picture_metadata(path: Path) -> dict[str, str]:
    """Text that `write_picture` put into a picture; empty where there is none."""
    return read_text(path)


def _encoded(suffix: str, rgb: npt.NDArray[np.uint8], metadata: dict[str, str]) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(rgb))
    buffer = io.BytesIO()
    if suffix == ".png":
        text = PngImagePlugin.PngInfo()
        for key, value in metadata.items():
            text.add_itxt(key, value) if not value.isascii() else text.add_text(key, value)
        image.save(buffer, "PNG", pnginfo=text)
        return buffer.getvalue()
    exif = Image.Exif()
    if metadata:
        exif[EXIF_DESCRIPTION] = json.dumps(metadata)
    if suffix in (".jpg", ".jpeg"):
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0, exif=exif)
    elif suffix == ".webp":
        image.save(buffer, "WEBP", lossless=True, exif=exif)
    elif suffix == ".bmp":
        image.save(buffer, "BMP")  # holds no text
    else:
        image.save(buffer, "TIFF", exif=exif)
    return buffer.getvalue()
