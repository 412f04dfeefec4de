"""SwapInpaint's nets train: runs resume exactly, and losses are as the paper writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.small_dataset import small_dataset
from tests.training.test_inpainter_training import assert_halves_are_the_whole, job
from tests.training.test_pairs import schematic_points
from vidswap.errors import TrainingConfigError
from vidswap.identity.encoder import IdEmbedding
from vidswap.inpainting.aei_net import AeiConfig, AeiNet
from vidswap.inpainting.content import ContentConfig, ContentNet, Inference
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.inpainting.swapinpaint import SwapInpaint, SwapInpaintConfig
from vidswap.models.checkpoint import load_generator
from vidswap.training.inpainting.content import drawn_hole, kl_divergence, multilevel
from vidswap.training.inpainting.run import export_inpainter, train_inpainter
from vidswap.training.inpainting.swapinpaint import attribute_loss, known_distance

TINY_CONTENT = {
    "base": "content-128", "net": {"widths": [4, 4, 8, 8], "latent": 4, "size": 64},
    "discriminator_width": 4, "batch": 4, "warm_images": 4,
}  # fmt: skip
TINY_SWAP = {
    "base": "swapinpaint-128", "net": {"widths": [4, 4, 4, 4, 4, 4, 4]},
    "discriminator_width": 4, "batch": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_dataset(tmp_path_factory.mktemp("swapinpaint") / "faces")
    (folder / "held-out.txt").write_text("")  # drawn faces are all alike to a face net
    return folder


def tiny_content() -> ContentNet:
    torch.manual_seed(0)
    return ContentNet(ContentConfig((4, 4, 8, 8), 4)).eval()


def test_what_is_under_the_mask_does_not_matter_to_the_content_net() -> None:
    net, masks = tiny_content(), torch.zeros(1, 1, 128, 128)
    masks[:, :, 40:90, 30:80] = 1.0
    faces = torch.rand(1, 3, 128, 128) * 2 - 1
    other = torch.where(masks > 0, torch.rand(1, 3, 128, 128), faces)
    with torch.no_grad():
        one, two = net.content(faces, masks), net.content(other, masks)
    assert torch.equal(one, two)
    assert torch.equal(one * (1 - masks), faces * (1 - masks))  # what is known stays


def test_weights_of_one_size_fill_faces_of_any() -> None:
    net = ContentNet(ContentConfig((4, 4, 8, 8), 4, 64)).eval()
    net.load_state_dict(tiny_content().state_dict())
    faces, masks = torch.rand(1, 3, 256, 256) * 2 - 1, torch.zeros(1, 1, 256, 256)
    masks[:, :, 100:160, 90:170] = 1.0
    other = torch.where(masks > 0, -faces, faces)
    with torch.no_grad():
        one, two = net.content(faces, masks), net.content(other, masks)
    assert one.shape == faces.shape and torch.equal(one, two)
    assert torch.equal(one * (1 - masks), faces * (1 - masks))


def test_content_comes_at_four_sizes_and_is_drawn_only_in_training() -> None:
    net, masks = tiny_content(), torch.ones(1, 1, 128, 128)
    faces = torch.zeros(1, 3, 128, 128)
    with torch.no_grad():
        answers = [net(faces, masks, sampled) for sampled in (False, False, True)]
    assert [p.shape[-1] for p in answers[0].pictures] == [16, 32, 64, 128]
    assert torch.equal(answers[0].pictures[-1], answers[1].pictures[-1])
    assert not torch.equal(answers[0].pictures[-1], answers[2].pictures[-1])


def test_the_multilevel_loss_is_the_sum_of_the_distances_at_each_size() -> None:
    real = torch.full((2, 3, 128, 128), 0.5)
    pictures = [torch.full((2, 3, s, s), v) for s, v in ((16, 0.4), (32, 0.3), (64, 0.5), (128, 0))]
    answer = Inference(pictures, torch.zeros(1), torch.zeros(1))
    assert float(multilevel(answer, real)) == pytest.approx(0.1 + 0.2 + 0.0 + 0.5, abs=1e-6)


def test_the_divergence_is_that_of_two_normal_distributions() -> None:
    mean, log_variance = torch.tensor([0.3, -1.0]), torch.tensor([0.2, -0.7])
    known = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_variance).exp()),
        torch.distributions.Normal(torch.zeros(2), torch.ones(2)),
    ).mean()
    assert torch.allclose(kl_divergence(Inference([], mean, log_variance)), known)


def test_holes_are_the_centre_strokes_and_parts_of_the_face() -> None:
    random = np.random.default_rng(0)
    points = schematic_points()
    centre = drawn_hole(128, points, random, 1.0, 0.0)
    assert centre.sum() == round(0.6 * 128) ** 2
    strokes = [drawn_hole(128, points, random, 0.0, 1.0) for _ in range(4)]
    assert all(0.09 < mask.mean() < 0.6 for mask in strokes)
    parts = [drawn_hole(128, points, random, 0.0, 0.0) for _ in range(8)]
    assert all(mask.any() and not mask.all() for mask in parts)
    assert len({int(mask.sum()) for mask in parts}) > 2


def test_two_halves_of_a_content_run_are_the_whole_run(faces: Path, tmp_path: Path) -> None:
    whole = job(faces, "content", TINY_CONTENT, images=16)
    assert_halves_are_the_whole(whole, 8, ("generator", "average", "discriminator"))
    path = tmp_path / "swapinpaint.safetensors"
    assert export_inpainter(whole.run, path) == 16
    net = load_generator(path).net
    assert isinstance(net, SwapInpaint)
    assert net.config.generator == "apgan" and net.takes.mask and net.takes.id_embedding


def test_reconstruction_counts_known_pixels_of_faces_filled_as_themselves() -> None:
    masks = torch.zeros(2, 1, 4, 4)
    masks[:, :, :2] = 1.0
    given = torch.zeros(2, 3, 4, 4)
    swapped = torch.where(masks > 0, 5.0, 0.4).expand(2, 3, 4, 4)  # wrong in the hole as well
    same = torch.tensor([1.0, 0.0])
    loss = float(known_distance(swapped, given, masks, same))
    assert loss == pytest.approx(0.5 * (0.4**2 / 2) / 2)


def test_the_double_attribute_loss_counts_the_pasted_face_as_well() -> None:
    own, swapped, pasted = ([torch.full((1, 2, 2, 2), v)] * 2 for v in (0.0, 1.0, 0.5))
    assert float(attribute_loss(own, swapped, None)) == pytest.approx(0.5 * 2 * 1.0)
    assert float(attribute_loss(own, swapped, pasted)) == pytest.approx(0.5 * 2 * 1.25)


def test_aei_net_has_eight_blocks_and_answers_to_both_inputs() -> None:
    torch.manual_seed(0)
    net = AeiNet(AeiConfig((4, 4, 4, 4, 4, 4, 4))).eval()
    assert len(net.blocks) == 8
    faces, embedding = torch.rand(1, 3, 128, 128) * 2 - 1, torch.randn(1, 128)
    with torch.no_grad():
        assert [m.shape[-1] for m in net.attributes(faces)] == [2, 4, 8, 16, 32, 64, 128]
        answer = net(faces, embedding)
        assert answer.shape == faces.shape and float(answer.abs().max()) <= 1.0
        assert not torch.equal(answer, net(faces, -embedding))
        assert not torch.equal(answer, net(-faces, embedding))


def test_two_halves_of_a_generator_run_are_the_whole_run(faces: Path, tmp_path: Path) -> None:
    content = tmp_path / "content.safetensors"
    save_inpainter(SwapInpaint(SwapInpaintConfig((4, 4, 8, 8), 4)), content, 0)
    whole = job(faces, "swap", TINY_SWAP, images=6, content=content)
    assert_halves_are_the_whole(whole, 2, ("generator", "average", "discriminator", "content"))
    path = tmp_path / "swapinpaint.safetensors"
    assert export_inpainter(whole.run, path) == 6
    net = load_generator(path).net
    assert isinstance(net, SwapInpaint) and net.aei is not None
    face, hole = torch.rand(1, 3, 256, 256) * 2 - 1, torch.zeros(1, 1, 256, 256)
    hole[:, :, 100:140, 90:160] = 1.0
    identity = IdEmbedding(torch.zeros(1, 256), torch.randn(1, 128), ())
    with torch.no_grad():
        assert net.fill(face, hole, identity).shape == face.shape


def test_a_generator_is_not_trained_without_its_content_net(faces: Path) -> None:
    with pytest.raises(TrainingConfigError, match="swapinpaint needs --content"):
        train_inpainter(job(faces, "bare", TINY_SWAP, images=2))
