"""SwapInpaint's Tables I and II: held-out faces filled as other people, by judges not in a loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.blending.reference import ReferenceShot
from vidswap.blending.warping import FaceCrop
from vidswap.choices import RegionName
from vidswap.evaluation.clips import meshes_alike
from vidswap.evaluation.held_out import HeldOutFaces, pooled_features
from vidswap.evaluation.judge import Judge
from vidswap.faces.occlusion import visibility_maps
from vidswap.identity.encoder import IdEmbedding
from vidswap.inpainting.blending import poisson_blend
from vidswap.inpainting.masks import Mask, region_mask
from vidswap.inpainting.swapinpaint import SwapInpaint, to_pictures
from vidswap.metrics.fid import frechet_distance
from vidswap.metrics.geometry import expression_percent, pose_degrees
from vidswap.metrics.identity import paired_cosines
from vidswap.metrics.image import mse, psnr, ssim
from vidswap.people.embedding import crops_to_tensor, embed_crops
from vidswap.people.source import SourceReader

Picture = NDArray[np.uint8]
# What G is given under the mask: what C infers, nothing, or what OpenCV makes of its edges; or
# whether G is left out.
Given = Literal["inferred", "incomplete", "edges", "content alone"]

TASKS: dict[str, RegionName] = {"face": "face", "eyes": "eyes", "centre": "centre"}
BATCH = 4  # pairs per call of the nets
TELEA_RADIUS = 5  # pixels


@dataclass(frozen=True)
class FilledQuality:
    """Means over pairs, as in Table I.

    mse, ssim and psnr: result against the target's own picture, whole pictures. fid: results
    against targets, in the features of dlib's net. identity: cosine of result and source by the
    judge; apart: share of pairs whose result is nearer to the source than to the target. pose in
    degrees, expression in percent of the face, between target and result, where a face is found in
    both; lost: share of results without one.
    """

    pairs: int
    mse: float
    ssim: float
    psnr: float
    fid: float
    identity: float
    apart: float
    pose: float
    expression: float
    lost: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def fill_pairs(
    model: SwapInpaint, reader: SourceReader, faces: HeldOutFaces, region: RegionName, given: Given
) -> list[Picture]:
    """Every target with a region filled as its source: both stages and Poisson blending."""
    results: list[Picture] = []
    for start in range(0, len(faces.targets), BATCH):
        part = slice(start, start + BATCH)
        masks = [region_mask(points, region) for points in faces.landmarks[part]]
        identity = embed_crops(reader.encoder, faces.sources[part])
        shots = [[shot] for shot in source_shots(faces, part)]
        answers = _answers(model, faces.targets[part], masks, identity, shots, given)
        for target, answer, mask in zip(faces.targets[part], answers, masks, strict=True):
            results.append(poisson_blend(target, answer, mask))
    return results


def source_shots(faces: HeldOutFaces, part: slice) -> list[ReferenceShot]:
    """The sources of pairs, as a generator may be shown them."""
    pictures, meshes = faces.sources[part], faces.source_landmarks[part]
    visibilities = visibility_maps(pictures)
    return [
        ReferenceShot.single(FaceCrop(*of_one))
        for of_one in zip(pictures, meshes, visibilities, strict=True)
    ]


def _answers(
    model: SwapInpaint,
    targets: Sequence[Picture],
    masks: Sequence[Mask],
    identity: IdEmbedding,
    shots: Sequence[Sequence[ReferenceShot]],
    given: Given,
) -> list[Picture]:
    """What is filled in, whole faces."""
    like = next(model.parameters())
    pictures = crops_to_tensor(targets).to(like)
    holes = torch.from_numpy(np.stack(masks)[:, None]).to(like)
    with torch.inference_mode():
        if given == "content alone":
            return list(to_pictures(model.infer_content(pictures, holes)))
        if given == "inferred":
            return list(to_pictures(model.complete(pictures, holes, identity, shots).swapped))
        if given == "incomplete":
            content = pictures * (1.0 - holes)
        else:
            content = crops_to_tensor(
                [
                    np.asarray(
                        cv2.inpaint(t, m.astype(np.uint8), TELEA_RADIUS, cv2.INPAINT_TELEA),
                        np.uint8,
                    )
                    for t, m in zip(targets, masks, strict=True)
                ]
            ).to(like)
        return list(to_pictures(model.generate(content, identity, shots).swapped))


class FilledMeasure:
    """Measures fillings of the same pairs; what belongs to the pairs themselves is found once."""

    def __init__(self, faces: HeldOutFaces, judge: Judge, reader: SourceReader) -> None:
        self.faces, self.judge, self.reader = faces, judge, reader
        self._sources, self._targets = judge.embed(faces.sources), judge.embed(faces.targets)
        self._features = pooled_features(reader.encoder, faces.targets)
        found = (reader.faces(target) for target in faces.targets)
        self._found = [of_one[0] if of_one else None for of_one in found]

    def __call__(self, results: Sequence[Picture]) -> FilledQuality:
        """How good fillings are, one of each pair."""
        faces, made = self.faces, self.judge.embed(results)
        to_source = paired_cosines(made, self._sources)
        to_target = paired_cosines(made, self._targets)
        poses, expressions, lost = self._geometry(results)
        pairs = list(zip(faces.targets, results, strict=True))
        features = pooled_features(self.reader.encoder, results)
        return FilledQuality(
            pairs=len(pairs),
            mse=float(np.mean([mse(a, b) for a, b in pairs])),
            ssim=float(np.mean([ssim(a, b) for a, b in pairs])),
            psnr=float(np.mean([psnr(a, b) for a, b in pairs])),
            fid=frechet_distance(features, self._features),
            identity=float(np.mean(to_source)),
            apart=float(np.mean(to_source > to_target)),
            pose=float(np.mean(poses)) if poses else float("nan"),
            expression=float(np.mean(expressions)) if expressions else float("nan"),
            lost=lost / len(pairs),
        )

    def _geometry(self, results: Sequence[Picture]) -> tuple[list[float], list[float], int]:
        """Pose and expression differences, and how many results have no face."""
        poses, expressions, lost = [], [], 0
        for target, result, face in zip(self.faces.targets, results, self._found, strict=True):
            if face is None:
                continue
            if not self.reader.detector.detect(result):
                lost += 1
                continue
            alike = meshes_alike(target, result, face, self.reader)
            if alike is None:
                lost += 1
                continue
            before, after = alike
            poses.append(pose_degrees(before.landmarks, after.landmarks))
            expressions.append(expression_percent(before.landmarks, after.landmarks))
        return poses, expressions, lost


def table_rows(
    models: Mapping[str, SwapInpaint], region: RegionName
) -> Iterator[tuple[str, SwapInpaint, Given]]:
    """Rows by name: each model with C, then the first's without it, and without G.

    "original" is G on what is left of the face, Table II; AP-GAN was never trained on incomplete
    faces, so that "without C" has the hole filled from its edges by OpenCV.
    """
    first = next(iter(models.values()))
    yield "C alone, nobody's", first, "content alone"
    if region == "centre":
        yield "original", first, "incomplete"
        yield "without C", first, "edges"
    for name, model in models.items():
        yield name, model, "inferred"
