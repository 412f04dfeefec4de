"""Animated WebP, PNG and GIF, written one frame at a time: memory holds two frames, not the clip.

Of a frame that follows another only the box that differs is written, over what is there.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Protocol, cast

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.video.stream import VideoStream
from PIL import Image

from vidswap.errors import BadOptionError, CodecError
from vidswap.media.codecs import has_alpha
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.output import check_output, locked_part, temporary_path, writing_errors
from vidswap.media.picture_file import Extras, png_chunks, saved, written_chunk
from vidswap.media.sequence_reader import SequenceReader
from vidswap.media.still import box_of
from vidswap.media.streams import kinds_of

ANIMATED_SUFFIXES = (".webp", ".png", ".gif")
FOREVER = 0  # loops
_WEBP_SIDE, _SIDE = 16_383, 65_535  # pixels, at most
_WEBP_LASTS, _PNG_LASTS = 2**24 - 1, 65_535  # ticks, at most
_GIF_TICK = 10  # milliseconds
_GIF_SHORTEST = 2 * _GIF_TICK  # of a frame; players show shorter ones for 100 ms
_LOSSY = 90  # quality of a clip's frames as WebP
_USUAL = 100.0  # milliseconds of a last frame that states none
_GIF_END = b";"
_PIXEL_CHUNKS = (b"VP8 ", b"VP8L", b"ALPH")

Pixels = npt.NDArray[np.uint8]


class _Format(Protocol):
    """Writes one file; frames are (H, W, 3 or 4) uint8, all alike, times in milliseconds."""

    def add(self, pixels: Pixels, begins: float, ends: float) -> None: ...

    def finish(self) -> None: ...


class AnimationWriter:
    """Writes frames (H, W, 3) or, with alpha, (H, W, 4) uint8 sRGB, all of one size and kind.

    loops: how often it is shown, FOREVER without end. extras and metadata go along as in a still;
    a GIF holds the metadata alone. quality: of WebP, 0 to 100, None for lossless.

    The file appears under its name only when `close` has completed it; `abort` removes what was
    written. `lost` says what the format does not hold, a line each.

    Raises CodecError, OutputExistsError, OutputNotWritableError, DiskFullError.
    """

    def __init__(
        self,
        path: Path,
        *,
        loops: int = FOREVER,
        extras: Extras | None = None,
        metadata: Mapping[str, str] | None = None,
        quality: int | None = None,
        overwrite: bool = False,
    ) -> None:
        check_output(path, overwrite)
        self.path, self._suffix = path, path.suffix.lower()
        self._along = (loops, extras or Extras(), dict(metadata or {}), quality)
        self._part = temporary_path(path)
        self._part.unlink(missing_ok=True)
        self._file: IO[bytes] | None = None
        self._format: _Format | None = None
        self._closed = False
        self._lock: IO[bytes] | None = None
        self._shape: tuple[int, ...] = ()
        self._left_out = 0

    @property
    def lost(self) -> list[str]:
        lost = []
        if self._suffix == ".gif":
            lost.append("more than 256 colours a frame (.gif files have no more)")
        if self._left_out:
            lost.append(f"{self._left_out} frame(s) (.gif files show at most 50 a second)")
        return lost

    def write(self, pixels: Pixels, begins: float, ends: float) -> None:
        """Add the next frame, shown between two times in milliseconds from the first frame's."""
        with writing_errors(self.path):
            if self._format is None:
                self._format, self._shape = self._begun(pixels), pixels.shape
                self._lock = locked_part(self._part)
            if pixels.shape != self._shape:
                raise CodecError(
                    f"frames of {self.path} differ in size; cut the clip where it does"
                )
            self._format.add(pixels, begins, ends)

    def close(self) -> None:
        """Finish the file and give it its name; does nothing after `close` or `abort`."""
        if self._closed:
            return
        try:
            with writing_errors(self.path):
                if self._format is not None:
                    self._format.finish()
                    self._left_out = getattr(self._format, "left_out", 0)
                if self._file is not None:
                    self._file.close()
                self._part.replace(self.path)
            self._closed = True
        finally:
            self.abort()

    def abort(self) -> None:
        """Give up: nothing is left of the file; does nothing after `close` or `abort`."""
        if self._lock is not None:
            self._lock.close()
        if self._closed:
            return
        self._closed = True
        with suppress(OSError):
            if isinstance(self._format, _Gif):
                self._format.release()
            if self._file is not None:
                self._file.close()
        self._part.unlink(missing_ok=True)

    def _begun(self, pixels: Pixels) -> _Format:
        most = _WEBP_SIDE if self._suffix == ".webp" else _SIDE
        height, width = pixels.shape[:2]
        if max(height, width) > most:
            raise CodecError(
                f"{self._suffix} files hold at most {most} pixels a side, and {self.path} would "
                f"have {width}x{height}; name another format"
            )
        loops, extras, metadata, quality = self._along
        if self._suffix == ".gif":
            return _Gif(self._part, loops, metadata)
        self._file = self._part.open("wb")
        if self._suffix == ".webp":
            return _Webp(self._file, loops, extras, metadata, quality)
        return _Png(self._file, loops, extras, metadata)


