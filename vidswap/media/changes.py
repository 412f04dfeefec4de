"""Where a clip changes its size or colour tags, found by the headers inside its packets.

Headers are compared as bytes; only a packet whose header is another one is decoded.
ITU-T H.264 and H.265, 7.4.1 (parameter sets); H.262, 6.2.2 (sequence header); SMPTE RDD 36, 5.1
(ProRes frame header); RFC 6386, 9.1 (VP8); AV1 specification, 5.3 (OBU); ITU-T T.81, B.2 (JPEG).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
from av.codec.context import CodecContext
from av.packet import Packet
from av.stream import Discard
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vidswap.media.colour import UNSPECIFIED, ColourTags
from vidswap.media.container import open_clip
from vidswap.media.timeline import timeline_of

_READ = 65_536  # bytes of a packet in which its headers lie
_FILES = 16  # whose changes are remembered
_START_CODE = re.compile(rb"\x00\x00\x01")
_SEQUENCE = re.compile(rb"\x00\x00\x01\xb3.*?(?=\x00\x00\x01[\x00\xb8])", re.DOTALL)
_VISUAL_LAYER = re.compile(rb"\x00\x00\x01[\x20-\x2f].*?(?=\x00\x00\x01[\xb3\xb6])", re.DOTALL)
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2)
_AV1_SEQUENCE = 1


@dataclass(frozen=True)
class Look:
    """What the frames from a time in seconds on have: coded size and colour tags."""

    seconds: Fraction
    width: int
    height: int
    colour: ColourTags


def looks_of(path: Path) -> tuple[Look, ...]:
    """The looks of a clip in order of time, each another than the one before; all is read once.

    The first is that of the first frame. Raises InputNotFoundError or NotAVideoError.
    """
    state = path.stat() if path.exists() else None
    return _looks(path, *((state.st_size, state.st_mtime_ns) if state else (0, 0)))


@lru_cache(maxsize=_FILES)
def _looks(path: Path, size: int, changed: int) -> tuple[Look, ...]:
    container, stream = open_clip(path)
    retimer = timeline_of(path).retimer()
    looks: list[Look] = []
    with container:
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        context = stream.codec_context
        header_of = _headers(context)
        header, headers = None, context.extradata
        for packet in _packets(container.demux(stream)):
            retimer.moved(packet)
            time = packet.pts if packet.pts is not None else packet.dts
            new_headers = _new_headers(packet)
            headers = new_headers or headers
            found = new_headers or header_of(bytes(memoryview(packet)[:_READ]))
            if not packet.size or time is None or (looks and found in (None, header)):
                continue
            header = found or header
            look = _decoded(context, headers, packet, time * packet.time_base)
            if look is not None and looks:
                look = replace(look, colour=_carried(looks[-1].colour, look.colour))
            if look is not None and (not looks or _differ(look, looks[-1])):
                looks.append(look)
    return tuple(looks)


def _packets(packets: "Iterator[Packet[VideoStream]]") -> "Iterator[Packet[VideoStream]]":
    """All packets, up to where the file breaks off."""
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError):
            return


def _new_headers(packet: "Packet[VideoStream]") -> bytes | None:
    """Global headers that come with a packet in place of the stream's."""
    if not packet.has_sidedata("new_extradata"):
        return None
    return bytes(packet.get_sidedata("new_extradata"))


def _decoded(
    context: VideoCodecContext,
    headers: bytes | None,
    packet: "Packet[VideoStream]",
    seconds: Fraction,
) -> Look | None:
    """The look of a packet's frame, by a decoder of its own; None where it gives none."""
    decoder = CodecContext.create(context.codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata = headers
    decoder.thread_count = 1
    copy = av.Packet(bytes(packet))
    try:
        frames = [*decoder.decode(copy), *decoder.decode(None)]
    except (av.FFmpegError, ValueError):
        return None
    frame = next(iter(frames), None)
    if frame is None:
        return None
    return Look(seconds, frame.width, frame.height, ColourTags.of(frame))


def _differ(one: Look, other: Look) -> bool:
    return (one.width, one.height, one.colour) != (other.width, other.height, other.colour)


def _carried(before: ColourTags, now: ColourTags) -> ColourTags:
    """Tags that a header leaves out stay what they were, as decoders have it."""
    stated = {key: value for key, value in asdict(now).items() if value not in (0, UNSPECIFIED)}
    if now.range:
        stated["range"] = now.range
    return replace(before, **stated)


def _headers(context: VideoCodecContext) -> Callable[[bytes], bytes | None]:
    """A function that gives the header in the beginning of a packet, None where it has none."""
    kind, extradata = context.codec.canonical_name, context.extradata or b""
    if kind in ("h264", "hevc"):
        in_h264 = kind == "h264"
        place = 4 if in_h264 else 21
        prefix = (extradata[place] & 3) + 1 if extradata[:1] == b"\x01" else 0
        return lambda start: _parameter_sets(start, prefix, in_h264)
    known: dict[str, Callable[[bytes], bytes | None]] = {
        "mpeg1video": lambda start: _first(_SEQUENCE, start),
        "mpeg2video": lambda start: _first(_SEQUENCE, start),
        "mpeg4": lambda start: _first(_VISUAL_LAYER, start),
        "vp8": lambda start: start[6:10] if start[3:6] == b"\x9d\x01\x2a" else None,
        "vp9": lambda start: start[1:9] if start[1:4] == b"\x49\x83\x42" else None,
        "av1": _av1_sequence,
        "prores": lambda start: start[16:25] if start[4:8] == b"icpf" else None,
        "mjpeg": _jpeg_frame,
    }
    return known.get(kind, lambda start: None)


def _first(pattern: re.Pattern[bytes], start: bytes) -> bytes | None:
    found = pattern.search(start)
    return found[0] if found else None


def _parameter_sets(start: bytes, prefix: int, in_h264: bool) -> bytes | None:
    """Sequence parameter sets before the first slice. prefix: bytes of a length, 0: start codes."""
    found = b""
    for unit in _units(start, prefix):
        if not unit:
            continue
        kind = unit[0] & 31 if in_h264 else unit[0] >> 1 & 63
        if kind == (7 if in_h264 else 33):
            found += unit.rstrip(b"\x00")
        elif (1 <= kind <= 5) if in_h264 else kind < 32:
            break
    return found or None


def _units(start: bytes, prefix: int) -> Iterator[bytes]:
    if not prefix:
        places = [match.end() for match in _START_CODE.finditer(start)]
        for begin, following in zip(places, [*places[1:], len(start) + 3], strict=False):
            yield start[begin : following - 3]
        return
    place = 0
    while place + prefix < len(start):
        size = int.from_bytes(start[place : place + prefix])
        yield start[place + prefix : place + prefix + size]
        place += prefix + size


def _av1_sequence(start: bytes) -> bytes | None:
    place = 0
    while place < len(start):
        head, size, shift = start[place], 0, 0
        place += 2 if head & 4 else 1
        if not head & 2:  # without a size, to the end
            return start[place:] if head >> 3 & 15 == _AV1_SEQUENCE else None
        while place < len(start):
            byte = start[place]
            place += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if head >> 3 & 15 == _AV1_SEQUENCE:
            return start[place : place + size]
        place += size
    return None


def _jpeg_frame(start: bytes) -> bytes | None:
    place = 2
    while place + 4 <= len(start) and start[place] == 0xFF:
        size = int.from_bytes(start[place + 2 : place + 4])
        if start[place + 1] in _JPEG_FRAMES:
            return start[place : place + 2 + size]
        place += 2 + size
    return None
