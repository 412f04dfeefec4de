"""Streaming decode: one Frame at a time, in the order they are shown."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidswap.errors import BadOptionError, NotAVideoError
from vidswap.media.colour import ColourTags
from vidswap.media.container import chroma_location, open_clip, reason
from vidswap.media.frame import Frame
from vidswap.media.hardware import HardwareDecoder
from vidswap.media.mastering import HdrMetadata
from vidswap.media.orientation import Orientation
from vidswap.media.planes import sampled_rgb
from vidswap.media.timeline import timeline_of

logger = logging.getLogger(__name__)

MAX_THREADS = 4  # each holds a decoded frame
_BACK_OFFS = (0, 2, 10)  # seconds before the wanted time, until the seek lands early enough
_BREAK_SECONDS = 0.5  # a clip this much shorter than its header says has broken off
_GUESSED_TIMES = ("mpeg",)  # program streams: after a seek the demuxer makes times up
_UNREADABLE_MATRICES = (14, 15)  # ICtCp and IPT-C2, which no converter here knows
_INTERLACED_ORDERS = (2, 3, 4, 5)  # AVFieldOrder: which field comes first, coded and shown
_USUAL_RATE = Fraction(25)  # where the file states none

_Decoded = tuple[av.VideoFrame, int]  # a frame and its time in ticks
_Decode = Callable[["Packet[VideoStream] | None"], list[av.VideoFrame]]


def thread_count() -> int:
    """Codec threads: one a core, at most MAX_THREADS."""
    return min(MAX_THREADS, os.cpu_count() or 1)


class VideoReader:
    """Frames of a clip from `start` up to, not including, `end`.

    `start` and `end` are in seconds from the beginning of the clip; None means its ends. Use it
    as a context manager and iterate once. It holds the codec's own frames and the one given.
    `hwaccel` names a device that decodes, such as "cuda" or "vaapi:/dev/dri/renderD128"; the frames
    are the same. None is the software decoder.

    Raises InputNotFoundError, NotAVideoError, BadOptionError for a range without frames, and
    CodecError, also while it is iterated, for what a named device does not decode.

    Attributes: `width`, `height` (upright), `coded_width`, `coded_height`, `pixel_format`,
    `colour`, `hdr`, `orientation`, `time_base`, `average_rate`, `sample_aspect_ratio`;
    `chroma_location` (ffmpeg's word or None), `interlaced`, `field_order` (AVFieldOrder);
    `first_pts`, the time of the first frame in units of `time_base`; `zero`, the clip's beginning
    in seconds; `timeline`, by which times are moved where the file's clock starts far from 0 or
    jumps;
    `beginning` and `stop`, the times on it, in seconds, where the range begins and ends
    (`stop` may be None); `truncated`, which is None, or once iterated says in one line how the
    clip broke off.
    """

    def __init__(
        self,
        path: Path,
        start: float | None = None,
        end: float | None = None,
        hwaccel: str | None = None,
    ) -> None:
        _check_range(start, end)
        self.path, self.hwaccel = path, hwaccel
        self.truncated: str | None = None
        self._limits: tuple[int, int | None, bool] | None = None
        self._container, self._stream, self._decode_packet = self._open()
        self.timeline = timeline_of(path)
        try:
            self._describe_stream(start, end)
            decoded = self._seek(self.beginning)
            first = self._first_frame(next(decoded, None), start, end)
            self._describe_frame(first[0])
            self.first_pts = first[1]
            self._decoded: Iterator[_Decoded] = chain([first], decoded)
            logger.info(
                "%s: %s decoded by %s",
                path, self._stream.codec_context.name, hwaccel or "the software decoder",
            )  # fmt: skip
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        for coded, pts in self._inside():
            yield self._frame(coded, pts)

    def skim(self) -> Iterator["SkimmedFrame"]:
        """In place of iterating: frames that are converted as far as somebody looks at them."""
        for coded, pts in self._inside():
            yield SkimmedFrame(pts, self, coded)

    def _inside(self) -> Iterator[_Decoded]:
        """What is decoded from where the range begins to before its end."""
        seconds = Fraction(0)
        end = None if self._limits is None else self._limits[1]
        for coded, pts in self._decoded:
            if end is not None and pts >= end:
                return
            if self.stop is not None and pts * self.time_base >= self.stop:
                return
            seconds = (pts + coded.duration) * self.time_base
            yield coded, pts
        self._compare_with_header(seconds)

    @property
    def warnings(self) -> list[str]:
        """What was mended in the file's times, a line each."""
        mended = self.timeline.warning
        return [f"{self.path}: {mended}"] if mended else []

    def frame_at(self, pts: int, *, seek: bool) -> Frame | None:
        """First frame at or after a time in units of `time_base`, None past the last.

        With `seek` by way of the nearest key frame, where the container has exact times there,
        else by decoding on from where it stands.
        Not to be mixed with iterating.
        """
        if seek and self._seeks_exactly:
            self._decoded = self._seek(pts * self.time_base)
        for coded, found in self._decoded:
            if found >= pts:
                return self._frame(coded, found)
        return None

    def limit_to(self, first: int, end: int | None, *, seek: bool = True) -> None:
        """From now on iterate from the first frame at or after the time `first` to that before
        `end`, None for the end of the clip's range; both in units of `time_base`. `seek` as in
        `go_to`.
        """
        self._limits = (first, end, seek)
        self.go_to(None)

    def go_to(self, pts: int | None, *, seek: bool = True) -> None:
        """Iterate from the first frame at or after a time in units of `time_base`.

        None is where the range begins. Without `seek` the clip is decoded from its beginning.
        """
        if pts is None and self._limits is not None:
            pts, _, seek = self._limits
        if pts is None and self.beginning is not None and self._seeks_exactly:
            self._decoded = self._seek(self.beginning)
        elif pts is None:  # wherever the file was read last
            first = None if self.beginning is None else self.beginning / self.time_base
            frames = self._decode_from(None)
            self._decoded = (found for found in frames if first is None or found[1] >= first)
        elif seek and self._seeks_exactly:
            self._decoded = self._seek(pts * self.time_base)
        else:
            wanted = pts
            self._decoded = (found for found in self._decode_from(None) if found[1] >= wanted)

    def close(self) -> None:
        """Release the file."""
        self._let_go()

    def _open(self) -> tuple[InputContainer, VideoStream, _Decode]:
        if self.hwaccel is not None:
            decoder = HardwareDecoder(self.path, self.hwaccel)
            return decoder.container, decoder.stream, decoder.decode
        container, stream = open_clip(self.path)
        stream.thread_type = "AUTO"
        stream.thread_count = thread_count()
        return container, stream, stream.decode

    def _describe_stream(self, start: float | None, end: float | None) -> None:
        stream = self._stream
        self._discard_others()
        guesses = self._container.format.name in _GUESSED_TIMES
        self._seeks_exactly = not guesses and not self.timeline.jumps
        self.time_base = stream.time_base or Fraction(1, 90_000)
        self.average_rate = stream.average_rate or stream.guessed_rate or _USUAL_RATE
        self.sample_aspect_ratio = stream.sample_aspect_ratio
        self.zero = Fraction(self._container.start_time or 0, av.time_base) + self.timeline.shift
        self.beginning = None if start is None else self.zero + _seconds(start)
        self.stop = None if end is None else self.zero + _seconds(end)

    def _discard_others(self) -> None:
        for other in self._container.streams:
            if other is not self._stream:
                other.discard = Discard.all

    def _describe_frame(self, coded: av.VideoFrame) -> None:
        self.orientation = Orientation.of(coded)
        self.colour = ColourTags.of(coded)
        if self.colour.matrix in _UNREADABLE_MATRICES:
            raise NotAVideoError(
                f"{self.path} has colours in ICtCp, which cannot be read here; "
                "convert it to BT.2020 Y'CbCr first"
            )
        self.hdr = HdrMetadata.of(coded)
        self.chroma_location = chroma_location(self._container, self._stream)
        self.field_order = self._stream.codec_context.field_order
        self.interlaced = coded.interlaced_frame or self.field_order in _INTERLACED_ORDERS
        self.pixel_format = coded.format.name
        self.coded_width, self.coded_height = coded.width, coded.height
        size = (coded.width, coded.height)
        self.width, self.height = size[::-1] if self.orientation.transpose else size

    def _frame(self, coded: av.VideoFrame, pts: int) -> Frame:
        return Frame.from_decoded(
            coded, pts=pts, time_base=self.time_base, orientation=self.orientation
        )

    def _first_frame(
        self, first: _Decoded | None, start: float | None, end: float | None
    ) -> _Decoded:
        if first is None and start is None:
            why = f" ({self.truncated})" if self.truncated else ""
            raise NotAVideoError(f"no frame of {self.path} can be decoded{why}; it may be damaged")
        if first is None or (self.stop is not None and first[1] * self.time_base >= self.stop):
            raise BadOptionError(
                f"{self.path} has no frame from {start or 0} s to "
                f"{'its end' if end is None else f'{end} s'}; see `vidswap info` for its length"
            )
        return first

    def _seek(self, seconds: Fraction | None) -> Iterator[_Decoded]:
        """Decoded frames and their times from the first at or after a time, None for all."""
        if seconds is None:
            yield from self._decode()
            return
        wanted = seconds / self.time_base
        if not self._seeks_exactly:
            yield from (found for found in self._decode_from(None) if found[1] >= wanted)
            return
        for back_off in _BACK_OFFS if seconds > self.zero else ():
            decoded = self._decode_from(seconds - back_off)
            first = next(decoded, None)
            if first is not None and first[1] <= wanted:
                break
        else:
            decoded = self._decode_from(None)
            first = next(decoded, None)
        if first is not None and first[1] >= wanted:
            yield first
        yield from (found for found in decoded if found[1] >= wanted)

    def _decode_from(self, seconds: Fraction | None) -> Iterator[_Decoded]:
        """Decode from the key frame at or before a time in the file, None for its first."""
        self.truncated = None
        try:
            if seconds is not None:
                in_file = seconds - self.timeline.shift
                self._container.seek(int(in_file / self.time_base), stream=self._stream)
        except av.FFmpegError:
            seconds = None
        if seconds is None:
            self._reopen()  # a seek to the first moment may land on a later key frame
        return self._decode()

    def _let_go(self) -> None:
        """Close the file, its decoder's threads at rest.

        Freeing a decoder that works waits for it with Python locked, which a line that one of its
        threads logs would wait for in turn.
        """
        self._stream.codec_context.flush_buffers()
        self._container.close()

    def _reopen(self) -> None:
        self._let_go()
        self._container, self._stream, self._decode_packet = self._open()
        self._discard_others()

    def _decode(self) -> Iterator[_Decoded]:
        """Frames in order of ever greater times; damage is noted in `truncated`, not raised."""
        step = max(1, round(1 / (self.average_rate * self.time_base)))
        last: int | None = None
        for packet in self._packets():
            try:
                frames = self._decode_packet(packet)
            except av.FFmpegError as error:
                self._note(f"damaged {_at(last, self.time_base)} ({reason(error)})")
                continue
            for coded in frames:
                pts = coded.pts
                if pts is None:
                    pts = 0 if last is None else last + step
                if last is not None and pts <= last:
                    pts = last + 1
                last = pts
                yield coded, pts

    def _packets(self) -> Iterator["Packet[VideoStream] | None"]:
        packets = self._container.demux(self._stream)
        retimer = self.timeline.retimer()
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self._note(f"cannot be read to its end ({reason(error)})")
                yield None  # gives the frames that the decoder still holds
                return
            if packet is None:
                return
            retimer.moved(packet)
            if packet.is_corrupt and not retimer.at_seam:
                self._note(f"damaged near {float((packet.dts or 0) * self.time_base):.2f} s")
            yield packet

    def _note(self, damage: str) -> None:
        self.truncated = self.truncated or f"{self.path} is {damage}"

    def _compare_with_header(self, seconds: Fraction) -> None:
        stated = self.timeline.stated_end(self._container, self._stream)
        if stated is not None and self.stop is None and stated - seconds > _BREAK_SECONDS:
            self._note(f"cut short: it ends at {float(seconds):.2f} s of {float(stated):.2f} s")


@dataclass(frozen=True, eq=False)
class SkimmedFrame:
    """A decoded frame of a reader; pts: its time in units of the reader's time base."""

    pts: int
    _reader: VideoReader
    _coded: av.VideoFrame

    @property
    def seconds(self) -> float:
        return float(self.pts * self._reader.time_base)

    def sampled(self, step: int) -> NDArray[np.uint8]:
        """Every `step`-th pixel of the frame's `rgb`, across and down, from `step // 2` on."""
        if not self._reader.orientation.is_identity:
            return self.frame().rgb[step // 2 :: step, step // 2 :: step]
        return sampled_rgb(self._coded, self._coded.height, step)

    def frame(self) -> Frame:
        """All of it."""
        return self._reader._frame(self._coded, self.pts)


def _seconds(value: float) -> Fraction:
    return Fraction(value).limit_denominator(1_000_000)


def _check_range(start: float | None, end: float | None) -> None:
    if start is not None and start < 0:
        raise BadOptionError(f"start {start} s is negative; it counts from the clip's beginning")
    if end is not None and end <= (start or 0):
        raise BadOptionError(f"end {end} s is not after start {start or 0} s")


def _at(pts: int | None, time_base: Fraction) -> str:
    return "at its beginning" if pts is None else f"after {float(pts * time_base):.2f} s"