class AnimatedClip:
    """In place of `VideoWriter` where the output is an animated picture: takes a clip's frames.

    Frames are the views of the clip, in sRGB of 8 bits, with the transparency that it has.
    """

    joinable = False  # nothing of it can be kept and joined

    def __init__(
        self,
        path: Path,
        template: VideoReader | SequenceReader,
        *,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = False,
    ) -> None:
        self._template = template
        self._has_alpha = has_alpha(template.pixel_format)
        self._writer = AnimationWriter(
            path, metadata=metadata, overwrite=overwrite, quality=_LOSSY,
            loops=loops_of(template.path),
        )  # fmt: skip
        self._dropped = kinds_of(template.path) if isinstance(template, VideoReader) else []
        self._waiting: Frame | None = None
        self._first: float | None = None

    @property
    def path(self) -> Path:
        return self._writer.path

    @path.setter
    def path(self, path: Path) -> None:
        self._writer.path = path

    @property
    def dropped(self) -> list[str]:
        """What the clip has and the output does not, a line each."""
        lines = self._dropped + self._writer.lost
        bits = av.VideoFormat(self._template.pixel_format).components[0].bits
        return lines + ([f"{bits} bits a sample (animated pictures have 8)"] if bits > 8 else [])

    def write(self, frame: Frame) -> None:
        """Add the next frame, which is shown until the one after it."""
        if self._waiting is not None:
            self._put(self._waiting, _milliseconds(frame))
        self._waiting = frame

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self._waiting is not None:
            last = self._waiting
            lasts = float(last.duration * last.time_base) * 1000 or _USUAL
            self._put(last, _milliseconds(last) + lasts)
        self._waiting = None
        self._writer.close()

    def abort(self) -> None:
        """Give up: nothing is left of the file."""
        self._writer.abort()

    def _put(self, frame: Frame, ends: float) -> None:
        begins = _milliseconds(frame)
        self._first = begins if self._first is None else self._first
        pixels = frame.rgb
        if self._has_alpha:
            rgba = cast("Pixels", frame.coded().to_ndarray(format="rgba"))
            pixels = np.dstack([pixels, frame.orientation.upright(rgba[..., 3])])
        self._writer.write(pixels, begins - self._first, ends - self._first)


def check_animated_options(output: Path, options: Any) -> None:
    """Refuse what animated pictures have not. Raises BadOptionError."""
    given = {
        "--codec": options.codec, "--preset": options.preset,
        "--match-bitrate": options.match_bitrate, "--audio-codec": not options.sound.is_copied,
        "--face-clip": options.face_clip,
    }  # fmt: skip
    for flag, value in given.items():
        if value:
            raise BadOptionError(
                f"{flag} is for clips and {output} would be an animated picture; leave it out"
            )


def loops_of(path: Path) -> int:
    """How often an animated picture is shown, FOREVER for any other file."""
    if path.suffix.lower() != ".gif":
        return FOREVER
    with suppress(OSError, ValueError), Image.open(path) as image:
        return int(image.info.get("loop", 1))
    return FOREVER


def _milliseconds(frame: Frame) -> float:
    return float(frame.pts * frame.time_base * 1000)


class _Changes:
    """What of each frame differs from the one before."""

    def __init__(self) -> None:
        self._shown: Pixels | None = None

    def box(self, pixels: Pixels) -> tuple[int, int, int, int]:
        """(left, top, right, bottom); the whole of the first frame, a pixel where none differs."""
        shown, self._shown = self._shown, pixels.copy()
        if shown is None:
            return 0, 0, pixels.shape[1], pixels.shape[0]
        return box_of(np.any(shown != pixels, axis=2)) or (0, 0, 1, 1)


