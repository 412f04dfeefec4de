"""Sound that is coded anew, `--audio-codec`: decoded, fitted to the encoder, cut to the sample."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet
from av.stream import Stream

from vidswap.choices import COPY_SOUND, SoundCodecName
from vidswap.errors import BadOptionError, CodecError
from vidswap.media.codecs import container_for

_LEAD = Fraction(1)  # second before a range that decoders are given, to have settled in it
_STANDARD_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
_TRIAL_RATE, _TRIAL_SAMPLES = 48_000, 9_600
_FLOAT_BITS = 24  # that a float sample holds


@dataclass(frozen=True)
class SoundCodec:
    """An encoder of sound. bitrate: bits a second and channel, None where nothing is lost."""

    encoder: str
    bitrate: int | None = None


SOUND_CODECS = {
    "aac": SoundCodec("aac", 96_000),
    "opus": SoundCodec("libopus", 64_000),
    "mp3": SoundCodec("libmp3lame", 96_000),
    "ac3": SoundCodec("ac3", 96_000),
    "eac3": SoundCodec("eac3", 96_000),
    "alac": SoundCodec("alac"),
    "flac": SoundCodec("flac"),
    "pcm_s16le": SoundCodec("pcm_s16le"),
    "pcm_s24le": SoundCodec("pcm_s24le"),
    "pcm_f32le": SoundCodec("pcm_f32le"),
}


@dataclass(frozen=True)
class Sound:
    """What becomes of a clip's sound.

    codec: COPY_SOUND or one of SOUND_CODECS. bitrate: bits a second of each stream, None for the
    codec's usual ones.
    """

    codec: SoundCodecName = COPY_SOUND
    bitrate: int | None = None

    @property
    def is_copied(self) -> bool:
        return self.codec == COPY_SOUND

    def copies(self, codec: str) -> bool:
        """Whether packets of a codec are copied: they are to be, or are what they would become."""
        return self.is_copied or (codec == self.codec and self.bitrate is None)

    def check(self, output: Path) -> None:
        """Raise CodecError for a codec that a file like `output` cannot hold.

        BadOptionError for a bit rate where the codec has none.
        """
        if self.bitrate is not None and (
            self.is_copied or SOUND_CODECS[self.codec].bitrate is None
        ):
            lossy = [name for name, codec in SOUND_CODECS.items() if codec.bitrate]
            raise BadOptionError(
                f"--audio-bitrate is for a codec that loses something, not for {self.codec}; give "
                f"--audio-codec one of {', '.join(lossy)}, or leave it out"
            )
        if self.is_copied:
            return
        takes = sound_codecs_for(container_for(output).muxer)
        if self.codec not in takes:
            raise CodecError(
                f"{output.suffix} files cannot hold {self.codec}; use --audio-codec "
                f"{' or '.join(takes)}, or another container"
            )


COPIED = Sound()


@dataclass(frozen=True)
class Recoded:
    """What a stream becomes, in words, and at how many bits a second."""

    words: str
    bit_rate: int


@cache  # some muxers say no only when they end the file
def sound_codecs_for(muxer: str) -> tuple[str, ...]:
    """Names of the sound codecs that a container takes, found out by writing files to memory."""
    return tuple(name for name in SOUND_CODECS if _is_taken(muxer, name))


class SoundRecoder:
    """Decodes one stream and encodes it into `output`, in which it adds a stream.

    `beginning` and `stop` are times in the source in seconds; the sound between them, to the
    sample, is set back by `beginning`. Where the source's times leave a gap, silence fills it.
    `lost` says what the encoder cannot hold, a line each.

    Raises CodecError where the encoder cannot be set up.
    """

    def __init__(
        self,
        source: AudioStream,
        output: OutputContainer,
        sound: Sound,
        beginning: Fraction | None,
        stop: Fraction | None,
    ) -> None:
        self._source, self._beginning, self._stop = source, beginning, stop
        codec = SOUND_CODECS[sound.codec]
        self._form = _form_for(codec.encoder, source)
        self.lost = _lost(source, self._form, codec)
        self.stream = cast("AudioStream", output.add_stream(codec.encoder, rate=self._form.rate))
        self.stream.format, self.stream.layout = self._form.format, self._form.layout
        words = f"{sound.codec}, {self._form.rate} Hz {self._form.layout}"
        stored = 32 if self._form.format.startswith("flt") else self._form.bits
        bit_rate = self._form.rate * self._form.channels * stored
        if codec.bitrate is not None:
            bit_rate = sound.bitrate or codec.bitrate * self._form.channels
            self.stream.bit_rate = bit_rate
            words += f", {bit_rate / 1000:.0f} kbit/s"
        self.recoded = Recoded(words, bit_rate)
        self._graph: Graph | None = None
        self._came_as: tuple[str, str, int] | None = None
        self._next: int | None = None  # sample of the encoder's that comes next
        self.damaged = 0

    def packets(self, packet: Packet[Stream] | None) -> Iterator[Packet[Any]]:
        """What is ready once a packet of the source is in; None for its end."""
        if packet is not None and self._is_outside(packet):
            return
        try:
            frames = self._source.codec_context.decode(packet)
        except av.FFmpegError:
            self.damaged += 1
            frames = []
        for frame in frames:
            for fitted in self._fitted(frame):
                yield from self.stream.encode(fitted)
        if packet is None:
            for fitted in self._drained():
                yield from self.stream.encode(fitted)
            yield from self.stream.encode(None)

    def _is_outside(self, packet: Packet[Stream]) -> bool:
        if packet.pts is None or packet.time_base is None:
            return False
        seconds = packet.pts * packet.time_base
        before = self._beginning is not None and seconds < self._beginning - _LEAD
        return before or (self._stop is not None and seconds >= self._stop)

    def _fitted(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        """A decoded frame as the encoder takes it, cut to the range."""
        came_as = (frame.format.name, frame.layout.name, frame.sample_rate)
        if came_as != self._came_as:
            yield from self._drained()
            self._graph, self._came_as = self._new_graph(frame), came_as
        if frame.pts is not None and frame.time_base is not None:
            seconds = frame.pts * frame.time_base - (self._beginning or 0)
            frame.pts = round(seconds * frame.sample_rate)
        frame.time_base = Fraction(1, frame.sample_rate)
        assert self._graph is not None
        self._graph.push(frame)
        yield from self._pulled()

    def _drained(self) -> Iterator[AudioFrame]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pulled()
            self._graph = None

    def _pulled(self) -> Iterator[AudioFrame]:
        assert self._graph is not None
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                frame = self._graph.pull()
                assert isinstance(frame, AudioFrame)
                yield frame

    def _new_graph(self, frame: AudioFrame) -> Graph:
        form, graph = self._form, Graph()
        links = [
            graph.add(
                "abuffer", time_base=f"1/{frame.sample_rate}",
                sample_rate=str(frame.sample_rate), sample_fmt=frame.format.name,
                channel_layout=frame.layout.name,
            ),
            graph.add("aresample", **{"async": "1"}),  # silence in gaps, as ffmpeg's own programs
            graph.add(
                "aformat", sample_rates=str(form.rate), sample_fmts=form.format,
                channel_layouts=form.layout,
            ),
        ]  # fmt: skip
        if self._beginning is not None or self._stop is not None:
            links.append(graph.add("atrim", **self._range()))
        links.append(graph.add("abuffersink"))
        for before, after in pairwise(links):
            before.link_to(after)
        graph.configure()
        return graph

    def _range(self) -> dict[str, str]:
        """The samples to keep, counted in the output."""
        kept = {} if self._beginning is None else {"start_pts": "0"}
        if self._stop is not None:
            seconds = self._stop - (self._beginning or 0)
            kept["end_pts"] = str(round(seconds * self._form.rate))
        return kept


@dataclass(frozen=True)
class _Form:
    """Sound as an encoder takes it."""

    rate: int
    format: str
    layout: str
    bits: int  # of a sample

    @property
    def channels(self) -> int:
        return av.AudioLayout(self.layout).nb_channels


def _form_for(encoder: str, source: AudioStream) -> _Form:
    """The nearest to a stream's own that an encoder takes. Raises CodecError."""
    known, context = av.Codec(encoder, "w"), source.codec_context
    rate = _nearest_rate(context.sample_rate, known.audio_rates or ())
    wanted = _bits(context.format.name)
    formats = [each.name for each in known.audio_formats or ()] or ["s16"]
    name = min(formats, key=lambda each: _format_cost(wanted, context.format.name, each))
    bits = 24 if encoder in ("alac", "flac", "pcm_s24le") and _bits(name) == 32 else _bits(name)
    own = context.layout.name
    count = max(1, context.layout.nb_channels)
    fewer = reversed(_STANDARD_LAYOUTS[: min(count, len(_STANDARD_LAYOUTS))])
    error: Exception | None = None
    for layout in dict.fromkeys([own, *fewer]):
        try:
            _try_to_open(encoder, rate, name, layout)
        except (av.FFmpegError, ValueError) as complaint:
            error = complaint
            continue
        return _Form(rate, name, layout, bits)
    raise CodecError(
        f"the encoder {encoder} does not take {rate} Hz {own} (stream {source.index} of the sound: "
        f"{error}); use another --audio-codec"
    )


