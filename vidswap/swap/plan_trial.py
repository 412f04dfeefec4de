"""What a plan measures: the target's packets, faces in a sample of it, a short stretch swapped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from av.stream import Stream

from vidswap.faces.tracking import TrackedFace
from vidswap.media.container import open_clip
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.picture_encoder import PictureEncoder, Quality
from vidswap.media.sampling import frames_at, middles
from vidswap.nets import Nets
from vidswap.people.embedding import FaceSampler
from vidswap.people.face_selection import FaceChooser
from vidswap.people.main_person import MainPerson
from vidswap.people.source import SourceIdentity, SourceReader, face_size
from vidswap.runtime.stage_clock import StageClock
from vidswap.swap.faces import FaceAssigner
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.path import swap_frames

N_SAMPLES = 12  # frames of the target in which faces are looked for
RUN_FRAMES = 24  # frames in a row that are swapped and encoded to measure
KEY_EVERY = 250  # frames from key frame to key frame of most encoders
_OF_FACES = ("align", "generate", "smooth", "blend")  # stages that only frames with a face have


@dataclass(frozen=True)
class Survey:
    """A clip by its packets: times of the frames of the range and of all key frames, in ticks.

    sizes: bytes by stream of the whole file. whole: seconds of all frames, `seconds` those of the
    range. end: time in seconds at which the last frame ends.
    """

    frames: tuple[int, ...]
    keys: tuple[int, ...]
    time_base: Fraction
    sizes: dict[int, int]
    whole: float
    seconds: float
    end: Fraction

    @property
    def is_variable(self) -> bool:
        """Whether frames last differently long, by more than times rounded to ticks do."""
        steps = np.diff(self.frames)
        return len(steps) > 1 and bool(np.ptp(steps) > 1)


@dataclass(frozen=True)
class FacesFound:
    """Faces in frames spread evenly over the target.

    people: faces by sampled frame. chosen: in how many of them a face is to be swapped.
    face_pixels: the longer side of these faces, median over frames; None where there is none.
    """

    people: tuple[int, ...]
    chosen: int
    face_pixels: int | None

    @property
    def sampled(self) -> int:
        return len(self.people)

    @property
    def with_face(self) -> int:
        return sum(count > 0 for count in self.people)


@dataclass
class Sampled:
    """`FacesFound` while it is made, and up to two frames with a face to be swapped."""

    people: list[int] = field(default_factory=list)
    pixels: list[float] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    times: list[int] = field(default_factory=list)  # of all frames with a face to be swapped

    def found(self) -> FacesFound:
        median = round(float(np.median(self.pixels))) if self.pixels else None
        return FacesFound(tuple(self.people), len(self.pixels), median)


@dataclass(frozen=True)
class Trial:
    """A short stretch of a swap.

    seconds: a frame with the target's share of faces takes. frames: how many were swapped.
    key_bytes: of one key frame; frame_bytes: of one other frame, None where all are key frames.
    """

    seconds: float
    frames: int
    key_bytes: float
    frame_bytes: float | None

    def bytes_of(self, frames: int, segment_frames: int) -> int:
        """Size of a picture stream of so many frames."""
        if self.frame_bytes is None:
            return round(frames * self.key_bytes)
        keys = -(-frames // min(KEY_EVERY, segment_frames))
        return round(keys * self.key_bytes + (frames - keys) * self.frame_bytes)


def survey_of(target: Path, reader: VideoReader) -> Survey:
    """Read all packets of a clip; nothing is decoded. `reader` says what the range is."""
    container, video = open_clip(target)
    sizes: Counter[int] = Counter()
    retimer = reader.timeline.retimer()
    times, keys = set[int](), set[int]()
    with container:
        for packet in _packets(container):
            retimer.moved(packet)
            sizes[packet.stream_index] += packet.size
            moment = packet.pts if packet.pts is not None else packet.dts
            if packet.stream_index == video.index and moment is not None and not packet.is_discard:
                times.add(moment)
                if packet.is_keyframe:
                    keys.add(moment)
    tick, step = reader.time_base, 1 / Fraction(reader.average_rate)
    after, before = reader.beginning, reader.stop
    inside = [
        moment
        for moment in sorted(times)
        if (after is None or moment * tick >= after) and (before is None or moment * tick < before)
    ]
    last = max(times, default=0) * tick + step
    return Survey(
        tuple(inside), tuple(sorted(keys)), tick, dict(sizes),
        float(last - min(times, default=0) * tick),
        float((inside[-1] - inside[0]) * tick + step) if inside else 0.0,
        last,
    )  # fmt: skip


def sampled_frames(
    target: Path, survey: Survey, count: int = N_SAMPLES, *, hwaccel: str | None = None
) -> Iterator[Frame]:
    """The middle frames of `count` equal parts of the range, one at a time."""
    wanted = [survey.frames[place] for place in middles(len(survey.frames), count)]
    with VideoReader(target, hwaccel=hwaccel) as reader:
        yield from frames_at(reader, wanted, survey.keys)


def look_for_faces(
    frames: Iterator[Frame], nets: Nets, face: str | Path, main: MainPerson | None = None
) -> Sampled:
    """Count people and choose among them as a swap does, frame by frame."""
    chooser = FaceChooser.of(face, nets, main)
    finder, sampler = SourceReader.of(nets), FaceSampler(nets.encoder)
    sampled, number = Sampled(), 0
    for frame in frames:
        tracked = []
        for found in finder.faces(frame.rgb):
            identity, weight = sampler.sample(frame.rgb, found)
            tracked.append(
                TrackedFace(number, found, found.landmarks, True, frame.seconds, identity, weight)
            )
            number += 1  # frames far apart: nobody is followed from one to the next
        chosen = chooser.choose(frame.rgb, tracked)
        sampled.people.append(len(tracked))
        if chosen:
            sampled.pixels.append(max(face_size(item.face) for item in chosen))
            sampled.times.append(frame.pts)
            sampled.frames = [*sampled.frames, frame][:2]
    return sampled


def trial_run(
    reader: VideoReader,
    output: Path,
    survey: Survey,
    sampled: Sampled,
    source: SourceIdentity | FaceAssigner,
    nets: Nets,
    options: SwapOptions,
    quality: Quality,
) -> Trial:
    """Swap and encode a short stretch, with a face in it where there is one; nothing is written."""
    warm_up(sampled, source, nets, options)
    encoder = PictureEncoder(output, reader, quality)
    packets, counts, clock = list[tuple[int, bool]](), SwapCounts(), StageClock()
    reader.go_to(_begin_of_run(survey, sampled))
    stretch = islice(reader, RUN_FRAMES)
    first = list(islice(stretch, 1))  # decodes from the key frame before it, which is not counted
    begun = time.monotonic()
    for frame in swap_frames(chain(first, stretch), source, nets, options, counts, clock):
        with clock("encode"):
            packets += [(p.size, p.is_keyframe) for p in encoder.encode(frame)]
    with clock("encode"):
        packets += [(p.size, p.is_keyframe) for p in encoder.flush()]
    encoder.close()
    wall = time.monotonic() - begun
    share = len(sampled.pixels) / max(1, len(sampled.people))
    keys = [size for size, is_key in packets if is_key]
    others = [size for size, is_key in packets if not is_key]
    return Trial(
        _seconds_a_frame(clock.seconds(), counts, wall, share), counts.frames,
        float(np.mean(keys or [0])), float(np.mean(others)) if others else None,
    )  # fmt: skip


def warm_up(
    sampled: Sampled, source: SourceIdentity | FaceAssigner, nets: Nets, options: SwapOptions
) -> None:
    """Swap a frame twice: what compiles itself at its first use must not be measured."""
    for frame in sampled.frames[:1]:
        for _ in swap_frames([frame, frame], source, nets, options):
            pass


def timed_picture(
    frame: Frame, source: SourceIdentity | FaceAssigner, nets: Nets, options: SwapOptions
) -> float:
    """Seconds that the swap of a picture takes."""
    begun = time.monotonic()
    for _ in swap_frames([frame], source, nets, options):
        pass
    return time.monotonic() - begun


def _packets(container: av.container.InputContainer) -> Iterator[Packet[Stream]]:
    """All packets, up to where the file breaks off."""
    packets = container.demux()
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError):
            return


def _begin_of_run(survey: Survey, sampled: Sampled) -> int:
    """Time of the first frame of the stretch: with a face in the middle, else in the middle."""
    times = survey.frames
    middle = times[len(times) // 2]
    near = min(sampled.times, key=lambda moment: abs(moment - middle), default=middle)
    index = int(np.searchsorted(times, near))
    return times[max(0, min(index, len(times) - RUN_FRAMES))]


def _seconds_a_frame(
    stages: dict[str, float], counts: SwapCounts, wall: float, share: float
) -> float:
    """Seconds for the average frame of a target in which a `share` of frames has a face.

    Stages overlap: their sum is longer than the `wall` time, for all by the same factor.
    """
    with_face = counts.frames - counts.frames_without_face
    of_faces = sum(stages.get(stage, 0.0) for stage in _OF_FACES)
    of_all = sum(stages.values()) - of_faces
    each = of_all / max(1, counts.frames) + share * of_faces / max(1, with_face)
    return each * wall / max(of_all + of_faces, 1e-9)
