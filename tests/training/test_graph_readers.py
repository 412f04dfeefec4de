from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidswap.errors import MissingWeightsError
from vidswap.training.graph_readers import (
    GraphNet,
    Step,
    _same_padding,
    read_tfjs,
    read_tflite,
)

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"


def test_steps_run_in_order_and_tensors_are_freed_after_their_last_use() -> None:
    steps = [
        Step(("x",), "a", lambda x: x + 1),
        Step(("a",), "b", lambda a: a * 2),
        Step(("a", "b"), "c", lambda a, b: a + b),
    ]
    net = GraphNet(steps, "x", "c")
    assert net(torch.tensor([[1.0, 2.0]])).tolist() == [[6.0, 9.0]]
    assert net._last_use == {"x": 0, "a": 2, "b": 2}


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(112, 3, 2), (7, 3, 2), (56, 5, 1), (8, 2, 2)]
)
def test_same_padding_gives_tensorflows_output_size(size: int, kernel: int, stride: int) -> None:
    padded = _same_padding(torch.zeros(1, 1, size, size), kernel, stride)
    output = F.conv2d(padded, torch.zeros(1, 1, kernel, kernel), stride=stride)
    assert output.shape[-1] == -(-size // stride)


def test_same_padding_puts_the_odd_pixel_at_the_far_end() -> None:
    padded = _same_padding(torch.ones(1, 1, 4, 4), 3, 2)
    assert padded.shape[-1] == 5 and padded[0, 0, 0, 0] == 1 and padded[0, 0, 4, 4] == 0


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"absent.tflite"):
        read_tflite(tmp_path / "absent.tflite")
    with pytest.raises(MissingWeightsError, match=r"absent.json"):
        read_tfjs(tmp_path / "absent.json", "out")


@pytest.mark.skipif(not MODELS.is_dir(), reason="the training encoders are not here")
def test_the_training_encoder_is_differentiable_and_fits_its_batch() -> None:
    pytest.importorskip("tflite")
    net = read_tflite(MODELS / "mobilefacenet_192.tflite")
    x = torch.rand(3, 3, 112, 112, requires_grad=True)
    embedding = net(x)
    assert embedding.shape == (3, 192)
    embedding.sum().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0
    with torch.no_grad():
        np.testing.assert_allclose(net(x[1:2]).numpy(), embedding[1:2].detach().numpy(), atol=1e-4)


@pytest.mark.skipif(not MODELS.is_dir(), reason="the judge net is not here")
def test_the_judge_gives_an_embedding() -> None:
    net = read_tfjs(MODELS / "faceres.json", "global_pooling/Mean")
    with torch.no_grad():
        embedding = net(torch.rand(2, 3, 224, 224) * 255)
        men = read_tfjs(MODELS / "faceres.json", "gender_pred/Sigmoid")(torch.zeros(2, 3, 224, 224))
    assert embedding.shape == (2, 1024) and float(embedding.std()) > 0
    assert men.shape == (2, 1) and ((men > 0) & (men < 1)).all()
