"""The bytes of a picture file: what goes along with its pixels, and how each format holds it."""

import io
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, PngImagePlugin, TiffImagePlugin

from vidswap.media.picture_open import UNREADABLE
from vidswap.media.picture_text import EXIF_DESCRIPTION

EXIF_ORIENTATION = 0x0112
_EXIF_IFD, _MAKER_NOTE = 0x8769, 0x927C
_TIFF_OWN = (
    *range(0x00FE, 0x010E),
    *range(0x0111, 0x011A),
    0x011A,
    0x011B,
    0x011C,
    0x0128,
    0x013D,
    0x0142,
    0x0143,
    0x0144,
    0x0145,
    0x0152,
    0x0153,
    0x8773,
    0x02BC,
)  # how a TIFF's pixels lie, and its extras
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))\d')
_PNG_XMP = "XML:com.adobe.xmp"
_PNG_HEAD = 8
_JPEG_QUALITY = 95
_JPEG_SEGMENT = 60_000  # bytes of EXIF or XMP in a JPEG; the marks go along in it
_MOST_DPI = 65_535  # that JPEG holds

_Samples = npt.NDArray[Any]


@dataclass(frozen=True)
class Extras:
    """What a picture file has besides its pixels; `dpi` across and down."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None

    @classmethod
    def of(cls, image: Image.Image) -> "Extras":
        """Those of an opened picture, for its pixels turned upright."""
        info = image.info
        xmp = info.get("xmp") or info.get(_PNG_XMP) or info.get("XML:com.adobe.xmp")
        if isinstance(xmp, str):
            xmp = xmp.encode()
        dpi = tuple(map(float, info.get("dpi") or ()))
        return cls(
            icc=info.get("icc_profile") or None,
            exif=_kept_exif(image),
            xmp=_XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if isinstance(xmp, bytes) else None,
            dpi=dpi if len(dpi) == 2 and all(1 <= one <= _MOST_DPI for one in dpi) else None,
        )

    def fitting(self, suffix: str) -> "Extras":
        """Those that a format can hold."""
        if suffix == ".bmp":
            return Extras(dpi=self.dpi)
        if suffix not in (".jpg", ".jpeg"):
            return self
        exif, xmp = (None if len(v or b"") > _JPEG_SEGMENT else v for v in (self.exif, self.xmp))
        return replace(self, exif=exif, xmp=xmp)

    def lost(self, suffix: str, *, deep: bool) -> list[str]:
        """What a format cannot hold of them, a line each; `deep`: with 16 bits a sample."""
        kept = self.fitting(suffix)
        if deep and suffix in (".tif", ".tiff"):
            kept = replace(kept, exif=None)
        names = {"icc": "ICC profile", "exif": "EXIF", "xmp": "XMP"}
        return [
            f"{word} (does not fit into such {suffix} files)"
            for name, word in names.items()
            if getattr(self, name) and not getattr(kept, name)
        ]


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened picture, 1 to 8."""
    exif = _exif(image)
    return 1 if exif is None else int(exif.get(EXIF_ORIENTATION, 1))


def _exif(image: Image.Image) -> Image.Exif | None:
    """EXIF; Pillow decodes a whole PNG to look for one behind its pixels, which is left out."""
    known = "exif" in image.info or "Raw profile type exif" in image.info
    return image.getexif() if known or image.format != "PNG" else None


def _kept_exif(image: Image.Image) -> bytes | None:
    """EXIF without what the pixels no longer have; a preview would show the original face."""
    try:
        exif = _exif(image)
        if exif is None:
            return None
        exif.get_ifd(_EXIF_IFD).pop(_MAKER_NOTE, None)
        for tag in _TIFF_OWN if image.format == "TIFF" else ():
            exif.pop(tag, None)
        if not exif:
            return None
        exif[EXIF_ORIENTATION] = 1
        return exif.tobytes()
    except UNREADABLE:
        return None


def encoded(suffix: str, samples: _Samples, metadata: dict[str, str], extras: Extras) -> bytes:
    """A picture file's bytes.

    samples: (H, W, C) of 1 grey, 3 R'G'B' or 4 channels with alpha, uint8, or uint16 for .png and
    .tif. Formats without alpha are given none.
    """
    if samples.dtype == np.uint16:
        return _deep(suffix, samples, metadata, extras)
    image = Image.fromarray(
        np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    )
    return _saved(suffix, image, metadata, extras)


