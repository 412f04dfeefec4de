"""The context GAN trains: exact resume in both variants, losses as eq. 1 to 6 write them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.small_dataset import small_dataset
from tests.training.test_inpainter_training import assert_halves_are_the_whole, job
from vidswap.identity.dlib_resnet import load_dlib_resnet
from vidswap.inpainting.context_gan import (
    SIZES,
    ContextConfig,
    ContextDiscriminator,
    ContextNet,
    paper_config,
)
from vidswap.models.checkpoint import load_generator
from vidswap.training.inpainting.context import drawn_view, perceptual, total_variation
from vidswap.training.inpainting.run import export_inpainter
from vidswap.training.records import read_state

TINY = {
    "base": "context-128", "net": {"width": 2, "code": 8}, "discriminator_width": 2, "batch": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_dataset(tmp_path_factory.mktemp("context") / "faces")
    (folder / "held-out.txt").write_text("")  # drawn faces are all alike to a face net
    return folder


def a_face() -> tuple[torch.Tensor, torch.Tensor]:
    """A picture and its mask, 1 where it is to be hallucinated."""
    torch.manual_seed(0)
    masks = torch.ones(1, 1, 128, 128)
    masks[:, :, 30:100, 40:88] = 0.0
    return torch.rand(1, 3, 128, 128) * 2 - 1, masks


def net_of(variant: str) -> ContextNet:
    torch.manual_seed(1)
    return ContextNet(ContextConfig(2, 8, variant)).eval()


@pytest.mark.parametrize("variant", ["cascaded", "progan"])
def test_the_face_stays_and_all_else_depends_on_the_face_alone(variant: str) -> None:
    net, (picture, masks) = net_of(variant), a_face()
    other = torch.where(masks > 0, -picture, picture)
    with torch.no_grad():
        one, two = net.fill(picture, masks, None), net.fill(other, masks, None)
        moved = net.fill(picture * 0.5, masks, None)
    assert torch.equal(one, two)
    assert torch.equal(one * (1 - masks), picture * (1 - masks))
    assert not torch.equal(one * masks, moved * masks)


def test_every_block_of_the_cascade_answers_at_its_size_with_the_face_laid_in() -> None:
    net, (picture, masks) = net_of("cascaded"), a_face()
    answers = net.cascade(picture, 1 - masks)
    assert [a.shape[-1] for a in answers] == list(SIZES)
    middle = torch.nn.functional.interpolate(picture, (16, 16), mode="area")[:, :, 6:10, 7:9]
    assert torch.allclose(answers[1][:, :, 6:10, 7:9], middle)


def test_the_paper_configuration_has_the_channels_of_tables_3_to_7() -> None:
    with torch.device("meta"):
        blocks = ContextNet(paper_config()).blocks
    first, last = blocks[0], blocks[-1]
    assert tuple(first.fc1.weight.shape) == (512, 16384) == tuple(last.fc1.weight.shape)
    assert first.conv0.out_channels == last.conv0.out_channels == 128
    assert last.conv0.dilation == (2, 2)
    assert [c.out_channels for c in last.down.values()] == [64, 128, 256, 512, 1024]
    ups = [c.out_channels for c in last.up.values()]
    assert ups == [4 * 512, 4 * 256, 4 * 128, 4 * 64, 4 * 64]
    assert [c.out_channels for c in first.up.values()] == [4 * 512]
    assert last.to_rgb.kernel_size == (5, 5)


def test_a_grown_block_begins_with_the_layers_of_the_smaller_one() -> None:
    net = net_of("progan")
    net.grow(32)
    small, large = net.blocks[1].state_dict(), net.blocks[2].state_dict()
    shared = [n for n in small if n in large and small[n].shape == large[n].shape]
    assert {"conv0.weight", "fc1.weight", "residual.4.first.weight", "up.8.weight"} <= set(shared)
    assert all(torch.equal(small[n], large[n]) for n in shared)
    assert "residual.16.first.weight" not in small  # new at 32 pixels


@pytest.mark.parametrize("size", SIZES)
def test_the_papers_discriminators_say_how_real_from_zero_to_one(size: int) -> None:
    with torch.no_grad():
        said = ContextDiscriminator(size, 2, "batch")(torch.rand(3, 3, size, size))
    assert said.shape == (3, 1, 4, 4)
    assert 0.0 <= float(said.min()) <= float(said.max()) <= 1.0


@pytest.mark.parametrize("size", SIZES)
def test_a_discriminator_that_is_sure_still_teaches(size: int) -> None:
    def slope(normalised: str) -> float:
        torch.manual_seed(0)
        judge = ContextDiscriminator(size, 2, normalised)
        torch.nn.init.constant_(judge.layers[-1].bias, -100.0)  # type: ignore[union-attr, arg-type]
        pictures = torch.rand(3, 3, size - size // 32, size - size // 32, requires_grad=True)
        ((judge(pictures) - 1.0) ** 2).mean().backward()
        assert pictures.grad is not None
        return float(pictures.grad.abs().max())

    assert slope("spectral") > 0.0 == slope("batch")


def test_a_view_is_a_part_that_begins_anywhere_or_all() -> None:
    picture = torch.arange(64.0 * 64).reshape(1, 1, 64, 64)
    torch.manual_seed(0)
    seen = [picture[drawn_view(64, True)] for _ in range(40)]
    assert {tuple(part.shape) for part in seen} == {(1, 1, 62, 62)}
    assert {int(part[0, 0, 0, 0]) for part in seen} == {
        64 * y + x for y in range(3) for x in range(3)
    }
    assert torch.equal(picture[drawn_view(64, False)], picture)


def test_a_cascade_begins_by_enlarging_without_a_grid() -> None:
    net = net_of("cascaded")
    picture, faces = torch.full((1, 3, 128, 128), 0.5), torch.ones(1, 1, 128, 128)
    faces[..., 64:] = 0.0
    for block in net.blocks:
        torch.nn.init.zeros_(block.to_rgb.weight)
    torch.nn.init.constant_(net.blocks[0].to_rgb.bias, 0.4)
    with torch.no_grad():
        made = net.cascade(picture, faces)[-1][0, 0, :, 70:]
    assert float(made.min()) > 0.3
    assert float((made[:, 1:] - made[:, :-1]).abs().max()) < 0.03  # nor steps of eight pixels


def test_total_variation_counts_every_pair_of_neighbours() -> None:
    picture = torch.zeros(2, 1, 3, 3)
    picture[0, 0, 1, 1] = 2.0  # four neighbours, each 2 away
    assert float(total_variation(picture)) == pytest.approx(4 * 4.0 / 2)


def test_the_perceptual_loss_is_nothing_for_the_same_and_grows_with_blur() -> None:
    net, (picture, _) = load_dlib_resnet(), a_face()
    picture = torch.nn.functional.avg_pool2d(picture, 3, 1, 1)
    blurred = torch.nn.functional.avg_pool2d(picture, 5, 1, 2)
    assert float(perceptual(net, picture, picture)) == pytest.approx(0.0, abs=1e-9)
    assert float(perceptual(net, blurred, picture)) > 0.01


def test_two_halves_of_a_context_run_are_the_whole_run(faces: Path, tmp_path: Path) -> None:
    whole = job(faces, "context", TINY, images=4)
    assert_halves_are_the_whole(whole, 2, ("generator", "average", "discriminators"))
    path = tmp_path / "context.safetensors"
    assert export_inpainter(whole.run, path) == 4
    assert isinstance(load_generator(path).net, ContextNet)


def test_a_grown_run_goes_on_with_the_block_it_was_at(faces: Path) -> None:
    config = TINY | {"net": {"width": 2, "code": 8, "variant": "progan"}, "grow_images": 2}
    whole = job(faces, "progan", config, images=6)
    assert_halves_are_the_whole(whole, 4, ("generator", "average", "discriminators"))
    assert read_state(whole.run / "state.pt")["grown"] == 2
