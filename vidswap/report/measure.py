"""Measure a swapped clip against its target and its source, in one pass over both.

Of a frame only its numbers are kept, and the crops of the few worst and best.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from vidswap.choices import DEFAULT_K_SHOT
from vidswap.errors import BadOptionError, InputNotFoundError, VidswapError
from vidswap.media.decoder import VideoReader
from vidswap.media.picture import is_picture
from vidswap.media.sequence import is_sequence
from vidswap.media.sequence_reader import SequenceReader
from vidswap.metrics.bootstrap import LEVEL, RESAMPLES
from vidswap.metrics.fid import frechet_of_moments
from vidswap.metrics.record import Report
from vidswap.metrics.registry import with_limits
from vidswap.nets import one_core
from vidswap.people.main_person import MainPerson, main_person_of, main_person_of_sequence
from vidswap.people.source import pictures_in
from vidswap.provenance.verify import Verification, verify_file
from vidswap.report.faces import FaceChoice, FaceWatch, Followed, OneFace, chooser_of
from vidswap.report.figures import ClipFacts, add_derived, curves_of, figures_of
from vidswap.report.frames import PairedClips
from vidswap.report.moments import MomentKeeper
from vidswap.report.nets import ReportNets
from vidswap.report.rows import Columns, FrameMeter, SourceView, follow_flow, see_frames
from vidswap.runtime.overlap import Overlapped
from vidswap.runtime.stage_clock import StageClock

if TYPE_CHECKING:
    from vidswap.swap.options import SwapOptions

Progress = Callable[[int, int], None]  # frames measured, and about how many there are

QUEUE_DEPTH = 4  # frames of small crops between two stages
_LATEST_START = 1e7  # seconds; a mark may say anything


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """How to measure.

    - id_model: face net that judges identity, ONNX or TensorFlow.js; None for dlib's
    - pose_model: a HopeNet-like ONNX net
    - vgg: torchvision's VGG-16 weights
    - gallery: folder of photographs of other people, as rivals of the source
    - face: "largest", or a picture of the person in the target
    - source_face: None, "largest" or a picture of the person
    - k_shot: frames sampled from a source clip
    - start, end: swapped range of the target, seconds; None for the one the swap states, or all
    - limits: of the verdict, by metric, instead of the registry's; None removes one
    - moments: how many worst, and how many best frames are kept
    """

    id_model: Path | None = None
    pose_model: Path | None = None
    vgg: Path | None = None
    gallery: Path | None = None
    face: str | Path = "largest"
    source_face: str | Path | None = None
    k_shot: int = DEFAULT_K_SHOT
    start: float | None = None
    end: float | None = None
    limits: Mapping[str, float | None] = field(default_factory=dict)
    moments: int = 4

    @classmethod
    def of_swap(cls, swap: SwapOptions) -> ReportOptions:
        """Those that measure a swap with the faces and the range it was made with."""
        return cls(
            k_shot=swap.k_shot,
            face="largest" if swap.face == "all" else swap.face,
            source_face=swap.source_face,
            start=swap.start,
            end=swap.end,
        )

    def __post_init__(self) -> None:
        for name, value, least in (("k-shot", self.k_shot, 1), ("moments", self.moments, 0)):
            if value < least:
                raise BadOptionError(f"--{name} {value}; it must be {least} or more")
        with_limits(self.limits)


def measure_clip(
    target: Path,
    swapped: Path,
    source: Sequence[Path] = (),
    options: ReportOptions | None = None,
    progress: Progress | None = None,
    nets: ReportNets | None = None,
) -> Report:
    """Measure `swapped`, made from `target` with the face of `source`.

    Without a source the measures of likeness to it are absent. A clip without a face gives a report
    that says so. `nets` may be loaded once for several clips; they are then left open, and must be
    of the options' models. Raises BadOptionError for clips that cannot be laid over each other, and
    what reading the files and nets raises.
    """
    options, clock = options or ReportOptions(), StageClock()
    with ExitStack() as stack:
        pair = stack.enter_context(ClipPair(target, swapped, options, clock))
        if nets is None:
            nets = stack.enter_context(closing(load_report_nets(options)))
        with clock("source"):
            view, notes = source_view(source, options, nets)
        with clock("people"):
            main = _main_person(target, options, pair.start, nets)
        choice = OneFace(chooser_of(options.face, nets.reader, main))
        watch, (measured,) = measure_faces(pair, choice, [view], nets, progress)
    report = pair.report(measured, source, nets)
    warnings = (
        *pair.clips.warnings,
        *notes,
        *_watched(measured.meter.columns, watch.crowded),
        *_followed(watch.followed[0]),
    )
    return replace(report, warnings=warnings)


class ClipPair:
    """Two clips opened to be measured, and what the swapped one claims; close it, or use `with`."""

    def __init__(
        self, target: Path, swapped: Path, options: ReportOptions, clock: StageClock
    ) -> None:
        self.target, self.swapped, self.options, self.clock = target, swapped, options, clock
        self.metrics = with_limits(options.limits)
        self.claim = _claim(swapped)
        given = options.start
        self.start = given if given is not None else _recorded_start(self.claim)
        self.clips = PairedClips(target, swapped, self.start, options.end, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clips.close()

    def report(
        self,
        measured: MeasuredPerson,
        source: Sequence[Path],
        nets: ReportNets,
    ) -> Report:
        """What was measured of a person whose face is that of `source`; adds derived curves."""
        meter, clips = measured.meter, self.clips
        columns = meter.columns
        with self.clock("figures and intervals"):
            facts = ClipFacts(_clip_values(meter, clips), clips.rate, meter.has_source)
            figures = figures_of(self.metrics, columns, facts, nets.names)
        seconds = columns.get("seconds")
        return Report(
            target=str(self.target),
            swapped=str(self.swapped),
            source=", ".join(str(path) for path in source) or None,
            frames=clips.pairs,
            frames_with_face=int((columns.get("has_face") > 0).sum()),
            seconds=float(seconds[-1] - seconds[0]) + 1.0 / clips.rate if len(seconds) else 0.0,
            size=clips.size,
            figures=figures,
            curves=curves_of(self.metrics, columns),
            moments=measured.keeper.moments(),
            settings=_settings(self.options, self.start, nets, self.clock),
            provenance=self.claim,
        )


@dataclass(frozen=True, eq=False)
class MeasuredPerson:
    """The curves of a person, and the frames worth seeing."""

    meter: FrameMeter
    keeper: MomentKeeper


def measure_faces(
    pair: ClipPair,
    choice: FaceChoice,
    views: Sequence[SourceView | None],
    nets: ReportNets,
    progress: Progress | None = None,
) -> tuple[FaceWatch, list[MeasuredPerson]]:
    """Measure every person of `choice`, whose sources are `views`, in one pass over both clips."""
    clips, clock = pair.clips, pair.clock
    watch = FaceWatch(clips, nets.reader, choice, clock, heads=nets.pose is not None)
    people = [
        MeasuredPerson(FrameMeter(nets, view, clock), MomentKeeper(pair.options.moments))
        for view in views
    ]
    with ExitStack() as stack:
        stack.enter_context(one_core())
        frames = stack.enter_context(Overlapped(watch, QUEUE_DEPTH, "faces"))
        seen = stack.enter_context(Overlapped(see_frames(frames, nets, clock), QUEUE_DEPTH, "nets"))
        flowed = stack.enter_context(Overlapped(follow_flow(seen, clock), QUEUE_DEPTH, "flow"))
        for item in flowed:
            person = people[item.frame.person]
            person.keeper.add(item.frame, person.meter.measure(item), item.step)
            if progress is not None and person is people[-1]:
                done = person.meter.columns.count
                progress(done, max(done, clips.expected))
    return watch, people


def _clip_values(meter: FrameMeter, clips: PairedClips) -> dict[str, float]:
    """The metrics of the whole clip that no curve has."""
    values = add_derived(meter.columns)
    if meter.target_moments.count > 1:
        values["fid_dlib"] = frechet_of_moments(meter.target_moments, meter.swap_moments)
    if clips.pairs:
        values["missing_frames"] = clips.missing / (clips.missing + clips.pairs)
    return values


def _settings(
    options: ReportOptions, start: float | None, nets: ReportNets, clock: StageClock
) -> dict[str, Any]:
    """How it was measured, and the seconds that each part took, which overlap."""
    return {
        "face": str(options.face),
        "start": start,
        "end": options.end,
        "nets": {kind: name for kind, name in nets.names.items() if kind and name},
        "interval": f"{LEVEL:.0%}, moving-block bootstrap, {RESAMPLES} resamples",
        "seconds_by_metric": {name: round(s, 3) for name, s in clock.seconds().items()},
    }


def load_report_nets(options: ReportOptions) -> ReportNets:
    """The nets of a report; close them. Raises MissingWeightsError, MissingLibraryError."""
    return ReportNets.load(options.id_model, options.vgg, options.pose_model)


def source_view(
    source: Sequence[Path], options: ReportOptions, nets: ReportNets
) -> tuple[SourceView | None, list[str]]:
    """The source's embeddings by the judge, and warnings about it; None without a source."""
    if not source:
        return None, []
    found = nets.reader.read(list(source), options.k_shot, options.source_face)
    if not found.crops:
        raise BadOptionError(
            f"{source[0]} holds no pictures, which a report compares with; give photographs, or an "
            "identity file that has them"
        )
    notes = [f"source: {name} was left out: {why}" for name, why in found.left_out]
    shots = nets.embed(list(found.crops))
    others = np.zeros((0, shots.shape[1]), np.float32)
    if options.gallery is not None:
        others = _gallery(options.gallery, nets)
    return SourceView(shots, others), notes


