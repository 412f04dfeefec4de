"""The weights that `vidswap context` finds by itself."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vidswap.animation.clip import find_face, load_portrait, portrait_path
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.inpainting.hallucination import face_hull
from vidswap.media.picture import read_picture
from vidswap.swap.context_job import hallucinate_faces

NAMES = ("kenji", "mei")  # packaged portraits
GREY = 110.0  # about the mean of photographs around faces
NEAR = 31  # pixels of 256


def test_the_packaged_weights_surround_faces_better_than_grey(tmp_path: Path) -> None:
    result = hallucinate_faces([portrait_path(name) for name in NAMES], tmp_path / "out")
    assert (result.checkpoint, result.variant) == ("context-128.safetensors", "cascaded")
    assert result.images_trained > 0
    off, off_grey = [], []
    for name in NAMES:
        photo = load_portrait(name)
        landmarks = find_face(photo).landmarks
        affine = face_affine(landmarks)
        own = align_face(photo, affine).astype(float)
        hull = face_hull(warp_points(affine, landmarks), 256)
        # Around a face is hair, skin and a neck.
        ring = ~hull & (cv2.dilate(hull.astype(np.uint8), np.ones((NEAR, NEAR), np.uint8)) > 0)
        made = read_picture(tmp_path / "out" / f"{name}-1.png").rgb.astype(float)
        off.append(np.abs(made - own)[ring].mean())
        off_grey.append(np.abs(GREY - own)[ring].mean())
    assert np.mean(off) < 0.7 * np.mean(off_grey)
