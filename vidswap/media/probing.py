"""What a file is: its streams, size, times and tags, without decoding more than a frame."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Stream

from vidswap.media.animated_picture import frame_count, is_animated
from vidswap.media.colour import HLG, PQ, ColourTags
from vidswap.media.container import open_clip
from vidswap.media.decoder import VideoReader
from vidswap.media.marks import marks_in, read_marks
from vidswap.media.orientation import Orientation
from vidswap.media.picture import is_picture, picture_format, read_picture
from vidswap.media.sampling import middles, packet_times
from vidswap.media.sequence import is_sequence
from vidswap.media.sequence_picture import texts_of
from vidswap.media.sequence_reader import SequenceReader
from vidswap.media.streams import codec_name, is_chapter_track, is_cover, is_timecode_track
from vidswap.media.timeline import timeline_of

_TOP_FIRST, _BOTTOM_FIRST = (2, 5), (3, 4)  # AVFieldOrder: which field is shown first
_FRAMES_READ = 6  # of a sequence, for its marks
_TRANSFERS = {PQ: "PQ", HLG: "HLG"}


@dataclass(frozen=True)
class StreamInfo:
    """A stream of a container, as the file lists it.

    duration, start: seconds, None where the file does not say. role: what it is for where `kind`
    does not tell: "picture" (the one that is swapped), "second picture", "cover art", "chapters",
    "timecode". title: the stream's, or an attachment's file name.
    """

    kind: str
    codec: str
    language: str | None
    duration: float | None
    channels: int | None = None
    sample_rate: int | None = None
    title: str | None = None
    role: str | None = None
    start: float | None = None


@dataclass(frozen=True)
class LightInfo:
    """High dynamic range: the transfer, "PQ" or "HLG", and which metadata come with it.

    light_level: MaxCLL and MaxFALL in cd/m2. dynamic: names of what changes from frame to frame.
    """

    transfer: str | None = None
    mastering_display: bool = False
    light_level: tuple[int, ...] = ()
    dynamic: tuple[str, ...] = ()


@dataclass(frozen=True)
class MediaInfo:
    """What `probe` finds.

    kind: "video", "picture" or "sequence". width, height: pixels, upright. rotation: clockwise
    degrees from the coded picture to the upright one. fps: frames a second, on average.
    frames: number of frames; `frames_from` is "header" or, where that is silent, "packets".
    duration: seconds. time_base: seconds a tick. marks: vidswap's own, of a synthetic result.
    mirrored: the turn comes with a mirroring. bit_depth: of a sample. scan: "progressive" or
    "interlaced", with the field shown first where that is known. sample_aspect_ratio: width to
    height of a coded pixel, 1 where not stated. start: seconds at which the picture begins.
    chapters: their number.
    """

    path: Path
    kind: str
    container: str
    width: int
    height: int
    rotation: int
    fps: float
    frames: int
    frames_from: str
    duration: float
    time_base: Fraction
    pixel_format: str
    colour: ColourTags
    has_audio: bool
    streams: tuple[StreamInfo, ...]
    marks: dict[str, str] = field(default_factory=dict)
    mirrored: bool = False
    bit_depth: int = 8
    scan: str = "progressive"
    light: LightInfo = field(default_factory=LightInfo)
    sample_aspect_ratio: Fraction = Fraction(1)
    start: float = 0.0
    chapters: int = 0

    @property
    def is_synthetic(self) -> bool:
        """Whether the file says that vidswap made it."""
        return bool(self.marks)


def expected_frames(path: Path, start: float | None, end: float | None) -> int:
    """How many frames a range (seconds) of a clip should have, by its header."""
    info = probe(path)
    if start is None and end is None:
        return info.frames
    seconds = min(end or info.duration, info.duration) - (start or 0.0)
    return max(1, round(seconds * info.fps))


def probe(path: Path) -> MediaInfo:
    """Describe a clip, picture or image sequence. Raises InputNotFoundError, NotAVideoError."""
    if is_sequence(path):
        return _probe_sequence(path)
    return _probe_picture(path) if is_picture(path) else _probe_clip(path)


def _probe_picture(path: Path) -> MediaInfo:
    frame = read_picture(path)
    codec = picture_format(path)
    return MediaInfo(
        path=path,
        kind="picture",
        container=codec,
        width=frame.width,
        height=frame.height,
        rotation=0,
        fps=0.0,
        frames=frame_count(path) if is_animated(path) else 1,
        frames_from="header",
        duration=0.0,
        time_base=frame.time_base,
        pixel_format="rgb24",
        colour=frame.colour,
        has_audio=False,
        streams=(StreamInfo("video", codec, None, None, role="picture"),),
        marks=read_marks(path),
    )


def _probe_sequence(path: Path) -> MediaInfo:
    with SequenceReader(path) as reader:
        numbers = reader.numbers
        codec = reader.name.suffix.lstrip(".").lower()
        last = numbers[-1] - numbers[0] + 1
        return MediaInfo(
            path=path,
            kind="sequence",
            container=f"{reader.name.pattern}, {numbers[0]} to {numbers[-1]}",
            width=reader.width,
            height=reader.height,
            rotation=0,
            fps=float(reader.average_rate),
            frames=len(numbers),
            frames_from="files",
            duration=float(last * reader.time_base),
            time_base=reader.time_base,
            pixel_format=reader.sample_format,
            colour=reader.colour,
            has_audio=False,
            streams=(StreamInfo("video", codec, None, None, role="picture"),),
            marks=_marks_of_sequence(reader),
            bit_depth=reader.bits or 32,
        )


def _marks_of_sequence(reader: SequenceReader) -> dict[str, str]:
    """Those of the first marked frame of a few: frames without a face have none."""
    for place in middles(len(reader.numbers), _FRAMES_READ):
        number = reader.numbers[place]
        path = reader.name.path(number)
        is_flat = is_picture(path)
        marks = read_marks(path) if is_flat else marks_in(texts_of(reader.frame(number).picture))
        if marks:
            return marks
    return {}


def _probe_clip(path: Path) -> MediaInfo:
    with VideoReader(path) as first:
        pass  # opening it decodes the frame that says how the picture is turned
    container, stream = open_clip(path)
    with container:
        frames, source = stream.frames, "header"
        timeline = timeline_of(path)
        end = timeline.stated_end(container, stream)
        if frames == 0 or end is None:
            times = packet_times(path)
            frames, source = len(times.frames), "packets"
            last = times.frames[-1] * times.time_base
            end = end if end is not None else last + 1 / Fraction(first.average_rate)
        starts = (stream.start_time or 0) * first.time_base
        begin = starts + timeline.shift
        return MediaInfo(
            path=path,
            kind="video",
            container=container.format.name,
            width=first.width,
            height=first.height,
            rotation=first.orientation.degrees,
            fps=float(first.average_rate),
            frames=frames,
            frames_from=source,
            duration=float(end - begin),
            time_base=first.time_base,
            pixel_format=first.pixel_format,
            colour=first.colour,
            has_audio=bool(container.streams.audio),
            streams=_streams(container, stream),
            marks=marks_in(container.metadata),
            mirrored=_is_mirrored(first.orientation),
            bit_depth=av.VideoFormat(first.pixel_format).components[0].bits,
            scan=_scan(first),
            light=_light(first),
            sample_aspect_ratio=first.sample_aspect_ratio or Fraction(1),
            start=float(starts),
            chapters=len(container.chapters()),
        )


def _is_mirrored(turn: Orientation) -> bool:
    return (turn.transpose + turn.flip_x + turn.flip_y) % 2 == 1


def _scan(reader: VideoReader) -> str:
    if not reader.interlaced:
        return "progressive"
    if reader.field_order in _TOP_FIRST:
        return "interlaced, top field first"
    return "interlaced" + (", bottom field first" if reader.field_order in _BOTTOM_FIRST else "")


def _light(reader: VideoReader) -> LightInfo:
    hdr = reader.hdr
    return LightInfo(
        transfer=_TRANSFERS.get(reader.colour.transfer),
        mastering_display=bool(hdr.chromaticities or hdr.luminance),
        light_level=hdr.light_level,
        dynamic=hdr.not_kept,
    )


def _streams(container: InputContainer, picture: Stream) -> tuple[StreamInfo, ...]:
    return tuple(_stream_info(stream, picture) for stream in container.streams)


def _stream_info(stream: Stream, picture: Stream) -> StreamInfo:
    context = stream.codec_context
    is_sound = stream.type == "audio"
    is_file = stream.type == "attachment"
    tags = stream.metadata
    return StreamInfo(
        kind=stream.type,
        codec=codec_name(stream) if context is not None else "unknown",
        language=stream.language,
        duration=_seconds(stream.duration, stream.time_base),
        channels=getattr(context, "channels", None) if is_sound else None,
        sample_rate=getattr(context, "sample_rate", None) if is_sound else None,
        title=tags.get("title") or tags.get("name") or (codec_name(stream) if is_file else None),
        role=_role(stream, picture),
        start=_seconds(stream.start_time, stream.time_base),
    )


def _role(stream: Stream, picture: Stream) -> str | None:
    if stream is picture:
        return "picture"
    if is_cover(stream):
        return "cover art"
    if is_chapter_track(stream):
        return "chapters"
    if is_timecode_track(stream):
        return "timecode"
    return "second picture" if stream.type == "video" else None


def _seconds(ticks: int | None, time_base: Fraction | None) -> float | None:
    return None if ticks is None or time_base is None else float(ticks * time_base)
