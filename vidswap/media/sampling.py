"""Frames evenly spaced over a clip, without decoding all of it."""

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
        frames, keys = _read_times(container, stream)
        return PacketTimes(
            tuple(sorted(frames)), tuple(sorted(keys)), stream.time_base or Fraction(1, 90_000)
        )


def _read_times(container: InputContainer, stream: VideoStream) -> tuple[set[int], set[int]]:
    frames: set[int] = set()
    keys: set[int] = set()
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    try:
        for packet in container.demux(stream):
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
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if is_picture(path):
        return [read_picture(path)]
    times = packet_times(path)
    wanted = _middles(times.frames, count)
    found: list[Frame] = []
    with VideoReader(path) as reader:
        position: int | None = None
        for pts in wanted:
            seek = position is None or any(position < key <= pts for key in times.keys)
            frame = reader.frame_at(pts, seek=seek)
            if frame is None:
                break
            found.append(frame)
            position = frame.pts
    return found


def _middles(times: tuple[int, ...], count: int) -> list[int]:
    """The middle of each of `count` equal runs of `times`, without repeats."""
    indices = {(2 * part + 1) * len(times) // (2 * count) for part in range(count)}
    return [times[index] for index in sorted(indices)]
