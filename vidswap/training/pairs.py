"""Training batches: target faces with boundary maps, and the id embeddings of their sources."""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidswap.blending.warping import (
    SIZE,
    Shot,
    between_lips,
    covered_part,
    eyes_alike,
    reference_view,
    warped_onto,
    with_inexact_mesh,
    within_lids,
)
from vidswap.faces import mesh
from vidswap.faces.boundary_map import draw_boundary_map
from vidswap.faces.occlusion import visibility_of
from vidswap.models.face_net import reference_tensor
from vidswap.training.augmentation import add_occluder, degrade
from vidswap.training.data.face_shards import INDEX_FILE, FaceRecord
from vidswap.training.expression import corner_points
from vidswap.training.keep import keep_map
from vidswap.training.pair_batch import PairBatch, PairConfig

SHARP_PIXELS = 200  # side as stored of a picture that shows skin
# Drawn for a warped pair, and for one across, of which the one most alike in pose is taken.
LIKE_FACES, LIKE_ACROSS = 24, 8
# How an answer takes on the target's colour and its light; hair hangs over its brow.
ANSWER_COLOUR, ANSWER_LIGHT, ANSWER_REACH = 0.9, 0.8, 0.94
SHUT_OPENING = 0.16  # of the eye's width, below which eyes count as shut; 3 % of photographs
WITH_GLASSES = 0.2  # share of references on which glasses are drawn
# Share of drawn occluders that a reference leaves out, as it does those that are found in a run.
FOUND = 0.8
BARE = 0.02  # how much of the eyes' surroundings may be covered on a face without glasses
DRAWS_OF_BARE = 12  # until a face with glasses is taken after all


