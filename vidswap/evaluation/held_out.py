"""Swaps of held-out faces, on aligned crops: the generator in batches, the blend of a run."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.blending.colour import DEFAULT_COLOUR_MATCH, matched_colour
from vidswap.blending.composing import composed, overlay_weight
from vidswap.blending.mask import face_mask
from vidswap.blending.paste import MaskName, paste_face, swapped_part
from vidswap.blending.reference import FusedReference, ReferenceShot, clarity
from vidswap.blending.reshaping import Reshaper
from vidswap.blending.warping import FaceCrop
from vidswap.choices import DEFAULT_REFERENCE_WEIGHT, DEFAULT_SHAPE
from vidswap.evaluation.clips import meshes_alike
from vidswap.evaluation.difficulty import kinds_of_pairs, of_another_sex
from vidswap.evaluation.judge import Crops, Judge
from vidswap.evaluation.pairs import held_out_pairs
from vidswap.faces.boundary_map import draw_boundary_map
from vidswap.faces.detection import Face
from vidswap.faces.mesh import FACE_OVAL
from vidswap.faces.occlusion import GLASSES, occlusions, target_visibility, visibility_maps
from vidswap.faces.quality import sharpness
from vidswap.identity.encoder import IdentityEncoder
from vidswap.metrics.faults import face_regions, sharpness_ratio
from vidswap.metrics.fid import frechet_distance
from vidswap.metrics.geometry import expression_percent, gaze_distance, pose_degrees
from vidswap.metrics.identity import nearer_to_source, paired_cosines, retrieval_ranks
from vidswap.metrics.image import ssim
from vidswap.metrics.skin import blotches
from vidswap.metrics.summaries import mean_of_known
from vidswap.nets import Nets
from vidswap.people.embedding import embed_crops
from vidswap.people.source import SourceReader
from vidswap.swap.generation import swap_crops
from vidswap.training.data.face_shards import (
    iterate_faces,
    read_index,
    read_landmarks,
    whole_meshes,
)

CROP = 256
BATCH = 8
WORN = 0.01  # share of the face that glasses cover at least: rims alone cover a twentieth
_IDENTITY_AFFINE = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True, eq=False)
class HeldOutFaces:
    """The pictures of the pairs, (256, 256, 3) uint8 RGB each, and their meshes (478, 2).

    Of a mesh the points `mesh_index` are known. `others` are second pictures of the sources'
    people, `other_of` (K,) the pairs they belong to.
    `fixed`: the pairs come from the project's file and were not drawn for this dataset.
    """

    sources: list[NDArray[np.uint8]]
    targets: list[NDArray[np.uint8]]
    landmarks: list[NDArray[np.float32]]
    source_landmarks: list[NDArray[np.float32]]
    mesh_index: NDArray[np.int64]
    others: list[NDArray[np.uint8]]
    other_of: NDArray[np.intp]
    fixed: bool

    @property
    def sha256(self) -> str:
        """Digest of all pixels in order: equal where two evaluations saw the same pictures."""
        digest = hashlib.sha256()
        for picture in (*self.sources, *self.targets, *self.others):
            digest.update(picture.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class HeldOutQuality:
    """Means over the pairs; see the functions of `vidswap.metrics` for each measure.

    Cosines and retrieval use the judge. For `retrieval_other` the gallery holds another picture of
    the source's person instead of the source, over the `with_other` pairs that have one;
    `retrieval_with_targets` searches sources and targets together.
    `nearer_without_glasses` leaves out pairs with glasses on either face, by which a judge
    recognises people too: the `without_glasses` pairs are left.
    Two numbers to compare with: `judge_top1` is how often those other pictures, unswapped, find
    their own person among the sources, and `fid_of_sources` the distance of other people's real
    pictures, the sources, to the targets.
    """

    pairs: int
    nearer_to_source: float
    without_glasses: int
    nearer_without_glasses: float
    retrieval_top1: float
    retrieval_top5: float
    retrieval_with_targets: float
    with_other: int
    retrieval_other_top1: float
    retrieval_other_top5: float
    cosine_to_source: float
    cosine_to_target: float
    target_to_source: float
    pose_degrees: float
    expression_percent: float
    gaze_distance: float
    face_lost: float
    ssim: float
    ssim_outside: float
    sharpness_ratio: float
    blotches: float
    fid: float
    fid_of_sources: float
    judge_top1: float
    seconds_per_image: float


def read_held_out(folder: Path, n: int) -> HeldOutFaces:
    """The pictures of a dataset's held-out pairs. Raises InputNotFoundError."""
    records = read_index(folder)
    pairs, fixed = held_out_pairs(records, n)
    points, mesh_index = read_landmarks(folder)

    def pictures(rows: Sequence[int]) -> list[NDArray[np.uint8]]:
        return list(iterate_faces(folder, [records[row] for row in rows], CROP))

    def meshes(rows: Sequence[int]) -> list[NDArray[np.float32]]:
        return list(whole_meshes(points[list(rows)], mesh_index))

    with_other = [i for i, pair in enumerate(pairs) if pair.another is not None]
    return HeldOutFaces(
        sources=pictures([pair.source for pair in pairs]),
        targets=pictures([pair.target for pair in pairs]),
        landmarks=meshes([pair.target for pair in pairs]),
        source_landmarks=meshes([pair.source for pair in pairs]),
        mesh_index=mesh_index,
        others=pictures([pair.another for pair in pairs if pair.another is not None]),
        other_of=np.array(with_other, np.intp),
        fixed=fixed,
    )