def _main_person(
    target: Path, options: ReportOptions, start: float | None, nets: ReportNets
) -> MainPerson | None:
    """Whom `largest` means, as a swap of the same range finds it."""
    if options.face != "largest" or is_picture(target):
        return None
    if is_sequence(target):
        return main_person_of_sequence(SequenceReader(target, start, options.end), nets.reader)
    with VideoReader(target, start, options.end) as reader:
        beginning, stop = reader.beginning, reader.stop
    return main_person_of(target, nets.reader, beginning, stop)


def _gallery(folder: Path, nets: ReportNets) -> NDArray[np.float32]:
    """Embeddings (M, D) of the people in a folder's photographs, one per picture."""
    if not folder.is_dir():
        raise InputNotFoundError(f"{folder}: no such folder; give a folder of photographs")
    pictures = pictures_in(folder)
    crops = [nets.reader.read([path], choose="largest").crops[0] for path in pictures]
    return np.concatenate([nets.embed([crop]) for crop in crops])


def _watched(columns: Columns, crowded: int) -> Iterator[str]:
    """Warnings about the face that was measured; crowded: frames with several faces."""
    n_faces = int((columns.get("has_face") > 0).sum())
    if columns.count == 0:
        yield "the clips have no frame in common; nothing was measured"
    elif n_faces == 0:
        yield "no face was found in the target: only whole clips could be compared"
    elif is_unchanged(columns):
        another = ", or another person's face" if crowded else ""
        yield f"the face never changes by more than a codec does: nothing was swapped{another}"
    if 0 < n_faces < columns.count:
        yield f"{columns.count - n_faces} of {columns.count} frames show no face to measure"
    if crowded:
        yield (
            f"{crowded} frames of the target show several faces; one is measured: "
            "choose it with --face PICTURE of that person"
        )


