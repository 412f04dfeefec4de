"""The default detector: the nets that the mediapipe wheel ships, run one call at a time.

BlazeFace full range and short range (Bazarevsky et al., 2019) find faces, and the attention mesh
(Grishchenko et al., 2020) gives 478 landmarks of one face, irises and lips refined. Every answer
depends on the arguments of its call alone.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh
from vidswap.faces.align import invert_affine, similarity_transform, warp_points
from vidswap.faces.detection import Detection, Face, FloatArray, Image, box_overlap
from vidswap.faces.mediapipe_graphs import MESH_SIZE, start_detector, start_mesh

FULL_RANGE_SIZE = 192  # pixels, side of the full-range detector's input
SHORT_RANGE_SIZE = 128  # pixels, side of the short-range detector's input

MIN_DETECTION_SCORE = 0.6  # soft blotches of colour come up to this, portraits hardly below 0.8
MIN_PRESENCE = 0.5  # below this the landmark net says that it sees no face
MIN_SIDE = 8.0  # pixels; nothing smaller is looked into

ROI_SCALE = 1.5  # the landmark net's square, in sides of the face's box: what it was trained with
SAME_FACE_OVERLAP = 0.3  # intersection over union from which two detections are one face
TILE_ASPECT = 1.25  # pictures longer than this are also searched in two square halves


class MediapipeDetector:
    """Full-range and short-range BlazeFace together: faces from 3 % to all of the picture's side.

    The full-range net sees the whole picture and, where that is long, its two square halves, in
    which faces are larger; the short-range net adds faces that fill the picture. Faces lying on
    their side are not found.
    """

    def __init__(self, min_score: float = MIN_DETECTION_SCORE) -> None:
        self._full_range = start_detector("FullRange", FULL_RANGE_SIZE, min_score)
        self._short_range = start_detector("ShortRange", SHORT_RANGE_SIZE, min_score)

    def detect(self, rgb: Image) -> list[Detection]:
        """Faces in `rgb` (H, W, 3) uint8, the best score first; an empty list if there is none."""
        small = _halved(rgb, FULL_RANGE_SIZE)
        height, width = small.shape[:2]
        whole = (0, 0, width, height)
        found = _search(self._full_range, small, whole, FULL_RANGE_SIZE)
        found += _search(self._short_range, small, whole, SHORT_RANGE_SIZE)
        for tile in _square_tiles(width, height):
            found += [
                detection
                for detection in _search(self._full_range, small, tile, FULL_RANGE_SIZE)
                if not _crosses_inner_edge(detection.box, tile, width, height)
            ]
        scale = np.array([rgb.shape[1] / width, rgb.shape[0] / height])
        return [_enlarged(detection, scale) for detection in _distinct(found)]

    def close(self) -> None:
        """Free the nets."""
        self._full_range.close()
        self._short_range.close()


class MediapipeLandmarks:
    """The 478-point attention mesh in a region given by the caller."""

    def __init__(self, min_presence: float = MIN_PRESENCE) -> None:
        self._min_presence = min_presence
        self._graph = start_mesh()

    def landmarks(self, rgb: Image, region: Detection | Face) -> Face | None:
        """The face near `region` in `rgb` (H, W, 3) uint8, or None if there is none.

        A detection only gives the first guess: the mesh is found again in the region that the
        first mesh spans, so that the answer does not depend on how the detector drew its box.
        """
        if isinstance(region, Face):
            return self._mesh_in(rgb, _Square.around_face(region))
        first = self._mesh_in(rgb, _Square.around_detection(region))
        return None if first is None else self._mesh_in(rgb, _Square.around_face(first))

    def close(self) -> None:
        """Free the net."""
        self._graph.close()

    def _mesh_in(self, rgb: Image, square: "_Square") -> Face | None:
        if square.side < MIN_SIDE:
            return None
        answer = self._graph.process(_cut_square(rgb, square))
        if answer.presence is None or answer.presence < self._min_presence:
            return None
        points = np.array(answer.points).reshape(mesh.N_LANDMARKS, 3)
        landmarks = warp_points(invert_affine(square.affine_to(MESH_SIZE)), points[:, :2] - 0.5)
        return Face(
            landmarks=landmarks.astype(np.float32),
            landmarks_z=(points[:, 2] * (square.side / MESH_SIZE)).astype(np.float32),
            score=float(answer.presence),
        )


@dataclass(frozen=True)
class _Square:
    """A square region of the frame, turned with the face: centre (2,), unit axis to its right."""

    centre: NDArray[np.float64]
    right: NDArray[np.float64]
    side: float

    @classmethod
    def around_detection(cls, detection: Detection) -> "_Square":
        box = detection.box.astype(np.float64)
        corners = np.array([[box[0], box[1]], [box[2], box[3]]])
        right = _unit(detection.keypoints[1] - detection.keypoints[0])
        return cls(corners.mean(axis=0), right, float(np.ptp(corners, axis=0).max()) * ROI_SCALE)

    @classmethod
    def around_face(cls, face: Face) -> "_Square":
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


def _search(graph: Any, rgb: Image, box: tuple[int, int, int, int], size: int) -> list[Detection]:
    """What one net of input `size` finds in a part (left, top, right, bottom) of the picture."""
    left, top, right, bottom = box
    longest = max(right - left, bottom - top)
    width = max(1, round((right - left) * size / longest))
    height = max(1, round((bottom - top) * size / longest))
    canvas = np.zeros((size, size, 3), np.uint8)
    canvas[:height, :width] = cv2.resize(
        rgb[top:bottom, left:right], (width, height), interpolation=cv2.INTER_AREA
    )
    scale = np.array([(right - left) / width, (bottom - top) / height])
    corner = np.array([left, top])

    def in_picture(normalised: NDArray[np.float64]) -> FloatArray:
        return np.asarray(normalised * size * scale + corner - 0.5, np.float32)

    detections = []
    for found in graph.process(canvas).detections or []:
        rect = found.location_data.relative_bounding_box
        corners = [[rect.xmin, rect.ymin], [rect.xmin + rect.width, rect.ymin + rect.height]]
        keypoints = [(point.x, point.y) for point in found.location_data.relative_keypoints]
        detections.append(
            Detection(
                box=in_picture(np.array(corners)).reshape(4),
                keypoints=in_picture(np.array(keypoints)),
                score=float(found.score[0]),
            )
        )
    return detections


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


def _crosses_inner_edge(
    box: FloatArray, tile: tuple[int, int, int, int], width: int, height: int
) -> bool:
    """Whether a box reaches over an edge of the tile that lies inside the picture: half a face."""
    left, top, right, bottom = tile
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
