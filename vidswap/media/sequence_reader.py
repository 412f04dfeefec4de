"""An image sequence as a clip: one Frame after another, with the attributes of a VideoReader."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from vidswap.errors import BadOptionError, NotAVideoError
from vidswap.media.dpx import DpxPicture
from vidswap.media.mastering import HdrMetadata
from vidswap.media.orientation import Orientation
from vidswap.media.sequence import found_sequence, missing_frames
from vidswap.media.sequence_picture import frame_rate, read_sequence_picture
from vidswap.media.still import StillFrame
from vidswap.media.timeline import Timeline

USUAL_RATE = 24.0  # frames a second, where neither files nor options say
_PROGRESSIVE = 1  # AVFieldOrder


class SequenceReader:
    """Frames of an image sequence from `start` up to, not including, `end`, in seconds.

    Each is held at its number's time: where numbers are missing there is a gap, which `warnings`
    names. `fps` None is what the files state, else USUAL_RATE; `colour_space` None is the
    formats' own (`read_sequence_picture`).

    Raises InputNotFoundError, NotAVideoError, BadOptionError, MissingLibraryError, also while it is
    iterated, for a frame that cannot be read or is of another size.

    Attributes: as those of `VideoReader`; `name`, the SequenceName; `numbers`, those in the range;
    `first_number`, that of the sequence's first frame, which is at time 0.
    """

    hwaccel: str | None = None
    truncated: str | None = None
    chroma_location: str | None = None
    interlaced = False
    field_order = _PROGRESSIVE
    sample_aspect_ratio: Fraction | None = None

    def __init__(
        self,
        path: Path,
        start: float | None = None,
        end: float | None = None,
        *,
        fps: float | None = None,
        colour_space: str | None = None,
    ) -> None:
        self.path, self._colour_space = path, colour_space
        self.name = found_sequence(path)
        every = self.name.numbers()
        self.first_number = every[0]
        first = read_sequence_picture(self.name.path(every[0]), colour_space)
        rate = fps or frame_rate(first) or USUAL_RATE
        self.average_rate = Fraction(rate).limit_denominator(1001)
        self.time_base = 1 / self.average_rate
        self.beginning, self.stop = _exact(start), _exact(end)
        self.numbers = self._within(every, start, end)
        self._missing = missing_frames(self.numbers)
        self._is_log = isinstance(first, DpxPicture) and first.is_log
        still = first.still
        self.height, self.width = still.view.shape[:2]
        self.coded_width, self.coded_height = self.width, self.height
        self.bits = still.bits
        self.pixel_format = "rgb24" if still.bits == 8 else "gbrp16le"
        self.colour = StillFrame.of(first, every[0], 0, self.time_base).colour
        self.hdr, self.orientation, self.timeline = HdrMetadata(), Orientation(), Timeline()
        self.zero = Fraction(0)
        self.first_pts = self.numbers[0] - self.first_number
        self.first = first
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[StillFrame]:
        while self._next < len(self.numbers):
            self._next += 1
            yield self.frame(self.numbers[self._next - 1])

    @property
    def warnings(self) -> list[str]:
        """What there is to say of the sequence, a line each."""
        lines = []
        if self._missing:
            lines.append(f"{self.path}: {self._missing}; they are missing in the output too")
        if self._is_log:
            lines.append(
                f"{self.path} says that it has film densities (log) and is read as sRGB; name its "
                "colour space with --colour-space"
            )
        return lines

    @property
    def sample_format(self) -> str:
        """The samples as the files have them, in words."""
        return f"rgb, {self.bits} bits" if self.bits else "rgb, floats"

    @property
    def bytes_per_frame(self) -> int:
        """Bytes of a frame as the stages hold it: its samples, its file's and the view."""
        sample = 4 if self.bits == 0 else 2 if self.bits > 8 else 1
        return int(self.width * self.height * (3 + 2 * 4 * sample))

    def frame(self, number: int) -> StillFrame:
        """The frame of a number."""
        path = self.name.path(number)
        picture = read_sequence_picture(path, self._colour_space)
        height, width = picture.still.view.shape[:2]
        if (width, height) != (self.width, self.height):
            raise NotAVideoError(
                f"{path} is {width}x{height} in a sequence of {self.width}x{self.height}; "
                "frames of a sequence have one size"
            )
        return StillFrame.of(picture, number, number - self.first_number, self.time_base)

    def frame_at(self, pts: int, *, seek: bool) -> StillFrame | None:
        """First frame at or after a time in units of `time_base`, None past the last."""
        later = (number for number in self.numbers if number - self.first_number >= pts)
        number = next(later, None)
        return None if number is None else self.frame(number)

    def go_to(self, pts: int | None, *, seek: bool = True) -> None:
        """Iterate from the first frame at or after a time in units of `time_base`.

        None is where the range begins.
        """
        wanted = self.first_pts if pts is None else pts
        places = (
            n for n, number in enumerate(self.numbers) if number - self.first_number >= wanted
        )
        self._next = next(places, len(self.numbers))

    def close(self) -> None:
        """Nothing is held open."""

    def _within(self, every: list[int], start: float | None, end: float | None) -> list[int]:
        if start is not None and start < 0:
            raise BadOptionError(f"start {start} s is negative; it counts from the first frame")
        if end is not None and end <= (start or 0):
            raise BadOptionError(f"end {end} s is not after start {start or 0} s")
        first = self.first_number
        tick = self.time_base
        inside = [
            number
            for number in every
            if (self.beginning is None or (number - first) * tick >= self.beginning)
            and (self.stop is None or (number - first) * tick < self.stop)
        ]
        if not inside:
            raise BadOptionError(
                f"{self.path} has no frame from {start or 0} s to "
                f"{'its end' if end is None or math.isinf(end) else f'{end} s'} at "
                f"{float(self.average_rate):g} frames/s"
            )
        return inside


def _exact(seconds: float | None) -> Fraction | None:
    return None if seconds is None else Fraction(seconds).limit_denominator(1_000_000)
