"""What a file is: its streams, size, times and tags, without decoding more than a frame."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.stream import Stream

from vidswap.media.colour import ColourTags
from vidswap.media.container import open_clip, stated_end
from vidswap.media.decoder import VideoReader
from vidswap.media.picture import is_picture, picture_format, read_picture
from vidswap.media.provenance import marks_in, read_marks
from vidswap.media.sampling import packet_times


@dataclass(frozen=True)
class StreamInfo:
    """A stream of a container: `duration` is in seconds, None where the file does not say."""

    kind: str
    codec: str
    language: str | None
    duration: float | None
    channels: int | None = None
    sample_rate: int | None = None


@dataclass(frozen=True)
class MediaInfo:
    """What `probe` finds.

    kind: "video" or "picture". width, height: pixels, upright. rotation: clockwise degrees
    from the coded picture to the upright one. fps: frames a second, on average.
    frames: number of frames; `frames_from` is "header" or, where that is silent, "packets".
    duration: seconds. time_base: seconds a tick. marks: vidswap's own, of a synthetic result.
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

    @property
    def is_synthetic(self) -> bool:
        """Whether the file says that vidswap made it."""
        return bool(self.marks)


def probe(path: Path) -> MediaInfo:
    """Describe a clip or picture. Raises InputNotFoundError or NotAVideoError."""
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
        frames=1,
        frames_from="header",
        duration=0.0,
        time_base=frame.time_base,
        pixel_format="rgb24",
        colour=frame.colour,
        has_audio=False,
        streams=(StreamInfo("video", codec, None, None),),
        marks=read_marks(path),
    )


def _probe_clip(path: Path) -> MediaInfo:
    with VideoReader(path) as first:
        pass  # opening it decodes the frame that says how the picture is turned
    container, stream = open_clip(path)
    with container:
        frames, source = stream.frames, "header"
        end = stated_end(container, stream)
        if frames == 0 or end is None:
            times = packet_times(path)
            frames, source = len(times.frames), "packets"
            last = times.frames[-1] * times.time_base
            end = end if end is not None else last + 1 / Fraction(first.average_rate)
        begin = (stream.start_time or 0) * first.time_base
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
            streams=_streams(container),
            marks=marks_in(container.metadata),
        )


def _streams(container: InputContainer) -> tuple[StreamInfo, ...]:
    return tuple(_stream_info(stream) for stream in container.streams)


def _stream_info(stream: Stream) -> StreamInfo:
    context = stream.codec_context
    duration = None
    if stream.duration is not None and stream.time_base is not None:
        duration = float(stream.duration * stream.time_base)
    return StreamInfo(
        kind=stream.type,
        codec=context.name if context is not None else "unknown",
        language=stream.language,
        duration=duration,
        channels=getattr(context, "channels", None) if stream.type == "audio" else None,
        sample_rate=getattr(context, "sample_rate", None) if stream.type == "audio" else None,
    )
