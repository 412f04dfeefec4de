"""The training step's arithmetic on tiny nets: it learns, resumes exactly, grows and steps back."""

from __future__ import annotations

import copy
import io
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models.test_apgan import SMALL
from tests.training.test_pairs import MESH_INDEX, schematic_points
from vidswap.errors import CheckpointError, TrainingConfigError, TrainingDivergedError
from vidswap.identity.encoder import IdentityEncoder
from vidswap.models.apgan.discriminator import Discriminator, DiscriminatorConfig
from vidswap.models.apgan.generator import GeneratorConfig
from vidswap.training.config import TABLE_IV_ROWS, TrainConfig, paper_config, table_iv_config
from vidswap.training.data.face_shards import FaceRecord
from vidswap.training.growth import grow_discriminator
from vidswap.training.guarded_trainer import fused_as
from vidswap.training.id_targets import ID_WIDTHS
from vidswap.training.identity_loss import IdentityLoss
from vidswap.training.pair_batch import PairBatch, PairConfig
from vidswap.training.pairs import PairSampler
from vidswap.training.trainer import MAX_STEPS_BACK, Trainer

N_FACES = 40


class TinyEncoder(nn.Module):
    """Stands in for the second training encoder, whose weights are no part of the project."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(3 * 8 * 8, 192).requires_grad_(False)

    def forward(self, crops: Tensor, jitter: Tensor | None = None) -> Tensor:
        return self.project(nn.functional.adaptive_avg_pool2d(crops, 8).flatten(1))


def config(size: int = 128) -> TrainConfig:
    return TrainConfig(
        generator=GeneratorConfig(size=size, channels=SMALL, id_width=32),
        discriminator=DiscriminatorConfig(widths=(8, 8, 8)),
        pairs=PairConfig(size=size, batch=4),
        generator_rate=3e-3,
    )


@cache
def identity_loss() -> IdentityLoss:
    """Nothing in it learns, so all tests share it."""
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    id_rows = random.normal(size=(N_FACES, sum(ID_WIDTHS))).astype(np.float32)
    second_rows = random.normal(size=(N_FACES, 192)).astype(np.float32)
    return IdentityLoss(
        IdentityEncoder(), torch.from_numpy(id_rows), TinyEncoder(), torch.from_numpy(second_rows)
    )


def trainer(given: TrainConfig | None = None) -> Trainer:
    return Trainer(given or config(), identity_loss(), torch.device("cpu"))


def sampler(pairs: PairConfig | None = None) -> PairSampler:
    faces = np.full((N_FACES, 128, 128, 3), 60, np.uint8)
    faces[:, 30:90, 40:90] = (200, 150, 120)
    landmarks = np.repeat(schematic_points()[MESH_INDEX][None], N_FACES, 0).astype(np.float16)
    records = [FaceRecord(f"{i}.webp", "", "", "") for i in range(N_FACES)]
    return PairSampler(
        faces, landmarks, MESH_INDEX, records, pairs or PairConfig(size=128, batch=4), 0
    )


def batch(size: int = 128, number: int = 0) -> PairBatch:
    return sampler(PairConfig(size=size, batch=4)).batch(number)


def test_reconstruction_falls_over_a_few_steps() -> None:
    net, fixed = trainer(), batch()
    losses = [(net.step(fixed) or {})["reconstruction"] for _ in range(6)]
    assert losses[-1] < 0.9 * losses[0]
    assert net.images == 24


def test_every_part_of_the_generator_gets_a_gradient() -> None:
    net = trainer()
    before = {n: p.detach().clone() for n, p in net.generator.named_parameters()}
    for seed in range(3):
        net.step(batch(number=seed))
    still = [n for n, p in net.generator.named_parameters() if torch.equal(p, before[n])]
    assert still == []


def test_a_resumed_run_goes_on_exactly() -> None:
    first, second = trainer(), trainer()
    for number in range(2):
        first.step(batch(number=number))
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    torch.manual_seed(99)  # what another process would have
    second.load_state(torch.load(file, weights_only=True))
    assert second.steps == 2 and second.images == 8
    other = second.step(batch(number=second.steps))
    torch.set_rng_state(torch.load(io.BytesIO(file.getvalue()), weights_only=True)["torch_rng"])
    assert first.step(batch(number=2)) == other
    for a, b in zip(first.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_128_pixel_state_starts_a_256_pixel_run() -> None:
    small, large = trainer(), trainer(config(256))
    small.step(batch())
    large.load_state(small.state())
    torch.testing.assert_close(
        large.generator.up["16"].conv.weight, small.generator.up["16"].conv.weight
    )
    losses = large.step(batch(256))
    assert losses is not None and np.isfinite(losses["reconstruction"])


def test_a_state_of_another_architecture_is_refused_by_name() -> None:
    wider = replace(config(), discriminator=DiscriminatorConfig(widths=(8, 8, 12)))
    with pytest.raises(CheckpointError, match="another architecture"):
        trainer().load_state(trainer(wider).state())


def test_values_that_are_not_finite_bring_back_the_last_good_nets() -> None:
    net = trainer()
    net.step(batch())
    good = deepcopy(net._good_state)
    assert good is not None
    with torch.no_grad():
        net.generator.to_rgb.bias.fill_(float("nan"))
    assert net.step(batch(number=1)) is None
    assert net.steps_back == 1 and net.images == 4
    for name, tensor in net.generator.state_dict().items():
        assert torch.equal(tensor, good["generator"][name]), name
    losses = net.step(batch(number=2))
    assert losses is not None and all(np.isfinite(value) for value in losses.values())


def test_a_resumed_run_can_step_back_at_once() -> None:
    first, second = trainer(), trainer()
    first.step(batch())
    second.load_state(deepcopy(first.state()))
    bad = replace(batch(), targets=torch.full((4, 3, 128, 128), float("inf")))
    assert second.step(bad) is None
    for name, tensor in first.generator.state_dict().items():
        assert torch.equal(tensor, second.generator.state_dict()[name]), name


def test_a_run_that_never_becomes_finite_again_gives_up_with_advice() -> None:
    net, bad = trainer(), batch()
    bad = replace(bad, targets=torch.full_like(bad.targets, float("inf")))
    with pytest.raises(TrainingDivergedError, match="lower generator_rate"):
        for _ in range(MAX_STEPS_BACK + 1):
            net.step(bad)


def test_a_swap_back_pair_is_shown_another_face_and_asked_for_its_own() -> None:
    net = trainer()
    pairs = PairConfig(size=128, batch=4, same_picture=0.25, swap_back=0.5, warped=0.0)
    given = sampler(pairs).batch(0)
    assert given.n_swap_back == 2 and len(given.swap_back_sources) == 2
    shown = net._with_swaps(given.targets, given.boundary_maps, given)
    assert torch.equal(shown[0], given.targets[0]) and torch.equal(shown[3], given.targets[3])
    assert not torch.equal(shown[1], given.targets[1])
    assert torch.equal(given.sources[1:3], given.target_rows[1:3])
    assert bool((given.keep[1:3] == 1).all())


def test_a_warped_pair_is_shown_warped_and_asked_for_its_own() -> None:
    net = trainer()
    pairs = PairConfig(size=128, batch=4, same_picture=0.25, swap_back=0.0, warped=0.5)
    given = sampler(pairs).batch(0)
    shown = net._with_swaps(given.targets, given.boundary_maps, given)
    assert torch.equal(shown[1:3], given.warped)
    assert torch.equal(shown[::3], given.targets[::3])
    assert bool((given.keep[1:3] == 1).all())


def test_a_pair_across_two_people_is_compared_with_its_answer() -> None:
    net = trainer()
    pairs = PairConfig(size=128, batch=4, same_picture=0.25, swap_back=0.0, warped=0.0, across=0.5)
    given = sampler(pairs).batch(0)
    assert len(given.answers) == 2
    shown = net._with_swaps(given.targets, given.boundary_maps, given)
    assert torch.equal(shown, given.targets)
    with torch.no_grad():
        real = net.discriminator(given.targets, given.boundary_maps)
        wanted, stages = net._wanted(given.targets, given.boundary_maps, real, given)
        expected = net.discriminator(wanted, given.boundary_maps)
    assert torch.equal(wanted[1:3], given.answers)
    assert torch.equal(wanted[::3], given.targets[::3])
    for (_, one), (_, other) in zip(stages, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("row", TABLE_IV_ROWS)
def test_every_row_of_table_iv_trains(row: str) -> None:
    given = table_iv_config(row, config())
    net = trainer(given)
    losses = net.step(batch())
    assert losses is not None
    assert given.generator.pe_blocks == (row != "none")
    assert (given.weights.style > 0) == (row == "+l-sp")
    assert net.discriminator.scales[0].stages[0][0].in_channels == (
        3 if row in ("none", "pe-blocks") else 6
    )


def test_the_papers_configuration_trains_with_spectral_norm_in_both_nets() -> None:
    paper = paper_config(128)
    small = replace(paper.generator, channels=SMALL, id_width=32)
    net = trainer(replace(paper, generator=small, pairs=replace(paper.pairs, batch=4)))
    losses = net.step(sampler(net.config.pairs).batch(0))
    assert losses is not None and np.isfinite(losses["identity_dlib"])
    for layer in (net.generator.down["64"].conv, net.discriminator.scales[0].stages[1][0]):
        largest = torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]
        assert float(largest) < 1.5  # one, once the power iteration has settled


def test_a_grown_discriminator_sees_each_size_with_the_same_weights() -> None:
    small, large = (Discriminator(DiscriminatorConfig(widths=w)) for w in ((8, 6, 4), (5, 8, 6)))
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


def test_training_goes_on_with_a_reference_where_it_stood_without() -> None:
    plain = trainer()
    plain.step(batch())
    state = copy.deepcopy(plain.state())
    given = config()
    given = replace(
        given, generator=replace(given.generator, reference=True),
        pairs=replace(given.pairs, referenced=1.0),
    )  # fmt: skip
    net = trainer(given)
    net.load_state(state)
    for name, weight in plain.generator.state_dict().items():
        assert torch.equal(net.generator.state_dict()[name], weight)
    moments = net.generator_optimiser.state_dict()["state"]
    assert moments.keys() == state["generator_optimiser"]["state"].keys()
    assert net.step(sampler(given.pairs).batch(1)) is not None
    assert all(float(w.detach().abs().sum()) > 0 for w in net.generator.covered.parameters())
    again = trainer(given)
    again.load_state(copy.deepcopy(net.state()))
    assert torch.equal(again.generator.covered["128"].weight, net.generator.covered["128"].weight)


def with_gate(given: TrainConfig) -> TrainConfig:
    return replace(
        given, generator=replace(given.generator, reference=True, gate=True),
        pairs=replace(given.pairs, referenced=1.0),
    )  # fmt: skip


def test_training_goes_on_with_a_gate_where_it_stood_with_a_reference() -> None:
    given = with_gate(config())
    painted = trainer(replace(given, generator=replace(given.generator, gate=False)))
    painted.step(sampler(given.pairs).batch(0))
    state = copy.deepcopy(painted.state())
    net = trainer(given)
    net.load_state(copy.deepcopy(state))
    for name in ("generator", "average"):
        for key, weight in state[name].items():
            assert torch.equal(getattr(net, name).state_dict()[key], weight), key
    moments = net.generator_optimiser.state_dict()["state"]
    assert moments.keys() == state["generator_optimiser"]["state"].keys()
    losses = net.step(sampler(given.pairs).batch(1))
    assert losses is not None and 0.35 < losses["gate"] < 0.75
    assert all(bool(w.detach().any()) for w in net.generator.gate.features.parameters())
    again = trainer(given)
    again.load_state(copy.deepcopy(net.state()))
    assert torch.equal(again.generator.gate.mask.weight, net.generator.gate.mask.weight)


def test_a_gates_weight_opens_the_reference() -> None:
    given = with_gate(config())
    means = []
    for weight in (0.0, 30.0):
        net = trainer(replace(given, weights=replace(given.weights, gate=weight)))
        fixed = sampler(given.pairs).batch(0)
        means.append([(net.step(fixed) or {})["gate"] for _ in range(4)][-1])
    assert means[1] < means[0]


def test_the_discriminator_warms_up_before_the_generator_moves() -> None:
    net = trainer(replace(config(), warm_discriminator_images=8))
    parameters = {n: p.detach().clone() for n, p in net.generator.named_parameters()}
    judging = [p.detach().clone() for p in net.discriminator.parameters()]
    losses = [net.step(batch(number=i)) for i in range(2)]
    assert [set(each or {}) for each in losses] == [{"discriminator", "discriminator_norm"}] * 2
    assert (net.images, net.warmed, net.steps) == (0, 8, 2)
    for of_net in (net.generator, net.average):
        for name, weight in of_net.named_parameters():
            assert torch.equal(weight, parameters[name]), name
    moved = zip(net.discriminator.parameters(), judging, strict=True)
    assert any(not torch.equal(new, old) for new, old in moved)
    again = trainer(net.config)
    again.load_state(copy.deepcopy(net.state()))
    assert "adversarial" in (again.step(batch(number=2)) or {})
    assert (again.images, again.warmed) == (4, 8)


def test_a_state_with_a_discriminator_needs_no_warm_up() -> None:
    state = trainer().state()
    del state["warmed"]  # as states were before
    net = trainer(replace(config(), warm_discriminator_images=8))
    net.load_state(state)
    net.step(batch())
    assert net.images == 4


def test_the_weights_of_a_generator_alone_start_a_run_with_a_new_discriminator() -> None:
    source, net = trainer(), trainer(replace(config(), warm_discriminator_images=4))
    source.step(batch())
    own = copy.deepcopy(net.discriminator.state_dict())
    weights = source.average.state_dict()
    net.load_state({"generator": weights, "average": weights, "images": 4000, "steps": 0})
    for name in ("generator", "average"):
        for key, weight in getattr(net, name).state_dict().items():
            assert torch.equal(weight, weights[key]), key
    for key, weight in net.discriminator.state_dict().items():
        assert torch.equal(weight, own[key]), key
    net.step(batch())
    assert (net.images, net.warmed) == (4000, 4)
    net.step(batch(number=1))
    assert net.images == 4004


def test_a_gate_without_a_reference_is_refused() -> None:
    given = with_gate(config())
    with pytest.raises(TrainingConfigError, match="set both"):
        replace(given, generator=replace(given.generator, reference=False))


def test_a_fused_optimiser_takes_no_step_along_a_gradient_that_is_not_finite() -> None:
    net = trainer()
    layer = nn.Linear(3, 2)
    optimiser = torch.optim.Adam(layer.parameters(), 0.1, fused=True)
    for scale in (1.0, float("nan"), float("inf"), 1.0):
        before = layer.weight.detach().clone()
        norm = net.update(optimiser, layer, scale * layer(torch.ones(1, 3)).sum())
        assert bool(torch.isfinite(torch.as_tensor(norm))) == (scale == 1.0)
        assert torch.equal(layer.weight, before) == (scale != 1.0)
    assert all(float(kept["step"]) == 2 for kept in optimiser.state.values())


def test_an_optimiser_goes_on_from_the_state_of_one_of_another_kind_of_device() -> None:
    def stepped(state: dict[str, Any] | None, fused: bool | None) -> tuple[Tensor, dict[str, Any]]:
        layer = nn.Linear(3, 2, bias=False)
        nn.init.ones_(layer.weight)
        optimiser = torch.optim.Adam(layer.parameters(), 0.1, fused=fused)
        if state is not None:
            optimiser.load_state_dict(fused_as(optimiser, deepcopy(state)))
        layer(torch.tensor([[1.0, -2.0, 3.0]])).square().sum().backward()
        optimiser.step()
        assert optimiser.param_groups[0]["fused"] is fused
        return layer.weight, optimiser.state_dict()

    _, state = stepped(None, None)
    expected, _ = stepped(state, None)
    on_gpu, _ = stepped(state, True)
    torch.testing.assert_close(on_gpu, expected)
    _, of_gpu = stepped(None, True)
    back, _ = stepped(of_gpu, None)
    torch.testing.assert_close(back, expected)
    assert not torch.equal(stepped(None, None)[0], expected)  # the moments do count
