"""Makes vidswap/faces/canonical_mesh.npy: the mean 478-point mesh of many aligned face pictures.

    python pipelines/fitting/canonical_mesh.py OUT.npy SHARD.zip...

The shards hold pictures of one face each, cut like the generator's crop. The meshes that the
landmark net finds are brought together by generalised Procrustes analysis in three dimensions,
averaged and made symmetrical. The result is (478, 3) float32: x right, y down, z away from the
viewer; the outer eye corners at x = -0.5 and 0.5, y = z = 0; forehead and chin (10, 152) equally
deep, which is what pitch 0 means.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vidswap.faces.align import CROP_SIZE, TEMPLATE_256
from vidswap.faces.blazeface_detector import AttentionMeshFinder
from vidswap.faces.detection import Detection

Points = NDArray[np.float64]

MIN_PRESENCE = 0.9
PICTURES_PER_SHARD = 700
RIGHT_EYE_CORNER, LEFT_EYE_CORNER, FOREHEAD, CHIN = 33, 263, 10, 152
MIRROR = np.array([-1.0, 1.0, 1.0])


def pictures(shard: Path) -> Iterator[NDArray[np.uint8]]:
    """A fixed choice of a shard's pictures (H, W, 3) RGB."""
    with zipfile.ZipFile(shard) as archive:
        names = sorted(archive.namelist())
        chosen = np.random.default_rng(0).permutation(len(names))[:PICTURES_PER_SHARD]
        for number in chosen:
            encoded = np.frombuffer(archive.read(names[number]), np.uint8)
            picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
            if picture is not None:
                yield np.ascontiguousarray(picture[:, :, ::-1])


def meshes(shards: list[Path]) -> Points:
    """The meshes (N, 478, 3) of all pictures in which the net is sure of a face."""
    finder = AttentionMeshFinder(MIN_PRESENCE)
    found = []
    for shard in shards:
        for rgb in pictures(shard):
            scale = rgb.shape[1] / CROP_SIZE
            eyes = TEMPLATE_256[:2] * scale
            box = np.array([60, 60, 196, 196]) * scale
            crop_face = Detection(box.astype(np.float32), eyes.astype(np.float32), 1.0)
            face = finder.landmarks(rgb, crop_face)
            if face is not None and face.landmarks_z is not None:
                found.append(np.column_stack([face.landmarks, face.landmarks_z]))
    finder.close()
    return np.array(found, np.float64)


def similarity(points: Points, reference: Points) -> Points:
    """`points` (N, 3) turned, scaled and moved onto `reference` (Umeyama, 1991)."""
    p, q = points - points.mean(axis=0), reference - reference.mean(axis=0)
    left, stretch, right = np.linalg.svd(q.T @ p)
    proper = np.array([1.0, 1.0, np.linalg.det(left @ right)])
    scale = (stretch * proper).sum() / (p**2).sum()
    turned = scale * p @ (left * proper @ right).T
    return np.asarray(turned + reference.mean(axis=0), np.float64)


def procrustes_mean(shapes: Points, rounds: int = 6) -> Points:
    mean = shapes[0] - shapes[0].mean(axis=0)
    for _ in range(rounds):
        mean = np.mean([similarity(shape, mean) for shape in shapes], axis=0)
        mean /= np.sqrt((mean**2).sum(axis=1).mean())
    return np.asarray(mean, np.float64)


def mirror_pairs(shape: Points, rounds: int = 6) -> NDArray[np.intp]:
    """For every point the one on the face's other side, (478,)."""
    pairs = np.arange(len(shape))
    mirrored = shape * MIRROR
    for _ in range(rounds):
        distances = ((mirrored[:, None] - shape[None]) ** 2).sum(axis=2)
        pairs = linear_sum_assignment(distances)[1]
        mirrored = similarity(shape * MIRROR, shape[pairs])
    return pairs


def upright(shape: Points, pairs: NDArray[np.intp]) -> Points:
    """The shape in the axes and unit that the module's docstring states, exactly symmetrical."""
    shape = (shape + similarity(shape[pairs] * MIRROR, shape)) / 2
    across = shape - shape[pairs]
    towards_left = across @ (shape[LEFT_EYE_CORNER] - shape[RIGHT_EYE_CORNER])
    x = (across * np.sign(towards_left)[:, None]).sum(axis=0)
    x /= np.linalg.norm(x)
    y = shape[CHIN] - shape[FOREHEAD]
    y -= y @ x * x
    y /= np.linalg.norm(y)
    corners = shape[[RIGHT_EYE_CORNER, LEFT_EYE_CORNER]]
    turned = (shape - corners.mean(axis=0)) @ np.stack([x, y, np.cross(x, y)]).T
    turned /= np.linalg.norm(corners[1] - corners[0])
    return np.asarray((turned + turned[pairs] * MIRROR) / 2, np.float64)


def main() -> None:
    output, *shards = [Path(argument) for argument in sys.argv[1:]]
    mean = procrustes_mean(meshes(shards))
    np.save(output, upright(mean, mirror_pairs(mean)).astype(np.float32))


if __name__ == "__main__":
    main()
