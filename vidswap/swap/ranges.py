"""A clip cut at its shots into ranges that are swapped apart and joined without coding them again.

Nothing but the numbers of tracks is carried over a cut, and segments and batches end there in any
run. A range that begins where a segment ends with its shot therefore gives, packet by packet, what
a run over the whole clip gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from vidswap.errors import CodecError, NotAVideoError
from vidswap.faces.cuts import sampling_step
from vidswap.faces.detection import Detection, Face, Image
from vidswap.faces.tracking import FaceTracker
from vidswap.media.decoder import VideoReader
from vidswap.media.encoder import VideoWriter
from vidswap.media.probing import expected_frames
from vidswap.media.segments import (
    SegmentFolder,
    mark_complete,
    remove_unfinished_parts,
    remove_work,
    whole_frames,
)
from vidswap.nets import Nets
from vidswap.people.face_selection import FaceChooser
from vidswap.people.main_person import MainPerson
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap.faces import FaceSource, OneSource
from vidswap.swap.job import memory_plan_of
from vidswap.swap.options import SwapCounts
from vidswap.swap.path import swap_segments
from vidswap.swap.request import SwapRequest
from vidswap.swap.resume import ClipWriter, SegmentedClip, Work
from vidswap.swap.stages import SegmentEnds
from vidswap.swap.state import fingerprint

# Frames that a range has at least, by how many the clip has; it ends with its shot.
RANGE_FRAMES, SHORT_RANGE_FRAMES = 500, 100
_RANGES = 16  # that a short clip is cut into, or fewer


@dataclass(frozen=True)
class FrameRange:
    """Frames from time `first` to before `end`, None for the clip's, in units of its time base.

    number: its place in the clip. frames: how many. crc: CRC-32 of the first frame's pixels.
    """

    number: int
    first: int
    end: int | None
    frames: int
    crc: int


def shortest_range(frames: int) -> int:
    """Frames that a range of a clip of so many has at least: few for a short clip, to have some."""
    return min(RANGE_FRAMES, max(SHORT_RANGE_FRAMES, frames // _RANGES))


def ranges_of(
    reader: VideoReader, segment_frames: int, shortest: int = RANGE_FRAMES
) -> Iterator[FrameRange]:
    """Cut a clip into ranges of `shortest` frames or more, as its frames go by.

    A range ends where a segment of a swap ends with its shot. A shot is left whole.
    """
    # The tracker gives back frames when it would in the swap, which no face has a part in; of
    # pixels it looks at those that cuts are found by.
    tracker, ends = FaceTracker(_Blind(), _Blind()), SegmentEnds(segment_frames)
    number = given = start = 0
    first: tuple[int, int] | None = None
    step = sampling_step(reader.height, reader.width)
    for index, frame in enumerate(reader.skim()):
        if first is None:
            first = (frame.pts, fingerprint(frame.frame()))
        given += len(tracker.update(index, frame.sampled(step), frame.seconds))
        is_end = tracker.began_shot and ends.is_end(given, True)
        if not tracker.began_shot:
            ends.is_end(given, False)
        if is_end and given - start >= shortest:
            yield FrameRange(number, first[0], frame.pts, given - start, first[1])
            number, start, first = number + 1, given, (frame.pts, fingerprint(frame.frame()))
    if first is not None:
        given += len(tracker.flush())
        yield FrameRange(number, first[0], None, given - start, first[1])


class _Blind:
    """In the place of nets: sees no face."""

    def detect(self, rgb: Image) -> list[Detection]:
        return []

    def landmarks(self, rgb: Image, around: Detection | Face) -> Face | None:
        return None

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class RangeWork:
    """A range to be swapped, by whatever process; plain data.

    `facts` decide over the frames of the whole clip (`resume.facts_of`); `main` is whom
    `--face largest` means in it.
    """

    request: SwapRequest
    facts: Mapping[str, str]
    range: FrameRange
    main: MainPerson | None = None

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps({**json.loads(self.request.to_json()), "range": vars(self.range)})


@dataclass(frozen=True)
class RangeProgress:
    """So many frames of a range are done."""

    number: int
    frames: int


@dataclass(frozen=True)
class RangeResult:
    """A range that is done. kept: frames of an earlier run. damage: as of `VideoReader`."""

    number: int
    work: Work
    counts: SwapCounts
    kept: int
    damage: str | None
    warnings: tuple[str, ...]


RangeSwapper = Callable[[Iterator[RangeWork]], Iterator[RangeProgress | RangeResult]]
"""Has the ranges of a clip swapped, in any order."""


def swap_range(
    work: RangeWork,
    nets: Nets,
    source: FaceSource,
    progress: Callable[[int], None] = lambda frames: None,
) -> RangeResult:
    """Swap one range; its segments are safe beside the output when this returns.

    An earlier run's segments are gone on with. `progress` is told the frames done.
    """
    request, part = work.request, work.range
    options, counts = request.options, SwapCounts()
    torch.set_num_threads(int(work.facts["threads"]))  # which may decide over the last bits
    facts = {**work.facts, "range": f"{part.first} to {part.end}"}
    with VideoReader(request.target, options.start, options.end, options.hwaccel) as reader:
        plan = memory_plan_of(options, reader, nets.device)
        quality = options.quality(request.target)
        _limit(reader, part)
        with SegmentedClip(request.output, reader, quality, facts, part=part.number) as clip:
            kept = clip.frames_kept
            chooser = FaceChooser.of(options.face, nets, work.main)
            swapped = swap_segments(
                clip.frames, OneSource(chooser, source), nets, options, counts, StageClock(),
                segment_frames=options.segment_frames, begin=clip.begin, plan=plan,
            )  # fmt: skip
            with closing(swapped):
                for item in swapped:
                    clip.write(item)
                    progress(counts.frames)
            made = clip.finish(counts)
        if counts.frames != part.frames:
            raise NotAVideoError(
                f"{request.target} gives {counts.frames} frames from one cut to the next where it "
                f"gave {part.frames} before; it may be damaged: swap it with --jobs 1"
            )
        damage, warnings = reader.truncated, tuple(clip.warnings)
    return RangeResult(part.number, made, counts, kept, damage, warnings)


def _limit(reader: VideoReader, part: FrameRange) -> None:
    """Let a reader give the frames of a range, and see that they are the same as before."""
    for seek in (True, False):
        reader.limit_to(part.first, part.end, seek=seek)
        first = next(iter(reader), None)
        if first is not None and (first.pts, fingerprint(first)) == (part.first, part.crc):
            reader.limit_to(part.first, part.end, seek=seek)
            return
    raise NotAVideoError(
        f"{reader.path} gives other frames when it is read again; it may be damaged: swap it with "
        "--jobs 1"
    )


@dataclass
class RangedClip:
    """In place of `SegmentedClip` where ranges are swapped by others: joins what they have made.

    Holds the output against other runs. Raises OutputInUseError where one is at it.
    """

    output: Path
    facts: Mapping[str, str]
    fresh: bool = False
    warnings: list[str] = field(default_factory=list)
    damage: str | None = None

    def __post_init__(self) -> None:
        self._folder = SegmentFolder(self.output, self.facts, fresh=self.fresh)
        self._results: dict[int, RangeResult] = {}
        self._under_way: dict[int, int] = {}

    def __exit__(self, *_: object) -> None:
        self._folder.close()
        remove_unfinished_parts(self.output)

    @property
    def frames_kept(self) -> int:
        """Frames in whole segments of all ranges."""
        return whole_frames(self.output, self.facts)

    @property
    def frames_of_earlier_runs(self) -> int:
        return sum(result.kept for result in self._results.values())

    def note(self, event: RangeProgress | RangeResult) -> None:
        """Take what is told of a range."""
        if isinstance(event, RangeProgress):
            self._under_way[event.number] = event.frames
        else:
            self._under_way[event.number] = event.counts.frames
            self._results[event.number] = event

    def counts(self) -> SwapCounts:
        """The frames done so far, with what was found in the ranges that are whole."""
        counts = SwapCounts()
        for result in self._ordered():
            counts.join(result.counts)
        return replace(counts, frames=sum(self._under_way.values()))

    def end(self) -> None:
        """All ranges are done: collect what is known of the clip."""
        for result in self._ordered():
            self.warnings += [w for w in result.warnings if w not in self.warnings]
            self.damage = self.damage or result.damage

    def complete(self, new_writer: Callable[[], ClipWriter], counts: SwapCounts) -> ClipWriter:
        """A writer of the output with all ranges in it, to be closed; none is coded again."""
        works = [result.work for result in self._ordered()]
        files = [
            replace(file, name=f"{work.folder.name}/{file.name}")
            for work in works
            for file in work.files
        ]
        if len({file.setup for file in files}) > 1:
            raise CodecError(
                f"the workers' encoders are not alike, and {self.output} cannot be joined; have "
                "all of them run the same versions"
            )
        writer = new_writer()
        assert isinstance(writer, VideoWriter), "only its files are made of segments"
        try:
            writer.join(self.output.parent, files)
            for folder in (self._folder.path, *(work.folder for work in works)):
                mark_complete(folder)
        except BaseException:
            writer.abort()
            raise
        return writer

    def leave_output(self) -> None:
        """The output's file is not touched before `complete`."""

    def discard(self) -> None:
        """Remove all work on the output, once it is complete."""
        self._folder.close()
        remove_work(self.output)

    def _ordered(self) -> Sequence[RangeResult]:
        return [self._results[number] for number in sorted(self._results)]


class Ranges:
    """Has the ranges of a request's clip swapped by others, as they are found."""

    def __init__(self, request: SwapRequest, swapper: RangeSwapper) -> None:
        self._request, self._swapper = request, swapper

    def clip(self, output: Path, facts: Mapping[str, str], fresh: bool) -> RangedClip:
        """What the ranges are joined to. Raises OutputInUseError."""
        self._clip = RangedClip(output, facts, fresh)
        return self._clip

    def swap(self, main: MainPerson | None) -> Generator[SwapCounts]:
        """Have them swapped; what is done so far, again and again."""
        clip = self._clip
        with closing(self._works(clip.facts, main)) as works:
            for event in self._swapper(works):
                clip.note(event)
                yield clip.counts()
        clip.end()
        yield clip.counts()

    def _works(self, facts: Mapping[str, str], main: MainPerson | None) -> Generator[RangeWork]:
        options, target = self._request.options, self._request.target
        shortest = shortest_range(expected_frames(target, options.start, options.end))
        with VideoReader(target, options.start, options.end) as reader:
            for part in ranges_of(reader, options.segment_frames, shortest):
                yield RangeWork(self._request, facts, part, main)
