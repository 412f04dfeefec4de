"""The face nets: the same answers as mediapipe's, on every path that computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipelines.benchmarks.mediapipe_answers import ANSWERS, pictures, small_mask
from vidswap.errors import MissingWeightsError
from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector
from vidswap.faces.detection import Face
from vidswap.faces.nets import (
    attention_mesh,
    blazeface_full_range,
    blazeface_short_range,
    boxes,
    loading,
)
from vidswap.runtime.devices import offered

PICTURES = pictures()
MAX_BOX_ERROR, MAX_LANDMARK_ERROR = 0.5, 0.05  # pixels


@pytest.fixture(scope="module")
def answers() -> dict[str, NDArray[Any]]:
    with np.load(ANSWERS) as file:
        return dict(file)


@pytest.mark.parametrize("name", PICTURES)
def test_boxes_are_mediapipes(name: str, answers: dict[str, Any], detector: Any) -> None:
    found = detector.detect(PICTURES[name])
    assert len(found) == len(answers[f"{name}/boxes"])
    for i, detection in enumerate(found):
        assert np.abs(detection.box - answers[f"{name}/boxes"][i]).max() < MAX_BOX_ERROR
        assert np.abs(detection.keypoints - answers[f"{name}/keypoints"][i]).max() < MAX_BOX_ERROR
        assert detection.score == pytest.approx(answers[f"{name}/scores"][i], abs=1e-3)


@pytest.mark.parametrize("name", PICTURES)
def test_landmarks_are_mediapipes(name: str, answers: dict[str, Any], finder: Any) -> None:
    before = answers[f"{name}/landmarks"]
    region = Face(before[:, :2].copy(), before[:, 2].copy(), 1.0)
    face = finder.landmarks(PICTURES[name], region)
    expected = answers[f"{name}/landmarks_again"]
    found = np.column_stack([face.landmarks, face.landmarks_z])
    assert np.abs(found - expected).max() < MAX_LANDMARK_ERROR
    assert face.score == pytest.approx(answers[f"{name}/presence"][1], abs=1e-4)


@pytest.mark.parametrize("name", PICTURES)
def test_masks_of_people_are_mediapipes(name: str, answers: dict[str, Any]) -> None:
    small = cv2.resize(PICTURES[name], (256, 256), interpolation=cv2.INTER_AREA)
    x = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
    mask = loading.load_selfie_segmentation()(x)[0, 0].numpy()
    assert np.abs(small_mask(mask) - answers[f"{name}/mask"].astype(np.float32)).max() < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_answers_are_still_mediapipes_where_it_is_installed(name: str, finder: Any) -> None:
    pytest.importorskip("mediapipe")
    from pipelines.benchmarks.mediapipe_graphs import MediapipeDetector, MediapipeFinder

    detection = MediapipeDetector().detect(PICTURES[name])[0]
    face = MediapipeFinder().landmarks(PICTURES[name], detection)
    assert face is not None
    found = finder.landmarks(PICTURES[name], detection)
    assert np.abs(found.landmarks - face.landmarks).max() < 2 * MAX_LANDMARK_ERROR


def cut(size: int) -> NDArray[np.uint8]:
    """Two pictures of a net's size, with faces in them, and one of noise."""
    faces = [PICTURES["collins"][20:270, 90:340], PICTURES["hopper"][20:470, 40:490]]
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    small = [cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA) for face in faces]
    return np.stack([*small, noise])


