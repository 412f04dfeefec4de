from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.photographs import astronaut, grace_hopper
from vidswap.faces.align import align_face, face_affine
from vidswap.faces.quality import is_sharp, sharpness


@pytest.fixture(params=[astronaut, grace_hopper], ids=["collins", "hopper"])
def crop(request, detector, finder):
    rgb = request.param()
    return align_face(rgb, face_affine(finder.landmarks(rgb, detector.detect(rgb)[0]).landmarks))


def moved(crop, length, degrees):
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length // 2, length // 2), degrees, 1)
    kernel = cv2.warpAffine(line, turn, (length, length))
    return cv2.filter2D(crop, -1, kernel / kernel.sum())


def test_sharpness_falls_with_blur(crop):
    values = [sharpness(cv2.GaussianBlur(crop, (0, 0), s)) for s in (0.1, 1.0, 2.0, 4.0, 8.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[-1]


def test_portraits_are_sharp_and_blurred_ones_are_not(crop):
    assert is_sharp(crop)
    assert not is_sharp(cv2.GaussianBlur(crop, (0, 0), 5.0))


@pytest.mark.parametrize("degrees", [0, 45, 90])
def test_motion_blur_in_any_direction_is_noticed(crop, degrees):
    assert sharpness(moved(crop, 17, degrees)) < 0.5 * sharpness(crop)


def test_light_noise_and_compression_hardly_matter(crop):
    value = sharpness(crop)
    noise = np.random.default_rng(0).normal(0, 6, crop.shape)
    jpeg = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    assert sharpness((crop * 0.4).astype(np.uint8)) == pytest.approx(value, abs=0.03)
    assert sharpness(np.clip(crop + noise, 0, 255).astype(np.uint8)) == pytest.approx(
        value, abs=0.05
    )
    assert sharpness(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) == pytest.approx(value, abs=0.05)


def test_noise_does_not_hide_blur(crop):
    blurred = cv2.GaussianBlur(crop, (0, 0), 5.0)
    noise = np.random.default_rng(0).normal(0, 6, crop.shape)
    assert not is_sharp(np.clip(blurred + noise, 0, 255).astype(np.uint8))


def test_an_even_picture_is_not_sharp():
    assert not is_sharp(np.full((256, 256, 3), 90, np.uint8))
