"""What is shown in another light: the colours change, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.test_trainer import sampler
from vidswap.training.config import paper_config, read_config
from vidswap.training.light_noise import LightConfig, in_other_light, light_gain
from vidswap.training.pair_batch import PairConfig

PAIRS = PairConfig(
    size=128, batch=4, same_picture=0.0, swap_back=0.0, warped=0.25, across=0.5, referenced=1.0,
    bare_sources=False,
)  # fmt: skip


def test_the_gain_stays_within_its_bounds_and_is_smooth() -> None:
    gains = [light_gain(256, np.random.default_rng(seed)) for seed in range(200)]
    every = np.stack(gains)
    config = LightConfig()
    assert every.dtype == np.float32 and every.shape[1:] == (256, 256, 3)
    assert config.least_gain <= every.min() < 0.7 and 1.4 < every.max() <= config.most_gain
    assert np.abs(np.diff(every, axis=1)).max() < 0.02
    # Neither brighter nor darker on the whole, and no colour more often than another.
    assert np.exp(np.log(every).mean(axis=(0, 1, 2))) == pytest.approx(np.ones(3), abs=0.05)


def test_the_brightest_place_is_at_most_twice_as_bright_but_for_exposure() -> None:
    for seed in range(50):
        shade = light_gain(256, np.random.default_rng(seed), LightConfig(exposure=0.0, cast=0.0))
        assert shade.max() / shade.min() < 2.05


def test_one_seed_gives_one_light_and_the_picture_stays() -> None:
    picture = np.full((256, 256, 3), 120, np.uint8)
    one, again, other = (in_other_light(picture, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one.dtype == np.uint8 and one.shape == picture.shape
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert bool((picture == 120).all())


def test_what_is_shown_changes_its_colours_but_not_its_mask() -> None:
    def view(light_noise: float) -> np.ndarray:
        drawing = sampler(replace(PAIRS, light_noise=light_noise))
        return drawing._reference(1, 0, drawing._shot(0), None, np.random.default_rng(5))

    plain, lit = view(0.0), view(1.0)
    shown = plain[..., 3] > 0
    assert bool(shown.any()) and np.array_equal(plain[..., 3], lit[..., 3])
    assert np.abs(plain[shown].astype(int) - lit[shown])[:, :3].max() > 10


def test_an_answer_across_two_people_keeps_its_light() -> None:
    pairs = replace(
        PAIRS, warped=0.0, across=1.0, rotation=0.0, scale=0.0, shift=0.0, brightness=0.0
    )
    plain = sampler(replace(pairs, occluded=0.0, degraded=0.0)).batch(0)
    lit = sampler(replace(pairs, occluded=0.0, degraded=0.0, light_noise=1.0)).batch(0)
    # All faces of the dataset are alike: the answers differ by being mirrored at most.
    for one, other in zip(plain.answers, lit.answers, strict=True):
        assert torch.equal(one, other) or torch.equal(one.flip(2), other)
    assert not torch.equal(plain.references[:, :3], lit.references[:, :3])


def test_no_light_is_drawn_unless_asked_for() -> None:
    assert PairConfig().light_noise == 0.0 and paper_config().pairs.light_noise == 0.0


def test_the_configuration_with_a_gate_shows_other_light_and_warms_its_discriminator() -> None:
    given = read_config("apgan-256-gate")
    assert given.generator.reference and given.generator.gate
    assert given.pairs.light_noise > 0.0 and given.warm_discriminator_images > 0