NETS: dict[str, tuple[Any, Any, Callable[..., loading.PictureNet]]] = {
    "attention_mesh": (
        attention_mesh, attention_mesh.AttentionMesh, loading.load_attention_mesh,
    ),
    "blazeface_full_range": (
        blazeface_full_range, blazeface_full_range.BlazeFaceFullRange,
        loading.load_blazeface_full_range,
    ),
    "blazeface_short_range": (
        blazeface_short_range, blazeface_short_range.BlazeFaceShortRange,
        loading.load_blazeface_short_range,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_kernels_compute_what_the_module_does(name: str) -> None:
    module, net_class, load = NETS[name]
    images = cut(module.INPUT_SIZE)
    net = loading.with_weights(net_class(), name)
    low, high = module.INPUT_RANGE
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() * ((high - low) / 255) + low
    with torch.inference_mode():
        expected = net(x)
    for found, wanted in zip(load()(images), expected, strict=True):
        scale = max(1.0, float(wanted.abs().max()))
        assert found.shape == wanted.shape
        assert np.abs(found - wanted.numpy()).max() < 2e-5 * scale


@pytest.mark.parametrize("name", NETS)
def test_a_picture_in_a_batch_gets_the_answer_that_it_gets_alone(name: str) -> None:
    module, _, load = NETS[name]
    images, net = cut(module.INPUT_SIZE), load()
    together = net(images)
    for i in (2, 0):
        for all_of_them, alone in zip(together, net(images[i : i + 1]), strict=True):
            np.testing.assert_array_equal(all_of_them[i], alone[0])


@pytest.mark.parametrize("name", NETS)
def test_a_batch_on_another_device_gets_the_answers_of_the_kernels(name: str) -> None:
    """The way of every device but the CPU, here on the CPU all the same."""
    module, net_class, load = NETS[name]
    images = cut(module.INPUT_SIZE)
    net = loading.with_weights(net_class(), name)
    elsewhere = loading._OnDevice(net, module.INPUT_RANGE, torch.device("cpu"))
    for found, wanted in zip(elsewhere(images), load()(images), strict=True):
        assert np.abs(found - wanted).max() < 2e-5 * max(1.0, float(np.abs(wanted).max()))


@pytest.mark.gpu
@pytest.mark.skipif(not offered(), reason="torch offers no GPU")
@pytest.mark.parametrize("name", NETS)
def test_the_gpu_answers_as_the_cpu(name: str) -> None:
    module, _, load = NETS[name]
    images = cut(module.INPUT_SIZE)
    for found, wanted in zip(load(torch.device(offered()[0]))(images), load()(images), strict=True):
        assert np.abs(found - wanted).max() < 1e-3 * max(1.0, float(np.abs(wanted).max()))


def test_frames_together_are_detected_as_one_by_one(detector: BlazeFaceDetector) -> None:
    frames = [PICTURES["collins"], np.zeros((90, 300, 3), np.uint8), PICTURES["hopper"][:400]]
    wide = np.hstack([PICTURES["collins"], PICTURES["collins"][:, ::-1]])
    together = detector.detect_batch([*frames, wide])
    assert [len(found) for found in together] == [1, 0, 1, 2]
    for frame, found in zip([*frames, wide], together, strict=True):
        for one, other in zip(detector.detect(frame), found, strict=True):
            np.testing.assert_array_equal(one.box, other.box)


def test_regions_together_are_looked_into_as_one_by_one(
    detector: BlazeFaceDetector, finder: AttentionMeshFinder
) -> None:
    rgb, other = PICTURES["collins"], PICTURES["hopper"]
    (detection,) = detector.detect(rgb)
    face = finder.landmarks(other, detector.detect(other)[0])
    assert face is not None
    black = np.zeros_like(rgb)
    requests = [(rgb, detection), (other, face), (black, detection), (black, face)]
    together = finder.landmarks_batch(requests)
    assert [found is None for found in together] == [False, False, True, True]
    for (picture, region), found in zip(requests[:2], together, strict=False):
        alone = finder.landmarks(picture, region)
        assert alone is not None and found is not None
        np.testing.assert_array_equal(alone.landmarks, found.landmarks)
    assert finder.landmarks_batch([]) == []


def test_anchors_are_the_centres_of_cells_row_by_row() -> None:
    centres = boxes.anchor_centres([(2, 1), (1, 2)])
    expected = [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75], [0.5, 0.5], [0.5, 0.5]]
    np.testing.assert_array_equal(centres, np.array(expected, np.float32))
    assert len(boxes.anchor_centres(blazeface_short_range.ANCHORS)) == 896
    assert len(boxes.anchor_centres(blazeface_full_range.ANCHORS)) == 2304


def raw_box(x: float, y: float, width: float, height: float) -> list[float]:
    return [x, y, width, height, *[x, y] * boxes.N_KEYPOINTS]


def test_boxes_are_decoded_relative_to_their_anchor() -> None:
    raw = np.array([raw_box(10, -20, 40, 20)], np.float32)
    (found,) = boxes.decode(raw, np.array([0.0]), np.array([[0.5, 0.5]], np.float32), 100, 0.5)
    np.testing.assert_allclose(found.corners, [[0.4, 0.2], [0.8, 0.4]], atol=1e-6)
    np.testing.assert_allclose(found.keypoints, [[0.6, 0.3]] * 6, atol=1e-6)
    assert found.score == 0.5


def test_overlapping_boxes_become_their_mean_weighted_by_score() -> None:
    raw = np.array([raw_box(0, 0, 40, 40), raw_box(4, 0, 40, 40), raw_box(30, 0, 10, 10)])
    scores = np.array([0.6, 0.9, 0.8])
    centres = np.full((3, 2), 0.5, np.float32)
    logits = np.log(scores / (1 - scores))
    first, second = boxes.decode(raw.astype(np.float32), logits, centres, 100, 0.5)
    assert (first.score, second.score) == (pytest.approx(0.9), pytest.approx(0.8))
    mean = (0.6 * 0.5 + 0.9 * 0.54) / 1.5
    assert first.keypoints[0, 0] == pytest.approx(mean, abs=1e-6)
    np.testing.assert_allclose(first.corners.mean(axis=0), [mean, 0.5], atol=1e-6)


def test_unlikely_and_inverted_boxes_are_dropped_and_empty_ones_end() -> None:
    raw = np.array([raw_box(0, 0, 40, 40), raw_box(0, 0, -40, 40), raw_box(0, 0, 0, 0)])
    centres = np.full((3, 2), 0.5, np.float32)
    logits = np.array([-1.0, 3.0, -2e3])
    assert boxes.decode(raw.astype(np.float32), logits, centres, 100, 0.5) == []
    logits[2] = 2e3
    (empty,) = boxes.decode(raw.astype(np.float32), logits, centres, 100, 0.5)
    assert empty.score == 1.0


def test_missing_and_foreign_weights_are_named(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(loading, "FOLDER", tmp_path)
    with pytest.raises(MissingWeightsError, match="no such file"):
        loading.load_attention_mesh()
    for content in (b"", b"not weights"):
        (tmp_path / "attention_mesh.safetensors").write_bytes(content)
        with pytest.raises(MissingWeightsError, match="not the weights of AttentionMesh"):
            loading.load_attention_mesh()