def swap_held_out(
    faces: HeldOutFaces,
    nets: Nets,
    mask: MaskName = "face",
    reference_weight: float = DEFAULT_REFERENCE_WEIGHT,
    shape: float = DEFAULT_SHAPE,
) -> tuple[list[NDArray[np.uint8]], float]:
    """Every source on its target, blended as in a run, and the generator's seconds per image."""
    outputs: list[NDArray[np.uint8]] = []
    seconds: list[float] = []
    for start in range(0, len(faces.targets), BATCH):
        part = slice(start, start + BATCH)
        identity = embed_crops(nets.encoder, faces.sources[part])
        if nets.generator.net.takes.reference:
            shown, views, averted = targets_and_views(faces, part, shape)
        else:
            shown = list(map(FaceCrop, faces.targets[part], faces.landmarks[part]))
            views, averted = None, []
        maps = [draw_boundary_map(face.landmarks) for face in shown]
        began = time.perf_counter()
        batch = swap_crops(nets, [face.crop for face in shown], maps, identity, views)
        seconds.append((time.perf_counter() - began) / len(batch))
        none = [None] * len(batch)
        weight = overlay_weight(reference_weight, nets.generator.net.composes)
        outputs += [
            composed(y, face.crop, face.landmarks, view, weight * clarity(sharpness(source)), own)
            for y, face, view, own, source in zip(
                batch, shown, views or none, averted or none, faces.sources[part], strict=True
            )
        ]
    blended = [
        blend_crop(*of_one, mask)
        for of_one in zip(
            faces.targets,
            outputs,
            faces.landmarks,
            target_visibility(faces.targets, faces.landmarks)[1],
            strict=True,
        )
    ]
    return blended, float(np.median(seconds))


def targets_and_views(
    faces: HeldOutFaces, part: slice = slice(None), shape: float = DEFAULT_SHAPE
) -> tuple[list[FaceCrop], list[NDArray[np.uint8]], list[NDArray[np.float32] | None]]:
    """As in a run: the targets, their features moved, what a generator is shown of the sources on
    each, (256, 256, 4), and where their eyes look elsewhere.
    """
    sources, targets = (
        list(map(FaceCrop, pictures, meshes, visibility))
        for pictures, meshes, visibility in (
            (
                faces.sources[part],
                faces.source_landmarks[part],
                visibility_maps(faces.sources[part]),
            ),
            (
                faces.targets[part],
                faces.landmarks[part],
                target_visibility(faces.targets[part], faces.landmarks[part])[0],
            ),
        )
    )
    shots = [[ReferenceShot.single(shot)] for shot in sources]
    known = faces.mesh_index
    if shape > 0:
        targets = [
            Reshaper(shot, shape, points=known)(0, target)
            for shot, target in zip(shots, targets, strict=True)
        ]
    tracks = [FusedReference(shot, points=known) for shot in shots]
    views = [track(0, target) for track, target in zip(tracks, targets, strict=True)]
    return targets, views, [track.averted for track in tracks]


