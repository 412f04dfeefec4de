"""The measures of `vidswap evaluate`: keys of `evaluation.json`, tolerances and aims.

What a report on one clip measures too is described there (`vidswap.metrics.report_metrics`). The
limits here are the aims of the gate: a checkpoint is judged by other pairs and clips than a swap.
docs/evaluation.md lists all of them.
"""

from __future__ import annotations

from typing import Literal

from vidswap.metrics.measure import Measure
from vidswap.metrics.report_metrics import AP_GAN, METRICS

Section = Literal["held_out", "clips"]

HERE = "defined here"
_METRICS = {metric.name: metric for metric in METRICS}


def _like(
    metric: str,
    title: str,
    equation: str = "",
    *,
    name: str = "",
    tolerance: float = 0.0,
    limit: float | None = None,
) -> Measure:
    """A metric of the report as an evaluation takes it; `equation` only where it differs."""
    known = _METRICS[metric]
    return Measure(
        name or known.name, title, known.unit, known.better, known.source,
        equation or known.equation, tolerance=tolerance, limit=limit,
    )  # fmt: skip


_NEARER = "share of swaps with a larger cosine to the source than to the target"
_POSE = _like(
    "pose_distance", "pose", "mean of (|dyaw| + |dpitch| + |droll|) / 3",
    name="pose_degrees", tolerance=0.1, limit=2.5,
)  # fmt: skip
_EXPRESSION = _like(
    "expression_distance", "expression, % of eye distance", name="expression_percent",
    tolerance=0.1,
)  # fmt: skip
_GAZE = _like("gaze_distance", "gaze, % of eye width", tolerance=0.3)
_FACE_LOST = _like("face_lost", "no face found again", tolerance=0.005, limit=0.01)
_TO_SOURCE = _like(
    "cosine_to_source", "cosine to source", "mean cosine of swap and source", tolerance=0.005
)
_UNTOUCHED = Measure(
    "target_to_source", "(untouched target to source)", "cosine", "neither", HERE,
    "mean cosine of target and source",
)  # fmt: skip

HELD_OUT: tuple[Measure, ...] = (
    Measure(
        "nearer_to_source", "nearer to source than to target", "share", "higher", HERE, _NEARER,
        tolerance=0.01, limit=0.95,
    ),
    Measure(
        "nearer_without_glasses", "... where neither wears glasses", "share", "higher", HERE,
        "the same over pairs with glasses on neither face", tolerance=0.01,
    ),
    Measure(
        "retrieval_top1", "retrieval among all sources, top-1", "share", "higher",
        f"{AP_GAN} IV.C (id)", "share of swaps whose source comes first by cosine",
        tolerance=0.01, limit=0.60,
    ),
    Measure(
        "retrieval_top5", "retrieval among all sources, top-5", "share", "higher",
        f"{AP_GAN} IV.C (id)", "share of swaps whose source is among the first five",
        tolerance=0.01,
    ),
    Measure(
        "retrieval_with_targets", "... and all targets, top-1", "share", "higher",
        f"{AP_GAN} IV.C (id)", "top-1 among sources and targets", tolerance=0.01,
    ),
    Measure(
        "retrieval_other_top1", "by another picture, top-1", "share", "higher", HERE,
        "top-1 with another picture of the source's person in the gallery", tolerance=0.02,
    ),
    Measure(
        "retrieval_other_top5", "by another picture, top-5", "share", "higher", HERE,
        "top-5 with another picture of the source's person in the gallery", tolerance=0.02,
    ),
    Measure(
        "judge_top1", "(that picture itself, unswapped)", "share", "neither", HERE,
        "top-1 of that other picture among the sources",
    ),
    _TO_SOURCE,
    _like(
        "cosine_to_target", "cosine to target", "mean cosine of swap and target", tolerance=0.005
    ),
    _UNTOUCHED,
    _POSE,
    _EXPRESSION,
    _GAZE,
    _FACE_LOST,
    _like("ssim", "SSIM to target", tolerance=0.005),
    _like(
        "ssim_outside", "SSIM to target outside the face",
        "the same, weighted by one minus the blending mask", tolerance=0.002, limit=0.98,
    ),
    _like("sharpness_ratio", "sharpness over the target's", tolerance=0.02),
    Measure(
        "blotches", "blotches of colour", "ratio", "lower", HERE,
        "deviation of a and b (CIELAB) over patches of skin, over the larger of source's and "
        "target's", tolerance=0.03,
    ),
    _like(
        "fid_dlib", "FID to targets (dlib's features)",
        "Frechet distance of swaps and targets in dlib's pooled vector",
        name="fid", tolerance=0.2,
    ),
    Measure(
        "fid_of_sources", "(of the sources to the targets)", _METRICS["fid_dlib"].unit, "neither",
        HERE, "Frechet distance of sources and targets",
    ),
    Measure(
        "seconds_per_image", "generator, seconds per image", "seconds", "neither", HERE,
        "median over batches",
    ),
)  # fmt: skip

CLIPS: tuple[Measure, ...] = (
    Measure(
        "nearer_to_source", "nearer to source than to target", "share", "higher", HERE,
        "share of frames with a larger cosine to the source than to the target's mean",
        tolerance=0.01, limit=0.95,
    ),
    Measure(
        "nearer_than_frame", "... than to its own frame", "share", "higher", HERE,
        "share of frames with a larger cosine to the source than to the frame that was swapped",
        tolerance=0.01,
    ),
    _TO_SOURCE,
    _like(
        "cosine_to_target", "cosine to target", "mean cosine of swap and the target's mean",
        tolerance=0.005,
    ),
    _UNTOUCHED,
    _POSE,
    _EXPRESSION,
    _GAZE,
    _like("eye_correlation", "eye opening, correlation", tolerance=0.01, limit=0.93),
    _like("mouth_correlation", "mouth opening, correlation", tolerance=0.01, limit=0.93),
    _like("ssim", "SSIM to target, aligned crop", tolerance=0.005),
    _FACE_LOST,
    _like("flow_warp_target", "(flow warp error of the target)"),
    _like("flow_warp", "flow warp error of the swap", name="flow_warp_swap", tolerance=0.001),
    _like(
        "flow_warp_ratio", "flow warp error, swap over target", tolerance=0.01, limit=1.15
    ),
    _like("endpoint_error", "flow endpoint error, pixels", tolerance=0.02),
)  # fmt: skip

EVALUATION: dict[Section, tuple[Measure, ...]] = {"held_out": HELD_OUT, "clips": CLIPS}
SECTIONS: tuple[Section, ...] = tuple(EVALUATION)
