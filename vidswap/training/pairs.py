"""Training batches: target faces with boundary maps, and the id embeddings of their sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidswap.blending.warping import (
    SIZE,
    FaceCrop,
    between_lips,
    covered_part,
    reference_view,
    three_times,
    unlike_eyes,
    warped_onto,
    with_inexact_mesh,
)
from vidswap.faces.boundary_map import draw_boundary_map
from vidswap.faces.occlusion import visibility_of
from vidswap.models.face_net import reference_tensor
from vidswap.training.augmentation import add_occluder, degrade
from vidswap.training.data.face_shards import FaceRecord
from vidswap.training.expression import corner_points
from vidswap.training.keep import keep_map
from vidswap.training.light_noise import in_other_light
from vidswap.training.pair_batch import PairBatch, PairConfig
from vidswap.training.pair_draws import PairDraws, mirrored_mesh

LIKE_FACES = 24  # drawn for a warped pair, of which the one most alike in pose is taken
# How an answer takes on the target's colour and its light; hair hangs over its brow.
ANSWER_COLOUR, ANSWER_LIGHT, ANSWER_REACH = 0.9, 0.8, 0.94
WITH_GLASSES = 0.2  # share of references on which glasses are drawn
# Share of drawn occluders that a reference leaves out, as it does those that are found in a run.
FOUND = 0.8
_VALUES = np.arange(256, dtype=np.float32)[:, None]


class PairSampler(PairDraws):
    """Draws batches from the training people: batch number i of a seed is always the same.

    faces: (N, S, S, 3) uint8 RGB, in memory or memory-mapped. The other arguments are those of
    `PairDraws`.
    """

    def __init__(
        self,
        faces: NDArray[np.uint8],
        landmarks: NDArray[np.float16],
        mesh_index: NDArray[np.int64],
        records: list[FaceRecord],
        config: PairConfig,
        seed: int,
        sides: NDArray[np.int64] | None = None,
        excluded: NDArray[np.bool_] | None = None,
        visibility: NDArray[np.uint8] | None = None,
    ) -> None:
        super().__init__(landmarks, mesh_index, records, config, sides, excluded, visibility)
        self.faces, self.seed = faces, seed
        self.mirror = mirrored_mesh(landmarks, mesh_index)

    def batch(self, number: int) -> PairBatch:
        """Batch `number`; may be called from several threads."""
        config, random = self.config, np.random.default_rng((self.seed, number))
        targets, sources, same = self.draw_pairs(random)
        n_same, n_back, n_warped, n_across = config.counts
        n_answered = n_same + n_back + n_warped
        pictures, maps, keeps, warped, answers, views, corners = [], [], [], [], [], [], []
        for i, (target, is_same) in enumerate(zip(targets, same, strict=True)):
            is_warped = n_same + n_back <= i < n_answered
            is_across = n_answered <= i < n_answered + n_across
            target, face = int(target), int(sources[i])
            frame = self._shot(target)
            beside = [self._warped_onto(frame, target, random)] if is_warped else []
            if is_across:
                beside = [self._answer(frame, target, face)]
                sources[i] = self.another_of(face, random)
            elif i < n_same + n_back:
                face = self.another_of(face, random)
            shown = beside[0] if is_warped else None
            beside.append(self._reference(face, target, frame, shown, random))
            beside.append(self._occluded(target))
            (picture, *beside, view, worn), landmarks = self._augmented(target, beside, random)
            keep = np.maximum(keep_map(landmarks, bool(is_same), config), worn / np.float32(255.0))
            if is_across:
                part = covered_part(landmarks, ANSWER_REACH, config.size)
                keep = np.maximum(keep, config.keep_across * part)
            if random.random() < config.occluded and not is_warped:
                picture, occluder = add_occluder(picture, landmarks, random)
                keep = np.maximum(keep, occluder)
                if random.random() < FOUND:
                    view[..., 3] = np.rint(view[..., 3] * visibility_of(occluder))
                beside = [_mixed(answer, picture, occluder) for answer in beside]
            if random.random() < config.degraded and not (is_warped or is_across):
                picture = degrade(picture, random)
            pictures.append(picture)
            views.append(view)
            if is_warped:
                warped += beside
            else:
                answers += beside
            maps.append(draw_boundary_map(landmarks, config.size))
            keeps.append(keep)
            corners.append(corner_points(landmarks))
        return PairBatch(
            _to_tensor(pictures, config.size),
            torch.from_numpy(np.stack(maps).transpose(0, 3, 1, 2).copy()).float().div_(255.0),
            torch.from_numpy(sources),
            torch.from_numpy(targets),
            torch.from_numpy(same),
            torch.from_numpy(np.stack(keeps))[:, None],
            n_same,
            n_back,
            torch.from_numpy(self.drawn_sources(n_back, random)),
            _to_tensor(warped, config.size),
            _to_tensor(answers, config.size),
            reference_tensor(torch.from_numpy(np.stack(views))),
            torch.from_numpy(np.stack(corners)),
        )

    def _warped_onto(
        self, frame: FaceCrop, row: int, random: np.random.Generator
    ) -> NDArray[np.uint8]:
        """A picture (256, 256, 3) with the face of somebody in like pose laid over its own."""
        other = self.in_like_pose(row, LIKE_FACES, random)
        colour = float(random.uniform(0.2, 1.0))
        return warped_onto(self._shot(other), frame, colour, points=self.mesh_index)

    def _answer(self, frame: FaceCrop, target: int, source: int) -> NDArray[np.uint8]:
        """The target's picture (256, 256, 3) with the source's face, in the target's light.

        Within the lips it is the target's own, and so are the eyes as far as they are shut: a shut
        mouth shows no teeth, and an open eye no lids.
        """
        face = self._shot(source)
        answer = warped_onto(
            face, frame, ANSWER_COLOUR, ANSWER_REACH, points=self.mesh_index, light=ANSWER_LIGHT,
            uncovered=True,
        )  # fmt: skip
        answer = _mixed(answer, frame.crop, between_lips(frame.landmarks))
        eyes = unlike_eyes(face, frame)
        answer = _mixed(answer, frame.crop, eyes)
        return _mixed(answer, frame.crop, (self._occluded(target) / 255.0).astype(np.float32))

    def _reference(
        self,
        face: int,
        target: int,
        frame: FaceCrop,
        shown: NDArray[np.uint8] | None,
        random: np.random.Generator,
    ) -> NDArray[np.uint8]:
        """A view (256, 256, 4) of a face on the target's picture, or on what is shown of it.

        A picture is no reference for itself, or it would be copied, unless another face is shown on
        it. Meshes are not exact, and neither is the light that a reference takes on.
        """
        config = self.config
        if random.random() >= config.referenced or (face == target and shown is None):
            return np.zeros((SIZE, SIZE, 4), np.uint8)
        frame = frame if shown is None else replace(frame, crop=shown)
        own = with_inexact_mesh(self._shot(face), random)
        if random.random() < WITH_GLASSES:
            own = _with_glasses(own, random)
        colour, light = random.uniform(0.6, 1.0), random.uniform(0.4, 1.0)
        view = reference_view(own, frame, colour, light, self.mesh_index)
        if random.random() < 0.25:
            view[..., :3] = cv2.GaussianBlur(view[..., :3], (0, 0), random.uniform(0.5, 2.0))
        if config.light_noise and random.random() < config.light_noise:
            view[..., :3] = in_other_light(view[..., :3], random)
        return view

    def _occluded(self, row: int) -> NDArray[np.uint8]:
        """What occludes a face (256, 256), 0 to 255."""
        if self.visibility is None:
            return np.zeros((SIZE, SIZE), np.uint8)
        return np.asarray(cv2.resize(255 - self.visibility[row], (SIZE, SIZE)), np.uint8)

    def _shot(self, row: int) -> FaceCrop:
        picture = self.faces[row]
        if picture.shape[0] != SIZE:
            picture = np.asarray(cv2.resize(picture, (SIZE, SIZE)), np.uint8)
        visibility = None if self.visibility is None else self.visibility[row] / np.float32(255.0)
        return FaceCrop(picture, self.mesh_of(row), visibility)

    def _augmented(
        self, row: int, others: Sequence[NDArray[np.uint8]], random: np.random.Generator
    ) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
        """A picture at the batch's size and its mesh (478, 2) in 256-pixel coordinates.

        After the picture come `others`, under the same change.
        """
        config, landmarks = self.config, self.mesh_of(row)
        angle = random.uniform(-config.rotation, config.rotation)
        turn = cv2.getRotationMatrix2D(
            (127.5, 127.5), angle, 1.0 + random.uniform(-config.scale, config.scale)
        )
        matrix = np.asarray(turn, np.float64)
        matrix[:, 2] += random.uniform(-config.shift, config.shift, 2)
        if random.random() < 0.5:
            landmarks = landmarks[self.mirror]
            matrix = matrix @ np.array([[-1, 0, 255], [0, 1, 0], [0, 0, 1]])
        moved = landmarks @ matrix[:, :2].T + matrix[:, 2]
        gain = 1.0 + random.uniform(-config.brightness, config.brightness, 3) * [1, 0.3, 0.3]
        colour = gain[0] * (1.0 + np.array([gain[1] - 1.0, 0.0, gain[2] - 1.0]))
        pictures = []
        for picture in (self.faces[row], *others):
            warped = _warp_between_sizes(picture, matrix, config.size)
            if picture.ndim == 3:  # else a mask
                gains = np.append(colour, 1.0)[: picture.shape[2]].astype(np.float32)
                warped = np.asarray(cv2.LUT(warped, cv2.convertScaleAbs(_VALUES * gains)[None]))
            pictures.append(warped)
        return pictures, moved.astype(np.float32)


def _mixed(
    one: NDArray[np.uint8], other: NDArray[np.uint8], part: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """`other` where `part` (S, S) is one, `one` where it is zero."""
    mixed = other.astype(np.float32)
    mixed -= one
    mixed *= three_times(part)
    mixed += one
    return np.asarray(cv2.convertScaleAbs(mixed), np.uint8)


def _with_glasses(shot: FaceCrop, random: np.random.Generator) -> FaceCrop:
    """The face with glasses drawn, found as they are in a run."""
    worn, glasses = add_occluder(shot.crop, shot.landmarks, random, "glasses")
    small = np.asarray(cv2.resize(glasses, (128, 128), interpolation=cv2.INTER_AREA), np.float32)
    visibility = visibility_of(small)
    known = visibility if shot.visibility is None else shot.visibility * visibility
    return replace(shot, crop=worn, visibility=known)


def _to_tensor(pictures: Sequence[NDArray[np.uint8]], size: int) -> Tensor:
    """(B, 3, S, S) in [-1, 1]; B may be zero."""
    stacked = np.stack(pictures) if pictures else np.zeros((0, size, size, 3), np.uint8)
    to_tensor = np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))
    return torch.from_numpy(to_tensor).float().div_(127.5).sub_(1.0)


def _warp_between_sizes(
    picture: NDArray[np.uint8], matrix: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    """Warp a stored picture by a matrix given in 256-pixel coordinates; pixel edges correspond."""

    def scaling(factor: float) -> NDArray[np.float64]:
        shift = (factor - 1.0) / 2.0
        return np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1]])

    full = np.vstack([matrix, [0, 0, 1]])
    full = scaling(size / 256.0) @ full @ scaling(256.0 / picture.shape[0])
    warped = cv2.warpAffine(
        picture, full[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return warped.astype(np.uint8, copy=False)
