"""Streaming encode: the frames of a clip back into a clip, with its times and its sound."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from vidswap.errors import CodecError
from vidswap.media.changes import looks_of
from vidswap.media.codecs import DEFAULT_CRF, container_for
from vidswap.media.colour import ColourTags
from vidswap.media.container import reason
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.output import check_output, locked_part, temporary_path
from vidswap.media.packet_file import PacketFile, read_packets, setup_of, shown_times
from vidswap.media.picture_encoder import PictureEncoder, Quality, encoding_errors
from vidswap.media.plate import Plate
from vidswap.media.sequence_reader import SequenceReader
from vidswap.media.sound import COPIED, Recoded, Sound
from vidswap.media.streams import StreamCopier

__all__ = ["DEFAULT_CRF", "VideoWriter"]

logger = logging.getLogger(__name__)

_MOVIE_TICKS = 100_000  # a second, at least
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
    crf: quality, 0 is best, None for 18; ignored by ffv1 (lossless) and prores.
    preset: the encoder's own speed setting, None for a quick one.
    bitrate: mean bits a second, instead of a quality.
    metadata: added to the container's, which are copied from the template.
    sound: what becomes of the template's sound.

    The file appears under its name only when `close` (or leaving the `with` block without an
    exception) has completed it; `abort` or an exception removes what was written.

    Raises CodecError, BadOptionError, OutputExistsError, OutputNotWritableError, DiskFullError.
    """

    def __init__(
        self,
        path: Path,
        template: VideoReader | SequenceReader | Plate | Path,
        *,
        codec: str | None = None,
        crf: int | None = None,
        preset: str | None = None,
        bitrate: int | None = None,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = False,
        sound: Sound = COPIED,
    ) -> None:
        quality = Quality(codec, crf, preset, bitrate)
        quality.chosen(path)
        sound.check(path)
        self._sound = sound
        check_output(path, overwrite)
        self.path = path
        self._template = _opened(template)
        self._changes = _changes(self._template) if isinstance(self._template, VideoReader) else []
        self._muxer = container_for(path).muxer
        self._closed = self._joined = False
        self._copier: StreamCopier | None = None
        self._encoder: PictureEncoder | None = None
        self._part = temporary_path(path)
        self._part.unlink(missing_ok=True)
        self._output = self._open_output()
        self._lock = locked_part(self._part)
        try:
            with encoding_errors(path):
                self._encoder = PictureEncoder(path, self._template, quality, self._output)
                self._copier = self._add_copies(self._encoder.stream)
                self._output.metadata.update(metadata or {})
                self._begin_file()
            logger.info("%s: encoder %s", path, self._encoder.stream.codec_context.name)
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
        lost = self._encoder.lost if self._encoder else []
        return lost + self._changes + (self._copier.dropped if self._copier else [])

    @property
    def recoded(self) -> dict[int, Recoded]:
        """Sound that is coded anew, by the index of its stream in the template."""
        return self._copier.recoded if self._copier else {}

    @property
    def joinable(self) -> bool:
        """Whether `join` can take the place of `write`."""
        assert self._encoder is not None
        return self._encoder.joinable

    def write(self, frame: Frame) -> None:
        """Encode the next frame. Raises CodecError where times do not increase or sizes differ."""
        assert self._encoder is not None
        for packet in self._encoder.encode(frame):
            self._mux(packet)

    def join(self, folder: Path, files: Sequence[PacketFile]) -> None:
        """Add what encoders of the same set-up have coded, file after file, instead of frames.

        Every file begins with a key frame and refers to no other. The coded times are counted
        anew, since each encoder began its own. Raises CodecError for files of another set-up.
        """
        assert self._encoder is not None
        setup = setup_of(self._encoder.stream.codec_context.extradata)
        if any(file.setup != setup for file in files):
            raise CodecError(
                f"the segments of {self.path} were coded with other settings than its header "
                "states, and it would not play; remove them with --no-resume"
            )
        self._joined = True
        delay = max((file.reordering for file in files), default=0)
        shown = [time for file in files for time in shown_times(folder / file.name)]
        place = 0
        for file in files:
            for packet in read_packets(folder / file.name, self._encoder.time_base):
                if len(files) > 1:
                    packet.dts = _coded_time(shown, place, delay)
                place += 1
                self._mux(packet)

    def close(self) -> None:
        """Finish the file and give it its name; does nothing after `close` or `abort`."""
        if self._closed:
            return
        try:
            with encoding_errors(self.path):
                if not self._joined and self._encoder is not None:
                    for packet in self._encoder.flush():
                        self._mux(packet)
                if self._copier is not None:
                    self._copier.copy_until(None)
                self._output.close()
                if self._copier is not None:
                    self._copier.complete(self._part)
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
        if self._lock is not None:
            self._lock.close()
        if self._copier is not None:
            self._copier.close()

    def _open_output(self) -> OutputContainer:
        # The muxer would move all times so that none is negative; players expect the priming of a
        # sound codec before time 0.
        options = {"avoid_negative_ts": "disabled"}
        if self._muxer in ("mp4", "mov"):
            options["movflags"] = "use_metadata_tags"  # keeps keys that QuickTime does not name
            ticks = self._template.time_base.denominator
            options["video_track_timescale"] = str(ticks)
            # Start offsets are kept in these; milliseconds, the default, would round them.
            options["movie_timescale"] = str(ticks * -(-_MOVIE_TICKS // ticks))
        return av.open(f"file:{self._part}", "w", format=self._muxer, container_options=options)

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

    def _add_copies(self, stream: VideoStream) -> StreamCopier | None:
        template = self._template
        if not isinstance(template, VideoReader):
            return None
        copier = StreamCopier(
            template.path, self._output, template.beginning, template.stop, self._sound
        )
        for key, value in copier.metadata.items():
            if key.lower() not in _NOT_COPIED:
                self._output.metadata[key] = value
        stream.metadata.update(copier.picture_tags)
        stream.disposition = copier.picture_disposition
        self._output.set_chapters(copier.chapters)
        return copier

    def _mux(self, packet: "Packet[VideoStream]") -> None:
        assert self._encoder is not None
        packet.stream = self._encoder.stream
        time = packet.dts if packet.dts is not None else packet.pts
        with encoding_errors(self.path):
            if self._copier is not None and time is not None:
                self._copier.copy_until(time * packet.time_base)
            self._output.mux_one(packet)


def _coded_time(shown: Sequence[int], place: int, delay: int) -> int:
    """The time (dts) of the packet at a place in coded order: that of the frame `delay` before it.

    It is never after the packet's own frame is shown, and rises from packet to packet. What comes
    before the first frame is set back by as much as the first frames last.
    """
    if place >= delay:
        return shown[place - delay]
    last = min(delay, len(shown) - 1)
    return shown[min(place, last)] - (shown[last] - shown[0]) - (delay - last)


def _changes(template: VideoReader) -> list[str]:
    """What a clip changes within its range that the output cannot, a line each.

    Raises CodecError where it changes its size.
    """
    tick, lost = template.time_base, []
    looks = looks_of(template.path)
    for before, look in pairwise(looks):
        is_later = look.seconds > template.first_pts * tick
        if not is_later or (template.stop is not None and look.seconds >= template.stop):
            continue
        at = _floored(look.seconds - template.zero)
        sizes = [f"{one.width}x{one.height}" for one in (before, look)]
        if sizes[0] != sizes[1]:
            raise CodecError(
                f"{template.path} changes from {sizes[0]} to {sizes[1]} at {at} s, and an output "
                f"has one size; swap the parts by themselves (--end {at}, then --start {at})"
            )
        lost.append(_changed_tags(before.colour, look.colour, at))
    return lost


def _floored(seconds: Fraction) -> str:
    """Seconds to the millisecond, not later, so that a range may end or begin there."""
    return f"{int(seconds * 1000) / 1000:.3f}"


def _changed_tags(before: ColourTags, now: ColourTags, at: str) -> str:
    had, has = asdict(before), asdict(now)
    names = [name for name in had if had[name] != has[name]]
    words = ", ".join(f"{name} {had[name]} to {has[name]}" for name in names)
    kept = [name for name in names if name in ("primaries", "transfer")]
    then = "frames after it are converted to the first tags"
    if kept:
        then = f"the {' and '.join(kept)} of the frames after it are taken for the first ones"
    return f"the change of colour tags at {at} s (H.273 codes: {words}; {then})"


def _opened(
    template: VideoReader | SequenceReader | Plate | Path,
) -> VideoReader | SequenceReader | Plate:
    if not isinstance(template, Path):
        return template
    with VideoReader(template) as reader:
        return reader
