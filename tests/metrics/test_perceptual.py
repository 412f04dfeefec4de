from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vidswap.errors import MissingWeightsError
from vidswap.metrics.perceptual import VGG_BLOCKS, dipd, instance_normalised, load_vgg

RANDOM = np.random.default_rng(0)


def features(channels: int = 16, side: int = 24) -> np.ndarray:
    return RANDOM.normal(size=(channels, side, side))


def test_normalised_features_are_those_of_torchs_instance_norm() -> None:
    given = 3 * features() + 5
    expected = nn.functional.instance_norm(torch.from_numpy(given)[None], eps=1e-12)[0].numpy()
    np.testing.assert_allclose(instance_normalised(given), expected, atol=1e-5)


def test_an_even_map_is_normalised_to_nothing_not_to_noise() -> None:
    assert not instance_normalised(np.full((2, 4, 4), 0.1)).any()


def test_the_same_features_are_at_no_distance_nor_with_other_means_and_deviations() -> None:
    given = features()
    gain, bias = RANDOM.uniform(0.5, 3, (16, 1, 1)), RANDOM.normal(size=(16, 1, 1))
    assert dipd(given, given) == 0
    assert dipd(given, gain * given + bias) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("noise", [0.2, 1.0, 4.0])
def test_noise_takes_features_to_the_distance_of_their_correlation(noise: float) -> None:
    # |a - b|^2 = 2 (1 - r) for unit deviations; r = 1 / sqrt(1 + s^2) for added noise s.
    given = features(64)
    expected = math.sqrt(2 - 2 / math.sqrt(1 + noise**2))
    assert dipd(given, given + noise * features(64)) == pytest.approx(expected, rel=0.02)


def test_unrelated_features_are_at_the_root_of_two_and_opposite_ones_at_two() -> None:
    assert dipd(features(64), features(64)) == pytest.approx(math.sqrt(2), rel=0.02)
    given = features()
    assert dipd(given, -given) == pytest.approx(2)


def test_features_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        dipd(features(side=8), features(side=9))


def small_vgg() -> nn.Sequential:
    """VGG-16's layers in torchvision's order, four channels wide."""
    layers: list[nn.Module] = []
    channels = 3
    for depth in VGG_BLOCKS:
        for _ in range(depth):
            layers += [nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU()]
            channels = 4
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def test_conv5_is_what_the_layers_give_one_after_another(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = small_vgg()
    weights = {f"features.{name}": value for name, value in net.state_dict().items()}
    torch.save(weights, tmp_path / "vgg16.pth")
    crops = torch.rand(1, 3, 224, 224) * 2 - 1
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    normal = ((crops + 1) / 2 - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[
        :, None, None
    ]
    with torch.inference_mode():
        expected = net[:-1](normal)  # conv5, before the fifth pooling
        found = load_vgg(tmp_path / "vgg16.pth")(crops)
    assert found.shape == (1, 4, 14, 14)
    torch.testing.assert_close(found, expected)


def test_what_is_no_vgg_is_refused_in_words(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name, reason in (
        ("other.pth", "1 convolutions"),
        ("text.pth", "not torchvision"),
        ("none", "no such file"),
    ):
        with pytest.raises(MissingWeightsError, match=reason):
            load_vgg(tmp_path / name)