def is_unchanged(columns: Columns) -> bool:
    """Whether the face that was measured is the target's own throughout; once it is reported."""
    return "swap_strength" in columns and "unswapped_frames" not in columns


def _followed(followed: Followed) -> Iterator[str]:
    """Warnings about how the one face was followed."""
    if len(followed.tracks) > 1:
        times = ", ".join(f"{seconds:.2f} s" for _, seconds in followed.tracks[1:])
        yield f"the face that is measured changes at {times}: cuts, or another person"
    yield from flow_ended(followed)


def flow_ended(followed: Followed) -> Iterator[str]:
    """Up to when the flow was measured, where that was not to the end."""
    if followed.flow_ended is not None:
        yield (
            f"the flow is measured up to {followed.flow_ended:.2f} s, when the face left its area "
            "(AP-GAN, IV.C)"
        )


def _claim(swapped: Path) -> dict[str, Any]:
    """What the swapped file claims about its making, in plain values."""
    try:
        found: Verification = verify_file(swapped)
    except VidswapError as error:
        return {"verdict": "unread", "reason": str(error)}
    claim = found.to_dict()
    claim.pop("path")
    plain: dict[str, Any] = json.loads(json.dumps(claim, default=str))
    return plain


def _recorded_start(claim: Mapping[str, Any]) -> float | None:
    """The second of the target at which the swap begins, by its own marks."""
    try:
        settings = json.loads(claim.get("marks", {}).get("vidswap_settings", "{}"))
    except (TypeError, ValueError, RecursionError):
        return None
    start = settings.get("start") if isinstance(settings, dict) else None
    if not isinstance(start, int | float) or not 0 <= start < _LATEST_START:
        return None
    return float(start)
