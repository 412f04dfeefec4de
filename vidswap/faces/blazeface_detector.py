"""The default detector: BlazeFace finds faces, the attention mesh gives their landmarks.

BlazeFace full range and short range (Bazarevsky et al., 2019), and the attention mesh (Grishchenko
et al., 2020) with 478 landmarks of one face, irises and lips refined. Every answer depends on the
arguments of its call alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.faces import mesh
from vidswap.faces.align import invert_affine, similarity_transform, warp_points
from vidswap.faces.detection import Detection, Face, FloatArray, Image, box_overlap
from vidswap.faces.nets import attention_mesh, blazeface_full_range, blazeface_short_range
from vidswap.faces.nets.boxes import ScoredBox, anchor_centres, decode
from vidswap.faces.nets.loading import (
    CPU,
    PictureNet,
    load_attention_mesh,
    load_blazeface_full_range,
    load_blazeface_short_range,
)

MESH_SIZE = attention_mesh.INPUT_SIZE
FULL_RANGE_SIZE = blazeface_full_range.INPUT_SIZE

MIN_DETECTION_SCORE = 0.6  # soft blotches of colour come up to this, portraits hardly below 0.8
MIN_PRESENCE = 0.5  # below this the landmark net says that it sees no face
MIN_SIDE = 8.0  # pixels; nothing smaller is looked into

ROI_SCALE = 1.5  # the landmark net's square, in sides of the face's box: what it was trained with
SAME_FACE_OVERLAP = 0.3  # intersection over union from which two detections are one face
TILE_ASPECT = 1.25  # pictures longer than this are also searched in two square halves


class BlazeFaceDetector:
    """Full-range and short-range BlazeFace together: faces from 3 % to all of the picture's side.

    The full-range net sees the whole picture and, where that is long, its two square halves, in
    which faces are larger; the short-range net adds faces that fill the picture. Faces lying on
    their side are not found.
    """

    def __init__(self, min_score: float = MIN_DETECTION_SCORE, device: torch.device = CPU) -> None:
        near, far = blazeface_short_range, blazeface_full_range
        self._full_range = BoxNet(
            load_blazeface_full_range(device), far.INPUT_SIZE, far.ANCHORS, min_score
        )
        self._short_range = BoxNet(
            load_blazeface_short_range(device), near.INPUT_SIZE, near.ANCHORS, min_score
        )

    def detect(self, rgb: Image) -> list[Detection]:
        """Faces in `rgb` (H, W, 3) uint8, the best score first; an empty list if there is none."""
        return self.detect_batch([rgb])[0]

    def detect_batch(self, frames: Sequence[Image]) -> list[list[Detection]]:
        """The faces of each frame, as `detect` gives them; each net is asked once for all."""
        small = [_halved(rgb, FULL_RANGE_SIZE) for rgb in frames]
        whole = [_Part(i, 0, 0, *picture.shape[1::-1]) for i, picture in enumerate(small)]
        tiles = [
            _Part(i, *tile)
            for i, picture in enumerate(small)
            for tile in _square_tiles(picture.shape[1], picture.shape[0])
        ]
        found: list[list[Detection]] = [[] for _ in frames]
        far = self._search(self._full_range, small, [*whole, *tiles])
        near = self._search(self._short_range, small, whole)
        in_order = far[: len(whole)] + near + far[len(whole) :]
        for part, detections in zip([*whole, *whole, *tiles], in_order, strict=True):
            height, width = small[part.frame].shape[:2]
            found[part.frame] += [
                detection
                for detection in detections
                if not _crosses_inner_edge(detection.box, part, width, height)
            ]
        scales = [
            np.array(rgb.shape[1::-1]) / picture.shape[1::-1]
            for rgb, picture in zip(frames, small, strict=True)
        ]
        return [
            [_enlarged(detection, scale) for detection in _distinct(detections)]
            for detections, scale in zip(found, scales, strict=True)
        ]

    def close(self) -> None:
        """Nothing is held that must be freed."""

    def _search(
        self, net: BoxNet, pictures: Sequence[Image], parts: Sequence[_Part]
    ) -> list[list[Detection]]:
        """What one net finds in each part of the pictures."""
        letters = [_letterbox(pictures[part.frame], part, net.size) for part in parts]
        found = net.find(np.stack([letter.canvas for letter in letters]))
        return [
            [
                Detection(
                    letter.in_picture(box.corners).reshape(4),
                    letter.in_picture(box.keypoints),
                    box.score,
                )
                for box in boxes
            ]
            for letter, boxes in zip(letters, found, strict=True)
        ]


class BoxNet:
    """A net that finds boxes in pictures of one size."""

    size: int

    def __init__(
        self, net: PictureNet, size: int, anchors: Sequence[tuple[int, int]], min_score: float
    ) -> None:
        self.size, self._net, self._min_score = size, net, min_score
        self._centres = anchor_centres(anchors)

    def find(self, pictures: NDArray[np.uint8]) -> list[list[ScoredBox]]:
        """The faces in each of the pictures (B, size, size, 3)."""
        boxes, logits = self._net(pictures)
        return [
            decode(boxes[i], logits[i], self._centres, self.size, self._min_score)
            for i in range(len(pictures))
        ]


class AttentionMeshFinder:
    """The 478-point attention mesh in a region given by the caller."""

    def __init__(self, min_presence: float = MIN_PRESENCE, device: torch.device = CPU) -> None:
        self._min_presence = min_presence
        self._net = load_attention_mesh(device)

    def landmarks(self, rgb: Image, region: Detection | Face) -> Face | None:
        """The face near `region` in `rgb` (H, W, 3) uint8, or None if there is none.

        A detection only gives the first guess: the mesh is found again in the region that the
        first mesh spans, so that the answer does not depend on how the detector drew its box.
        """
        return self.landmarks_batch([(rgb, region)])[0]

    def landmarks_batch(
        self, requests: Sequence[tuple[Image, Detection | Face]]
    ) -> list[Face | None]:
        """Of each frame and region, the face, as `landmarks` gives it; the net is asked for all."""
        guesses = [i for i, (_, region) in enumerate(requests) if isinstance(region, Detection)]
        squares = [
            None if isinstance(region, Face) else _Square.around_detection(region)
            for _, region in requests
        ]
        regions: list[Face | None] = [
            region if isinstance(region, Face) else None for _, region in requests
        ]
        if guesses:
            first = self._meshes_in([(requests[i][0], squares[i]) for i in guesses])
            for i, face in zip(guesses, first, strict=True):
                regions[i] = face
        return self._meshes_in(
            [
                (rgb, None if region is None else _Square.around_face(region))
                for (rgb, _), region in zip(requests, regions, strict=True)
            ]
        )

    def close(self) -> None:
        """Nothing is held that must be freed."""

    def _meshes_in(self, requests: Sequence[tuple[Image, _Square | None]]) -> list[Face | None]:
        """The face in each square; None where there is no square or no face in it."""
        places = [
            (i, rgb, square)
            for i, (rgb, square) in enumerate(requests)
            if square is not None and square.side >= MIN_SIDE
        ]
        faces: list[Face | None] = [None] * len(requests)
        if not places:
            return faces
        points, logits = self._net(
            np.stack([_cut_square(rgb, square) for _, rgb, square in places])
        )
        for (i, _, square), mesh_points, logit in zip(places, points, logits, strict=True):
            presence = float(1.0 / (1.0 + np.exp(-np.float64(logit))))
            if presence >= self._min_presence:
                faces[i] = _face(mesh_points, square, presence)
        return faces


def _face(points: FloatArray, square: _Square, presence: float) -> Face:
    """The face in a square, from landmarks (478, 3) in pixels of the net's input."""
    to_frame = invert_affine(square.affine_to(MESH_SIZE))
    landmarks = warp_points(to_frame, points[:, :2].astype(np.float64) - 0.5)
    return Face(
        landmarks=landmarks.astype(np.float32),
        landmarks_z=(points[:, 2] * (square.side / MESH_SIZE)).astype(np.float32),
        score=presence,
    )


