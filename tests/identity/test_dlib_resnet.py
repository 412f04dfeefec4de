from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.photographs import astronaut, grace_hopper
from vidswap.errors import MissingWeightsError
from vidswap.faces.align import align_face, face_affine
from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector
from vidswap.identity.dlib_resnet import (
    DLIB_FROM_ARCFACE_OFFSET,
    DLIB_FROM_ARCFACE_SCALE,
    SAME_PERSON_DISTANCE,
    STAGE_CHANNELS,
    STAGE_SIZES,
    load_dlib_resnet,
)
from vidswap.identity.encoder import IdEmbedding, IdentityEncoder, dlib_crop


@pytest.fixture(scope="module")
def encoder() -> IdentityEncoder:
    return IdentityEncoder()


def aligned(rgb: np.ndarray) -> np.ndarray:
    detection = BlazeFaceDetector().detect(rgb)[0]
    face = AttentionMeshFinder().landmarks(rgb, detection)
    assert face is not None
    return align_face(rgb, face_affine(face.landmarks))


def tensor(crop: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1.0


def turned_and_dimmed(rgb: np.ndarray) -> np.ndarray:
    """Another picture of the same person: rotated, smaller, darker, compressed."""
    height, width = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 12, 0.7)
    turned = cv2.warpAffine(rgb, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    _, encoded = cv2.imencode(
        ".jpg", (turned * 0.7).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 60]
    )
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


def test_same_person_is_below_dlibs_threshold_and_others_above(encoder: IdentityEncoder) -> None:
    people = [grace_hopper(), astronaut()]
    with torch.inference_mode():
        originals = [encoder(tensor(aligned(p))).embedding for p in people]
        changed = [encoder(tensor(aligned(turned_and_dimmed(p)))).embedding for p in people]
        mirrored = [encoder(tensor(aligned(p[:, ::-1].copy()))).embedding for p in people]
    for original, other, mirror in zip(originals, changed, mirrored, strict=True):
        assert float((original - other).norm()) < SAME_PERSON_DISTANCE
        assert float((original - mirror).norm()) < SAME_PERSON_DISTANCE
    assert float((originals[0] - originals[1]).norm()) > SAME_PERSON_DISTANCE


def test_the_file_fills_every_parameter(encoder: IdentityEncoder) -> None:
    convolutions = [m for m in encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 29
    for name, parameter in encoder.named_parameters():
        untouched = torch.ones_like(parameter) if name.endswith("gamma") else 0 * parameter
        assert not torch.equal(parameter, untouched), name


def test_stage_shapes_are_the_documented_ones(encoder: IdentityEncoder) -> None:
    stages = encoder.resnet.stages(torch.zeros(2, 3, 150, 150))
    assert [tuple(s.shape) for s in stages] == [
        (2, c, s, s) for c, s in zip(STAGE_CHANNELS, STAGE_SIZES, strict=True)
    ]


def test_crop_agrees_with_an_opencv_warp_of_the_documented_map() -> None:
    crop = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8), (0, 0), 3
    )
    # 256 crop -> 112 template -> dlib's 150, as one affine.
    gain = DLIB_FROM_ARCFACE_SCALE / 1.76
    offset = [
        DLIB_FROM_ARCFACE_SCALE * (centre - t / 1.76) + o
        for centre, t, o in zip((56.0, 51.6), (128.0, 106.0), DLIB_FROM_ARCFACE_OFFSET, strict=True)
    ]
    matrix = np.array([[gain, 0, offset[0]], [0, gain, offset[1]]])
    expected = cv2.warpAffine(crop, matrix, (150, 150), borderMode=cv2.BORDER_REFLECT)
    found = (dlib_crop(tensor(crop))[0].permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(found - expected).mean() < 0.6


def test_a_half_size_crop_embeds_nearly_the_same(encoder: IdentityEncoder) -> None:
    crop = tensor(aligned(astronaut()))
    with torch.inference_mode():
        full, half = encoder(crop), encoder(F.avg_pool2d(crop, 2))
    assert float((full.embedding - half.embedding).norm()) < 0.25


def test_gradients_reach_the_picture(encoder: IdentityEncoder) -> None:
    crop = torch.zeros(1, 3, 256, 256, requires_grad=True)
    encoder(crop).embedding.sum().backward()
    assert crop.grad is not None and float(crop.grad.abs().sum()) > 0


def test_mean_embedding_is_the_mean_of_each_part() -> None:
    random = torch.Generator().manual_seed(0)
    shots = [
        IdEmbedding(
            torch.randn(1, 256, generator=random),
            torch.randn(1, 128, generator=random),
            tuple(torch.randn(1, c, generator=random) for c in STAGE_CHANNELS),
        )
        for _ in range(3)
    ]
    mean = IdEmbedding.concatenate(shots).mean()
    torch.testing.assert_close(mean.vector, sum(s.vector for s in shots) / 3)
    torch.testing.assert_close(mean.features[2], sum(s.features[2] for s in shots) / 3)
    assert mean.expand(5).embedding.shape == (5, 128)


def test_the_embedding_is_the_documented_function_of_the_vector(encoder: IdentityEncoder) -> None:
    with torch.inference_mode():
        identity = encoder(torch.rand(2, 3, 256, 256))
    np.testing.assert_allclose(
        identity.embedding.numpy(),
        identity.vector.numpy() @ encoder.resnet.fc.weight.detach().numpy().T,
        atol=1e-5,
    )


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="no such file"):
        load_dlib_resnet(tmp_path / "net.safetensors")
    (tmp_path / "net.safetensors").write_bytes(b"not dlib's")
    with pytest.raises(MissingWeightsError, match="not dlib's face recognition net"):
        load_dlib_resnet(tmp_path / "net.safetensors")
