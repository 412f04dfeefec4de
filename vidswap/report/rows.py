"""One frame in numbers: every metric that a single frame, or a frame and its neighbours, has."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vidswap.faces.pose import HeadPose, gaze, head_pose
from vidswap.metrics.faults import (
    FaceRegions,
    colour_shift,
    face_regions,
    seam,
    sharpness_ratio,
    swap_strength,
)
from vidswap.metrics.fid import FeatureMoments
from vidswap.metrics.flow import FlowMeter, FlowStep
from vidswap.metrics.geometry import expression_percent, gaze_distance, openings, pose_distance
from vidswap.metrics.identity import cosine, identity_discrepancy, match_score, retrieved
from vidswap.metrics.image import mean_similarity, psnr_of, squared_error, ssim_map, weighted_mean
from vidswap.metrics.jitter import JitterMeter
from vidswap.metrics.perceptual import dipd
from vidswap.report.faces import MeasuredFrame, PairedFace
from vidswap.report.nets import ReportNets, Seen
from vidswap.runtime.stage_clock import StageClock

Row = dict[str, float]

BATCH = 4  # frames that the nets see at once
POOLED_WIDTH = 256


@dataclass(frozen=True, eq=False)
class SourceView:
    """The source: embeddings (K, D) of its pictures, and (M, D) of other people, maybe none."""

    shots: NDArray[np.float32]
    others: NDArray[np.float32]

    @property
    def mean(self) -> NDArray[np.float32]:
        mean: NDArray[np.float32] = self.shots.mean(axis=0)
        return mean


@dataclass
class Columns:
    """The curves of a clip, a few dozen numbers per frame; NaN where a frame has no value."""

    count: int = 0
    _values: dict[str, array[float]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """The next frame's numbers."""
        for name, value in row.items():
            if name not in self._values:
                self._values[name] = array("d", [np.nan] * self.count)
            self._values[name].append(value)
        self.count += 1
        for values in self._values.values():
            if len(values) < self.count:
                values.append(np.nan)

    def set_last(self, name: str, back: int, value: float) -> None:
        """Put in what became known of the frame `back` frames before the last."""
        if name not in self._values:
            self._values[name] = array("d", [np.nan] * self.count)
        self._values[name][self.count - 1 - back] = value

    def put(self, name: str, values: NDArray[np.floating]) -> None:
        """A whole curve (T,)."""
        self._values[name] = array("d", np.asarray(values, np.float64).tolist())

    def get(self, name: str) -> NDArray[np.float64]:
        """A curve (T,); NaN throughout where it was never measured."""
        if name not in self._values:
            return np.full(self.count, np.nan)
        return np.array(self._values[name], np.float64)

    def __contains__(self, name: str) -> bool:
        return name in self._values


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """A frame, what the nets see of it before and after the swap, and its step of the flow."""

    frame: MeasuredFrame
    before: Seen | None
    after: Seen | None
    step: FlowStep | None = None


def see_frames(
    frames: Iterable[MeasuredFrame], nets: ReportNets, clock: StageClock
) -> Iterator[SeenFrame]:
    """Run the nets on every face, a few frames at once; order is kept."""
    waiting: list[MeasuredFrame] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == BATCH:
            yield from _see_batch(waiting, nets, clock)
            waiting = []
    yield from _see_batch(waiting, nets, clock)


def _see_batch(
    frames: Sequence[MeasuredFrame], nets: ReportNets, clock: StageClock
) -> list[SeenFrame]:
    faces = [frame.face for frame in frames if frame.face is not None]
    if not faces:
        return [SeenFrame(frame, None, None) for frame in frames]
    with clock("identity, DIPD, FID"):
        crops = [face.crops[0] for face in faces] + [face.crops[1] for face in faces]
        seen = nets.see(crops)
    results, n = [], 0
    for frame in frames:
        if frame.face is None:
            results.append(SeenFrame(frame, None, None))
        else:
            results.append(SeenFrame(frame, seen.of(n), seen.of(len(faces) + n)))
            n += 1
    return results


def follow_flow(frames: Iterable[SeenFrame], clock: StageClock) -> Iterator[SeenFrame]:
    """Measure the flow of every frame whose area is watched, of each person on their own."""
    meters: defaultdict[int, FlowMeter] = defaultdict(FlowMeter)
    for seen in frames:
        area = seen.frame.area
        if area is not None:
            with clock("flow"):
                step = meters[seen.frame.person].add(*area.pictures)
            seen = replace(seen, step=step)
        yield seen


