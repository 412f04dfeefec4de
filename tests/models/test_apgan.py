import numpy as np
import pytest
import torch
from torch import nn

from vidswap.identity.dlib_resnet import STAGE_CHANNELS
from vidswap.identity.encoder import IdEmbedding
from vidswap.models.apgan.generator import AdaLIN, Generator, GeneratorConfig, IdBlock, PeBlock
from vidswap.models.face_net import reference_tensor
from vidswap.models.instance_norm import NORM_EPSILON, InstanceNorm

SMALL = ((256, 8), (128, 8), (64, 8), (32, 16), (16, 16), (8, 16), (4, 16))


def small_generator(size: int = 256, reference: bool = False) -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(size=size, channels=SMALL, id_width=32, reference=reference)
    return Generator(config).eval()


def identity(batch: int, seed: int = 0) -> IdEmbedding:
    random = torch.Generator().manual_seed(seed)
    return IdEmbedding(
        torch.randn(batch, 256, generator=random),
        torch.randn(batch, 128, generator=random),
        tuple(torch.randn(batch, c, generator=random) for c in STAGE_CHANNELS),
    )


def pictures(batch: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    target = torch.rand(batch, 3, size, size, generator=random) * 2 - 1
    return target, torch.rand(batch, 3, size, size, generator=random)


def numpy_adalin(m: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """Equations 1 to 3 before gamma and beta, as the paper prints them."""
    mu_in = m.mean(axis=(2, 3), keepdims=True)
    sigma_in = np.sqrt((m**2).mean(axis=(2, 3), keepdims=True) - mu_in**2 + NORM_EPSILON)
    mu_ln = m.mean(axis=(1, 2, 3), keepdims=True)
    sigma_ln = np.sqrt((m**2).mean(axis=(1, 2, 3), keepdims=True) - mu_ln**2 + NORM_EPSILON)
    rho = rho[None, :, None, None]
    return rho * (m - mu_in) / sigma_in + (1 - rho) * (m - mu_ln) / sigma_ln


@pytest.mark.parametrize("rho", [0.0, 0.35, 1.0])
def test_normalisation_is_equations_1_to_3(rho: float) -> None:
    torch.manual_seed(1)
    x = 3.0 * torch.randn(2, 5, 7, 6) + torch.arange(5.0)[None, :, None, None]
    norm = AdaLIN(5)
    with torch.no_grad():
        norm.rho.fill_(rho)
        gain, bias = norm.scale_shift(x)
    expected = numpy_adalin(x.double().numpy(), np.full(5, rho))
    np.testing.assert_allclose((x * gain + bias).numpy(), expected, atol=1e-5)


def test_rho_is_kept_between_zero_and_one() -> None:
    x = torch.randn(1, 3, 4, 4)
    norm = AdaLIN(3)
    with torch.no_grad():
        norm.rho.fill_(1.7)
        gain, bias = norm.scale_shift(x)
    np.testing.assert_allclose(
        (x * gain + bias).numpy(), numpy_adalin(x.numpy(), np.ones(3)), atol=1e-4
    )


@pytest.mark.parametrize("affine", [False, True])
def test_instance_norm_is_torchs_and_keeps_the_layout(affine: bool) -> None:
    torch.manual_seed(0)
    mine, torchs = InstanceNorm(5, affine), nn.InstanceNorm2d(5, affine=affine)
    if affine:
        for parameter in mine.parameters():
            nn.init.normal_(parameter)
        torchs.load_state_dict(mine.state_dict())
    x = (torch.randn(2, 5, 6, 7) * 3 + 2).to(memory_format=torch.channels_last)
    torch.testing.assert_close(mine(x), torchs(x), atol=1e-5, rtol=0)
    assert mine(x).is_contiguous(memory_format=torch.channels_last)


def test_id_block_is_equation_3_with_gamma_and_beta_of_the_id_code() -> None:
    torch.manual_seed(2)
    block = IdBlock(4, 6, 10)
    x, code = torch.randn(2, 4, 8, 8), torch.randn(2, 10)
    with torch.no_grad():
        convolved = block.conv(x).double().numpy()
        gamma, beta = np.split(block.affine(code).double().numpy()[:, :, None, None], 2, axis=1)
        expected = (1 + gamma) * numpy_adalin(convolved, np.full(6, 0.9)) + beta
        found = block(x, code).numpy()
    np.testing.assert_allclose(found, np.where(expected > 0, expected, 0.2 * expected), atol=1e-4)


def test_pe_block_is_equation_3_with_gamma_and_beta_maps() -> None:
    torch.manual_seed(2)
    block = PeBlock(4, 6, 5)
    x, boundary_map = torch.randn(2, 4, 8, 8), torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        maps = block.affine(nn.functional.leaky_relu(block.embed(boundary_map), 0.2))
        gamma, beta = np.split(maps.double().numpy(), 2, axis=1)
        normalised = numpy_adalin(block.conv(x).double().numpy(), np.full(6, 0.9))
        expected = (1 + gamma) * normalised + beta
        found = block(x, boundary_map).numpy()
    np.testing.assert_allclose(found, np.where(expected > 0, expected, 0.2 * expected), atol=1e-4)


@pytest.mark.parametrize("size", [128, 256])
def test_output_has_the_targets_shape_and_range(size: int) -> None:
    target, boundary_map = pictures(2, size)
    with torch.no_grad():
        output = small_generator(size)(target, boundary_map, identity(2))
    assert output.shape == target.shape and output.dtype == torch.float32
    assert float(output.abs().max()) <= 1.0


def test_a_batch_gives_what_single_faces_give() -> None:
    net, (target, boundary_map) = small_generator(), pictures(3, 256)
    who = identity(3)
    with torch.no_grad():
        together = net(target, boundary_map, who)
        alone = net(target[1:2], boundary_map[1:2], who.map(lambda x: x[1:2]))
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)


def test_identity_and_boundary_map_both_change_the_output() -> None:
    net, (target, boundary_map) = small_generator(), pictures(1, 256)
    with torch.no_grad():
        for parameter in net.to_rgb_256.parameters():
            parameter.normal_(std=0.1)
        base = net(target, boundary_map, identity(1, 0))
        other_id = net(target, boundary_map, identity(1, 1))
        other_map = net(target, 1 - boundary_map, identity(1, 0))
    assert float((base - other_id).abs().mean()) > 1e-4
    assert float((base - other_map).abs().mean()) > 1e-4


def test_id_blocks_work_at_4_to_128_and_pe_blocks_at_128_and_256() -> None:
    net = small_generator()
    assert sorted(int(r) for r in net.up) == [4, 8, 16, 32, 64, 128]
    assert all(isinstance(block, IdBlock) for block in net.up.values())
    assert isinstance(net.pe_128, PeBlock) and isinstance(net.pe_256, PeBlock)


def test_weights_of_the_128_pixel_net_carry_over_to_256() -> None:
    """The grown net at first gives the small net's picture, enlarged."""
    small, large = small_generator(128), small_generator(256)
    missing, unexpected = large.load_state_dict(small.state_dict(), strict=False)
    assert not unexpected and all("256" in name or "down_128" in name for name in missing)
    target, boundary_map = pictures(1, 256)
    with torch.no_grad():
        grown = large(target, boundary_map, identity(1))
        core = small(
            nn.functional.avg_pool2d(target, 2),
            nn.functional.avg_pool2d(boundary_map, 2),
            identity(1),
        )
        enlarged = nn.functional.interpolate(
            torch.atanh(core), scale_factor=2, mode="bilinear", align_corners=False
        ).tanh()
    torch.testing.assert_close(grown, enlarged, atol=1e-4, rtol=0)


def test_bfloat16_agrees_with_float32() -> None:
    net, (target, boundary_map) = small_generator(), pictures(1, 256)
    who = identity(1)
    with torch.no_grad():
        exact = net(target, boundary_map, who)
        net = net.to(torch.bfloat16)
        rough = net(target.bfloat16(), boundary_map.bfloat16(), who)
    assert float((exact - rough).abs().mean()) < 0.02


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed: 128, 256"):
        Generator(GeneratorConfig(size=64))


def test_a_reference_stands_in_place_of_what_it_covers() -> None:
    torch.manual_seed(0)
    net = Generator(GeneratorConfig(channels=SMALL, id_width=32, reference=True)).eval()
    plain = small_generator()
    assert not net.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    target, boundary_map = pictures(2, 256)
    views = torch.zeros(2, 256, 256, 4, dtype=torch.uint8)
    with torch.inference_mode():
        without = net(target, boundary_map, identity(2))
        unseen = net(target, boundary_map, identity(2), reference_tensor(views))
        views[:, 80:180, 80:180] = torch.tensor([255, 0, 102, 255], dtype=torch.uint8)
        seen = net(target, boundary_map, identity(2), reference_tensor(views))
        pasted = target.clone()
        pasted[:, :, 80:180, 80:180] = torch.tensor([1.0, -1.0, -0.2])[:, None, None]
        expected = plain(pasted, boundary_map, identity(2))
    torch.testing.assert_close(without, plain(target, boundary_map, identity(2)))
    torch.testing.assert_close(unseen, without)
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=0)


def test_what_a_reference_covers_can_be_learnt_to_be_kept() -> None:
    net = Generator(GeneratorConfig(channels=SMALL, id_width=32, reference=True)).eval()
    target, boundary_map = pictures(1, 256)
    views = torch.full((1, 256, 256, 4), 255, dtype=torch.uint8)
    for weights in net.covered.parameters():
        torch.nn.init.normal_(weights, std=0.05)
    with torch.inference_mode():
        one, other = (
            net(t, boundary_map, identity(1), reference_tensor(views)) for t in (target, -target)
        )
    assert float((one - other).abs().mean()) > 0.01


def test_a_net_made_without_a_reference_takes_none() -> None:
    net = small_generator()
    target, boundary_map = pictures(1, 256)
    views = torch.full((1, 256, 256, 4), 255, dtype=torch.uint8)
    with torch.inference_mode():
        seen = net(target, boundary_map, identity(1), reference_tensor(views))
        torch.testing.assert_close(seen, net(target, boundary_map, identity(1)))