@dataclass(frozen=True)
class _Square:
    """A square region of the frame, turned with the face: centre (2,), unit axis to its right."""

    centre: NDArray[np.float64]
    right: NDArray[np.float64]
    side: float

    @classmethod
    def around_detection(cls, detection: Detection) -> _Square:
        box = detection.box.astype(np.float64)
        corners = np.array([[box[0], box[1]], [box[2], box[3]]])
        right = _unit(detection.keypoints[1] - detection.keypoints[0])
        return cls(corners.mean(axis=0), right, float(np.ptp(corners, axis=0).max()) * ROI_SCALE)

    @classmethod
    def around_face(cls, face: Face) -> _Square:
        points = face.landmarks.astype(np.float64)
        right = _unit(points[mesh.LEFT_EYE[0]] - points[mesh.RIGHT_EYE[0]])
        axes = np.stack([right, [-right[1], right[0]]])
        turned = points @ axes.T
        low, high = turned.min(axis=0), turned.max(axis=0)
        return cls((low + high) / 2 @ axes, right, float((high - low).max()) * ROI_SCALE)

    def corners(self) -> NDArray[np.float64]:
        """Its corners (4, 2) in frame pixels, clockwise from the face's top left."""
        right = self.right * self.side / 2
        down = np.array([-right[1], right[0]])
        offsets = np.stack([-right - down, right - down, right + down, -right + down])
        return np.asarray(self.centre + offsets, np.float64)

    def affine_to(self, size: int) -> NDArray[np.float64]:
        """The affine (2, 3) from frame pixels to a `size` x `size` picture of this square."""
        edges = np.array([[0, 0], [size, 0], [size, size], [0, size]]) - 0.5
        return similarity_transform(self.corners(), edges)


