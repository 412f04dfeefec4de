"""What a plan measures of an image sequence: its frames, and a few of them swapped and written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.probing import probe
from vidswap.media.sampling import middles
from vidswap.media.sequence_picture import encoded_as, lost_as
from vidswap.media.sequence_reader import SequenceReader
from vidswap.media.still import StillFrame
from vidswap.nets import Nets
from vidswap.people.source import SourceIdentity
from vidswap.swap.faces import FaceAssigner
from vidswap.swap.options import SwapOptions
from vidswap.swap.path import swap_frames
from vidswap.swap.plan_records import StreamPlan, TargetPlan
from vidswap.swap.plan_trial import N_SAMPLES, Sampled, sampled_frames, survey_of
from vidswap.swap.sequence_clip import as_stills

_DEEP = (".exr", ".dpx")  # get all that a clip's frames have


@dataclass(frozen=True)
class FramesTrial:
    """Frames swapped and written: seconds and bytes of each, and what their files cannot hold."""

    frames: int
    seconds: float
    bytes: float
    samples: str
    colour: str
    lost: tuple[str, ...]


def frames_of_range(
    target: Path, reader: VideoReader | SequenceReader
) -> tuple[TargetPlan, Iterator[Frame]]:
    """The target's range, and frames spread evenly over it."""
    size = (reader.width, reader.height)
    if isinstance(reader, SequenceReader):
        numbers = reader.numbers
        rate = float(reader.average_rate)
        plan = TargetPlan(
            str(target), "sequence", reader.name.suffix.lstrip("."), reader.sample_format, *size,
            0, mirrored=False, scan="progressive", fps=rate, variable_rate=False,
            frames=len(numbers), seconds=(numbers[-1] - numbers[0] + 1) / rate,
        )  # fmt: skip
        wanted = [numbers[place] for place in middles(len(numbers), N_SAMPLES)]
        return plan, (reader.frame(number) for number in wanted)
    info, survey = probe(target), survey_of(target, reader)
    codec = next(stream.codec for stream in info.streams if stream.role == "picture")
    plan = TargetPlan(
        str(target), info.kind, codec, info.pixel_format, info.width, info.height, info.rotation,
        info.mirrored, info.scan, info.fps, survey.is_variable, len(survey.frames), survey.seconds,
        reader.hwaccel,
    )  # fmt: skip
    return plan, sampled_frames(target, survey, hwaccel=reader.hwaccel)


def timed_frames(
    reader: VideoReader | SequenceReader,
    suffix: str,
    sampled: Sampled,
    source: SourceIdentity | FaceAssigner,
    nets: Nets,
    options: SwapOptions,
) -> FramesTrial:
    """Swap frames of the sample that have a face, or else the range's first, and write them."""
    frames = sampled.frames or [next(iter(reader))]
    begun, sizes = time.monotonic(), []
    stills = [_read_again(frame, reader, suffix) for frame in frames]
    for frame in swap_frames(stills, source, nets, options):
        assert isinstance(frame, StillFrame)
        sizes.append(len(encoded_as(frame.picture, suffix, frame.rgb, {})))
    seconds = (time.monotonic() - begun) / len(stills)
    picture = stills[0].picture
    still = picture.still
    bits = f"{still.bits} bits" if still.bits else "floats"
    light = "light" if still.space.is_linear else "codes"
    return FramesTrial(
        len(stills), seconds, sum(sizes) / len(sizes), f"from {bits} a sample",
        f"{light} in {still.space.name}, kept", tuple(lost_as(picture, suffix)),
    )  # fmt: skip


def streams_as_frames(
    target: Path, reader: VideoReader | SequenceReader, suffix: str
) -> tuple[tuple[StreamPlan, ...], list[str]]:
    """What becomes of the target's streams, and what is said of those that frames do not hold."""
    kind = suffix.lstrip(".")
    if isinstance(reader, SequenceReader):
        own = reader.name.suffix.lstrip(".")
        return (StreamPlan(0, "picture", own, None, "encoded", kind),), []
    streams = probe(target).streams
    plans = tuple(
        StreamPlan(n, s.kind, s.codec, s.language, "encoded", kind)
        if s.role == "picture"
        else StreamPlan(n, s.kind, s.codec, s.language, "dropped", "frames have none")
        for n, s in enumerate(streams)
    )
    sound = any(stream.kind == "audio" for stream in streams)
    return plans, ["sound (frames have none)"] if sound else []


def _read_again(frame: Frame, reader: VideoReader | SequenceReader, suffix: str) -> StillFrame:
    if isinstance(reader, SequenceReader):
        assert isinstance(frame, StillFrame)
        return reader.frame(frame.number)
    return next(as_stills([frame], deep=suffix in _DEEP))
