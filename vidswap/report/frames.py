"""A target and its swap side by side: frames paired by the times at which they are shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.errors import BadOptionError
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.picture import is_picture, read_picture
from vidswap.media.probing import probe
from vidswap.media.sequence import is_sequence
from vidswap.media.sequence_reader import SequenceReader
from vidswap.runtime.overlap import Overlapped
from vidswap.runtime.stage_clock import StageClock

Picture = NDArray[np.uint8]

QUEUE_DEPTH = 3  # decoded frames of each clip that wait
SAME_TIME = 0.25  # part of the shorter frame time by which paired frames may be apart
SAME_SHAPE = 0.01  # part by which the clips' height over width may differ
SAME_RATE = 0.01  # part by which their frame rates may differ without a warning
SHORTER = 0.1  # seconds by which one clip may end before the other without a warning
MAX_SHIFT = 3  # frames by which the swap is tried earlier and later
SHIFT_GAIN = 0.6  # a shift is reported where it leaves less than this of the difference
LEAST_DIFFERENCE = 1.0  # grey levels of the thumbnails below which no shift is detected
_PICTURE_RATE = 25.0
_THUMBNAIL = (48, 27)  # pixels


@dataclass(frozen=True, eq=False)
class FramePair:
    """Two frames shown at one time, (H, W, 3) uint8 RGB of one size, `seconds` from the start."""

    index: int
    seconds: float
    target: Picture
    swapped: Picture


class _Clip:
    """One of the two: its size, rate and frames, timed from its first one. A picture is a frame."""

    def __init__(
        self, path: Path, start: float | None, end: float | None, fps: float | None = None
    ) -> None:
        self.path = path
        self.begins = 0.0  # second of the whole clip at which the first frame is; once it is read
        self.reader: VideoReader | SequenceReader | None = None
        if is_sequence(path):
            self._open_sequence(SequenceReader(path, start, end, fps=fps))
            return
        stated = probe(path)
        self.size = (stated.width, stated.height)
        self.rate = stated.fps or _PICTURE_RATE
        first, last = start or 0.0, stated.duration if end is None else min(end, stated.duration)
        self.seconds = max(0.0, last - first)
        self.frames = min(stated.frames, max(1, round(self.seconds * self.rate)))
        if is_picture(path):
            self._still = read_picture(path)
        else:
            self.reader = VideoReader(path, start, end)

    def _open_sequence(self, reader: SequenceReader) -> None:
        self.reader = reader
        self.size, self.rate = (reader.width, reader.height), float(reader.average_rate)
        self.frames = len(reader.numbers)
        self.seconds = (reader.numbers[-1] - reader.numbers[0] + 1) / self.rate

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.reader if self.reader is not None else [self._still])

    @property
    def damage(self) -> str | None:
        """How the clip broke off; known once it is read."""
        return self.reader.truncated if self.reader is not None else None

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()


class PairedClips:
    """Pairs of frames of two clips, decoded in threads of their own; iterate once.

    Times count from each clip's first frame. A frame is paired with the nearest of the other clip
    if they are at most `SAME_TIME` of a frame apart; a target's frame without one is `missing`.
    A swap of another size but the same aspect ratio is scaled to the target's.

    Raises BadOptionError for clips of different aspect ratios, and what opening them raises.

    Attributes: `size` (width, height) and `rate` of the target, `expected`, about how many pairs
    there will be; from the first pair on `begins`, its second of the whole target; once iterated
    `pairs`, `missing` (frames of the target, while both clips ran),
    and `warnings`, in words.
    """

    def __init__(
        self,
        target: Path,
        swapped: Path,
        start: float | None = None,
        end: float | None = None,
        clock: StageClock | None = None,
    ) -> None:
        self._clock = clock or StageClock()
        self._stack = ExitStack()
        try:
            # Frames that state no rate have that of the clip they are beside.
            rates = [None if is_sequence(path) else probe(path).fps for path in (target, swapped)]
            self._target = _Clip(target, start, end, rates[1])
            self._stack.callback(self._target.close)
            self._swapped = _Clip(swapped, None, None, rates[0])
            self._stack.callback(self._swapped.close)
            self.size, self.rate = self._target.size, self._target.rate
            self.expected = min(self._target.frames, self._swapped.frames)
            self.warnings = _differences(self._target, self._swapped)
        except BaseException:
            self._stack.close()
            raise
        self.pairs = self.missing = 0
        self.begins = 0.0
        self._shift = _ShiftFinder()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop decoding and release both files."""
        self._stack.close()

    def __iter__(self) -> Iterator[FramePair]:
        streams: list[Overlapped[tuple[float, Picture]]] = []
        for name, clip in (("decode target", self._target), ("decode swap", self._swapped)):
            decoded = self._clock.timed(name, _from_zero(clip))
            streams.append(self._stack.enter_context(Overlapped(decoded, QUEUE_DEPTH, name)))
        tolerance = SAME_TIME / max(self._target.rate, self._swapped.rate)
        targets, swaps = streams
        for index, seconds, one, other in paired_by_time(targets, swaps, tolerance):
            if other is None:
                self.missing += 1
                continue
            if other.shape != one.shape:
                scaled = cv2.resize(other, self.size, interpolation=cv2.INTER_AREA)
                other = np.asarray(scaled, np.uint8)
            self.pairs += 1
            self._shift.add(one, other)
            self.begins = self._target.begins
            yield FramePair(index, seconds, one, other)
        self._conclude()

    def _conclude(self) -> None:
        """Say what became known on the way."""
        self.warnings += [clip.damage for clip in (self._target, self._swapped) if clip.damage]
        if self.missing:
            self.warnings.append(
                f"{self.missing} of {self.missing + self.pairs} frames of the target have no "
                "frame of the swap at their time; they are not measured"
            )
        if shift := self._shift.shift:
            late = "late" if shift > 0 else "early"
            self.warnings.append(
                f"the swap seems to be {abs(shift)} frame(s) {late} against the target, which "
                "makes all numbers worse"
            )


