"""The training loop's arithmetic on tiny nets: it learns, saves, resumes and grows."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipelines.train_apgan import TrainConfig, Trainer, config_from_json, grow_discriminator
from tests.models.test_apgan import SMALL
from tests.training.test_pairs import MESH_INDEX, schematic_points
from vidswap.models.apgan import GeneratorConfig
from vidswap.models.apgan_discriminator import Discriminator
from vidswap.training.face_shards import FaceRecord
from vidswap.training.id_targets import ID_WIDTHS
from vidswap.training.pairs import PairBatch, PairConfig, PairSampler

N_FACES = 40


class TinyEncoder(nn.Module):
    """Stands in for the second training encoder, whose weights are no part of the project."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(3 * 8 * 8, 192).requires_grad_(False)

    def forward(self, crops: Tensor, jitter: Tensor | None = None) -> Tensor:
        return self.project(nn.functional.adaptive_avg_pool2d(crops, 8).flatten(1))


def config(size: int = 128) -> TrainConfig:
    generator = GeneratorConfig(size=size, channels=SMALL, id_width=32)
    return TrainConfig(
        generator=generator,
        pairs=PairConfig(size=size, batch=4),
        discriminator_widths=(8, 8, 8),
        generator_rate=3e-3,
    )


def trainer(size: int = 128) -> Trainer:
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    id_rows = random.normal(size=(N_FACES, sum(ID_WIDTHS))).astype(np.float32)
    second_rows = random.normal(size=(N_FACES, 192)).astype(np.float32)
    return Trainer(config(size), id_rows, second_rows, TinyEncoder(), torch.device("cpu"))


def batch(size: int = 128, seed: int = 0) -> PairBatch:
    faces = np.full((N_FACES, 128, 128, 3), 60, np.uint8)
    faces[:, 30:90, 40:90] = (200, 150, 120)
    landmarks = np.repeat(schematic_points()[MESH_INDEX][None], N_FACES, 0).astype(np.float16)
    records = [FaceRecord(f"{i}.webp", "", "", "") for i in range(N_FACES)]
    pairs = PairConfig(size=size, batch=4)
    return PairSampler(faces, landmarks, MESH_INDEX, records, pairs, seed).batch()


def test_reconstruction_falls_over_a_few_steps() -> None:
    net, fixed = trainer(), batch()
    losses = [net.step(fixed)["reconstruction"] for _ in range(10)]
    assert losses[-1] < 0.8 * losses[0]
    assert net.images == 40


def test_every_part_of_the_generator_gets_a_gradient() -> None:
    net = trainer()
    before = {n: p.detach().clone() for n, p in net.generator.named_parameters()}
    for seed in range(3):
        net.step(batch(seed=seed))
    still = [n for n, p in net.generator.named_parameters() if torch.equal(p, before[n])]
    assert still == []


def test_a_resumed_run_goes_on_exactly() -> None:
    first, second = trainer(), trainer()
    first.step(batch(seed=1))
    second.load_state(deepcopy(first.state()))  # as a file would hold it
    torch.manual_seed(5)
    one = first.step(batch(seed=2))
    torch.manual_seed(5)
    other = second.step(batch(seed=2))
    assert one == pytest.approx(other, rel=1e-4)


def test_a_128_pixel_state_starts_a_256_pixel_run() -> None:
    small, large = trainer(128), trainer(256)
    small.step(batch(128))
    large.load_state(small.state())
    torch.testing.assert_close(
        large.generator.up["16"].conv.weight, small.generator.up["16"].conv.weight
    )
    assert np.isfinite(large.step(batch(256))["reconstruction"])


def test_a_grown_discriminator_sees_each_size_with_the_same_weights() -> None:
    small, large = Discriminator((8, 6, 4)), Discriminator((5, 8, 6))
    grown = grow_discriminator(large.state_dict(), small.state_dict())
    torch.testing.assert_close(
        grown["scales.1.stages.0.0.weight"], small.state_dict()["scales.0.stages.0.0.weight"]
    )
    assert torch.equal(
        grown["scales.0.stages.0.0.weight"], large.state_dict()["scales.0.stages.0.0.weight"]
    )


def test_the_average_follows_the_generator() -> None:
    net = trainer()
    for _ in range(3):
        net.step(batch())
    for mean, current in zip(net.average.parameters(), net.generator.parameters(), strict=True):
        assert float((mean - current).detach().abs().max()) < 0.02


def test_a_configuration_names_only_what_differs() -> None:
    text = '{"pairs": {"size": 256, "batch": 8}, "discriminator_widths": [16, 32, 32]}'
    given = config_from_json(text)
    assert given.pairs.size == 256 and given.discriminator_widths == (16, 32, 32)
    assert given.pairs.rotation == TrainConfig().pairs.rotation
