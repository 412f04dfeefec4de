"""Streaming encode: the frames of a clip back into a clip, with its times and its sound."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from vidswap.errors import CodecError
from vidswap.media.codecs import (
    KEEPS_FIELDS,
    STATES_PIXEL_SHAPE,
    VideoCodec,
    codec_for,
    container_for,
    encoder_format,
    encoder_options,
    joined_options,
    lost_by_format,
)
from vidswap.media.colour import encoded_tags
from vidswap.media.container import reason
from vidswap.media.decoder import VideoReader, thread_count
from vidswap.media.frame import Frame
from vidswap.media.output import check_output, temporary_path, writing_errors
from vidswap.media.planes import chroma_span, converted, copy_of
from vidswap.media.streams import StreamCopier

DEFAULT_CRF = 18  # hardly told from the original in h264
_MOVIE_TICKS = 100_000  # a second, at least
_LONGEST_DELAY = 600  # seconds between the coded and the shown time of a frame
_BOTTOM_FIRST = (3, 4)  # AVFieldOrder: the bottom field is shown first
_NOT_COPIED = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")


class VideoWriter:
    """Writes frames, in order of time, as a clip like the one they came from.

    Size, pixel format, frame times, time base, start offset, colour tags, HDR metadata, chroma
    location, field order, rotation and sample aspect ratio are the template's as far as codec and
    container can hold them; its other streams are copied packet by packet. With a template that
    has a `start` the output begins at time 0; with a `start` or `end` it holds the sound of that
    range. `dropped` lists what is left out.

    path: the suffix chooses the container.
    template: the reader the frames come from, or a clip's path.
    codec: one of `codecs.CODECS`, None for the container's usual one.
    crf: quality, 0 is best; ignored by ffv1 (lossless) and prores.
    preset: the encoder's own speed setting, None for a quick one.
    metadata: added to the container's, which are copied from the template.

    The file appears under its name only when `close` (or leaving the `with` block without an
    exception) has completed it; `abort` or an exception removes what was written.

    Raises CodecError, BadOptionError, OutputExistsError, OutputNotWritableError, DiskFullError.
    """

    def __init__(
        self,
        path: Path,
        template: VideoReader | Path,
        *,
        codec: str | None = None,
        crf: int = DEFAULT_CRF,
        preset: str | None = None,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = False,
    ) -> None:
        chosen = codec_for(path, codec)
        options = encoder_options(chosen, crf, preset)
        check_output(path, overwrite)
        self.path = path
        self._template = _opened(template)
        self._muxer = container_for(path).muxer
        self._time_base = self._template.time_base
        # Whole ticks, so that no two frames are rounded to the same one.
        self._shift = round((self._template.beginning or Fraction(0)) / self._time_base)
        self._durations: dict[int, int] = {}  # of the frames that are in the encoder, by pts
        self._last_pts: int | None = None
        self._closed = False
        self._copier: StreamCopier | None = None
        self._lost: list[str] = []
        self._part = temporary_path(path)
        self._part.unlink(missing_ok=True)
        self._output = self._open_output()
        try:
            with self._encoding_errors():
                self._stream = self._add_video(chosen, options)
                self._copier = self._add_copies()
                self._output.metadata.update(metadata or {})
                self._stream.codec_context.open()
                self._begin_file()
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @property
    def dropped(self) -> list[str]:
        """What the source has and the output does not, a line each."""
        return self._lost + (self._copier.dropped if self._copier else [])

    def write(self, frame: Frame) -> None:
        """Encode the next frame. Raises CodecError where times do not increase or sizes differ."""
        pts = round(frame.pts * frame.time_base / self._time_base) - self._shift
        if self._last_pts is not None and pts <= self._last_pts:
            raise CodecError(
                f"the frame at {frame.seconds:.3f} s comes after a later one; frames go in order"
            )
        self._last_pts = pts
        coded = self._to_encode(frame)
        coded.pts = pts
        coded.time_base = self._time_base
        coded.duration = round(frame.duration * frame.time_base / self._time_base)
        coded.pict_type = PictureType.NONE  # the decoded one would force the encoder's choice
        self._durations[pts] = coded.duration
        with self._encoding_errors():
            for packet in self._stream.encode(coded):
                self._mux(packet)

    def close(self) -> None:
        """Finish the file and give it its name; does nothing after `close` or `abort`."""
        if self._closed:
            return
        try:
            with self._encoding_errors():
                for packet in self._stream.encode(None):
                    self._mux(packet)
                if self._copier is not None:
                    self._copier.copy_until(None)
                self._output.close()
                self._part.replace(self.path)
        except BaseException:
            self.abort()
            raise
        self._release()

    def abort(self) -> None:
        """Give up: nothing is left of the file; does nothing after `close` or `abort`."""
        if self._closed:
            return
        with suppress(av.FFmpegError, OSError):
            self._output.close()
        self._release()
        self._part.unlink(missing_ok=True)

    def _release(self) -> None:
        self._closed = True
        if self._copier is not None:
            self._copier.close()

    def _open_output(self) -> OutputContainer:
        # The muxer would move all times so that none is negative; players expect the priming of a
        # sound codec before time 0.
        options = {"avoid_negative_ts": "disabled"}
        if self._muxer in ("mp4", "mov"):
            options["movflags"] = "use_metadata_tags"  # keeps keys that QuickTime does not name
            ticks = self._time_base.denominator
            options["video_track_timescale"] = str(ticks)
            # Start offsets are kept in these; milliseconds, the default, would round them.
            options["movie_timescale"] = str(ticks * -(-_MOVIE_TICKS // ticks))
        return av.open(f"file:{self._part}", "w", format=self._muxer, container_options=options)

    def _add_video(self, codec: VideoCodec, options: dict[str, str]) -> VideoStream:
        template = self._template
        size = (template.coded_width, template.coded_height)
        if codec.encoder == "libsvtav1":
            os.environ.setdefault("SVT_LOG", "1")  # errors only; it writes to stderr by itself
        pixel_format = encoder_format(codec, template.pixel_format, *size)
        options = joined_options(options, self._signal_options(codec, pixel_format))
        stream = self._output.add_stream(
            codec.encoder,
            rate=Fraction(template.average_rate),
            options=options,
            width=size[0],
            height=size[1],
            time_base=self._time_base,
        )
        assert isinstance(stream, VideoStream)
        stream.pix_fmt = pixel_format
        stream.thread_count = thread_count()
        if template.sample_aspect_ratio:
            stream.codec_context.sample_aspect_ratio = template.sample_aspect_ratio
        if template.interlaced:
            stream.codec_context.flags |= Flags.interlaced_dct
            stream.codec_context.field_order = template.field_order
        if codec.encoder == "libx265" and self._muxer in ("mp4", "mov"):
            stream.codec_context.codec_tag = "hvc1"  # Apple's players refuse the other, hev1
        tags = encoded_tags(template.colour, template.pixel_format, pixel_format, template.height)
        tags.tag(stream.codec_context)
        if not template.orientation.is_identity:
            stream.set_display_matrix(template.orientation.display_matrix())
        return stream

    def _signal_options(self, codec: VideoCodec, pixel_format: str) -> dict[str, str]:
        """What the encoder is to say of light and chroma; what it cannot goes to `_lost`."""
        template = self._template
        if template.interlaced and codec.encoder not in KEEPS_FIELDS:
            raise CodecError(
                f"{template.path} is interlaced, which {codec.encoder} cannot keep; "
                "use h264, prores or ffv1, or deinterlace it first"
            )
        options: dict[str, str] = {}
        self._lost += [*template.hdr.not_kept, *lost_by_format(template.pixel_format, pixel_format)]
        shape = template.sample_aspect_ratio
        in_matroska = self._muxer in ("matroska", "webm")
        if shape and shape != 1 and in_matroska and codec.encoder not in STATES_PIXEL_SHAPE:
            self._lost.append(
                f"pixel shape {shape.numerator}:{shape.denominator} "
                f"({codec.encoder} in {self.path.suffix} has none; use h264 or hevc)"
            )
        if not template.hdr.is_empty:
            light = template.hdr.encoder_options(codec.encoder)
            options |= light or {}
            if light is None:
                self._lost.append(f"mastering display and light level ({codec.encoder} has none)")
        if template.field_order in _BOTTOM_FIRST and codec.encoder == "libx264":
            options = joined_options(options, {"x264-params": "bff=1"})
        span = chroma_span(pixel_format)
        if template.chroma_location and span == chroma_span(template.pixel_format) != (1, 1):
            options["chroma_sample_location"] = template.chroma_location
        return options

    def _begin_file(self) -> None:
        """Write the header, which is where a muxer says that it cannot hold a stream after all."""
        try:
            self._output.start_encoding()
        except OSError:
            raise
        except av.FFmpegError as error:
            streams = ", ".join(
                f"{s.type} {s.codec_context.codec.canonical_name}" for s in self._output.streams
            )
            raise CodecError(
                f"{self.path.suffix} files cannot hold this mix of {streams} "
                f"({reason(error)}); write to .mkv"
            ) from error

    def _add_copies(self) -> StreamCopier:
        template = self._template
        copier = StreamCopier(template.path, self._output, template.beginning, template.stop)
        for key, value in copier.metadata.items():
            if key.lower() not in _NOT_COPIED:
                self._output.metadata[key] = value
        self._stream.metadata.update(copier.picture_tags)
        self._stream.disposition = copier.picture_disposition
        self._output.set_chapters(copier.chapters)
        return copier

    def _to_encode(self, frame: Frame) -> av.VideoFrame:
        """The frame's planes in the encoder's pixel format."""
        coded = frame.coded()
        context = self._stream.codec_context
        if (coded.width, coded.height) != (context.width, context.height):
            raise CodecError(
                f"the frame at {frame.seconds:.3f} s is {coded.width}x{coded.height} in a clip of "
                f"{context.width}x{context.height}; cut the clip where its size changes"
            )
        wanted = context.pix_fmt or ""
        if coded.format.name == wanted:
            return coded
        if coded.format.name.replace("yuvj", "yuv") == wanted:
            return copy_of(coded, pixel_format=wanted, width=context.width, height=context.height)
        return converted(coded, wanted, frame.height)

    def _mux(self, packet: "Packet[VideoStream]") -> None:
        if packet.pts is not None and (duration := self._durations.pop(packet.pts, 0)):
            packet.duration = duration
        if packet.dts is not None and packet.pts is not None:
            # x265 gives nonsense for clips shorter than its reordering delay, too large or small.
            delay = (packet.pts - packet.dts) * packet.time_base
            if not 0 <= delay < _LONGEST_DELAY:
                packet.dts = packet.pts
        time = packet.dts if packet.dts is not None else packet.pts
        if self._copier is not None and time is not None:
            self._copier.copy_until(time * packet.time_base)
        self._output.mux_one(packet)

    @contextmanager
    def _encoding_errors(self) -> Iterator[None]:
        with writing_errors(self.path):
            try:
                yield
            except OSError:
                raise
            except av.FFmpegError as error:
                raise CodecError(
                    f"{self.path} cannot be encoded ({reason(error)}); try another codec or preset"
                ) from error


def _opened(template: VideoReader | Path) -> VideoReader:
    if isinstance(template, VideoReader):
        return template
    with VideoReader(template) as reader:
        return reader