def _lost(source: AudioStream, form: _Form, codec: SoundCodec) -> list[str]:
    context, lost = source.codec_context, []
    where, count = f"the sound, stream {source.index}", context.layout.nb_channels
    if form.channels < count:
        lost.append(f"{where}: {count} channels ({codec.encoder} takes {form.channels})")
    if form.rate < context.sample_rate:
        lost.append(f"{where}: {context.sample_rate} samples/s (now {form.rate})")
    had = _bits(context.format.name)
    raw = context.bits_per_raw_sample if hasattr(context, "bits_per_raw_sample") else 0
    had = min(had, raw or had)
    if codec.bitrate is None and form.bits < had and _is_exact(context.codec.canonical_name):
        lost.append(f"{where}: {had} bits a sample ({codec.encoder} takes {form.bits})")
    return lost


def _is_exact(codec: str) -> bool:
    """Whether decoded samples are those that were recorded, so that every bit counts."""
    return codec.startswith("pcm_") or codec in ("flac", "alac", "wavpack", "tta", "truehd")


def _nearest_rate(rate: int, rates: Sequence[int]) -> int:
    """The same, else the least above, else the greatest."""
    if not rates or rate in rates:
        return rate
    return min((each for each in rates if each > rate), default=max(rates))


def _bits(sample_format: str) -> int:
    name = sample_format.removesuffix("p")
    if name in ("flt", "dbl"):
        return _FLOAT_BITS if name == "flt" else 53
    return int(name.lstrip("us"))