def blend_crop(
    target: NDArray[np.uint8],
    output: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    visibility: NDArray[np.float32] | None = None,
    mask: MaskName = "face",
) -> NDArray[np.uint8]:
    """Eq. 13 on the crop itself, with the mask and the colour of a run."""
    weight = swapped_part(landmarks, mask, visibility)
    output = matched_colour(target, output, weight, DEFAULT_COLOUR_MATCH)
    patch = paste_face(target, output, _IDENTITY_AFFINE, weight)
    blended = target.copy()
    if patch is not None:
        left, top, right, bottom = patch.box
        blended[top:bottom, left:right] = patch.rgb
    return blended


def found_again(
    target: NDArray[np.uint8], swap: NDArray[np.uint8], reader: SourceReader
) -> tuple[Face, Face | None] | None:
    """The meshes of target and swap, the second None if no face is found on the swap.

    None without a face on the target. The detector searches the swap anew.
    """
    faces = reader.faces(target)
    if not faces:
        return None
    if not reader.detector.detect(swap):
        return faces[0], None
    return meshes_alike(target, swap, faces[0], reader) or (faces[0], None)


def measure_held_out(
    faces: HeldOutFaces,
    swaps: Crops,
    judge: Judge,
    reader: SourceReader,
    seconds_per_image: float,
) -> tuple[HeldOutQuality, dict[str, list[float]], dict[str, list[bool]]]:
    """The means, each pair's own values by the measure's name (NaN where there is none), and
    which pairs are hard, by what is hard about them.
    """
    n = len(swaps)
    glasses = with_glasses(faces.sources, faces.source_landmarks)
    glasses |= with_glasses(faces.targets, faces.landmarks)
    identity = measure_identity(faces, swaps, judge)
    poses, expressions, gazes, lost = _geometry(faces.targets, swaps, reader)
    outside = [1.0 - swapped_part(points) for points in faces.landmarks]
    each = {
        **identity,
        "nearer_without_glasses": np.where(glasses, np.nan, identity["nearer_to_source"]),
        "pose_degrees": poses,
        "expression_percent": expressions,
        "gaze_distance": gazes,
        "face_lost": lost,
        "ssim": np.array([ssim(a, b) for a, b in zip(faces.targets, swaps, strict=True)]),
        "ssim_outside": np.array(
            [ssim(a, b, w) for a, b, w in zip(faces.targets, swaps, outside, strict=True)]
        ),
    }
    regions = [face_regions(points[list(FACE_OVAL)]) for points in faces.landmarks]
    each["sharpness_ratio"] = np.array(list(map(sharpness_ratio, faces.targets, swaps, regions)))
    each["blotches"] = np.array(
        list(
            map(
                blotches, swaps, faces.targets, faces.sources, faces.landmarks,
                faces.source_landmarks,
            )
        )
    )  # fmt: skip
    means = {name: mean_of_known(values) for name, values in each.items()}
    pooled = pooled_features(reader.encoder, faces.targets)
    quality = HeldOutQuality(
        pairs=n,
        without_glasses=int((~glasses).sum()),
        with_other=len(faces.other_of),
        fid=frechet_distance(pooled_features(reader.encoder, swaps), pooled),
        fid_of_sources=frechet_distance(pooled_features(reader.encoder, faces.sources), pooled),
        seconds_per_image=seconds_per_image,
        **means,
    )
    kinds = kinds_of_pairs(
        faces.sources, faces.source_landmarks, faces.targets, faces.landmarks, glasses
    ) | of_another_sex(judge.men(faces.sources), judge.men(faces.targets))
    return (
        quality,
        {name: [float(v) for v in values] for name, values in each.items()},
        {name: [bool(v) for v in values] for name, values in kinds.items()},
    )