class FrameMeter:
    """Turns frames, in order, into numbers; the moments are of dlib's features, for the FID."""

    def __init__(self, nets: ReportNets, source: SourceView | None, clock: StageClock) -> None:
        self._nets, self._source, self._clock = nets, source, clock
        self.has_source = source is not None
        self._jitter = JitterMeter()
        self._track: int | None = None
        self.columns = Columns()
        self.target_moments = FeatureMoments(POOLED_WIDTH)
        self.swap_moments = FeatureMoments(POOLED_WIDTH)

    def measure(self, seen: SeenFrame) -> Row:
        """Measure the next frame and add it to the curves."""
        frame, face = seen.frame, seen.frame.face
        row: Row = {"seconds": frame.seconds, "frame": float(frame.index)}
        row["has_face"] = float(face is not None)
        if face is not None and seen.before is not None and seen.after is not None:
            row |= self._identity(seen.before, seen.after)
            row |= self._geometry(face)
            row |= self._pixels(face)
        if seen.step is not None:
            row |= flow_row(seen.step)
        self.columns.add(row)
        shaken = self._shaken(face)
        if not np.isnan(shaken):
            self.columns.set_last("landmark_jitter", 1, shaken)
        return row

    def _shaken(self, face: PairedFace | None) -> float:
        """The jitter of the frame before this one; another person begins anew."""
        if face is None or face.track != self._track:
            self._jitter = JitterMeter()
        self._track = face.track if face is not None else None
        return self._jitter.add(
            face.before.landmarks if face and face.before else None,
            face.after.landmarks if face and face.after else None,
        )

    def _identity(self, before: Seen, after: Seen) -> Row:
        with self._clock("identity, DIPD, FID"):
            self.target_moments.add(before.pooled)
            self.swap_moments.add(after.pooled)
            own, swap = before.embeddings[0], after.embeddings[0]
            row = {
                "cosine_to_target": cosine(swap, own),
                "dipd": dipd(before.middle[0], after.middle[0]),
            }
            if before.conv5 is not None and after.conv5 is not None:
                row["dipd_vgg"] = dipd(before.conv5[0], after.conv5[0])
            source = self._source
            if source is not None:
                rivals = np.concatenate([own[None], source.others])
                row |= {
                    "identity_retrieval": float(retrieved(swap, source.shots, rivals)),
                    "cosine_to_source": cosine(swap, source.mean),
                    "cosine_to_source_target": cosine(own, source.mean),
                    "identity_discrepancy": identity_discrepancy(swap, source.mean),
                    "match_score": match_score(swap, source.mean),
                }
            return row

    def _geometry(self, face: PairedFace) -> Row:
        with self._clock("pose, expression, gaze"):
            row: Row = {}
            if face.before is None:
                return row
            target = face.before.landmarks
            row |= mesh_row(target, "_target")
            row["face_lost"] = float(face.after is None)
            if face.after is not None:
                swap = face.after.landmarks
                row |= mesh_row(swap)
                row["pose_distance"] = pose_distance(_pose(row, "_target"), _pose(row))
                row["expression_distance"] = expression_percent(target, swap)
                row["gaze_distance"] = gaze_distance(target, swap)
            if face.heads is not None and self._nets.pose is not None:
                row["pose_distance_net"] = pose_distance(*map(self._nets.pose, face.heads))
            return row

    def _pixels(self, face: PairedFace) -> Row:
        target, swap = face.crops
        with self._clock("SSIM, PSNR, MSE"):
            regions: FaceRegions = face_regions(face.outline, len(target))
            similarity, errors = ssim_map(target, swap), squared_error(target, swap)
            whole, inner = weighted_mean(errors), weighted_mean(errors, regions.face)
            row = {
                "ssim": mean_similarity(similarity),
                "ssim_face": mean_similarity(similarity, regions.face),
                "ssim_outside": mean_similarity(similarity, regions.outside),
                "mse": whole,
                "mse_face": inner,
                "psnr": psnr_of(whole),
                "psnr_face": psnr_of(inner),
            }
        with self._clock("seam, colour, sharpness"):
            row |= {
                "seam": seam(target, swap, regions),
                "colour_shift": colour_shift(target, swap, regions),
                "sharpness_ratio": sharpness_ratio(target, swap, regions),
                "swap_strength": swap_strength(target, swap, regions),
            }
        return row


def flow_row(step: FlowStep) -> Row:
    """The curves of a step of the flow."""
    return {
        "flow_warp_short": step.warp_short_swap,
        "flow_warp_short_target": step.warp_short_target,
        "flow_warp_long": step.warp_long_swap,
        "flow_warp_long_target": step.warp_long_target,
        "endpoint_error": step.endpoint_error,
    }


def mesh_row(landmarks: NDArray[np.floating], suffix: str = "") -> Row:
    """Angles, openings and gaze of a mesh (478, 2)."""
    pose = head_pose(landmarks)
    eyes, mouth = openings(landmarks)
    right, down = gaze(landmarks)
    values = {
        "yaw": pose.yaw,
        "pitch": pose.pitch,
        "roll": pose.roll,
        "eye_opening": eyes,
        "mouth_opening": mouth,
        "gaze_right": right,
        "gaze_down": down,
    }
    return {name + suffix: value for name, value in values.items()}


def _pose(row: Row, suffix: str = "") -> HeadPose:
    return HeadPose(*(row[angle + suffix] for angle in ("yaw", "pitch", "roll")))
