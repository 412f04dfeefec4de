"""Clips of the two public-domain photographs, moved a little, and a small untrained checkpoint."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.media.clips import make_clip
from tests.models.test_apgan import small_generator
from tests.photographs import astronaut, grace_hopper
from vidswap.models.apgan.checkpoint import save_generator

CLIP_FRAMES = 12


def moved(photo: np.ndarray, index: int, width: int, height: int) -> np.ndarray:
    """The photograph, drifting and turning slowly, as frame `index` of a clip."""
    scale = height / photo.shape[0]
    matrix = cv2.getRotationMatrix2D((photo.shape[1] / 2, photo.shape[0] / 2), index * 0.5, scale)
    matrix[:, 2] += [width / 2 - photo.shape[1] / 2 + index * 0.7, height / 2 - photo.shape[0] / 2]
    return cv2.warpAffine(photo, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("swap")


@pytest.fixture(scope="session")
def source_picture(folder: Path) -> Path:
    path = folder / "astronaut.png"
    cv2.imwrite(str(path), astronaut()[:, :, ::-1])
    return path


@pytest.fixture(scope="session")
def target_clip(folder: Path) -> Path:
    """Grace Hopper, 320x240, 12 frames, with sound."""
    photo = grace_hopper()
    return make_clip(
        folder / "hopper.mp4",
        picture=lambda index, width, height: moved(photo, index, width, height),
        size=(320, 240),
        frames=CLIP_FRAMES,
        sound=["aac"],
        options={"crf": "12"},
    )


@pytest.fixture(scope="session")
def faceless_clip(folder: Path) -> Path:
    return make_clip(folder / "faceless.mp4", frames=8, sound=["aac"])


@pytest.fixture(scope="session")
def untrained(folder: Path) -> Path:
    """A checkpoint of the right shape that has learnt nothing: for tests of everything else."""
    path = folder / "untrained.safetensors"
    save_generator(small_generator(reference=True), path, images_trained=0)
    return path
