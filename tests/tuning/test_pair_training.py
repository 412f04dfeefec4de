"""The examples of a pair and one step of tuning, on two flat faces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.blending.test_warping import SOURCE_SKIN, TARGET_SKIN, face
from tests.models.test_apgan import identity, small_generator
from vidswap.blending.warping import FaceCrop
from vidswap.faces import mesh
from vidswap.identity.encoder import IdentityEncoder
from vidswap.tuning.pair_examples import (
    ExampleConfig,
    ExampleMaker,
    mirrored_mesh,
    to_tensor,
)
from vidswap.tuning.pair_training import PairTuner, PeakWatch, TuneConfig, feature_differences

ONE_OF_TWO = ExampleConfig(back=1, own=0, across=1)


def sources() -> list[FaceCrop]:
    return [face(SOURCE_SKIN, 40, shift) for shift in (-2.0, 0.0, 2.0)]


def targets() -> list[FaceCrop]:
    return [face(TARGET_SKIN, 220, shift) for shift in (-3.0, 1.0)]


@pytest.fixture(scope="module")
def encoder() -> IdentityEncoder:
    return IdentityEncoder().requires_grad_(False)


def test_the_mirror_of_the_mesh_swaps_the_sides() -> None:
    mirror = mirrored_mesh()
    np.testing.assert_array_equal(mirror[mirror], np.arange(478))
    assert mirror[mesh.RIGHT_EYE_CORNERS[0]] == mesh.LEFT_EYE_CORNERS[0]
    assert mirror[mesh.RIGHT_MOUTH_CORNER] == mesh.LEFT_MOUTH_CORNER
    assert mirror[mesh.NOSE_TIP] == mesh.NOSE_TIP
    assert mirror[mesh.RIGHT_IRIS[0]] == mesh.LEFT_IRIS[0]


def test_examples_have_the_right_answers() -> None:
    config = ExampleConfig(brightness=0.0, rotation=0.0, scale=0.0, shift=0.0, target_colour=0.0)
    examples = ExampleMaker(sources(), targets(), config).batch()
    n = config.batch
    assert examples.inputs.shape == examples.answers.shape == (n, 3, 256, 256)
    assert examples.boundary_maps.shape == (n, 3, 256, 256)
    assert float(examples.boundary_maps.min()) == 0.0 and float(examples.boundary_maps.max()) <= 1.0
    assert examples.weights.shape == (n, 1, 256, 256)
    around = ((examples.inputs[:, :, 5, 128] + 1.0) * 127.5).mean(dim=1)
    assert (around[: n - config.across] < 130).all()  # frames of the source ...
    assert (around[n - config.across :] > 215).all()  # ... and of the target
    skin = (examples.answers[:, :, 150, 128] + 1.0) * 127.5
    shown = (examples.inputs[:, :, 150, 128] + 1.0) * 127.5
    across = slice(n - config.across, n)
    torch.testing.assert_close(
        skin[across], torch.tensor([SOURCE_SKIN] * 2).float(), atol=3, rtol=0
    )
    torch.testing.assert_close(
        shown[across], torch.tensor([TARGET_SKIN] * 2).float(), atol=3, rtol=0
    )
    # Answers and inputs with a true answer have one light: they agree around the face.
    same = examples.inputs[: n - 2, :, :30] - examples.answers[: n - 2, :, :30]
    assert float(same.abs().max()) < 0.05


def test_examples_repeat_for_a_seed() -> None:
    one, other = (
        ExampleMaker(sources(), targets(), ExampleConfig(seed=4)).batch() for _ in range(2)
    )
    assert torch.equal(one.inputs, other.inputs) and torch.equal(one.answers, other.answers)


def test_the_photograph_lies_on_every_example_and_moves_with_it() -> None:
    photograph = face((240, 60, 60), 40)
    with_one = ExampleMaker(sources(), targets(), ExampleConfig(seed=4), photograph).batch()
    assert ExampleMaker(sources(), targets(), ExampleConfig(seed=4)).batch().references is None
    references = with_one.references
    assert references is not None and references.shape == (6, 4, 256, 256)
    masks, weights = references[:, 3], with_one.weights[:, 0]
    for mask in masks:
        assert 0.1 < float(mask.mean()) < 0.5
        assert float(mask.max()) == pytest.approx(1.0)
    # The answer counts most within the face, and there the photograph lies.
    true = slice(0, 6 - with_one.n_across)
    assert float(weights[true][masks[true] > 0.9].mean()) > 1.2
    assert float(weights[true][masks[true] == 0.0].mean()) < 0.7


def test_a_generator_made_for_a_photograph_is_tuned_with_it(encoder: IdentityEncoder) -> None:
    config = TuneConfig(rank=2, warm_up_images=1, examples=ONE_OF_TWO)
    losses = []
    for reference in (False, True):
        net = small_generator(reference=reference)
        tuner = PairTuner(
            net, encoder, sources(), targets(), identity(1), config, photograph=sources()[0]
        )
        assert (tuner.maker.batch().references is not None) is reference
        losses.append(tuner.step()["answer"])
    assert all(np.isfinite(losses)) and losses[0] != losses[1]


def test_feature_differences_are_zero_for_the_same_and_grow_with_blur(
    encoder: IdentityEncoder,
) -> None:
    picture = torch.from_numpy(face(SOURCE_SKIN, 40).crop).permute(2, 0, 1)[None] / 127.5 - 1.0
    little, much = (torch.nn.functional.avg_pool2d(picture, k, 1, k // 2) for k in (3, 9))
    same, small, large = (
        [float(x) for x in feature_differences(encoder.resnet, blurred, picture)]
        for blurred in (picture, little, much)
    )
    assert same == [0.0, 0.0]
    assert 0.0 < small[0] < large[0] and 0.0 < small[1] < large[1]


def test_style_does_not_ask_where(encoder: IdentityEncoder) -> None:
    picture = torch.from_numpy(face(SOURCE_SKIN, 40).crop).permute(2, 0, 1)[None] / 127.5 - 1.0
    moved = torch.roll(picture, 4, dims=3)  # four pixels: the stem's and the pool's stride
    local, style = feature_differences(encoder.resnet, moved, picture)
    assert float(style) < 0.2 * float(local)


def test_a_single_place_that_outweighs_its_map_is_a_peak() -> None:
    net = small_generator()
    watch = PeakWatch(net, limit=12.0)
    conv = net.up["64"].conv
    torch.manual_seed(0)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[:, 0, 1, 1] = 1.0
    flat = torch.randn(1, conv.in_channels, 64, 64)
    conv(flat)
    assert float(watch.loss().detach()) == 0.0  # normal noise stays below five deviations
    flat[0, 0, 10, 20] = 1000.0
    flat.requires_grad_()
    conv(flat)
    loss = watch.loss()
    # One place of 64 x 64 is at most sqrt(4095) = 64 deviations off.
    assert float(loss.detach()) == pytest.approx((63.9 / 12.0 - 1.0) ** 2, rel=0.05)
    loss.backward()
    assert int(flat.grad.abs().sum(dim=(0, 1)).argmax()) == 10 * 64 + 20


def test_tuning_lowers_the_loss_and_leaves_the_base(encoder: IdentityEncoder) -> None:
    config = TuneConfig(rank=2, warm_up_images=1, free_rate=5e-3, examples=ONE_OF_TWO)
    source_id = encoder(to_tensor(sources()[0].crop[None]))
    tuner = PairTuner(small_generator(), encoder, sources(), targets(), source_id, config)
    examples = tuner.maker.batch()
    tuner.maker.batch = lambda: examples  # type: ignore[method-assign]
    found = [tuner.step() for _ in range(3)]
    loss = [sum(getattr(config.weights, k) * v for k, v in terms.items()) for terms in found]
    assert loss[-1] < 0.8 * loss[0]
    assert tuner.images == 6
    base = dict(small_generator().named_parameters())
    originals = {
        name.replace("parametrizations.", "").replace(".original", ""): tensor
        for name, tensor in tuner.net.named_parameters()
        if name.endswith(".original")
    }
    assert originals and all(torch.equal(t, base[name]) for name, t in originals.items())


def test_the_average_lies_between_the_start_and_the_last_step(encoder: IdentityEncoder) -> None:
    config = TuneConfig(rank=2, warm_up_images=1, examples=ONE_OF_TWO)
    tuner = PairTuner(small_generator(), encoder, sources(), targets(), identity(1), config)
    tuner.images = 1000  # as far on as this, one step moves the average by a hundredth
    for _ in range(2):
        tuner.step()
    key = "to_rgb.bias.change"
    now, mean = tuner.adapter.tensors()[key].detach(), tuner.average[key]
    assert 0.0 < float(mean.norm()) < 0.1 * float(now.norm())
