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

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*")
_CLIPS_OF_JPEG = (".mjpeg", ".mjpg")
_JPEG_QUALITY = 95
_EXIF_DESCRIPTION = 0x010E  # ImageDescription, the one text field that JPEG, WebP and TIFF share


def is_picture(path: Path) -> bool:
    """Whether a file's first bytes are those of a picture; False where it cannot be read."""
    if path.suffix.lower() in _CLIPS_OF_JPEG or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(12)
    return head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def picture_format(path: Path) -> str:
    """Name of a picture's format, in lower case: png, jpeg, webp, bmp or tiff."""
    with Image.open(path) as image:
        return (image.format or "unknown").lower()


def read_picture(path: Path) -> Frame:
    """Read a picture as one Frame at time 0, turned upright by its EXIF orientation.

    Transparency is left out. Raises InputNotFoundError or NotAVideoError.
    """
    check_input(path)
    encoded = np.fromfile(path, dtype=np.uint8)
    rgb = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
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
    with Image.open(path) as image:
        if isinstance(image, PngImagePlugin.PngImageFile):
            return {key: str(value) for key, value in image.text.items()}
        description = image.getexif().get(_EXIF_DESCRIPTION, "")
    try:
        stored = json.loads(description)
    except (TypeError, ValueError):
        return {}
    return {str(k): str(v) for k, v in stored.items()} if isinstance(stored, dict) else {}


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
        exif[_EXIF_DESCRIPTION] = json.dumps(metadata)
    if suffix in (".jpg", ".jpeg"):
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0, exif=exif)
    elif suffix == ".webp":
        image.save(buffer, "WEBP", lossless=True, exif=exif)
    elif suffix == ".bmp":
        image.save(buffer, "BMP")  # holds no text
    else:
        image.save(buffer, "TIFF", exif=exif)
    return buffer.getvalue()