class PairSampler:
    """Draws batches from the training people: batch number i of a seed is always the same.

    `sides` (N,) are the pictures' sides as stored, where they differ; `excluded` (N,) pictures are
    never drawn, as those of held-out people never are. `visibility` (N, 128, 128) uint8 says of
    every picture where nothing lies before the face (`cached_visibility`), by default everywhere.
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
        self.faces, self.landmarks, self.mesh_index = faces, landmarks, mesh_index
        self.config, self.visibility = config, visibility
        self.seed = seed
        self.rows = np.array([i for i, r in enumerate(records) if not r.held_out])
        if excluded is not None:
            self.rows = self.rows[~excluded[self.rows]]
        sharp = self.rows if sides is None else self.rows[sides[self.rows] >= SHARP_PIXELS]
        self.sharp_rows = sharp if len(sharp) else self.rows
        self.openings = eye_openings(landmarks, mesh_index)
        self.shut_rows = self.rows[self.openings[self.rows] < SHUT_OPENING]
        people: dict[str, list[int]] = defaultdict(list)
        for row in self.rows:
            people[records[row].person].append(int(row))
        self.albums = [album for album in people.values() if len(album) > 1]
        self.album_of = {row: album for album in self.albums for row in album}
        self.mirror = mirrored_mesh(landmarks, mesh_index)
        self._known_bare = np.full(len(records), -1, np.int8)

    def batch(self, number: int) -> PairBatch:
        """Batch `number`; may be called from several threads."""
        config, random = self.config, np.random.default_rng((self.seed, number))
        targets, sources, same = self._draw_pairs(random)
        n_same, n_back, n_warped, n_across = config.counts
        n_answered = n_same + n_back + n_warped
        pictures, maps, keeps, warped, answers, views, corners = [], [], [], [], [], [], []
        for i, (target, is_same) in enumerate(zip(targets, same, strict=True)):
            is_warped = n_same + n_back <= i < n_answered
            is_across = n_answered <= i < n_answered + n_across
            target, face = int(target), int(sources[i])
            beside = [self._warped_onto(target, random)] if is_warped else []
            if is_across:
                beside = [self._answer(target, face)]
                sources[i] = self._another_of(face, random)
            elif i < n_same + n_back:
                face = self._another_of(face, random)
            shown = beside[0] if is_warped else None
            beside.append(self._reference(face, target, shown, random))
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
            torch.from_numpy(np.stack(maps).transpose(0, 3, 1, 2).copy()).float() / 255.0,
            torch.from_numpy(sources),
            torch.from_numpy(targets),
            torch.from_numpy(same),
            torch.from_numpy(np.stack(keeps))[:, None],
            n_same,
            n_back,
            torch.from_numpy(self._drawn_sources(n_back, random)),
            _to_tensor(warped, config.size),
            _to_tensor(answers, config.size),
            reference_tensor(torch.from_numpy(np.stack(views))),
            torch.from_numpy(np.stack(corners)),
        )

    def _draw_pairs(
        self, random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        config = self.config
        *_, n_warped, n_across = config.counts
        n_picture = sum(config.counts) - n_across
        n_person = round(config.same_person * config.batch) if self.albums else 0
        targets = random.choice(self.rows, config.batch)
        sharp = random.random(config.batch) < config.sharp_targets
        targets[sharp] = random.choice(self.sharp_rows, int(sharp.sum()))
        shut = random.random(config.batch) < config.shut_eyes
        if len(self.shut_rows):
            targets[shut] = random.choice(self.shut_rows, int(shut.sum()))
        sources = self._drawn_sources(config.batch, random)
        if config.bare_sources:
            # A photographed face gives back no glasses that were laid over, and takes none off.
            for i in range(n_picture - n_warped, n_picture + n_across):
                pool = self.sharp_rows if sharp[i] else self.rows
                targets[i] = self._drawn_bare(random, int(targets[i]), pool)
        sources[:n_picture] = targets[:n_picture]
        # Half of the warped pairs know the person from another picture, as a user's source is one.
        of_albums = list(range(n_picture - n_warped // 2, n_picture)) if self.albums else []
        last = n_picture + n_across + n_person
        of_albums += range(n_picture + n_across, last)
        for i in of_albums:
            album = self.albums[random.integers(len(self.albums))]
            targets[i], sources[i] = self._two_of(album, random, i < n_picture)
        for i in range(n_picture, n_picture + n_across):
            sources[i] = self._in_like_pose(int(targets[i]), LIKE_ACROSS, random)
        same = np.zeros(config.batch, bool)
        same[:n_picture] = True
        same[n_picture + n_across : last] = True
        return targets, sources, same

    def _drawn_sources(self, n: int, random: np.random.Generator) -> NDArray[np.int64]:
        sources = random.choice(self.rows, n)
        if self.config.bare_sources:
            sources = np.array([self._drawn_bare(random, int(row), self.rows) for row in sources])
        return sources

    def _drawn_bare(self, random: np.random.Generator, row: int, pool: NDArray[np.int64]) -> int:
        """`row`, or where it wears glasses one of the pool that does not."""
        for _ in range(DRAWS_OF_BARE):
            if self._is_bare(row):
                break
            row = int(random.choice(pool))
        return row

    def _two_of(
        self, album: list[int], random: np.random.Generator, warped: bool
    ) -> NDArray[np.int64]:
        """Target and source from pictures of one person; a warped target wears no glasses."""
        for _ in range(DRAWS_OF_BARE):
            two = random.choice(album, 2, replace=False)
            if not warped or not self.config.bare_sources or self._is_bare(int(two[0])):
                break
            album = self.albums[random.integers(len(self.albums))]
        return two

    def _another_of(self, row: int, random: np.random.Generator) -> int:
        """Another picture of the same person where there is one, as a user's source is."""
        others = [other for other in self.album_of.get(row, []) if other != row]
        if self.config.bare_sources:
            others = [other for other in others if self._is_bare(other)]
        return int(random.choice(others)) if others else row

    def _is_bare(self, row: int) -> bool:
        if self._known_bare[row] < 0:
            self._known_bare[row] = self._covered_by_the_eyes(row) < BARE
        return bool(self._known_bare[row])

    def _covered_by_the_eyes(self, row: int) -> float:
        """How much of what is around the eyes something lies before, as glasses do: 0 to 1."""
        if self.visibility is None:
            return 0.0
        corners = self._mesh(row)[list(mesh.RIGHT_EYE_CORNERS + mesh.LEFT_EYE_CORNERS)] / 2.0
        margin = 0.2 * float(np.linalg.norm(corners[2] - corners[0]))
        left, top = np.maximum(corners.min(axis=0) - margin, 0).astype(int)
        right, bottom = np.ceil(corners.max(axis=0) + margin).astype(int)
        return 1.0 - float(self.visibility[row][top:bottom, left:right].mean()) / 255.0

    def _warped_onto(self, row: int, random: np.random.Generator) -> NDArray[np.uint8]:
        """A picture (256, 256, 3) with the face of somebody in like pose laid over its own."""
        other = self._in_like_pose(row, LIKE_FACES, random)
        colour = float(random.uniform(0.2, 1.0))
        return warped_onto(self._shot(other), self._shot(row), colour, points=self.mesh_index)

    def _in_like_pose(self, row: int, of: int, random: np.random.Generator) -> int:
        """Of some pictures drawn at random the one whose mesh is nearest to that of `row`."""
        others = random.choice(self.rows, of)
        others = others[others != row]
        own = self.landmarks[row].astype(np.float32)
        distances = np.abs(self.landmarks[others].astype(np.float32) - own).mean(axis=(1, 2))
        nearest = [int(i) for i in others[distances.argsort()]] or [row]
        bare = (i for i in nearest if not self.config.bare_sources or self._is_bare(i))
        return next(bare, nearest[0])

    def _answer(self, target: int, source: int) -> NDArray[np.uint8]:
        """The target's picture (256, 256, 3) with the source's face, in the target's light.

        Within the lips it is the target's own, and so are eyes as far as they are shut: teeth do
        not come out of a shut mouth, nor lids out of an open eye.
        """
        face, frame = self._shot(source), self._shot(target)
        answer = warped_onto(
            face, frame, ANSWER_COLOUR, ANSWER_REACH, points=self.mesh_index, light=ANSWER_LIGHT,
            uncovered=True,
        )  # fmt: skip
        answer = _mixed(answer, frame.crop, between_lips(frame.landmarks))
        eyes = (1.0 - eyes_alike(face, frame)) * within_lids(frame.landmarks)
        answer = _mixed(answer, frame.crop, eyes)
        return _mixed(answer, frame.crop, (self._occluded(target) / 255.0).astype(np.float32))

    def _reference(
        self, face: int, target: int, shown: NDArray[np.uint8] | None, random: np.random.Generator
    ) -> NDArray[np.uint8]:
        """A view (256, 256, 4) of a face on the target's picture, or on what is shown of it.

        The picture itself is no reference but for one that lies warped on it: it would be copied.
        Meshes are not exact, and neither is the light that a reference takes on.
        """
        config = self.config
        if random.random() >= config.referenced or (face == target and shown is None):
            return np.zeros((SIZE, SIZE, 4), np.uint8)
        frame = self._shot(target)
        frame = frame if shown is None else replace(frame, crop=shown)
        own = with_inexact_mesh(self._shot(face), random)
        if random.random() < WITH_GLASSES:
            own = _with_glasses(own, random)
        colour, light = random.uniform(0.6, 1.0), random.uniform(0.4, 1.0)
        view = reference_view(own, frame, colour, light, self.mesh_index)
        if random.random() < 0.25:
            view[..., :3] = cv2.GaussianBlur(view[..., :3], (0, 0), random.uniform(0.5, 2.0))
        return view

    def _occluded(self, row: int) -> NDArray[np.uint8]:
        """What lies before a face (256, 256), 0 to 255."""
        if self.visibility is None:
            return np.zeros((SIZE, SIZE), np.uint8)
        return np.asarray(cv2.resize(255 - self.visibility[row], (SIZE, SIZE)), np.uint8)

    def _shot(self, row: int) -> Shot:
        picture = self.faces[row]
        if picture.shape[0] != SIZE:
            picture = np.asarray(cv2.resize(picture, (SIZE, SIZE)), np.uint8)
        visibility = None if self.visibility is None else self.visibility[row] / np.float32(255.0)
        return Shot(picture, self._mesh(row), visibility)

    def _mesh(self, row: int) -> NDArray[np.float32]:
        landmarks = np.zeros((mesh.N_LANDMARKS, 2), np.float32)
        landmarks[self.mesh_index] = self.landmarks[row]
        return landmarks

    def _augmented(
        self, row: int, others: Sequence[NDArray[np.uint8]], random: np.random.Generator
    ) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
        """A picture at the batch's size and its mesh (478, 2) in 256-pixel coordinates.

        After the picture come `others`, under the same change.
        """
        config, landmarks = self.config, self._mesh(row)
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
                warped = cv2.convertScaleAbs(warped * gains).astype(np.uint8, copy=False)
            pictures.append(warped)
        return pictures, moved.astype(np.float32)


