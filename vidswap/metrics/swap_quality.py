"""The measures of one clip: each frame's against its target, and their summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidswap.faces.detection import Face
from vidswap.metrics.flow import FlowQuality
from vidswap.metrics.geometry import (
    correlation,
    expression_percent,
    gaze_distance,
    openings,
    pose_degrees,
)
from vidswap.metrics.identity import cosine
from vidswap.metrics.image import ssim

Crop = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class FrameEmbeddings:
    """The judge's embeddings (D,): mean of the source's shots, mean of the target's frames, the
    frame before the swap and after it."""

    source: NDArray[np.floating]
    target: NDArray[np.floating]
    frame: NDArray[np.floating]
    swapped: NDArray[np.floating]


@dataclass(frozen=True)
class SwapFrame:
    """One frame: cosines of the judge net, and mesh measures of target and swapped face."""

    cosine_to_source: float
    cosine_to_target: float
    cosine_to_frame: float  # to the very frame it was made from, light and hair included
    target_to_source: float  # the untouched frame's own cosine to the source
    pose_degrees: float
    expression_percent: float
    gaze_distance: float
    ssim: float  # of the aligned crops
    eyes: tuple[float, float]  # opening in target, in swap
    mouth: tuple[float, float]


@dataclass(frozen=True)
class SwapQuality:
    """Means over the frames of a clip; correlations are NaN where the target does not move.

    The flow measures use all adjacent frames (`vidswap.metrics.flow`), the others the measured
    frames; `face_lost` is the share of measured frames without a face after the swap.
    """

    frames: int
    nearer_to_source: float  # than to the target's person: share of frames
    nearer_than_frame: float  # than to the very frame it was made from: share of frames
    cosine_to_source: float
    cosine_to_target: float
    cosine_to_frame: float
    target_to_source: float
    pose_degrees: float
    expression_percent: float
    gaze_distance: float
    eye_correlation: float
    mouth_correlation: float
    eye_deviation: float  # of the target's own opening: little of it makes the correlation noise
    mouth_deviation: float
    ssim: float
    face_lost: float
    flow_warp_target: float
    flow_warp_swap: float
    flow_warp_ratio: float
    endpoint_error: float


def measure_frame(
    target: Face, swapped: Face, crops: tuple[Crop, Crop], embeddings: FrameEmbeddings
) -> SwapFrame:
    """Measure one frame: its face and aligned crop before and after, and the judge's embeddings."""
    source_id, target_id = embeddings.source, embeddings.target
    frame_id, swapped_id = embeddings.frame, embeddings.swapped
    eyes, mouth = zip(openings(target.landmarks), openings(swapped.landmarks), strict=True)
    return SwapFrame(
        cosine_to_source=cosine(swapped_id, source_id),
        cosine_to_target=cosine(swapped_id, target_id),
        cosine_to_frame=cosine(swapped_id, frame_id),
        target_to_source=cosine(frame_id, source_id),
        pose_degrees=pose_degrees(target.landmarks, swapped.landmarks),
        expression_percent=expression_percent(target.landmarks, swapped.landmarks),
        gaze_distance=gaze_distance(target.landmarks, swapped.landmarks),
        ssim=ssim(*crops),
        eyes=eyes,
        mouth=mouth,
    )


def summarise(frames: Sequence[SwapFrame], flow: FlowQuality, n_lost: int = 0) -> SwapQuality:
    """Summarise a clip's frames, its flow and the number of frames whose face was lost.

    Raises ValueError when no frame was measured.
    """
    if not frames:
        raise ValueError("no frame with a face in both target and swap")

    def mean(name: str) -> float:
        return float(np.mean([getattr(frame, name) for frame in frames]))

    eyes, mouth = (np.array([getattr(f, name) for f in frames]).T for name in ("eyes", "mouth"))
    return SwapQuality(
        frames=len(frames),
        nearer_to_source=float(np.mean([f.cosine_to_source > f.cosine_to_target for f in frames])),
        nearer_than_frame=float(np.mean([f.cosine_to_source > f.cosine_to_frame for f in frames])),
        cosine_to_source=mean("cosine_to_source"),
        cosine_to_target=mean("cosine_to_target"),
        cosine_to_frame=mean("cosine_to_frame"),
        target_to_source=mean("target_to_source"),
        pose_degrees=mean("pose_degrees"),
        expression_percent=mean("expression_percent"),
        gaze_distance=mean("gaze_distance"),
        eye_correlation=correlation(*eyes),
        mouth_correlation=correlation(*mouth),
        eye_deviation=float(eyes[0].std()),
        mouth_deviation=float(mouth[0].std()),
        ssim=mean("ssim"),
        face_lost=n_lost / (len(frames) + n_lost),
        flow_warp_target=flow.warp_target,
        flow_warp_swap=flow.warp_swap,
        flow_warp_ratio=flow.warp_ratio,
        endpoint_error=flow.endpoint_error,
    )
