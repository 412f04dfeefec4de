"""What is hard about held-out pairs: rows of their own in the table of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vidswap.blending.relighting import SIZE as MAP_SIZE
from vidswap.blending.relighting import skin_part
from vidswap.faces.pose import head_pose, mouth_opening
from vidswap.faces.skin import reduced_lab
from vidswap.metrics.summaries import mean_of_known

Crops = Sequence[NDArray[np.uint8]]
Meshes = Sequence[NDArray[np.float32]]

POSE_APART = 12.0  # degrees of yaw or pitch between source and target
SIDE_LIGHT = 0.35  # natural logarithm of the brighter half's luma over the other's
TONE_APART = 18.0  # of CIELAB's lightness, between the skins
MOUTH_APART = 0.06  # face heights
SURE_OF_SEX = (0.3, 0.7)  # below which a judge sees a woman, and above which a man
# The measures that the rows show.
MEASURES = (
    "nearer_to_source", "cosine_to_source", "cosine_to_target", "pose_degrees",
    "expression_percent", "ssim", "sharpness_ratio", "blotches",
)  # fmt: skip


def kinds_of_pairs(
    sources: Crops,
    source_meshes: Meshes,
    targets: Crops,
    target_meshes: Meshes,
    glasses: NDArray[np.bool_],
) -> dict[str, NDArray[np.bool_]]:
    """Which pairs (N,) are hard, by what is hard about them.

    Pictures (256, 256, 3) uint8 RGB with their meshes (478, 2); glasses (N,): on either face.
    """
    poses, mouths, tones, sides = (
        np.array(
            [
                [measured(crop, points) for crop, points in zip(crops, meshes, strict=True)]
                for crops, meshes in ((sources, source_meshes), (targets, target_meshes))
            ]
        )
        for measured in (_pose, _mouth, _tone, _side)
    )
    return {
        "pose apart": (np.abs(poses[0] - poses[1]) > POSE_APART).any(axis=1),
        "light from one side": (np.abs(sides) > SIDE_LIGHT).any(axis=0),
        "skin of another tone": np.abs(tones[0] - tones[1]) > TONE_APART,
        "mouth open on one": np.abs(mouths[0] - mouths[1]) > MOUTH_APART,
        "glasses on either": glasses,
    }


def of_another_sex(
    sources: NDArray[np.floating] | None, targets: NDArray[np.floating] | None
) -> dict[str, NDArray[np.bool_]]:
    """The kind of pairs (N,) of a man and a woman, where a judge is sure of both (`Judge.men`);
    nothing where it does not tell.
    """
    if sources is None or targets is None:
        return {}
    woman, man = SURE_OF_SEX
    apart = (sources > man) & (targets < woman) | (sources < woman) & (targets > man)
    return {"another sex": apart}


def rows_of(
    kinds: Mapping[str, Sequence[bool]], each: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, float]]:
    """The number of pairs and the means of the measures over each kind, and over all others."""
    names = list(kinds)
    hard = np.array([kinds[name] for name in names], bool)
    parts = dict(zip(names, hard, strict=True)) | {"none of these": ~hard.any(axis=0)}
    return {
        name: {"pairs": float(part.sum())}
        | {m: mean_of_known(np.asarray(each[m], np.float64)[part]) for m in MEASURES if m in each}
        for name, part in parts.items()
    }


def _pose(_crop: NDArray[np.uint8], points: NDArray[np.float32]) -> tuple[float, float]:
    pose = head_pose(points)
    return pose.yaw, pose.pitch


def _mouth(_crop: NDArray[np.uint8], points: NDArray[np.float32]) -> float:
    return mouth_opening(points)


def _tone(crop: NDArray[np.uint8], points: NDArray[np.float32]) -> float:
    """Median lightness of the skin, 0 to 100."""
    lightness, skin, _ = _lit(crop, points)
    return float(np.median(lightness[skin])) if skin.any() else 50.0


def _side(crop: NDArray[np.uint8], points: NDArray[np.float32]) -> float:
    """How much brighter the skin is on the right of the picture, as a logarithm."""
    lightness, skin, right = _lit(crop, points)
    if not (skin & right).any() or not (skin & ~right).any():
        return 0.0
    halves = (lightness[skin & half].mean() + 1.0 for half in (right, ~right))
    brighter, other = halves
    return float(np.log(brighter / other))


def _lit(
    crop: NDArray[np.uint8], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Lightness, skin, and what lies right of the nose, at the size of the maps of light."""
    middle = points[1, 0] * MAP_SIZE / len(crop)
    right = np.broadcast_to(np.arange(MAP_SIZE) > middle, (MAP_SIZE, MAP_SIZE))
    return reduced_lab(crop, MAP_SIZE)[..., 0], skin_part(points) > 0.5, right