def _mixed(
    one: NDArray[np.uint8], other: NDArray[np.uint8], part: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """`other` where `part` (S, S) is one, `one` where it is zero."""
    mixed = one + part[..., None] * (other.astype(np.float32) - one)
    return np.rint(mixed).astype(np.uint8)


def _with_glasses(shot: Shot, random: np.random.Generator) -> Shot:
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
    return torch.from_numpy(to_tensor).float() / 127.5 - 1.0


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


def eye_openings(
    landmarks: NDArray[np.float16], mesh_index: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Mean height of both eyes in parts of their width (N,), of meshes (N, K, 2)."""
    place = {int(index): k for k, index in enumerate(mesh_index)}

    def distance(one: int, other: int) -> NDArray[np.float32]:
        between = landmarks[:, place[one]].astype(np.float32) - landmarks[:, place[other]]
        return np.asarray(np.linalg.norm(between, axis=1), np.float32)

    openings = [
        distance(*lids) / np.maximum(distance(*corners), 1.0)
        for lids, corners in (
            (mesh.RIGHT_EYE_LIDS, mesh.RIGHT_EYE_CORNERS),
            (mesh.LEFT_EYE_LIDS, mesh.LEFT_EYE_CORNERS),
        )
    ]
    mean: NDArray[np.float32] = np.mean(openings, axis=0, dtype=np.float32)
    return mean


def mirrored_mesh(
    landmarks: NDArray[np.float16], mesh_index: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For every mesh point the one on the other side (478,), from the mean face's symmetry."""
    mean = landmarks[:4096].astype(np.float64).mean(axis=0)
    centred = mean - [mean[:, 0].mean(), 0]
    distance = np.linalg.norm(centred[:, None] - centred[None] * [-1, 1], axis=2)
    mirror = np.arange(mesh.N_LANDMARKS)
    mirror[mesh_index] = mesh_index[distance.argmin(axis=1)]
    mirror[list(mesh.RIGHT_IRIS[:1] + mesh.LEFT_IRIS[:1])] = [473, 468]
    return mirror


def read_sides(folder: Path) -> NDArray[np.int64]:
    """The side of every picture of a dataset as stored (N,), where its index tells; else 256."""
    with (folder / INDEX_FILE).open(newline="", encoding="utf-8") as lines:
        return np.array([int(row.get("pixels") or 256) for row in csv.DictReader(lines)])


def prefetched(
    sampler: PairSampler, first: int = 0, stride: int = 1, threads: int = 2
) -> Iterator[PairBatch]:
    """Batches number `first`, `first + stride`, ... in order, drawn ahead of the training step."""
    numbers = itertools.count(first, stride)
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(sampler.batch, next(numbers)) for _ in range(2 * threads))
        try:
            while True:
                batch = ahead.popleft().result()
                ahead.append(pool.submit(sampler.batch, next(numbers)))
                yield batch
        finally:
            for waiting in ahead:
                waiting.cancel()
