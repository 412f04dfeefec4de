"""Measure a swapped clip against its target and its source, in one pass over both.

Of a frame only its numbers are kept, and the crops of the few worst and best.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from vidswap.report.faces import FaceWatch, chooser_of
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
    metrics = with_limits(options.limits)
    claim = _claim(swapped)
    start = options.start if options.start is not None else _recorded_start(claim)
    with ExitStack() as stack:
        clips = stack.enter_context(PairedClips(target, swapped, start, options.end, clock))
        if nets is None:
            nets = stack.enter_context(closing(load_report_nets(options)))
        with clock("source"):
            view, notes = _source_view(source, options, nets)
        with clock("people"):
            main = _main_person(target, options, start, nets)
        watch = FaceWatch(
            clips,
            nets.reader,
            chooser_of(options.face, nets.reader, main),
            clock,
            heads=nets.pose is not None,
        )
        stack.enter_context(one_core())
        frames = stack.enter_context(Overlapped(watch, QUEUE_DEPTH, "faces"))
        seen = stack.enter_context(Overlapped(see_frames(frames, nets, clock), QUEUE_DEPTH, "nets"))
        flowed = stack.enter_context(Overlapped(follow_flow(seen, clock), QUEUE_DEPTH, "flow"))
        meter, keeper = FrameMeter(nets, view, clock), MomentKeeper(options.moments)
        for item in flowed:
            keeper.add(item.frame, meter.measure(item), item.step)
            if progress is not None:
                progress(meter.columns.count, max(meter.columns.count, clips.expected))
    columns = meter.columns
    with clock("figures and intervals"):
        facts = ClipFacts(_clip_values(meter, clips), clips.rate, view is not None)
        figures = figures_of(metrics, columns, facts, nets.names)
    seconds = columns.get("seconds")
    return Report(
        target=str(target),
        swapped=str(swapped),
        source=", ".join(str(path) for path in source) or None,
        frames=clips.pairs,
        frames_with_face=int((columns.get("has_face") > 0).sum()),
        seconds=float(seconds[-1] - seconds[0]) + 1.0 / clips.rate if len(seconds) else 0.0,
        size=clips.size,
        figures=figures,
        curves=curves_of(metrics, columns),
        moments=keeper.moments(),
        warnings=(*clips.warnings, *notes, *_watched(watch, columns)),
        settings=_settings(options, start, nets, clock),
        provenance=claim,
    )


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


def _source_view(
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


def _watched(watch: FaceWatch, columns: Columns) -> Iterator[str]:
    """Warnings about the face that was followed."""
    n_faces = int((columns.get("has_face") > 0).sum())
    if columns.count == 0:
        yield "the clips have no frame in common; nothing was measured"
    elif n_faces == 0:
        yield "no face was found in the target: only whole clips could be compared"
    elif "swap_strength" in columns and "unswapped_frames" not in columns:
        another = ", or another person's face" if watch.crowded else ""
        yield f"the face never changes by more than a codec does: nothing was swapped{another}"
    if 0 < n_faces < columns.count:
        yield f"{columns.count - n_faces} of {columns.count} frames show no face to measure"
    if watch.crowded:
        yield (
            f"{watch.crowded} frames of the target show several faces; one is measured: "
            "choose it with --face PICTURE of that person"
        )
    if len(watch.tracks) > 1:
        times = ", ".join(f"{seconds:.2f} s" for _, seconds in watch.tracks[1:])
        yield f"the face that is measured changes at {times}: cuts, or another person"
    if watch.flow_ended is not None:
        yield (
            f"the flow is measured up to {watch.flow_ended:.2f} s, when the face left its area "
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