def _unit(vector: NDArray[np.floating]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    if length < 1e-6:
        return np.array([1.0, 0.0])
    return np.asarray(vector, np.float64) / length


def _cut_square(rgb: Image, square: _Square) -> Image:
    """The landmark net's input, cut out without aliasing: that alone takes a third off its jitter.

    Bilinear sampling sees four pixels however many lie under a sample, so large faces are first
    shrunk by a whole factor, then sampled at twice the net's size and averaged.
    """
    size = MESH_SIZE if square.side <= MESH_SIZE else MESH_SIZE * 2
    affine = square.affine_to(size)
    factor = int(square.side / size)
    if factor > 1:
        rgb, to_frame = _shrunk_part(rgb, square, factor)
        affine = affine @ to_frame
    crop = cv2.warpAffine(
        rgb, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if size != MESH_SIZE:
        crop = cv2.resize(crop, (MESH_SIZE, MESH_SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, np.uint8)


def _shrunk_part(rgb: Image, square: _Square, factor: int) -> tuple[Image, NDArray[np.float64]]:
    """The part of the frame under a square, `factor` times smaller, and the affine (3, 3) from it.

    The affine takes pixels of the part to pixels of the frame.
    """
    corners = square.corners()
    margin = 2 * factor
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - margin, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + margin, rgb.shape[1::-1])
    width, height = np.maximum((high - low) // factor, 1)
    part = rgb[low[1] : low[1] + height * factor, low[0] : low[0] + width * factor]
    size = (int(width), int(height))
    shrunk = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    centre = low + (factor - 1) / 2
    return shrunk, np.array([[factor, 0, centre[0]], [0, factor, centre[1]], [0, 0, 1.0]])


def _halved(rgb: Image, floor: int) -> Image:
    """`rgb` halved by averaging for as long as its short side stays at least `floor`.

    Halving is much cheaper than one area resize by a fraction, and the three searches share it.
    """
    while min(rgb.shape[:2]) // 2 >= floor:
        half = (rgb.shape[1] // 2, rgb.shape[0] // 2)
        rgb = np.asarray(cv2.resize(rgb, half, interpolation=cv2.INTER_AREA), np.uint8)
    return rgb


class _Part(NamedTuple):
    """A part of one of several pictures, in its pixels."""

    frame: int
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, eq=False)
class _Letterbox:
    """A part of a picture at the top left of a net's square input, the rest black."""

    canvas: Image
    scale: NDArray[np.float64]  # pixels of the picture per pixel of the canvas, x and y
    corner: NDArray[np.int64]

    def in_picture(self, points: FloatArray) -> FloatArray:
        """Points (N, 2), shares of the canvas, in pixels of the picture."""
        size = self.canvas.shape[0]
        return np.asarray(
            points.astype(np.float64) * size * self.scale + self.corner - 0.5, np.float32
        )


def _letterbox(rgb: Image, part: _Part, size: int) -> _Letterbox:
    columns, rows = part.right - part.left, part.bottom - part.top
    longest = max(columns, rows)
    width, height = max(1, round(columns * size / longest)), max(1, round(rows * size / longest))
    canvas = np.zeros((size, size, 3), np.uint8)
    canvas[:height, :width] = cv2.resize(
        rgb[part.top : part.bottom, part.left : part.right],
        (width, height),
        interpolation=cv2.INTER_AREA,
    )
    scale = np.array([columns / width, rows / height])
    return _Letterbox(canvas, scale, np.array([part.left, part.top]))


def _enlarged(detection: Detection, scale: NDArray[np.float64]) -> Detection:
    """The detection in a picture `scale` (x, y) times as large, pixel centres kept at integers."""

    def enlarge(points: FloatArray) -> FloatArray:
        return ((points + 0.5) * scale - 0.5).astype(np.float32)

    box = enlarge(detection.box.reshape(2, 2)).reshape(4)
    return Detection(box, enlarge(detection.keypoints), detection.score)


def _square_tiles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """The two overlapping square ends of a long picture; none for one that is nearly square."""
    short = min(width, height)
    if max(width, height) < TILE_ASPECT * short:
        return []
    if width > height:
        return [(0, 0, short, short), (width - short, 0, width, short)]
    return [(0, 0, short, short), (0, height - short, short, height)]


def _crosses_inner_edge(box: FloatArray, tile: _Part, width: int, height: int) -> bool:
    """Whether a box reaches over an edge of the tile that lies inside the picture: half a face."""
    _, left, top, right, bottom = tile
    return bool(
        (box[0] < left and left > 0)
        or (box[1] < top and top > 0)
        or (box[2] > right and right < width)
        or (box[3] > bottom and bottom < height)
    )


def _distinct(found: list[Detection]) -> list[Detection]:
    """Keep the best-scored detection of every face."""
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda d: d.score, reverse=True):
        if not any(_is_same(detection, other) for other in kept):
            kept.append(detection)
    return kept


def _is_same(one: Detection, other: Detection) -> bool:
    return (
        box_overlap(one.box, other.box) > SAME_FACE_OVERLAP
        or _has_centre_in(one.box, other.box)
        or _has_centre_in(other.box, one.box)
    )


def _has_centre_in(inner: FloatArray, outer: FloatArray) -> bool:
    x, y = inner.reshape(2, 2).mean(axis=0)
    return bool(outer[0] < x < outer[2] and outer[1] < y < outer[3])
