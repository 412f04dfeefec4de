"""Which pictures are paired: targets, and the sources whose faces they get."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh
from vidswap.training.data.face_shards import INDEX_FILE, FaceRecord, whole_meshes
from vidswap.training.pair_batch import PairConfig

SHARP_PIXELS = 200  # side as stored of a picture that shows skin
LIKE_ACROSS = 8  # drawn for a pair across, of which the one most alike in pose is taken
SHUT_OPENING = 0.16  # of the eye's width, below which eyes count as shut; 3 % of photographs
BARE = 0.02  # how much of the eyes' surroundings may be covered on a face without glasses
DRAWS_OF_BARE = 12  # until a face with glasses is taken after all


class PairDraws:
    """Draws the rows of targets and sources from the training people.

    sides: (N,) of the pictures as stored, where they differ. excluded: (N,) pictures that are never
    drawn, like those of held-out people. visibility: (N, 128, 128) uint8, where
    each face is not occluded (`cached_visibility`), by default everywhere.
    """

    def __init__(
        self,
        landmarks: NDArray[np.float16],
        mesh_index: NDArray[np.int64],
        records: list[FaceRecord],
        config: PairConfig,
        sides: NDArray[np.int64] | None = None,
        excluded: NDArray[np.bool_] | None = None,
        visibility: NDArray[np.uint8] | None = None,
    ) -> None:
        self.landmarks, self.mesh_index = landmarks, mesh_index
        self.config, self.visibility = config, visibility
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
        self._known_bare = np.full(len(records), -1, np.int8)

    def draw_pairs(
        self, random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of targets and sources of a batch, and whether a pair is of one person, (B,) each.

        The kinds of pairs come in the order of `PairBatch`.
        """
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
        sources = self.drawn_sources(config.batch, random)
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
            sources[i] = self.in_like_pose(int(targets[i]), LIKE_ACROSS, random)
        same = np.zeros(config.batch, bool)
        same[:n_picture] = True
        same[n_picture + n_across : last] = True
        return targets, sources, same

    def drawn_sources(self, n: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Rows (n,) of sources of anybody."""
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

    def another_of(self, row: int, random: np.random.Generator) -> int:
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
        """Share of the eyes' surroundings that is occluded, as by glasses."""
        if self.visibility is None:
            return 0.0
        corners = self.mesh_of(row)[list(mesh.RIGHT_EYE_CORNERS + mesh.LEFT_EYE_CORNERS)] / 2.0
        margin = 0.2 * float(np.linalg.norm(corners[2] - corners[0]))
        left, top = np.maximum(corners.min(axis=0) - margin, 0).astype(int)
        right, bottom = np.ceil(corners.max(axis=0) + margin).astype(int)
        return 1.0 - float(self.visibility[row][top:bottom, left:right].mean()) / 255.0

    def in_like_pose(self, row: int, of: int, random: np.random.Generator) -> int:
        """Of `of` pictures drawn at random, the one whose mesh is nearest to the mesh of `row`."""
        others = random.choice(self.rows, of)
        others = others[others != row]
        own = self.landmarks[row].astype(np.float32)
        distances = np.abs(self.landmarks[others].astype(np.float32) - own).mean(axis=(1, 2))
        nearest = [int(i) for i in others[distances.argsort()]] or [row]
        bare = (i for i in nearest if not self.config.bare_sources or self._is_bare(i))
        return next(bare, nearest[0])

    def mesh_of(self, row: int) -> NDArray[np.float32]:
        """The mesh (478, 2) of a picture in 256-pixel coordinates; zero where none is known."""
        points: NDArray[np.float32] = whole_meshes(self.landmarks[[row]], self.mesh_index)[0]
        return points


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
    """The side of every picture of a dataset as stored (N,), as its index states; else 256."""
    with (folder / INDEX_FILE).open(newline="", encoding="utf-8") as lines:
        return np.array([int(row.get("pixels") or 256) for row in csv.DictReader(lines)])