class _Png:
    """APNG (W3C PNG, third edition, 11.3.6): each frame's own PNG gives its coded pixels."""

    def __init__(
        self, file: IO[bytes], loops: int, extras: Extras, metadata: dict[str, str]
    ) -> None:
        self._file, self._loops, self._along = file, loops, (metadata, extras)
        self._changes = _Changes()
        self._frames = self._number = 0
        self._control = 0  # where acTL stands
        self._tail: list[tuple[bytes, bytes]] = []

    def add(self, pixels: Pixels, begins: float, ends: float) -> None:
        box = self._changes.box(pixels)
        chunks = list(png_chunks(self._coded(pixels, box)))
        if not self._frames:
            self._begin(chunks)
        left, top, right, bottom = box
        lasts, per = max(1, round(ends) - round(begins)), 1000
        if lasts > _PNG_LASTS:
            lasts, per = min(_PNG_LASTS, round((ends - begins) / 1000)), 1
        head = (right - left, bottom - top, left, top, lasts, per, 0, 0)  # stays, and replaces
        self._put(b"fcTL", struct.pack(">IIIIIHHBB", self._next(), *head))
        for kind, body in chunks:
            if kind == b"IDAT" and not self._frames:
                self._put(kind, body)
            elif kind == b"IDAT":
                self._put(b"fdAT", struct.pack(">I", self._next()) + body)
        self._frames += 1

    def finish(self) -> None:
        for kind, body in self._tail:
            self._put(kind, body)
        self._put(b"IEND", b"")
        self._file.seek(self._control)
        self._put(b"acTL", struct.pack(">II", self._frames, self._loops))

    def _coded(self, pixels: Pixels, box: tuple[int, int, int, int]) -> bytes:
        left, top, right, bottom = box
        image = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
        buffer = io.BytesIO()
        metadata, extras = ({}, Extras()) if self._frames else self._along
        saved(buffer, ".png", image, metadata, extras, {})
        return buffer.getvalue()

    def _begin(self, chunks: list[tuple[bytes, bytes]]) -> None:
        first = next(n for n, (kind, _) in enumerate(chunks) if kind == b"IDAT")
        self._tail = [c for c in chunks[first:] if c[0] not in (b"IDAT", b"IEND")]
        self._file.write(b"\x89PNG\r\n\x1a\n")
        self._put(*chunks[0])
        self._control = self._file.tell()
        self._put(b"acTL", bytes(8))
        for kind, body in chunks[1:first]:
            self._put(kind, body)

    def _next(self) -> int:
        self._number += 1
        return self._number - 1

    def _put(self, kind: bytes, body: bytes) -> None:
        self._file.write(written_chunk(kind, body))


class _Webp:
    """Animated WebP (RFC 9649, 2.7.1): each frame's own WebP gives its coded pixels."""

    def __init__(
        self, file: IO[bytes], loops: int, extras: Extras, metadata: dict[str, str],
        quality: int | None,
    ) -> None:  # fmt: skip
        self._file, self._loops, self._along = file, loops, (metadata, extras)
        self._changes, self._quality = _Changes(), quality
        self._tail: list[tuple[bytes, bytes]] = []
        self._begun = False

    def add(self, pixels: Pixels, begins: float, ends: float) -> None:
        if not self._begun:
            self._begin(pixels)
        left, top, right, bottom = self._changes.box(pixels)
        left, top = left - left % 2, top - top % 2  # it counts corners in twos
        lasts = min(_WEBP_LASTS, max(1, round(ends) - round(begins)))
        head = b"".join(
            number.to_bytes(3, "little")
            for number in (left // 2, top // 2, right - left - 1, bottom - top - 1, lasts)
        )
        body = head + b"\x02"  # replaces what is there, and stays
        for kind, content in _riff(self._coded(pixels[top:bottom, left:right])):
            if kind in _PIXEL_CHUNKS:
                body += _riff_chunk(kind, content)
        self._file.write(_riff_chunk(b"ANMF", body))

    def finish(self) -> None:
        for kind, body in self._tail:
            self._file.write(_riff_chunk(kind, body))
        size = self._file.tell() - 8
        if size >= 2**32:
            raise CodecError("the animation is larger than 4 GiB, which .webp files cannot be")
        self._file.seek(4)
        self._file.write(struct.pack("<I", size))

    def _begin(self, pixels: Pixels) -> None:
        small = Image.new("RGBA" if pixels.shape[2] == 4 else "RGB", (1, 1))
        buffer = io.BytesIO()
        metadata, extras = self._along
        saved(buffer, ".webp", small, metadata, extras, {})
        along = dict(_riff(buffer.getvalue()))
        self._tail = [(kind, along[kind]) for kind in (b"EXIF", b"XMP ") if kind in along]
        flags = 0x02 | (0x10 if pixels.shape[2] == 4 else 0)
        flags |= 0x20 if b"ICCP" in along else 0
        flags |= (0x08 if b"EXIF" in along else 0) | (0x04 if b"XMP " in along else 0)
        height, width = pixels.shape[:2]
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        self._file.write(b"RIFF\0\0\0\0WEBP")
        self._file.write(_riff_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + sides))
        if b"ICCP" in along:
            self._file.write(_riff_chunk(b"ICCP", along[b"ICCP"]))
        self._file.write(_riff_chunk(b"ANIM", bytes(4) + struct.pack("<H", self._loops)))
        self._begun = True

    def _coded(self, pixels: Pixels) -> bytes:
        buffer, image = io.BytesIO(), Image.fromarray(np.ascontiguousarray(pixels))
        if self._quality is None:
            image.save(buffer, "WEBP", lossless=True, exact=True)
        else:
            image.save(buffer, "WEBP", quality=self._quality, alpha_quality=100)
        return buffer.getvalue()


