"""Frames evenly spaced over a clip, without decoding all of it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Discard
from av.video.stream import VideoStream

from vidswap.media.container import open_clip
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.picture import is_picture, read_picture
from vidswap.media.sequence import is_sequence
from vidswap.media.sequence_reader import SequenceReader
from vidswap.media.timeline import Retimer, timeline_of


@dataclass(frozen=True)
class PacketTimes:
    """Times of a clip's frames as its packets state them, in order, and of its key frames."""

    frames: tuple[int, ...]
    keys: tuple[int, ...]
    time_base: Fraction


def packet_times(path: Path) -> PacketTimes:
    """Read the times of all video packets; nothing is decoded. Stops where the file breaks off.

    Headers are not trusted: they miss or misstate the number of frames in many files.
    """
    container, stream = open_clip(path)
    with container:
        frames, keys = _read_times(container, stream, timeline_of(path).retimer())
        return PacketTimes(
            tuple(sorted(frames)), tuple(sorted(keys)), stream.time_base or Fraction(1, 90_000)
        )


def _read_times(
    container: InputContainer, stream: VideoStream, retimer: Retimer
) -> tuple[set[int], set[int]]:
    frames: set[int] = set()
    keys: set[int] = set()
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    try:
        for packet in container.demux(stream):
            retimer.moved(packet)
            time = packet.pts if packet.pts is not None else packet.dts
            if time is None or packet.is_discard:
                continue
            frames.add(time)
            if packet.is_keyframe:
                keys.add(time)
    except av.FFmpegError:
        pass  # a clip that breaks off is sampled over the part that is there
    return frames, keys


def sample_frames(path: Path, count: int) -> list[Frame]:
    """Up to `count` frames evenly spaced over a clip, in order; fewer where it has fewer.

    A clip of N frames gives the middle frames of `count` equal parts. A picture gives itself.
    Raises InputNotFoundError or NotAVideoError.
    """
    return list(spaced_frames(path, count))


def spaced_frames(path: Path, count: int) -> Iterator[Frame]:
    """The frames of `sample_frames`, one in memory at a time."""
    if is_picture(path):
        yield read_picture(path)
        return
    if is_sequence(path):
        with SequenceReader(path) as frames:
            for place in middles(len(frames.numbers), count):
                yield frames.frame(frames.numbers[place])
        return
    times = packet_times(path)
    with VideoReader(path) as reader:
        wanted = [times.frames[index] for index in middles(len(times.frames), count)]
        yield from frames_at(reader, wanted, times.keys)


def frames_at(reader: VideoReader, wanted: Iterable[int], keys: Sequence[int]) -> Iterator[Frame]:
    """The frames of the times `wanted`, which rise; ends where the clip breaks off.

    keys: times of the key frames. The reader seeks only where one lies between two frames.
    """
    position: int | None = None
    for pts in wanted:
        seek = position is None or any(position < key <= pts for key in keys)
        frame = reader.frame_at(pts, seek=seek)
        if frame is None:
            return
        position = frame.pts
        yield frame


def middles(length: int, parts: int) -> list[int]:
    """The middle of each of `parts` equal runs of `length` places, without repeats.

    Raises ValueError for fewer than one part.
    """
    if parts < 1:
        raise ValueError(f"the count must be at least 1, got {parts}")
    if length == 0:
        return []
    return sorted({(2 * part + 1) * length // (2 * parts) for part in range(parts)})