def _format_cost(wanted: int, own: str, name: str) -> tuple[int, int, int]:
    """Sort key: bits lost, bits added, whether the numbers change their kind."""
    bits = _bits(name)
    is_float = name.startswith(("flt", "dbl"))
    changes = is_float != own.startswith(("flt", "dbl"))
    return max(0, wanted - bits), max(0, bits - wanted), int(changes)


def _try_to_open(encoder: str, rate: int, sample_format: str, layout: str) -> None:
    context: Any = av.CodecContext.create(encoder, "w")
    context.sample_rate, context.format, context.layout = rate, sample_format, layout
    context.time_base = Fraction(1, rate)
    context.open()


def _is_taken(muxer: str, name: str) -> bool:
    """Whether a container takes what an encoder makes of a moment of silence."""
    encoder = SOUND_CODECS[name].encoder
    try:
        known = av.Codec(encoder, "w")
        kind = (known.audio_formats or [av.AudioFormat("s16")])[0].name
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            stream = cast("AudioStream", trial.add_stream(encoder, rate=_TRIAL_RATE))
            stream.format, stream.layout = kind, "stereo"
            frame = AudioFrame(kind, "stereo", _TRIAL_SAMPLES)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts, frame.sample_rate = 0, _TRIAL_RATE
            frame.time_base = Fraction(1, _TRIAL_RATE)
            trial.mux([*stream.encode(frame), *stream.encode(None)])
    except (ValueError, av.FFmpegError):
        return False
    return True


def damage_words(index: int, count: int) -> str:
    """What is said of packets of a stream that could not be decoded."""
    return f"{count} damaged packet{'s' * (count != 1)} of the sound, stream {index} (now silence)"
