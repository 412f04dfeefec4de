"""Each normalise-and-activate step against torch in float64, gradients included."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vidswap.models import normalisation
from vidswap.models.normalisation import channel_statistics, modulate, scale_shift

SIZES = [(1, 3, 5, 7), (2, 16, 32, 32), (3, 320, 4, 4)]


def _map(size: tuple[int, ...], dtype: torch.dtype, mean: float = 0.0) -> Tensor:
    x = (torch.randn(size) + mean).to(dtype)
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


def _gradients(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [g.double() for g in torch.autograd.grad((y * weight).sum(), inputs)]


def _assert_close(got: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for a, b in zip(got, expected, strict=True):
        assert (a - b).norm() <= tolerance * (b.norm() + 1e-3)


@pytest.fixture(params=[(torch.float32, 1e-5), (torch.bfloat16, 0.01)], ids=["float32", "bfloat16"])
def precision(request: pytest.FixtureRequest) -> tuple[torch.dtype, float]:
    torch.manual_seed(0)
    found: tuple[torch.dtype, float] = request.param
    return found


@pytest.mark.parametrize("size", SIZES)
def test_statistics_and_their_gradient(
    size: tuple[int, ...], precision: tuple[torch.dtype, float]
) -> None:
    dtype, tolerance = precision
    x = _map(size, dtype, mean=2.0)
    x64 = x.detach().double().requires_grad_()
    variance, mean = channel_statistics(x)
    variance64, mean64 = torch.var_mean(x64, dim=(2, 3), keepdim=True, correction=0)
    _assert_close([variance.double(), mean.double()], [variance64, mean64], 1e-5)
    both, both64 = torch.cat([variance, mean]), torch.cat([variance64, mean64])
    _assert_close(_gradients(both, [x]), _gradients(both64, [x64]), tolerance)


def test_variance_keeps_its_digits_where_the_mean_is_large() -> None:
    x = _map((1, 4, 64, 64), torch.float32, mean=3000.0)
    variance, _ = channel_statistics(x)
    torch.testing.assert_close(
        variance.double(),
        torch.var(x.double(), dim=(2, 3), keepdim=True, correction=0),
        rtol=1e-3,
        atol=0.0,
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("slope", [1.0, 0.2])
def test_scale_shift_and_its_gradients(
    size: tuple[int, ...], slope: float, precision: tuple[torch.dtype, float]
) -> None:
    dtype, tolerance = precision
    x = _map(size, dtype)
    gain, bias = torch.randn(2, *size[:2], 1, 1).requires_grad_().unbind()
    x64, gain64, bias64 = (t.detach().double().requires_grad_() for t in (x, gain, bias))
    y = scale_shift(x, gain, bias, slope)
    y64 = F.leaky_relu(x64 * gain64 + bias64, slope)
    assert y.dtype == dtype and y.is_contiguous(memory_format=torch.channels_last)
    _assert_close([y.double()], [y64], tolerance)
    _assert_close(
        _gradients(y, [x, gain, bias]), _gradients(y64, [x64, gain64, bias64]), 2 * tolerance
    )


@pytest.mark.parametrize("size", SIZES)
def test_modulate_and_its_gradients(
    size: tuple[int, ...], precision: tuple[torch.dtype, float]
) -> None:
    dtype, tolerance = precision
    x, maps = _map(size, dtype), _map((size[0], 2 * size[1], *size[2:]), dtype)
    gain, bias = torch.randn(2, *size[:2], 1, 1).requires_grad_().unbind()
    x64, gain64, bias64, maps64 = (
        t.detach().double().requires_grad_() for t in (x, gain, bias, maps)
    )
    gamma, beta = maps64.chunk(2, dim=1)
    y64 = F.leaky_relu((x64 * gain64 + bias64) * (1.0 + gamma) + beta, 0.2)
    y = modulate(x, gain, bias, maps, 0.2)
    _assert_close([y.double()], [y64], tolerance)
    _assert_close(
        _gradients(y, [x, gain, bias, maps]),
        _gradients(y64, [x64, gain64, bias64, maps64]),
        2 * tolerance,
    )


def test_maps_of_another_layout_take_torchs_operations_to_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    x = _map((2, 8, 6, 6), torch.float32)
    gain, bias, maps = torch.randn(2, 8, 1, 1), torch.randn(2, 8, 1, 1), torch.randn(2, 16, 6, 6)
    fast = (*channel_statistics(x), scale_shift(x, gain, bias), modulate(x, gain, bias, maps, 0.2))
    monkeypatch.setattr(normalisation, "_has_kernels", lambda _: False)
    slow = (*channel_statistics(x), scale_shift(x, gain, bias), modulate(x, gain, bias, maps, 0.2))
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b)
