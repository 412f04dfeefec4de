"""Everything in a clip but its picture: copied packet by packet where the container takes it."""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from vidswap.errors import CodecError
from vidswap.media.artwork import ARTWORK_TYPES, add_artwork
from vidswap.media.codecs import CONTAINERS
from vidswap.media.container import open_clip, reason
from vidswap.media.sound import (
    COPIED,
    Recoded,
    Sound,
    SoundRecoder,
    damage_words,
    sound_codecs_for,
)
from vidswap.media.timeline import timeline_of
from vidswap.runtime.text import word

# Statistics of the source's own packing, not of the copy.
_STALE_TAGS = ("DURATION", "BPS", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS_", "ENCODER")
_TRIAL_PACKETS = 8
_TIMECODE = "timecode"
_WRITES_TIMECODE_TRACKS = ("mp4", "mov")  # from the picture's `timecode` tag
_HOLD_ATTACHMENTS = ("matroska",)
_HOLD_ARTWORK = ("mp4", "mov")
_COVER_KINDS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}


class StreamCopier:
    """Copies a clip's other streams into an output, a stretch of time at a call.

    Sound, subtitles, attachments, cover art and data are copied. `beginning` and `stop` are times
    in the source file in seconds; packets that begin in between are copied and set back by
    `beginning`, as the picture is. `metadata` is that of the source, `chapters` those of the
    range, `picture_tags` and `picture_disposition` those of the video stream. `dropped` names,
    one line each, what the container does not take. `sound` says what becomes of the sound, and
    `recoded` what does of each stream that is coded anew, by its index. Raises CodecError where the
    container does not take the sound.
    """

    def __init__(
        self,
        source: Path,
        output: OutputContainer,
        beginning: Fraction | None,
        stop: Fraction | None,
        sound: Sound = COPIED,
    ) -> None:
        self._output, self._sound = output, sound
        self._beginning = beginning
        self._stop = stop
        self.dropped: list[str] = []
        self._source = source
        self._container, video = open_clip(source)
        self._timeline = timeline_of(source)
        self.metadata = dict(self._container.metadata)
        self.picture_tags = _kept_tags(video)
        self.picture_disposition = video.disposition
        self._drop_timecode_of_a_part()
        self.chapters = self._chapters_in_range()
        self._targets: dict[int, Stream] = {}
        self._recoders: dict[int, SoundRecoder] = {}
        self._artwork: tuple[str, bytes] | None = None  # codec and picture, for `complete`
        for stream in self._container.streams:
            if stream is not video:
                self._add_or_name(stream)
        self._packets = self._wanted_packets()
        self._waiting: Packet[Stream] | None = None

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copy what is decoded before a time in the output, None for all that is left."""
        while (packet := self._waiting or next(self._packets, None)) is not None:
            self._waiting = packet
            time = packet.dts if packet.dts is not None else packet.pts
            if seconds is not None and time is not None and time * packet.time_base >= seconds:
                return
            self._waiting = None
            self._output.mux_one(packet)

    @property
    def recoded(self) -> dict[int, Recoded]:
        return {index: recoder.recoded for index, recoder in self._recoders.items()}

    def complete(self, written: Path) -> None:
        """Add to the file, once its muxer has closed it, what that muxer cannot write: a cover.

        ffmpeg writes covers into mp4 only without the option that keeps all tags, and never into
        mov. Raises OSError where the file cannot be written.
        """
        if self._artwork is not None and not add_artwork(written, *self._artwork):
            self.dropped.append(f"cover art ({self._artwork[0]})")
        self._artwork = None

    def close(self) -> None:
        """Release the source."""
        self._container.close()

    def _drop_timecode_of_a_part(self) -> None:
        """A timecode counts from the clip's first frame, which a later beginning leaves out."""
        if self._beginning:
            tags = [self.picture_tags.pop(_TIMECODE, None), self.metadata.pop(_TIMECODE, None)]
            if any(tags):
                self.dropped.append("timecode (the output begins later than it)")

    def _chapters_in_range(self) -> list[Any]:
        """Chapters of the range with their times in the output; those cut by its ends are cut."""
        shift = self._timeline.shift
        if self._beginning is None and self._stop is None and not shift:
            return self._container.chapters()
        chapters = []
        zero = self._beginning or Fraction(0)
        for chapter in self._container.chapters():
            tick = chapter["time_base"] or Fraction(1, 1000)
            start, end = chapter["start"] * tick + shift, chapter["end"] * tick + shift
            start = max(start, zero) - zero
            end = (end if self._stop is None else min(end, self._stop)) - zero
            if end > start:
                ticks = [round(time / tick) for time in (start, end)]
                chapters.append({**chapter, "start": ticks[0], "end": ticks[1]})
        return chapters

    def _add_or_name(self, stream: Stream) -> None:
        if is_chapter_track(stream):
            return  # the muxer writes its own from the chapters
        is_timecode = is_timecode_track(stream)
        if is_timecode:
            self._name_timecode(stream)
        if self._is_artwork_to_keep(stream):
            stream.discard = Discard.all
            return
        target = None if is_timecode else self._add(stream)
        if target is not None and target.type != "attachment":
            self._targets[stream.index] = target
            return
        stream.discard = Discard.all
        if target is None and not is_timecode:
            codec = word(codec_name(stream))
            self.dropped.append(f"{_kind(stream)} stream {stream.index} ({codec})")

    def _name_timecode(self, stream: Stream) -> None:
        """The muxer makes its timecode track from the picture's tag, which the source has too."""
        written = self._output.format.name in _WRITES_TIMECODE_TRACKS
        if not written and not self._beginning:
            self.dropped.append(f"timecode stream {stream.index} (kept as the picture's tag)")

    def _add(self, stream: Stream) -> Stream | None:
        """A stream of the output like `stream`; None where that is not possible."""
        if stream.type in ("video", "attachment"):
            return self._attach(stream)
        is_sound = stream.type == "audio" and stream.codec_context is not None
        if is_sound and not self._sound.copies(codec_name(stream)):
            return self._add_recoder(stream)
        packets = _first_packets(self._source, stream.index) if is_sound else []
        if not _can_hold(self._output.format.name, stream, packets):
            if is_sound and not self._sound.is_copied:  # this coding of the codec it does not take
                return self._add_recoder(stream)
            if is_sound:
                raise CodecError(self._refusal(stream, packets))
            return None
        target = self._output.add_stream_from_template(stream, opaque=True)
        _describe_like(stream, target)
        return target

    def _add_recoder(self, stream: Stream) -> Stream:
        assert isinstance(stream, AudioStream)
        recoder = SoundRecoder(stream, self._output, self._sound, self._beginning, self._stop)
        self._recoders[stream.index] = recoder
        self.dropped += recoder.lost
        _describe_like(stream, recoder.stream)
        return recoder.stream

    def _refusal(self, stream: Stream, packets: Sequence["_Coded"]) -> str:
        suffix = Path(self._output.name).suffix
        takers = [
            name
            for name, kind in CONTAINERS.items()
            if name != suffix and _can_hold(kind.muxer, stream, packets)
        ]
        ways = [f"write to {' or '.join(takers)}"] if takers else []
        if codecs := sound_codecs_for(self._output.format.name):
            ways.append(f"encode it with --audio-codec {codecs[0]}")
        advice = ", or ".join(ways) or "remove or convert it first"
        return (
            f"{suffix} files cannot hold the sound of {self._source}: stream {stream.index} "
            f"({word(codec_name(stream))}); {advice}"
        )

    def _is_artwork_to_keep(self, stream: Stream) -> bool:
        """Whether a stream is the one cover that mp4 and mov keep; takes its picture, if so."""
        kind = codec_name(stream)
        has_room = self._artwork is None and self._output.format.name in _HOLD_ARTWORK
        if not has_room or not is_cover(stream) or kind not in ARTWORK_TYPES:
            return False
        picture = _only_packet(self._source, stream.index)
        self._artwork = (kind, picture) if picture else None
        return bool(picture)

    def _attach(self, stream: Stream) -> Stream | None:
        """An attachment, or a cover, which Matroska keeps as one; never a second picture.

        A second picture would show the face unchanged.
        """
        if self._output.format.name not in _HOLD_ATTACHMENTS:
            return None
        if not is_cover(stream):
            if stream.type == "video":
                return None
            return self._output.add_stream_from_template(stream)
        name, kind = _COVER_KINDS.get(codec_name(stream), ("", ""))
        picture = _only_packet(self._source, stream.index)
        if not kind or not picture:
            return None
        name = stream.metadata.get("filename", name)
        return self._output.add_attachment(name, stream.metadata.get("mimetype", kind), picture)

    def _wanted_packets(self) -> Iterator["Packet[Stream]"]:
        sources = [self._container.streams[index] for index in self._targets]
        if not sources:
            return
        packets = self._container.demux(sources)
        retimer = self._timeline.retimer()
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.dropped.append(f"sound after the break in the source ({reason(error)})")
                packet = None
            if packet is None:
                break
            retimer.moved(packet)
            if packet.size and (recoder := self._recoders.get(packet.stream_index)):
                yield from recoder.packets(packet)
            elif packet.size and self._in_range(packet):
                yield self._set_back(packet)
        for index, recoder in self._recoders.items():
            yield from recoder.packets(None)
            if recoder.damaged:
                self.dropped.append(damage_words(index, recoder.damaged))

    def _in_range(self, packet: "Packet[Stream]") -> bool:
        if packet.pts is None:
            return packet.dts is not None and self._beginning is None and self._stop is None
        seconds = packet.pts * packet.time_base
        after = self._beginning is None or seconds >= self._beginning
        return after and (self._stop is None or seconds < self._stop)

    def _set_back(self, packet: "Packet[Stream]") -> "Packet[Stream]":
        if self._beginning is not None:
            ticks = round(self._beginning / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - ticks
            packet.dts = None if packet.dts is None else packet.dts - ticks
        packet.stream = self._targets[packet.stream_index]
        return packet


def _can_hold(muxer: str, stream: Stream, packets: Sequence["_Coded"] = ()) -> bool:
    """Whether a container takes a stream: found out by writing a file of its packets to memory.

    Most muxers say no only when they write the header, some when they end the file, both too late
    to leave a stream out or to refuse the work.
    """
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            target = trial.add_stream_from_template(stream, opaque=True)
            _describe_like(stream, target)
            trial.start_encoding()
            for coded in packets:
                trial.mux_one(coded.packet(target, stream.time_base))
    except (ValueError, av.FFmpegError):
        return False
    return True


@dataclass(frozen=True)
class _Coded:
    """A packet's bytes and its times in ticks, to be written more than once."""

    content: bytes
    pts: int | None
    dts: int | None
    duration: int

    def packet(self, stream: Stream, time_base: Fraction | None) -> "Packet[Stream]":
        packet = av.Packet(self.content)
        packet.pts, packet.dts, packet.duration = self.pts, self.dts, self.duration
        packet.time_base = time_base or Fraction(1, 90_000)
        packet.is_keyframe = True
        packet.stream = stream
        return packet


def _first_packets(source: Path, index: int) -> list[_Coded]:
    """A few packets from the beginning of a stream, fewer where the file breaks off."""
    container, _ = open_clip(source)
    found: list[_Coded] = []
    with container:
        for other in container.streams:
            if other.index != index:
                other.discard = Discard.all
        packets = container.demux(container.streams[index])
        with suppress(av.FFmpegError):
            for packet in packets:
                if packet.size:
                    found.append(
                        _Coded(bytes(packet), packet.pts, packet.dts, packet.duration or 0)
                    )
                if len(found) == _TRIAL_PACKETS:
                    break
    return found


def _describe_like(stream: Stream, target: Stream) -> None:
    target.disposition = stream.disposition
    target.metadata.update(_kept_tags(stream))


def _kept_tags(stream: Stream) -> dict[str, str]:
    tags = {k: v for k, v in stream.metadata.items() if not k.upper().startswith(_STALE_TAGS)}
    if name := tags.pop("name", None):  # what the mp4 reader calls a title
        tags.setdefault("title", name)
    return tags


def _only_packet(source: Path, index: int) -> bytes:
    """The picture of a cover stream; empty where it cannot be read."""
    container, _ = open_clip(source)
    with container:
        try:
            return next(bytes(p) for p in container.demux(container.streams[index]) if p.size)
        except (StopIteration, av.FFmpegError):
            return b""


def kinds_of(path: Path) -> list[str]:
    """All streams of a clip but its picture, as an output that holds none of them names them."""
    container, video = open_clip(path)
    with container:
        return [
            f"{_kind(stream)} stream {stream.index} ({word(codec_name(stream))})"
            for stream in container.streams
            if stream is not video and not is_chapter_track(stream)
        ]


def is_cover(stream: Stream) -> bool:
    """Whether a stream is a still picture that belongs to the file, not the clip's own."""
    return isinstance(stream, VideoStream) and bool(stream.disposition & Disposition.attached_pic)


def is_chapter_track(stream: Stream) -> bool:
    """Whether a stream is QuickTime's way to store chapters, which its demuxer switches off."""
    return stream.type in ("data", "video") and stream.discard == Discard.all


def is_timecode_track(stream: Stream) -> bool:
    """Whether a stream only says what time the first frame has."""
    return stream.type == "data" and _TIMECODE in stream.metadata


def _kind(stream: Stream) -> str:
    return "cover art" if is_cover(stream) else stream.type


def codec_name(stream: Stream) -> str:
    """The codec's own name (not a decoder's), an attachment's file name, or "unknown"."""
    context = stream.codec_context
    if context is not None:
        return context.codec.canonical_name
    return getattr(stream, "name", None) or "unknown"  # some kinds of stream have no name at all