def measure_identity(
    faces: HeldOutFaces, swaps: Crops, judge: Judge
) -> dict[str, NDArray[np.float64]]:
    """Each pair's own values (N,) of the measures that a judge takes; NaN where there is none."""
    n = len(swaps)
    own = np.arange(n)
    source_ids, target_ids, swap_ids = (
        judge.embed(crops) for crops in (faces.sources, faces.targets, swaps)
    )
    ranks = retrieval_ranks(swap_ids, source_ids, own)
    crowded = retrieval_ranks(swap_ids, np.concatenate([source_ids, target_ids]), own)
    other_ranks, judge_ranks = np.full(n, np.nan), np.full(n, np.nan)
    if len(chosen := faces.other_of):
        other_ids = judge.embed(faces.others)
        gallery = source_ids.copy()
        gallery[chosen] = other_ids
        other_ranks[chosen] = retrieval_ranks(swap_ids[chosen], gallery, chosen)
        judge_ranks[chosen] = retrieval_ranks(other_ids, source_ids, chosen)
    return {
        "nearer_to_source": nearer_to_source(swap_ids, source_ids, target_ids).astype(float),
        "retrieval_top1": _within(ranks, 1),
        "retrieval_top5": _within(ranks, 5),
        "retrieval_with_targets": _within(crowded, 1),
        "retrieval_other_top1": _within(other_ranks, 1),
        "retrieval_other_top5": _within(other_ranks, 5),
        "judge_top1": _within(judge_ranks, 1),
        "cosine_to_source": paired_cosines(swap_ids, source_ids),
        "cosine_to_target": paired_cosines(swap_ids, target_ids),
        "target_to_source": paired_cosines(target_ids, source_ids),
    }


def with_glasses(crops: Crops, meshes: Sequence[NDArray[np.float32]]) -> NDArray[np.bool_]:
    """Which of aligned faces wear glasses (N,), by how much of the face they cover."""
    found = [
        part for i in range(0, len(crops), BATCH) for part in occlusions(list(crops[i : i + BATCH]))
    ]
    return np.array(
        [
            np.average(
                part[GLASSES], weights=face_mask(points[list(FACE_OVAL)], len(part[GLASSES]))
            )
            > WORN
            for part, points in zip(found, meshes, strict=True)
        ],
        bool,
    )


def _geometry(
    targets: Crops, swaps: Crops, reader: SourceReader
) -> tuple[NDArray[np.float64], ...]:
    """Differences of pose, expression and gaze, and whether the face was lost; NaN where none."""
    poses, expressions, gazes, lost = (np.full(len(swaps), np.nan) for _ in range(4))
    for i, (target, swap) in enumerate(zip(targets, swaps, strict=True)):
        found = found_again(target, swap, reader)
        if found is None:
            continue
        before, after = found
        lost[i] = after is None
        if after is not None:
            poses[i] = pose_degrees(before.landmarks, after.landmarks)
            expressions[i] = expression_percent(before.landmarks, after.landmarks)
            gazes[i] = gaze_distance(before.landmarks, after.landmarks)
    return poses, expressions, gazes, lost


def pooled_features(encoder: IdentityEncoder, crops: Crops) -> NDArray[np.float32]:
    """dlib's pooled vector (N, 256) of each crop."""
    rows = [embed_crops(encoder, crops[i : i + BATCH]).vector for i in range(0, len(crops), BATCH)]
    features: NDArray[np.float32] = torch.cat(rows).cpu().numpy()
    return features


def _within(ranks: NDArray[np.number], k: int) -> NDArray[np.float64]:
    """One where a rank is below k, zero where it is not, NaN where there is none."""
    return np.where(np.isnan(ranks), np.nan, ranks < k)
