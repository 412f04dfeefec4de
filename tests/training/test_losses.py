import numpy as np
import pytest
import torch

from vidswap.training.losses import (
    discriminator_hinge,
    generator_hinge,
    gram,
    occlusion_perceptual,
    random_jitter,
    reconstruction,
    style_perceptual,
)


def scales(seed: int) -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
    random = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(2, 1, 4, 4, generator=random),
            [torch.randn(2, 3, 8, 8, generator=random), torch.randn(2, 5, 4, 4, generator=random)],
        )
        for _ in range(3)
    ]


def test_gram_is_equation_10_over_the_number_of_positions() -> None:
    features = scales(0)[0][1][0]
    f = features.double().numpy().reshape(2, 3, 64)
    expected = np.einsum("bik,bjk->bij", f, f) / 64
    np.testing.assert_allclose(gram(features).numpy(), expected, atol=1e-5)


def test_style_loss_is_equation_9_up_to_the_stated_constant() -> None:
    real, fake = scales(1), scales(2)
    expected = 0.0
    for (_, real_stages), (_, fake_stages) in zip(real, fake, strict=True):
        for r, f in zip(real_stages, fake_stages, strict=True):
            batch, channels, height, width = r.shape
            fr, ff = (x.double().numpy().reshape(batch, channels, -1) for x in (r, f))
            difference = np.einsum("bik,bjk->bij", fr, fr) - np.einsum("bik,bjk->bij", ff, ff)
            printed = (difference**2).sum(axis=(1, 2)) / (channels * height * width) ** 2
            expected += printed.mean() / 3
    assert float(style_perceptual(real, fake)) == pytest.approx(expected, rel=1e-4)


def test_occlusion_loss_is_equation_8_where_everything_is_kept() -> None:
    real, fake = scales(1), scales(2)
    expected = sum(
        float(((r - f) ** 2).mean())
        for (_, rs), (_, fs) in zip(real, fake, strict=True)
        for r, f in zip(rs, fs, strict=True)
    )
    everywhere = torch.ones(2, 1, 8, 8)
    assert float(occlusion_perceptual(real, fake, [everywhere] * 3)) == pytest.approx(
        expected / 3, rel=1e-4
    )
    assert float(occlusion_perceptual(real, fake, [0 * everywhere] * 3)) == 0


def test_perceptual_losses_of_equal_features_are_zero() -> None:
    same = scales(4)
    assert float(style_perceptual(same, same)) == 0
    assert float(occlusion_perceptual(same, same, [torch.ones(2, 1, 8, 8)] * 3)) == 0


def test_reconstruction_is_equation_7() -> None:
    output, target = torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)
    assert float(reconstruction(output, target, torch.ones(1, 1, 2, 2))) == pytest.approx(0.25)
    assert float(reconstruction(output, target, torch.full((1, 1, 2, 2), 0.1))) == pytest.approx(
        0.025
    )


def test_hinge_rewards_the_discriminator_beyond_its_margins_only() -> None:
    def scored(value: float) -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
        return [(torch.full((1, 1, 2, 2), value), [])]

    assert float(discriminator_hinge(scored(2.0), scored(-2.0))) == 0
    assert float(discriminator_hinge(scored(0.0), scored(0.0))) == 2
    assert float(generator_hinge(scored(0.3))) == pytest.approx(-0.3)


def test_jitter_is_a_similarity_within_its_bounds() -> None:
    torch.manual_seed(0)
    matrices = random_jitter(500, scale=0.06, rotation=0.08, shift=0.05).numpy()
    scale = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    angle = np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])
    assert 0.94 <= scale.min() < 0.95 and 1.05 < scale.max() <= 1.06 + 1e-6
    assert 0.07 < np.abs(angle).max() <= 0.08 + 1e-6
    assert 0.045 < np.abs(matrices[:, :, 2]).max() <= 0.05
    np.testing.assert_allclose(matrices[:, 0, 0], matrices[:, 1, 1])
    np.testing.assert_allclose(matrices[:, 0, 1], -matrices[:, 1, 0])
