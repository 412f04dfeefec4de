"""The clock of a file: where it starts, where it jumps, and how packets are re-timed.

Broadcast formats (MPEG transport and program streams) count from any moment, and files of them
joined by `cat` jump back or ahead. As ffmpeg does, a jump back by more than 0.1 s or ahead by more
than 10 s is taken for another clock, and all streams go on where the part before it ends.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from vidswap.media.container import open_clip, stated_end

_FAR = 10  # seconds: a clip that starts later than this has a clock that means nothing
_BACK = Fraction(1, 10)  # seconds that the decoding times of a stream may fall back by
_AHEAD = 10  # seconds that they may leap
_CLOCKED = ("audio", "video")  # kinds of streams that show a jump; subtitles have gaps of any size
_MAY_JUMP = 0x0200  # AVFMT_TS_DISCONT, which the demuxer states
_SEAM = 3  # packets on either side of a jump: parsers hold some back
_NAMED = 3  # jumps that a warning lists
_FILES = 16  # whose clocks are remembered, since each is read whole for it

_Ticks = tuple[int, int]  # number of the packet from which on, ticks to add


@dataclass(frozen=True)
class ClockJump:
    """A jump: where it lies, in seconds from the beginning, and by how much the clock leaps."""

    seconds: float
    leap: float


@dataclass(frozen=True)
class Timeline:
    """How the times of a file's packets are moved.

    shift: seconds added to all times up to the first jump. jumps: in order.
    """

    shift: Fraction = Fraction(0)
    jumps: tuple[ClockJump, ...] = ()
    _added: Mapping[int, tuple[_Ticks, ...]] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether all times stay as the file has them."""
        return not self.shift and not self.jumps

    @property
    def warning(self) -> str | None:
        """What to say of jumps, in one line."""
        if not self.jumps:
            return None
        named = self.jumps[:_NAMED]
        places = ", ".join(f"at {jump.seconds:.2f} s by {jump.leap:+.2f} s" for jump in named)
        more = f" and {len(self.jumps) - len(named)} more" if len(self.jumps) > len(named) else ""
        return (
            f"its clock jumps {places}{more}; picture and sound are re-timed alike to go on there"
        )

    def retimer(self) -> "Retimer":
        """What re-times the packets of a container that is read from its beginning."""
        return Retimer(self)

    def ticks(self, stream: int, number: int) -> int:
        """What to add to the times of a stream's packet, counted from 0."""
        places = self._added.get(stream, ())
        found = places[0][1] if places else 0
        for first, added in places:
            if number < first:
                break
            found = added
        return found

    def is_seam(self, stream: int, number: int) -> bool:
        """Whether the packet lies next to a jump, where a joined file always looks damaged."""
        places = self._added.get(stream, ())[1:]
        return any(abs(number - first) <= _SEAM for first, _ in places)

    def stated_end(self, container: InputContainer, stream: VideoStream) -> Fraction | None:
        """Where the header says that the picture ends, on this clock; with jumps it does not."""
        stated = None if self.jumps else stated_end(container, stream)
        return None if stated is None else stated + self.shift


class Retimer:
    """Moves the times of packets, which it must be given in the order of the file.

    `at_seam` says whether the packet moved last lies next to a jump.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._seen: Counter[int] = Counter()
        self.at_seam = False

    def moved(self, packet: "Packet[Any]") -> None:
        """Set the packet's times to those of the timeline."""
        timeline = self._timeline
        self.at_seam = False
        if timeline.is_plain:
            return
        index = packet.stream_index
        if timeline.jumps:
            added = timeline.ticks(index, self._seen[index])
            self.at_seam = timeline.is_seam(index, self._seen[index])
            self._seen[index] += 1
        else:
            added = round(timeline.shift / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + added
        packet.dts = None if packet.dts is None else packet.dts + added


def timeline_of(path: Path) -> Timeline:
    """The timeline of a clip; only formats whose clocks may jump are read whole, once."""
    state = path.stat() if path.exists() else None
    return _timeline(path, *((state.st_size, state.st_mtime_ns) if state else (0, 0)))


@lru_cache(maxsize=_FILES)
def _timeline(path: Path, size: int, changed: int) -> Timeline:
    container, _ = open_clip(path)
    with container:
        start = _start(container)
        shift = -start if start >= _FAR else Fraction(0)
        if not container.format.flags & _MAY_JUMP:
            return Timeline(shift)
        scan = _Scan(shift)
        for packet in _packets(container):
            scan.add(packet)
        bases = {stream.index: stream.time_base for stream in container.streams}
        return scan.timeline({k: base for k, base in bases.items() if base})


def _start(container: InputContainer) -> Fraction:
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.type in _CLOCKED and stream.start_time is not None and stream.time_base
    ]
    return min(starts, default=Fraction(container.start_time or 0, av.time_base))