def paired_by_time(
    targets: Iterable[tuple[float, Picture]],
    swaps: Iterable[tuple[float, Picture]],
    tolerance: float,
) -> Iterator[tuple[int, float, Picture, Picture | None]]:
    """Number, time and picture of every target frame, and the swap's of that time or None.

    Both streams are in order of time; it ends where either does. A frame is given once at most.
    """
    others = iter(swaps)
    waiting: deque[tuple[float, Picture]] = deque()
    over = False
    for index, (seconds, picture) in enumerate(targets):
        while not over and (not waiting or waiting[-1][0] < seconds + tolerance):
            following = next(others, None)
            over = following is None
            if following is not None:
                waiting.append(following)
        while len(waiting) > 1 and abs(waiting[1][0] - seconds) <= abs(waiting[0][0] - seconds):
            waiting.popleft()
        if over and (not waiting or waiting[-1][0] < seconds - tolerance):
            return
        if abs(waiting[0][0] - seconds) <= tolerance:
            yield index, seconds, picture, waiting.popleft()[1]
        else:
            yield index, seconds, picture, None


class _ShiftFinder:
    """Whether the swap runs some frames late or early, by small grey pictures of both."""

    def __init__(self) -> None:
        self._targets: deque[NDArray[np.float32]] = deque(maxlen=2 * MAX_SHIFT + 1)
        self._swaps: deque[NDArray[np.float32]] = deque(maxlen=2 * MAX_SHIFT + 1)
        self._differences = np.zeros(2 * MAX_SHIFT + 1)
        self._count = 0

    def add(self, target: Picture, swapped: Picture) -> None:
        self._targets.append(_thumbnail(target))
        self._swaps.append(_thumbnail(swapped))
        if len(self._targets) == 2 * MAX_SHIFT + 1:
            middle = self._targets[MAX_SHIFT]
            self._differences += [float(np.abs(middle - swap).mean()) for swap in self._swaps]
            self._count += 1

    @property
    def shift(self) -> int:
        """Frames by which the swap is late; negative if early, 0 where that is not clear."""
        best = int(self._differences.argmin())
        here = float(self._differences[MAX_SHIFT])
        clear = self._differences[best] < SHIFT_GAIN * here
        if not clear or here < LEAST_DIFFERENCE * self._count:
            return 0
        return best - MAX_SHIFT


def _thumbnail(rgb: Picture) -> NDArray[np.float32]:
    step = max(1, min(rgb.shape[:2]) // (4 * _THUMBNAIL[1]))
    sampled = np.ascontiguousarray(rgb[::step, ::step, 1])
    return np.asarray(cv2.resize(sampled, _THUMBNAIL, interpolation=cv2.INTER_AREA), np.float32)


def _from_zero(clip: _Clip) -> Iterator[tuple[float, Picture]]:
    """Time from the first frame, and pixels, of every frame."""
    beginning: float | None = None
    for frame in clip:
        if beginning is None:
            beginning = frame.seconds
            clip.begins = beginning - float(clip.reader.zero) if clip.reader is not None else 0.0
        yield frame.seconds - beginning, frame.rgb


def _differences(target: _Clip, swapped: _Clip) -> list[str]:
    """What differs between the clips, in words. Raises BadOptionError."""
    (width, height), (other_width, other_height) = target.size, swapped.size
    sizes = f"{width}x{height} and {other_width}x{other_height}"
    shapes = height / width, other_height / other_width
    if abs(shapes[0] / shapes[1] - 1.0) > SAME_SHAPE:
        raise BadOptionError(
            f"{target.path} and {swapped.path} have different aspect ratios, {sizes}, and "
            "cannot be compared; give the target that was swapped, or scale without cropping"
        )
    found = []
    if target.size != swapped.size:
        found.append(
            f"the clips are of different sizes, {sizes}: the swap was scaled to the target's, "
            "which costs likeness and sharpness"
        )
    if abs(target.rate / swapped.rate - 1.0) > SAME_RATE:
        found.append(
            f"the clips are of different rates, {target.rate:.5g} and {swapped.rate:.5g} frames "
            "per second: only frames shown at the same time are compared"
        )
    gap = target.seconds - swapped.seconds
    if abs(gap) > SHORTER + 1.0 / target.rate:
        shorter, longer = ("swap", "target") if gap > 0 else ("target", "swap")
        found.append(
            f"the {shorter} is {min(target.seconds, swapped.seconds):.2f} s long, the {longer} "
            f"{max(target.seconds, swapped.seconds):.2f} s; only what both show is measured"
        )
    return found