def _saved(suffix: str, image: Image.Image, metadata: dict[str, str], extras: Extras) -> bytes:
    buffer = io.BytesIO()
    saved(buffer, suffix, image, metadata, extras, {})
    return buffer.getvalue()


def saved(
    file: io.BytesIO,
    suffix: str,
    image: Image.Image,
    metadata: dict[str, str],
    extras: Extras,
    options: Mapping[str, Any],
) -> None:
    """Save an image with all that goes along; `options` are Pillow's own, as further frames."""
    along: dict[str, Any] = dict(options)
    if extras.icc:
        along["icc_profile"] = extras.icc
    if extras.dpi and suffix != ".webp":
        along["dpi"] = extras.dpi
    if suffix == ".bmp":
        image.save(file, "BMP", **along)  # holds no text
        return
    if suffix == ".png":
        if extras.exif:
            along["exif"] = extras.exif
        image.save(file, "PNG", pnginfo=_text(metadata, extras), **along)
        return
    along["exif"] = _with_metadata(extras, metadata)
    if suffix in (".tif", ".tiff"):
        if extras.xmp:
            along["exif"][TiffImagePlugin.XMP] = extras.xmp
        image.save(file, "TIFF", **along)
        return
    if extras.xmp:
        along["xmp"] = extras.xmp
    if suffix == ".webp":
        image.save(file, "WEBP", lossless=True, exact=image.mode == "RGBA", **along)
    else:
        image.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0, **along)


def _text(metadata: dict[str, str], extras: Extras) -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        text.add_itxt(key, value) if not value.isascii() else text.add_text(key, value)
    if extras.xmp:
        text.add_itxt(_PNG_XMP, extras.xmp.decode("utf-8", "replace"))
    return text


def _with_metadata(extras: Extras, metadata: dict[str, str]) -> Image.Exif:
    exif = Image.Exif()
    if extras.exif:
        exif.load(extras.exif)
    if metadata:
        exif[EXIF_DESCRIPTION] = json.dumps(metadata)
    return exif


def _deep(suffix: str, samples: _Samples, metadata: dict[str, str], extras: Extras) -> bytes:
    """16 bits a sample, which Pillow does not write: OpenCV's file with what Pillow adds to one."""
    if suffix != ".png":
        return _deep_tiff(samples, metadata, extras)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[samples.shape[2]]
    ok, coded = cv2.imencode(suffix, np.ascontiguousarray(samples[..., order]))
    assert ok, f"{suffix} holds no 16 bits a sample"
    content = coded.tobytes()
    small = Image.new("L" if samples.shape[2] == 1 else "RGB", (1, 1))
    along = _saved(suffix, small, metadata, extras)
    return _png_with(content, along)


def _deep_tiff(samples: _Samples, metadata: dict[str, str], extras: Extras) -> bytes:
    """A TIFF of 16 bits a sample; EXIF, a directory of its own, is not written."""
    tags = [(TiffImagePlugin.XMP, 1, len(extras.xmp), extras.xmp, True)] if extras.xmp else []
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        samples[..., 0] if samples.shape[2] == 1 else samples,
        photometric="minisblack" if samples.shape[2] == 1 else "rgb",
        extrasamples=["unassalpha"] if samples.shape[2] == 4 else None,
        compression="zlib",
        compressionargs={"level": 3},
        description=json.dumps(metadata) if metadata else None,
        metadata=None,
        software=False,
        iccprofile=extras.icc,
        resolution=extras.dpi,
        resolutionunit="INCH" if extras.dpi else None,
        extratags=tags,
    )
    return buffer.getvalue()


def _png_with(content: bytes, along: bytes) -> bytes:
    """A PNG with the chunks of another that are not its pixels'. ISO/IEC 15948, 5.3."""
    chunks = [chunk for chunk in png_chunks(content) if chunk[0] in (b"IHDR", b"IDAT", b"IEND")]
    added = [chunk for chunk in png_chunks(along) if chunk[0] not in (b"IHDR", b"IDAT", b"IEND")]
    parts = [chunks[0], *added, *chunks[1:]]
    return content[:_PNG_HEAD] + b"".join(written_chunk(kind, body) for kind, body in parts)


def written_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG, kind and content."""
    place = _PNG_HEAD
    while place + 8 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        yield content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
        place += 12 + size
