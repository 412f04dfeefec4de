"""Pictures opened by Pillow: within bounds where they are damaged, of any size, HEIC and AVIF."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Lock

from PIL import Image, features

from vidswap.errors import MissingLibraryError, NotAVideoError

# What Pillow raises for headers and metadata that are damaged, or made to burst or nest.
UNREADABLE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, SyntaxError,
    OverflowError, RuntimeError, RecursionError, EOFError, struct.error, zlib.error,
)  # fmt: skip

_BRANDS = {
    b"heic": "heic", b"heix": "heic", b"heim": "heic", b"heis": "heic", b"avif": "avif",
}  # fmt: skip
_ANY_CODING = b"mif1"  # brand of pictures whose other brands say how they are coded
HEAD = 64  # bytes of a file that say which coding it has
_LONGEST_SIDE = 2**20  # that OpenCV reads
_BORDER, _MOST_PIXELS = 128, 2**28  # of FFmpeg's frames: (width + 128) (height + 128) are fewer
_LIMIT = Lock()  # Pillow's limit of pixels is one for all threads


def coding_of(head: bytes) -> str | None:
    """ "heic" or "avif" by a file's first `HEAD` bytes, for its brands; ISO/IEC 23008-12."""
    if head[4:8] != b"ftyp":
        return None
    if head[8:12] != _ANY_CODING:
        return _BRANDS.get(head[8:12])
    end = min(len(head), int.from_bytes(head[:4], "big"))
    others = (_BRANDS.get(head[at : at + 4]) for at in range(16, end, 4))
    return next(filter(None, others), "heic")


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture opened by Pillow without its limit of pixels; memory is limited elsewhere.

    Nothing that Pillow says of damage gets to the terminal. Raises NotAVideoError where it cannot
    be opened, MissingLibraryError for a HEIC without pillow-heif and an AVIF without Pillow's own.
    """
    formats = _formats(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _LIMIT:
                limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                try:
                    image = Image.open(path, formats=formats)
                finally:
                    Image.MAX_IMAGE_PIXELS = limit
        except UNREADABLE as error:
            raise NotAVideoError(
                f"{path} is not a picture that can be read; it may be damaged"
            ) from error
        with image:
            yield image


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture by its header; 0 and 0 where Pillow cannot read it."""
    try:
        with opened(path) as image:
            return image.size
    except NotAVideoError:
        return 0, 0


def check_size(path: Path) -> None:
    """Raise NotAVideoError for a picture of more pixels than a Frame holds, before it is read."""
    width, height = picture_size(path)
    is_too_large = (width + _BORDER) * (height + _BORDER) >= _MOST_PIXELS
    if is_too_large or max(width, height) > _LONGEST_SIDE:
        raise NotAVideoError(
            f"{path} has {width}x{height} pixels, more than can be read (2^20 a side and 2^28 in "
            "all); make it smaller"
        )


def _formats(path: Path) -> tuple[str, ...] | None:
    """Pillow's name of the format that a file has for sure, None where Pillow is to find out."""
    with path.open("rb") as file:
        coding = coding_of(file.read(HEAD))
    if coding == "avif" and not features.check("avif"):
        raise MissingLibraryError(
            f"{path} is an AVIF picture, which this Pillow does not read; install Pillow 11.3 or "
            "later, or save the picture as JPEG or PNG"
        )
    if coding == "heic":
        try:
            pillow_heif = import_module("pillow_heif")
        except ImportError as error:
            raise MissingLibraryError(
                f"{path} is a HEIC picture, which pillow-heif reads; install it (pip install "
                "'vidswap[heic]'), or save the picture as JPEG or PNG"
            ) from error
        pillow_heif.register_heif_opener()
    return {"avif": ("AVIF",), "heic": ("HEIF",)}.get(coding or "")
