"""Reports made by hand, whose every number is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vidswap.metrics.record import Curve, Figure, Moment, Report

FRAMES, RATE = 50, 25.0
TIMES = tuple(i / RATE for i in range(FRAMES))
WORST_AT, BEST_AT = 31, 7
JUDGE = "dlib ResNet (took part in training)"


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 60, (32, 32, 3), np.uint8)


def seam_values(level: float = 5.0) -> tuple[float | None, ...]:
    """About `level`, higher in one frame, and missing in two."""
    values: list[float | None] = [level + 0.5 * float(np.sin(i)) for i in range(FRAMES)]
    values[WORST_AT] = level + 4.25
    values[20] = values[21] = None
    return tuple(values)


def figures() -> tuple[Figure, ...]:
    return (
        Figure("identity_retrieval", "Frames recognised as the source", 0.9637, "share", "higher",
               "AP-GAN IV.C", JUDGE, interval=(0.931, 0.98), limit=0.9),
        Figure("cosine_to_source", "Likeness to the source", 0.8123, "cosine", "higher", "IV.B",
               JUDGE, interval=(0.801, 0.822)),
        Figure("pose_distance", "Pose", 3.456, "degrees", "lower", "AP-GAN", "mesh",
               interval=(2.9, 4.2), limit=4.0),
        Figure("mouth_correlation", "Speech follows the target", 0.9712, "correlation", "higher",
               "defined here", "mesh", interval=(0.96, 0.98), limit=0.9),
        Figure("flow_warp_ratio", "Unsteadiness", 1.538, "ratio", "lower", "eq. 15", "DIS",
               interval=(1.49, 1.59), limit=1.15),
        Figure("flow_warp_target", "Flow-warp error of the target", 0.0213, "of the pixel range",
               "neither", "eq. 15", "DIS"),
        Figure("seam", "Edge of the pasted face", 5.1, "grey levels", "lower", "defined here",
               interval=(4.8, 5.4), limit=6.0),
        Figure("mse_face", "Squared error, face", 12604.66, "squared grey levels", "lower", "IV.B"),
        Figure("lpips", "Perceptual error (LPIPS)", None, "distance", "lower", "Zhang et al. 2018",
               absent="its weights are in no package"),
    )  # fmt: skip


def curves(level: float = 5.0) -> tuple[Curve, ...]:
    pose = tuple(3.0 + 0.4 * float(np.cos(i / 5)) for i in range(FRAMES))
    mouth = tuple(0.1 + 0.05 * float(np.sin(i / 3)) for i in range(FRAMES))
    return (
        Curve("pose_distance", "Pose", "degrees", "lower", TIMES, pose),
        Curve("seam", "Edge of the pasted face", "grey levels", "lower", TIMES, seam_values(level)),
        Curve("mouth_opening", "Mouth open", "face heights", "neither", TIMES, mouth,
              tuple(v + 0.01 for v in mouth)),
        Curve("identity_retrieval", "Frames recognised as the source", "share", "higher", TIMES,
              (1.0,) * FRAMES),
        Curve("ssim", "Structural similarity", "SSIM", "higher", TIMES,
              tuple(0.9 + 0.001 * i for i in range(FRAMES))),
    )  # fmt: skip


def moment(kind: str, at: int, because: str) -> Moment:
    error = np.zeros((32, 32), np.float32)
    error[8:16] = 20.0
    target = picture(at)
    swapped = np.clip(target.astype(int) + 20, 0, 255).astype(np.uint8)
    named = "worst" if kind == "worst" else "best"
    return Moment(at, TIMES[at], named, because, target, swapped, error if at else None)


def example(**changes: object) -> Report:
    """A report of two seconds with one broken limit."""
    report = Report(
        target="/films/target.mp4",
        swapped="/films/swap.mp4",
        source="/people/source.jpg",
        frames=FRAMES,
        frames_with_face=FRAMES,
        seconds=FRAMES / RATE,
        size=(1280, 720),
        figures=figures(),
        curves=curves(),
        moments=(
            moment("worst", WORST_AT, "Edge of the pasted face: 9.25 grey levels"),
            moment("worst", 0, "Pose: 3.4 degrees"),
            moment("best", BEST_AT, "least wrong"),
        ),
        warnings=("the swap is 2.00 s long, the target 9.00 s",),
        settings={"face": "largest", "nets": {"flow": "OpenCV DIS"}},
        provenance={"verdict": "holds", "marks": {"vidswap_version": "0.1.0"}},
    )
    return replace(report, **changes)  # type: ignore[arg-type]
