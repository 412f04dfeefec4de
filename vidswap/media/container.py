"""Opening clips: every way a file can fail to be one is told apart here."""

from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from vidswap.errors import InputNotFoundError, NotAVideoError

# A playlist inside a file must not make the demuxer fetch other files or addresses.
_LOCAL_ONLY = {"protocol_whitelist": "file"}
# Demuxers that draw any text as a picture, or that read other files than the one named.
_NOT_CLIPS = ("tty", "bin", "xbin", "adf", "idf", "concat", "hls", "dash")


def check_input(path: Path) -> None:
    """Raise InputNotFoundError or NotAVideoError unless `path` is a file with something in it."""
    if not path.exists():
        raise InputNotFoundError(f"no such file: {path}; check the name")
    if path.is_dir():
        raise NotAVideoError(f"{path} is a folder; name a video or picture file")
    if path.stat().st_size == 0:
        raise NotAVideoError(f"{path} is empty (0 bytes); name a video or picture file")


def open_clip(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a clip and choose its video stream (the first that is not cover art).

    Raises InputNotFoundError, or NotAVideoError where no video can be decoded.
    """
    check_input(path)
    try:
        container = av.open(
            f"file:{path}", "r", container_options=_LOCAL_ONLY, metadata_errors="replace"
        )
    except PermissionError as error:
        raise InputNotFoundError(f"{path} cannot be read: permission denied") from error
    except av.FFmpegError as error:
        raise NotAVideoError(
            f"{path} is not a video or picture that can be read ({reason(error)}); "
            "it may be damaged or of another kind"
        ) from error
    if container.format.name in _NOT_CLIPS:
        kind = container.format.long_name
        container.close()
        raise NotAVideoError(f"{path} is not a video or picture but text ({kind})")
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no streams"
        container.close()
        raise NotAVideoError(f"{path} has no video in it (only {kinds}); name a video or picture")
    if streams[0].codec_context is None or not streams[0].width:
        container.close()
        raise NotAVideoError(f"{path} has video of a kind that no decoder here reads")
    return container, streams[0]


def reason(error: av.FFmpegError) -> str:
    """The library's own words, without numbers and file names."""
    return str(error.strerror or error).strip().rstrip(".").lower()


def stated_end(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Time in seconds at which the header says the video stream ends; None where it does not."""
    if stream.duration and stream.time_base:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    if tag := stream.metadata.get("DURATION"):  # Matroska: hours:minutes:seconds
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    if container.duration and len(container.streams) == 1:
        return Fraction((container.start_time or 0) + container.duration, av.time_base)
    return None