class _Gif:
    """GIF by ffmpeg, each frame with the 256 colours that suit it best."""

    def __init__(self, path: Path, loops: int, metadata: dict[str, str]) -> None:
        self._path, self._metadata = path, metadata
        options = {"loop": str(-1 if loops == 1 else loops)}  # -1 states none: it is shown once
        self._container = av.open(f"file:{path}", "w", format="gif", container_options=options)
        self._stream: VideoStream | None = None
        self._graph: Graph | None = None
        self._end = 0  # of the frame written last, in ticks
        self.left_out = 0

    def add(self, pixels: Pixels, begins: float, ends: float) -> None:
        if ends - self._end * _GIF_TICK < _GIF_SHORTEST - _GIF_TICK / 2:
            self.left_out += 1
            return
        height, width = pixels.shape[:2]
        kind = "rgba" if pixels.shape[2] == 4 else "rgb24"
        if self._stream is None or self._graph is None:
            self._stream = self._container.add_stream("gif", rate=100, width=width, height=height)
            self._stream.pix_fmt, self._stream.time_base = "pal8", Fraction(1, 100)
            self._graph = _palette_graph(width, height, kind)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=kind)
        frame.pts, frame.time_base = self._end, Fraction(1, 100)
        lasts = max(2, round(ends / _GIF_TICK) - self._end)
        self._graph.push(frame)
        self._take(lasts)
        self._end += lasts

    def finish(self) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if self._metadata:
            _add_comment(self._path, json.dumps(self._metadata))

    def release(self) -> None:
        """Close the file without completing it."""
        with suppress(av.FFmpegError, OSError):
            self._container.close()

    def _take(self, lasts: int) -> None:
        assert self._graph is not None and self._stream is not None
        coloured = cast("av.VideoFrame", self._graph.pull())
        coloured.duration = lasts
        for packet in self._stream.encode(coloured):
            packet.duration = lasts
            self._container.mux(packet)


def _palette_graph(width: int, height: int, kind: str) -> Graph:
    graph = Graph()
    source = graph.add(
        "buffer", width=str(width), height=str(height), pix_fmt=kind, time_base="1/100"
    )
    split, palette = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    use, sink = graph.add("paletteuse", "new=1:dither=sierra2_4a"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph


def _add_comment(path: Path, text: str) -> None:
    """Add a comment extension (GIF89a, 24) at the end of a complete GIF."""
    content = text.encode()
    blocks = [content[at : at + 255] for at in range(0, len(content), 255)]
    comment = b"!\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    with path.open("r+b") as file:
        file.seek(-1, io.SEEK_END)
        assert file.read(1) == _GIF_END
        file.seek(-1, io.SEEK_END)
        file.write(comment + _GIF_END)


def _riff(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 12
    while place + 8 <= len(content):
        (size,) = struct.unpack_from("<I", content, place + 4)
        yield content[place : place + 4], content[place + 8 : place + 8 + size]
        place += 8 + size + size % 2


def _riff_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
