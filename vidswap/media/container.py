"""Opening clips: every way a file can fail to be one is told apart here."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from vidswap.errors import InputNotFoundError, NotAVideoError
from vidswap.runtime.inputs import check_readable

# A playlist inside a file must not make the demuxer fetch other files or addresses.
_LOCAL_ONLY = {"protocol_whitelist": "file"}
_CHROMA_LOCATION = re.compile(r"[(, ](left|center|topleft|top|bottomleft|bottom)\)")
_DURATION = re.compile(r"(\d{1,5}):(\d\d):(\d\d(?:\.\d+)?)", re.ASCII)  # Matroska's tag
_SERIES = re.compile(r"%0?\d*d")
_MAKE_A_CLIP = "make a clip of it first, as with `ffmpeg -i %05d.png -c:v ffv1 in.mkv`"
_CHECK = "check the name"
# Demuxers that draw any text as a picture, or that read other files than the one named.
_NOT_CLIPS = ("tty", "bin", "xbin", "adf", "idf", "concat", "hls", "dash")


def is_there(path: Path) -> bool:
    """Whether a file or folder exists; False also for a name that the system does not take."""
    try:
        return path.exists()
    except OSError:
        return False


def check_input(path: Path) -> None:
    """Raise InputNotFoundError or NotAVideoError unless `path` is a regular file, not empty."""
    is_series = _SERIES.search(path.name)
    hint = f"a clip is wanted here; {_MAKE_A_CLIP}" if is_series else _CHECK
    check_readable(path, hint=hint)
    if path.is_dir():
        raise NotAVideoError(
            f"{path} is a folder; name a video or picture file (an image sequence: {_MAKE_A_CLIP})"
        )
    if path.stat().st_size == 0:
        raise NotAVideoError(f"{path} is empty (0 bytes); name a video or picture file")


def open_clip(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a clip and choose its video stream (the first that is not cover art).

    Raises InputNotFoundError, or NotAVideoError where no video can be decoded.
    """
    check_input(path)
    try:
        container = open_container(path)
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
    streams.sort(key=_is_still_item)  # of an animated AVIF or HEIC the clip counts
    if streams[0].codec_context is None or not streams[0].width:
        container.close()
        raise NotAVideoError(f"{path} has video of a kind that no decoder here reads")
    return container, streams[0]


def _is_still_item(stream: VideoStream) -> bool:
    """Whether a stream is a picture that stands for a clip in a file of its family (HEIF)."""
    return stream.frames == 1 and stream.duration is None and stream.time_base == 1


def open_container(path: Path, hwaccel: HWAccel | None = None) -> InputContainer:
    """Open a file, with its decoders on a device if one is given. Raises what PyAV raises."""
    return av.open(
        f"file:{path}",
        "r",
        container_options=_LOCAL_ONLY,
        metadata_errors="replace",
        hwaccel=hwaccel,
    )


def reason(error: av.FFmpegError) -> str:
    """The library's own words, without numbers and file names."""
    return str(error.strerror or error).strip().rstrip(".").lower()


def said(words: list[str], error: Exception) -> str:
    """What the library logged (`own_words`), or else the error's own words."""
    own = reason(error) if isinstance(error, av.FFmpegError) else str(error)
    return "; ".join(words).lower() or own


def chroma_location(container: InputContainer, stream: VideoStream) -> str | None:
    """Where the chroma samples lie, in ffmpeg's word for it; None where it is not known.

    PyAV has no attribute for it; the library's description of the file says it when it is verbose.
    """
    described_file: Any = container  # the stubs leave `dumps_format` out
    with _LISTENERS.listening(av.logging.VERBOSE):
        lines = described_file.dumps_format().splitlines()
    mark = re.compile(rf"\s*Stream #0:{stream.index}\b.*: Video: ")
    described = next((line for line in lines if mark.match(line)), "")
    found = _CHROMA_LOCATION.search(described)
    return found[1] if found else None


@contextmanager
def own_words() -> Iterator[list[str]]:
    """What ffmpeg logs as errors within: the lines, filled in when the block is left."""
    lines: list[str] = []
    words: list[tuple[int, str, str]] = []
    try:
        with _LISTENERS.listening(av.logging.ERROR), av.logging.Capture() as words:
            yield lines
    finally:
        errors = (line for level, _, line in words if level <= av.logging.ERROR)
        told = dict.fromkeys(" ".join(line.split()).rstrip(".") for line in errors)
        lines += [line for line in told if line]


class _Listeners:
    """Who listens to the library's log, whose level is one for all threads.

    While anyone does, its threads wait for Python to take each line. So nobody listens longer
    than needed, whatever the order in which listeners in several threads leave.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._levels: list[int] = []
        self._before: tuple[int | None, bool] = (None, True)

    @contextmanager
    def listening(self, level: int) -> Iterator[None]:
        """Have everything up to a level logged within the block."""
        with self._lock:
            if not self._levels:
                self._before = av.logging.get_level(), av.logging.get_skip_repeated()
            self._levels.append(level)
            self._listen()
        try:
            yield
        finally:
            with self._lock:
                self._levels.remove(level)
                self._listen()

    def _listen(self) -> None:
        level, skips = self._before
        if self._levels:
            level, skips = max(self._levels), False  # what is wrong may be what was before
        av.logging.set_level(level)
        av.logging.set_libav_level(av.logging.INFO if level is None else level)
        av.logging.set_skip_repeated(skips)


_LISTENERS = _Listeners()


def stated_end(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Time in seconds at which the header says the video stream ends; None where it does not."""
    if stream.duration and stream.time_base:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    if found := _DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        return int(found[1]) * 3600 + int(found[2]) * 60 + Fraction(found[3])
    if container.duration and len(container.streams) == 1:
        return Fraction((container.start_time or 0) + container.duration, av.time_base)
    return None
