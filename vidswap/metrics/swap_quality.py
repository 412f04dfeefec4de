"""Per-frame measures of a swap against its target, and their summary over a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidswap.faces.detection import Face
from vidswap.faces.pose import eye_opening, head_pose, mouth_opening


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
    pose_degrees: float  # mean absolute difference of yaw, pitch and roll
    eyes: tuple[float, float]  # opening in target, in swap
    mouth: tuple[float, float]


@dataclass(frozen=True)
class SwapQuality:
    """Means over the frames of a clip; correlations are NaN where the target does not move."""

    frames: int
    nearer_to_source: float  # than to the target's person: share of frames
    nearer_than_frame: float  # than to the very frame it was made from: share of frames
    cosine_to_source: float
    cosine_to_target: float
    cosine_to_frame: float
    target_to_source: float
    pose_degrees: float
    eye_correlation: float
    mouth_correlation: float


def measure_frame(
    target: Face,
    swapped: Face,
    embeddings: FrameEmbeddings,
) -> SwapFrame:
    """Measure one frame of a clip: its face before and after, and the judge's embeddings."""
    source_id, target_id = embeddings.source, embeddings.target
    frame_id, swapped_id = embeddings.frame, embeddings.swapped
    angles_target, angles_swapped = head_pose(target.landmarks), head_pose(swapped.landmarks)
    differences = [
        abs(angles_target.yaw - angles_swapped.yaw),
        abs(angles_target.pitch - angles_swapped.pitch),
        abs(angles_target.roll - angles_swapped.roll),
    ]
    return SwapFrame(
        cosine_to_source=cosine(swapped_id, source_id),
        cosine_to_target=cosine(swapped_id, target_id),
        cosine_to_frame=cosine(swapped_id, frame_id),
        target_to_source=cosine(frame_id, source_id),
        pose_degrees=float(np.mean(differences)),
        eyes=(eye_opening(target.landmarks), eye_opening(swapped.landmarks)),
        mouth=(mouth_opening(target.landmarks), mouth_opening(swapped.landmarks)),
    )


def summarise(frames: Sequence[SwapFrame]) -> SwapQuality:
    """Summarise a clip's frames. Raises ValueError when there are none."""
    if not frames:
        raise ValueError("no frame with a face in both target and swap")
    return SwapQuality(
        frames=len(frames),
        nearer_to_source=float(np.mean([f.cosine_to_source > f.cosine_to_target for f in frames])),
        nearer_than_frame=float(np.mean([f.cosine_to_source > f.cosine_to_frame for f in frames])),
        cosine_to_source=float(np.mean([f.cosine_to_source for f in frames])),
        cosine_to_target=float(np.mean([f.cosine_to_target for f in frames])),
        cosine_to_frame=float(np.mean([f.cosine_to_frame for f in frames])),
        target_to_source=float(np.mean([f.target_to_source for f in frames])),
        pose_degrees=float(np.mean([f.pose_degrees for f in frames])),
        eye_correlation=correlation([f.eyes for f in frames]),
        mouth_correlation=correlation([f.mouth for f in frames]),
    )


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Cosine similarity of two vectors, in [-1, 1]."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Pearson correlation of target and swap; NaN when either does not vary."""
    values = np.array(pairs)
    if len(values) < 3 or values.std(axis=0).min() < 1e-6:
        return float("nan")
    return float(np.corrcoef(values.T)[0, 1])
