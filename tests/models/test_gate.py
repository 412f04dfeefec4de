"""A generator with a gate: what it starts as, and where it changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.models.test_apgan import SMALL, identity, pictures, small_generator
from vidswap.models.apgan.generator import Composition, Generator, GeneratorConfig
from vidswap.models.face_net import reference_tensor

GATED = GeneratorConfig(channels=SMALL, id_width=32, reference=True, gate=True)


def gated(size: int = 256) -> Generator:
    torch.manual_seed(0)
    return Generator(replace(GATED, size=size)).eval()


def references(batch: int, size: int = 256) -> torch.Tensor:
    """A green square over the middle of every sample."""
    views = torch.zeros(batch, size, size, 4, dtype=torch.uint8)
    middle = slice(size // 4, 3 * size // 4)
    views[:, middle, middle] = torch.tensor([51, 204, 51, 255], dtype=torch.uint8)
    return reference_tensor(views)


def composed(net: Generator, reference: torch.Tensor | None, size: int = 256) -> Composition:
    target, boundary_map = pictures(2, size)
    with torch.inference_mode():
        return net.compose(target, boundary_map, identity(2), reference)


@pytest.mark.parametrize("size", [128, 256])
def test_it_starts_with_six_tenths_of_the_reference_and_nearly_none_of_the_target(
    size: int,
) -> None:
    shown = references(2, size)
    target, _ = pictures(2, size)
    logits, picture, gate = composed(gated(size), shown, size)
    assert gate is not None and gate.shape == (2, 1, size, size)
    middle = size // 2
    assert float(gate[0, 0, middle, middle]) == pytest.approx(0.40, abs=0.01)
    assert float(gate[0, 0, 0, 0]) == pytest.approx(0.98, abs=0.01)
    own = torch.tanh(logits)
    mixed = 0.4013 * own + 0.5987 * shown[:, :3]
    where = (slice(None), slice(None), middle, middle)
    torch.testing.assert_close(picture[where], mixed[where], atol=1e-3, rtol=0)
    around = 0.982 * own + 0.018 * target
    torch.testing.assert_close(picture[..., :8, :], around[..., :8, :], atol=1e-3, rtol=0)


def test_without_a_reference_the_picture_is_the_nets_own_bit_for_bit() -> None:
    net, plain = gated(), small_generator(reference=True)
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("gate.")})
    shown = references(2)
    shown[1] = 0.0
    half = composed(net, shown)
    assert half.gate is not None and bool((half.gate[1] == 1.0).all())
    expected = composed(plain, shown)
    assert expected.gate is None
    assert torch.equal(half.logits, expected.logits)
    assert torch.equal(half.picture[1], expected.picture[1])
    assert not torch.equal(half.picture[0], expected.picture[0])
    without = composed(net, None)
    assert without.gate is None
    assert torch.equal(without.picture, composed(plain, None).picture)


def test_a_net_without_a_gate_gives_the_tangent_of_its_logits() -> None:
    logits, picture, gate = composed(small_generator(reference=True), references(2))
    assert gate is None
    assert torch.equal(picture, torch.tanh(logits))


def test_the_gate_learns_from_the_features_of_both_levels_and_from_the_mask() -> None:
    net = gated()
    target, boundary_map = pictures(2, 256)
    net.compose(target, boundary_map, identity(2), references(2)).picture.square().mean().backward()
    for name, weight in net.gate.named_parameters():
        assert weight.grad is not None and bool(weight.grad.any()), name


def test_the_gate_is_last_among_the_parameters() -> None:
    # A state's moments are numbered, so that those of an older net keep their numbers.
    names = [name for name, _ in gated().named_parameters()]
    of_gate = [name for name in names if name.startswith("gate.")]
    assert names[-len(of_gate) :] == of_gate


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_composes_nearly_the_same(dtype: torch.dtype) -> None:
    net = gated()
    target, boundary_map = pictures(1, 256)
    given = (target, boundary_map, references(1))
    with torch.inference_mode():
        exact = net(*given[:2], identity(1), given[2])
        net.to(dtype)
        one, other, shown = (tensor.to(dtype) for tensor in given)
        rough = net(one, other, identity(1), shown)
    assert rough.dtype == torch.float32
    assert float((exact - rough).abs().mean()) < 0.02


def test_a_gate_needs_a_reference() -> None:
    with pytest.raises(ValueError, match="needs reference"):
        Generator(replace(GATED, reference=False))
