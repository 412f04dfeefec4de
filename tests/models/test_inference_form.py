"""The generator's inference form against the plain generator."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models.test_apgan import SMALL, identity, pictures
from vidswap.models.apgan import inference_layers
from vidswap.models.apgan.generator import AdaLIN, Generator, GeneratorConfig
from vidswap.models.apgan.inference import InferenceGenerator, has_inference_form
from vidswap.models.apgan.inference_kernels import paint
from vidswap.models.face_net import FaceBatch, reference_tensor
from vidswap.runtime.processor import cpu_computes_bf16

CONFIG = GeneratorConfig(channels=SMALL, id_width=32, reference=True)


def generator(config: GeneratorConfig = CONFIG) -> Generator:
    """A generator in which nothing is zero, as after training."""
    torch.manual_seed(0)
    net = Generator(config).eval().requires_grad_(False)
    for name, weight in net.named_parameters():
        if not weight.any():
            weight.normal_(std=0.1)
        if name.endswith("rho"):
            weight.uniform_(-0.1, 1.1)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def faces(n: int, reference: bool = True) -> FaceBatch:
    target, boundary_map = pictures(n, 256)
    random = torch.Generator().manual_seed(5)
    views = torch.randint(0, 256, (n, 256, 256, 4), generator=random)
    return FaceBatch(
        target, boundary_map, identity(n), reference_tensor(views) if reference else None
    )


def in_format(batch: FaceBatch, dtype: torch.dtype) -> FaceBatch:
    assert batch.boundary_maps is not None and batch.references is not None
    return replace(
        batch,
        targets=batch.targets.to(dtype),
        boundary_maps=batch.boundary_maps.to(dtype),
        references=batch.references.to(dtype),
    )


needs_form = pytest.mark.skipif(
    not has_inference_form(generator()), reason="this processor or PyTorch has no such form"
)


@pytest.fixture(scope="module")
def net() -> Generator:
    return generator()


@pytest.fixture(scope="module")
def fast(net: Generator) -> InferenceGenerator:
    form = net.for_inference()
    assert isinstance(form, InferenceGenerator)
    assert (form.size, form.takes, form.composes) == (net.size, net.takes, net.composes)
    return form


@needs_form
@pytest.mark.parametrize("reference", [True, False])
def test_it_answers_as_the_plain_net(
    net: Generator, fast: InferenceGenerator, reference: bool
) -> None:
    batch = faces(3, reference)
    torch.testing.assert_close(fast.swap(batch), net.swap(batch), atol=1e-4, rtol=0.0)


@needs_form
@pytest.mark.parametrize("reference", [True, False])
def test_a_net_that_composes_does_so_in_this_form_too(reference: bool) -> None:
    net = generator(replace(CONFIG, gate=True))
    fast = net.for_inference()
    assert isinstance(fast, InferenceGenerator) and fast.composes
    batch = faces(3, reference)
    if batch.references is not None:
        batch.references[1] = 0.0  # a face that nothing is shown of
    torch.testing.assert_close(fast.swap(batch), net.swap(batch), atol=1e-4, rtol=0.0)


@needs_form
def test_the_last_source_is_not_mistaken_for_another(
    net: Generator, fast: InferenceGenerator
) -> None:
    batch = faces(2)
    for seed in (1, 2, 1):
        one = replace(batch, identity=identity(1, seed).expand(2))
        torch.testing.assert_close(fast.swap(one), net.swap(one), atol=1e-4, rtol=0.0)


@needs_form
@pytest.mark.skipif(not cpu_computes_bf16(), reason="this processor does not compute in bf16")
def test_in_bf16_it_is_no_farther_from_fp32_than_the_plain_net(net: Generator) -> None:
    batch = faces(2)
    exact = net.swap(batch)
    half = generator().to(torch.bfloat16)
    fast = half.for_inference()
    assert isinstance(fast, InferenceGenerator)
    rounded = in_format(batch, torch.bfloat16)
    error, plain_error = ((form.swap(rounded) - exact).abs().mean() for form in (fast, half))
    assert error < 1.1 * plain_error


@pytest.mark.parametrize(
    "change",
    [
        {"size": 128},
        {"pe_blocks": False},
        {"reference": False},
    ],
)
def test_other_configurations_run_as_they_are(change: dict[str, bool]) -> None:
    net = Generator(replace(CONFIG, **change))
    assert net.for_inference() is net


@needs_form
def test_a_map_convolved_before_it_is_enlarged_is_the_same_map() -> None:
    torch.manual_seed(1)
    conv = nn.Conv2d(5 + 3, 8, 3, padding=1, bias=False).requires_grad_(False)
    x, skip = (
        torch.randn(2, c, side, side).contiguous(memory_format=torch.channels_last)
        for c, side in ((5, 6), (3, 12))
    )
    expected = conv(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
    got, sums = inference_layers.UpConv(conv.weight, 5, 12)(x, skip)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0.0)
    shifted = expected - expected[:, :, :1, :1]
    np.testing.assert_allclose(sums.origin, expected[:, :, 0, 0], atol=1e-5)
    np.testing.assert_allclose(sums.sums[:, 0], shifted.sum((2, 3)), atol=1e-3)
    np.testing.assert_allclose(sums.sums[:, 1], (shifted**2).sum((2, 3)), rtol=1e-4)


@pytest.mark.parametrize("rho", [0.0, 0.35, 1.0])
def test_normalisation_keeps_its_digits_where_the_mean_is_large(rho: float) -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 6, 16, 16) + 300.0 * torch.arange(6.0)[None, :, None, None]
    norm = AdaLIN(6).double().requires_grad_(False)
    norm.rho.fill_(rho)
    gain, bias = norm.scale_shift(x.double())
    expected = F.leaky_relu(2.0 * (x * gain + bias) + 1.0, 0.2)
    after = inference_layers.Affine(np.full((1, 6), 2.0, np.float32), np.ones((1, 6), np.float32))
    x = x.contiguous(memory_format=torch.channels_last)
    got = inference_layers.Norm(norm.rho).scale_shift(x, after)
    torch.testing.assert_close(got.double(), expected.double(), atol=2e-3, rtol=0.0)


def test_a_picture_is_the_tangent_of_fine_and_enlarged_coarse_blocks() -> None:
    torch.manual_seed(1)
    coarse, fine = (4.0 * torch.randn(1, 12, side, side) for side in (4, 8))

    def unfolded(blocks: Tensor) -> Tensor:
        """Row, column, colour to a picture: torch's own order is colour, row, column."""
        return F.pixel_shuffle(blocks.unflatten(1, (4, 3)).transpose(1, 2).flatten(1, 2), 2)

    expected = torch.tanh(
        F.interpolate(unfolded(coarse), scale_factor=2.0, mode="bilinear") + unfolded(fine)
    )
    picture = np.empty((1, 16, 16, 3), np.float32)
    paint(*(x.permute(0, 2, 3, 1).contiguous().numpy() for x in (coarse, fine)), picture)
    np.testing.assert_allclose(picture, expected.permute(0, 2, 3, 1), atol=2e-5)
