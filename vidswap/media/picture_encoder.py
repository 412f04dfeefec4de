"""One encoder: frames of a clip in, coded packets with the clip's own times out."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from vidswap.errors import CodecError
from vidswap.media.codecs import (
    HEVC_ENCODERS,
    KEEPS_FIELDS,
    STATES_PIXEL_SHAPE,
    VideoCodec,
    codec_for,
    container_for,
    encoder_format,
    encoder_options,
    hardware_device,
    has_alpha,
    joined_options,
    lost_by_format,
)
from vidswap.media.colour import ColourTags, encoded_tags, known_matrix, known_range
from vidswap.media.container import own_words, reason
from vidswap.media.decoder import VideoReader, thread_count
from vidswap.media.frame import Frame
from vidswap.media.output import writing_errors
from vidswap.media.planes import chroma_span, converted, copy_of
from vidswap.media.plate import Plate
from vidswap.media.sequence_reader import SequenceReader
from vidswap.runtime.process import kept_scheduling, quiet_native_logs

logger = logging.getLogger(__name__)

_LONGEST_DELAY = 600  # seconds between the coded and the shown time of a frame
_BOTTOM_FIRST = (3, 4)  # AVFieldOrder: the bottom field is shown first


@dataclass(frozen=True)
class Quality:
    """How to encode.

    codec: one of `codecs.CODECS` or `HARDWARE_CODECS`, None for the container's usual one. crf:
    quality, 0 is best, None for DEFAULT_CRF; ignored by ffv1 (lossless) and prores. preset: the
    encoder's own speed setting, None for a quick one. bitrate: mean bits a second instead of a
    quality.
    """

    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    bitrate: int | None = None

    def chosen(self, path: Path) -> tuple[VideoCodec, dict[str, str]]:
        """The codec for an output and its options. Raises CodecError, BadOptionError."""
        codec = codec_for(path, self.codec)
        return codec, encoder_options(codec, self.crf, self.preset, self.bitrate)


class PictureEncoder:
    """Encodes the frames of `template` for a file like `path`.

    The encoder's stream is added to `output`, or where that is None to a file that is never
    written, so that all encoders of one path, template and quality are set up alike and their
    packets can be joined. `lost` says what of the template the codec cannot hold, a line each.
    Close it when it is done: an encoder holds frames, at 1080p 150 MB of them.

    Raises CodecError, BadOptionError.
    """

    def __init__(
        self,
        path: Path,
        template: VideoReader | SequenceReader | Plate,
        quality: Quality,
        output: OutputContainer | None = None,
    ) -> None:
        self.path, self._template = path, template
        self._muxer = container_for(path).muxer
        codec, options = quality.chosen(path)
        self._owns_output = output is None
        self._output = output or av.open(io.BytesIO(), "w", format=self._muxer)
        self.lost: list[str] = []
        self.time_base = template.time_base
        # Whole ticks, so that no two frames are rounded to the same one.
        self._shift = round((template.beginning or Fraction(0)) / self.time_base)
        self._durations: dict[int, int] = {}  # of the frames that are in the encoder, by pts
        self._last_pts: int | None = None
        words: list[str] = []
        try:
            with encoding_errors(path), own_words() as words, kept_scheduling():
                self.stream = self._add_video(codec, options)
                # Of a hardware encoder that is open it is the name of the hardware.
                self._pixel_format = self.stream.codec_context.pix_fmt or ""
                self.stream.codec_context.open()
                logger.debug("encoder %s: %s, %s", codec.encoder, self._pixel_format, options)
        except CodecError as error:
            self.close()
            if words:
                raise CodecError(f"{error}; {codec.encoder} says: {'; '.join(words)}") from error
            raise

    @property
    def joinable(self) -> bool:
        """Whether its packets can be kept in files; VP9 gives transparency beside the packets."""
        codec = self.stream.codec_context.codec
        return codec.name != "libvpx-vp9" or not has_alpha(self._pixel_format)

    def encode(self, frame: Frame) -> Iterator[Packet[VideoStream]]:
        """Packets that are ready once the next frame is in.

        Raises CodecError where times do not increase or sizes differ.
        """
        pts = round(frame.pts * frame.time_base / self.time_base) - self._shift
        if self._last_pts is not None and pts <= self._last_pts:
            raise CodecError(
                f"the frame at {frame.seconds:.3f} s comes after a later one; frames go in order"
            )
        self._last_pts = pts
        coded = self._to_encode(frame)
        coded.pts = pts
        coded.time_base = self.time_base
        coded.duration = round(frame.duration * frame.time_base / self.time_base)
        coded.pict_type = PictureType.NONE  # the decoded one would force the encoder's choice
        self._durations[pts] = coded.duration
        return self._packets(coded)

    def flush(self) -> Iterator[Packet[VideoStream]]:
        """The packets that the encoder still holds; it takes no frame after."""
        return self._packets(None)

    def close(self) -> None:
        """Let go of the encoder, unless it is that of a given output, which does so when closed.

        Container and stream hold each other, and the garbage collector may not look for minutes.
        """
        if self._owns_output:
            self._output.close()

    def _packets(self, coded: av.VideoFrame | None) -> Iterator[Packet[VideoStream]]:
        with encoding_errors(self.path):
            packets = self.stream.encode(coded)
        for packet in packets:
            if packet.pts is not None and (duration := self._durations.pop(packet.pts, 0)):
                packet.duration = duration
            if packet.dts is not None and packet.pts is not None:
                # x265 gives nonsense for clips shorter than its reordering delay, too large or
                # small.
                delay = (packet.pts - packet.dts) * packet.time_base
                if not 0 <= delay < _LONGEST_DELAY:
                    packet.dts = packet.pts
            yield packet

    def _add_video(self, codec: VideoCodec, options: dict[str, str]) -> VideoStream:
        template = self._template
        size = (template.coded_width, template.coded_height)
        if codec.encoder == "libsvtav1":
            quiet_native_logs()
        pixel_format = encoder_format(codec, template.pixel_format, *size)
        options = joined_options(options, self._signal_options(codec, pixel_format))
        stream = self._output.add_stream(
            codec.encoder,
            rate=Fraction(template.average_rate),
            options=options,
            width=size[0],
            height=size[1],
            time_base=self.time_base,
            hwaccel=hardware_device(codec),
        )
        assert isinstance(stream, VideoStream)
        stream.pix_fmt = pixel_format
        stream.thread_count = thread_count()
        if template.sample_aspect_ratio:
            stream.codec_context.sample_aspect_ratio = template.sample_aspect_ratio
        if template.interlaced:
            stream.codec_context.flags |= Flags.interlaced_dct
            stream.codec_context.field_order = template.field_order
        if codec.encoder in HEVC_ENCODERS and self._muxer in ("mp4", "mov"):
            stream.codec_context.codec_tag = "hvc1"  # Apple's players refuse the other, hev1
        tags = encoded_tags(template.colour, template.pixel_format, pixel_format, template.height)
        tags.tag(stream.codec_context)
        self._tags = tags
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
        self.lost += [*template.hdr.not_kept, *lost_by_format(template.pixel_format, pixel_format)]
        shape = template.sample_aspect_ratio
        in_matroska = self._muxer in ("matroska", "webm")
        if shape and shape != 1 and in_matroska and codec.encoder not in STATES_PIXEL_SHAPE:
            self.lost.append(
                f"pixel shape {shape.numerator}:{shape.denominator} "
                f"({codec.encoder} in {self.path.suffix} has none; use h264 or hevc)"
            )
        if not template.hdr.is_empty:
            light = template.hdr.encoder_options(codec.encoder)
            options |= light or {}
            if light is None:
                self.lost.append(f"mastering display and light level ({codec.encoder} has none)")
        if template.field_order in _BOTTOM_FIRST and codec.encoder == "libx264":
            options = joined_options(options, {"x264-params": "bff=1"})
        span = chroma_span(pixel_format)
        if template.chroma_location and span == chroma_span(template.pixel_format) != (1, 1):
            options["chroma_sample_location"] = template.chroma_location
        return options

    def _to_encode(self, frame: Frame) -> av.VideoFrame:
        """The frame's planes in the encoder's pixel format."""
        coded = frame.coded()
        context = self.stream.codec_context
        if (coded.width, coded.height) != (context.width, context.height):
            raise CodecError(
                f"the frame at {frame.seconds:.3f} s is {coded.width}x{coded.height} in a clip of "
                f"{context.width}x{context.height}; cut the clip where its size changes"
            )
        wanted = self._pixel_format
        if self._is_tagged_otherwise(coded):
            result = converted(coded, wanted, frame.height, self._tags)
            self._tags.tag(result)
            return result
        if coded.format.name == wanted:
            return coded
        if coded.format.name.replace("yuvj", "yuv") == wanted:
            return copy_of(coded, pixel_format=wanted, width=context.width, height=context.height)
        return converted(coded, wanted, frame.height)

    def _is_tagged_otherwise(self, coded: av.VideoFrame) -> bool:
        """Whether a frame's samples mean other colours than the tags of the encoded stream say."""
        tags, template = ColourTags.of(coded), self._template
        if tags == template.colour or (coded.format.is_rgb and self._pixel_format.startswith("gb")):
            return False
        height = template.height
        return (known_matrix(tags, height), known_range(tags, coded.format.name)) != (
            known_matrix(template.colour, height),
            known_range(template.colour, template.pixel_format),
        )


@contextmanager
def encoding_errors(path: Path) -> Iterator[None]:
    """Turn the complaints of encoder, muxer and system into CodecError, DiskFullError and so on."""
    with writing_errors(path):
        try:
            yield
        except OSError:
            raise
        except av.FFmpegError as error:
            raise CodecError(
                f"{path} cannot be encoded ({reason(error)}); try another codec or preset"
            ) from error