def _packets(container: InputContainer) -> Iterator["Packet[Stream]"]:
    """All packets, up to where the file breaks off."""
    packets = container.demux()
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        if packet.size:
            yield packet


@dataclass
class _Run:
    """Packets of one stream on one clock; times in seconds as the file has them."""

    stream: int
    first: int  # number of its first packet
    begin: Fraction  # the first decoding time
    end: Fraction  # where the last packet ends, in decoding order
    earliest: Fraction  # of the times of presentation
    latest: Fraction  # where the last of these ends


class _Scan:
    """Finds the parts of a file that have one clock each, packet by packet."""

    def __init__(self, shift: Fraction) -> None:
        self._shift = shift
        self._parts: list[dict[int, _Run]] = [{}]
        self._part_of: dict[int, int] = {}
        self._seen: Counter[int] = Counter()
        self._others: dict[int, list[tuple[int, int]]] = {}  # packet number, part

    def add(self, packet: "Packet[Stream]") -> None:
        """Take the next packet of the file."""
        index, number = packet.stream_index, self._seen[packet.stream_index]
        self._seen[index] += 1
        if packet.stream.type not in _CLOCKED:
            places = self._others.setdefault(index, [])
            if not places or places[-1][1] != len(self._parts) - 1:
                places.append((number, len(self._parts) - 1))
            return
        time = packet.dts if packet.dts is not None else packet.pts
        lasts = (packet.duration or 0) * packet.time_base
        run = self._run(index)
        if time is None:
            if run is not None:
                run.end += lasts
            return
        decoded = time * packet.time_base
        shown = decoded if packet.pts is None else packet.pts * packet.time_base
        if run is None or _leaps(run, decoded):
            self._enter(index, number, decoded, shown)
            run = self._run(index)
            assert run is not None
        run.end = decoded + lasts
        run.earliest, run.latest = min(run.earliest, shown), max(run.latest, shown + lasts)

    def timeline(self, bases: Mapping[int, Fraction]) -> Timeline:
        """The timeline, once all packets are in. bases: seconds a tick, by stream."""
        offsets, jumps = [self._shift], list[ClockJump]()
        ends: dict[int, tuple[Fraction, Fraction]] = {}
        firsts = [run.earliest for run in self._parts[0].values()]
        zero = min(firsts, default=Fraction(0)) + self._shift
        for part, runs in enumerate(self._parts):
            if part:
                offsets.append(_offset(runs, ends, offsets[-1]))
                begin = min(run.earliest for run in runs.values()) + offsets[-1]
                jumps.append(ClockJump(float(begin - zero), float(offsets[-2] - offsets[-1])))
            for index, run in runs.items():
                ends[index] = (run.end + offsets[-1], run.latest + offsets[-1])
        added: dict[int, tuple[_Ticks, ...]] = {}
        for index, base in bases.items():
            own = [(runs[index].first, n) for n, runs in enumerate(self._parts) if index in runs]
            places = own or self._others.get(index, [])
            added[index] = tuple((first, round(offsets[part] / base)) for first, part in places)
        return Timeline(self._shift, tuple(jumps), added)

    def _run(self, index: int) -> _Run | None:
        part = self._part_of.get(index)
        return None if part is None else self._parts[part][index]

    def _enter(self, index: int, number: int, decoded: Fraction, shown: Fraction) -> None:
        """Let a stream go on in the last later part of about its time, else in a new one."""
        before = self._part_of.get(index, -1)
        later = range(len(self._parts) - 1, before, -1)
        part = next((n for n in later if _is_near(self._parts[n], decoded)), None)
        if part is None:
            self._parts.append({})
            part = len(self._parts) - 1
        self._part_of[index] = part
        self._parts[part][index] = _Run(index, number, decoded, decoded, shown, shown)


def _leaps(run: _Run, decoded: Fraction) -> bool:
    return decoded < run.end - _BACK or decoded > run.end + _AHEAD


def _is_near(runs: Mapping[int, _Run], decoded: Fraction) -> bool:
    """Whether a time lies in a part, or within a leap of where it has come to."""
    if not runs:
        return True
    begin, end = min(r.begin for r in runs.values()), max(r.end for r in runs.values())
    return begin - _AHEAD <= decoded <= end + _AHEAD


def _offset(
    runs: Mapping[int, _Run], ends: Mapping[int, tuple[Fraction, Fraction]], before: Fraction
) -> Fraction:
    """The least to add to a part's times with which no stream goes back behind its own end."""
    known = [run for index, run in runs.items() if index in ends]
    needed = [ends[run.stream][0] - run.begin for run in known]
    needed += [ends[run.stream][1] - run.earliest for run in known]
    if needed:
        return max(needed)
    end = max((latest for _, latest in ends.values()), default=None)
    begin = min(run.earliest for run in runs.values())
    return before if end is None else end - begin
