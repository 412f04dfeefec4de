"""Streams that are copied as they are: sound, and subtitles where the container takes them."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from vidswap.errors import CodecError
from vidswap.media.container import open_clip, reason

# Statistics of the source's own packing, not of the copy.
_STALE_TAGS = ("DURATION", "BPS", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS_")


class StreamCopier:
    """Copies sound and subtitle packets of a clip into an output, a stretch of time at a call.

    `beginning` and `stop` are times in the source file in seconds; packets that begin in between
    are copied and set back by `beginning`, as the picture is. `metadata` and `chapters` are those
    of the source. `dropped` names, one line each, the
    streams that the container does not take. Raises CodecError where it does not take the sound.
    """

    def __init__(
        self,
        source: Path,
        output: OutputContainer,
        beginning: Fraction | None,
        stop: Fraction | None,
    ) -> None:
        self._output = output
        self._beginning = beginning
        self._stop = stop
        self.dropped: list[str] = []
        self._container, video = open_clip(source)
        self.metadata = dict(self._container.metadata)
        self.chapters = self._container.chapters()
        self._targets: dict[int, Stream] = {}
        for stream in self._container.streams:
            target = None if stream is video else self._add(stream, source)
            if target is not None:
                self._targets[stream.index] = target
            elif stream is not video:
                self.dropped.append(f"{stream.type} stream {stream.index} ({_codec_name(stream)})")
            if target is None or stream.type == "attachment":
                stream.discard = Discard.all
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
            packet.stream = self._targets[packet.stream_index]
            self._output.mux_one(packet)

    def close(self) -> None:
        """Release the source."""
        self._container.close()

    def _add(self, stream: Stream, source: Path) -> Stream | None:
        """A stream of the output like `stream`; None where that is not possible."""
        if stream.type not in ("audio", "subtitle", "attachment"):
            return None
        try:
            target = self._output.add_stream_from_template(stream)
        except (ValueError, av.FFmpegError) as error:
            if stream.type != "audio":
                return None
            raise CodecError(
                f"{self._output.format.name} files cannot hold the sound of {source} "
                f"({_codec_name(stream)}); write to .mkv, or to the kind of file it came from"
            ) from error
        target.disposition = stream.disposition
        for key, value in stream.metadata.items():
            if not key.upper().startswith(_STALE_TAGS):
                target.metadata[key] = value
        return target

    def _wanted_packets(self) -> Iterator["Packet[Stream]"]:
        sources = [self._container.streams[index] for index in self._targets]
        sources = [stream for stream in sources if stream.type != "attachment"]
        if not sources:
            return
        packets = self._container.demux(sources)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.dropped.append(f"sound after the break in the source ({reason(error)})")
                return
            if packet is None:
                return
            if packet.size and self._in_range(packet):
                yield self._set_back(packet)

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
        return packet


def _codec_name(stream: Stream) -> str:
    context = stream.codec_context
    return context.codec.canonical_name if context is not None else (stream.name or "unknown")
