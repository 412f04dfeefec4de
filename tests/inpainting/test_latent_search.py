"""The search finds a face that the generator can make, and its terms are those of the paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidswap.errors import BadOptionError, CheckpointError
from vidswap.inpainting.dcgan import N_LATENT, DcganConfig
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.inpainting.search import LatentSearch, SearchRanges, boundary_weights, ssim_map
from vidswap.metrics.image import ssim_map as ssim_map_of_metrics
from vidswap.models.checkpoint import load_generator
from vidswap.models.checkpoint_file import write_checkpoint
from vidswap.models.face_net import FaceBatch, at_size

SMALL = DcganConfig(4, 4)


@pytest.fixture
def search() -> LatentSearch:
    torch.manual_seed(0)
    net = LatentSearch(SMALL)
    for parameter in net.generator.parameters():
        if parameter.ndim == 4:
            torch.nn.init.normal_(parameter, 0.0, 0.15)
    net.ranges.content.copy_(torch.tensor([0.05, 0.8]))
    return net.eval().requires_grad_(False)


def _square_hole(n: int) -> torch.Tensor:
    masks = torch.zeros(n, 1, 64, 64)
    masks[:, :, 20:44, 20:44] = 1.0
    return masks


def test_ssim_is_that_of_the_metrics() -> None:
    random = np.random.default_rng(0)
    a = cv2.GaussianBlur(random.integers(0, 256, (64, 64, 3), np.uint8), (0, 0), 2)
    b = cv2.GaussianBlur(random.integers(0, 256, (64, 64, 3), np.uint8), (0, 0), 2)
    tensors = [torch.from_numpy(x).permute(2, 0, 1)[None].double() / 127.5 - 1.0 for x in (a, b)]
    ours = ssim_map(*tensors)[0, 0].numpy()
    theirs = ssim_map_of_metrics(a, b)
    np.testing.assert_allclose(ours[6:-6, 6:-6], theirs[6:-6, 6:-6], atol=1e-4)


def test_boundary_weights_are_equation_seven() -> None:
    masks = _square_hole(1)
    weights = boundary_weights(masks)[0, 0]
    assert weights[0, 0] == 1.0  # far from the hole
    known = masks[0, 0].numpy()
    for y, x in ((19, 30), (17, 30), (18, 18)):
        block = known[y - 3 : y + 4, x - 3 : x + 4]
        assert weights[y, x].item() == pytest.approx(1.0 + 2.0 * block.sum() / 49, abs=1e-6)


def test_ranges_map_their_ends_to_zero_and_one() -> None:
    ranges = SearchRanges()
    ranges.ssim.copy_(torch.tensor([0.1198, 0.8431]))
    ranges.content.copy_(torch.tensor([739.0, 4861.0]))
    assert ranges.structure_loss(torch.tensor([0.1198, 0.8431])).tolist() == pytest.approx([1, 0])
    assert ranges.content_loss(torch.tensor([739.0, 4861.0])).tolist() == pytest.approx([0, 1])


def test_the_loss_is_equation_eight(search: LatentSearch) -> None:
    torch.manual_seed(1)
    faces, masks = torch.rand(2, 3, 64, 64) * 2 - 1, _square_hole(2)
    known = 1.0 - masks
    given = (torch.rand(2, 3, 64, 64) * 2 - 1) * known
    weights = boundary_weights(masks)
    n = (known * weights).sum(dim=(1, 2, 3))
    d = torch.sigmoid(search.discriminator(faces))
    l1 = ((faces - given).abs() * known * weights).sum(dim=(1, 2, 3)) / (3 * n)
    s = (ssim_map(faces * known, given) * known * weights).sum(dim=(1, 2, 3)) / n
    low, high = search.ranges.content
    least, most = search.ranges.ssim
    expected = 0.003 * torch.log(1 - d) + 0.2 * (l1 - low) / (high - low)
    expected = expected + 0.797 * (most - s) / (most - least)
    torch.testing.assert_close(search.losses(faces, given, known, weights), expected)


def test_a_face_of_the_generators_own_is_found_again_behind_a_hole(search: LatentSearch) -> None:
    torch.manual_seed(5)
    faces, masks = search.generator(torch.randn(2, N_LATENT)), _square_hole(2)
    search.settings = replace(search.settings, iterations=80)
    history: list[float] = []
    found, losses = search.search(faces, masks, lambda _, values: history.append(values.mean()))
    assert losses.mean() < 0.5 * history[0]
    hidden = masks.expand(-1, 3, -1, -1) > 0
    error = (found - faces)[hidden].abs().mean()
    assert error < 0.5 * (search.generator(torch.zeros(2, N_LATENT)) - faces)[hidden].abs().mean()


def test_what_lies_under_the_mask_does_not_matter_and_a_seed_repeats(search: LatentSearch) -> None:
    search.settings = replace(search.settings, iterations=3)
    pictures, masks = torch.rand(1, 3, 64, 64), _square_hole(1)
    other = pictures.clone()
    other[:, :, 20:44, 20:44] = -1.0
    with torch.inference_mode():  # as a run calls it
        first, second = search.fill(pictures, masks, None), search.fill(other, masks, None)
    assert torch.equal(first, second)
    search.settings = replace(search.settings, seed=2)
    assert not torch.equal(first, search.fill(pictures, masks, None))


def test_a_checkpoint_brings_back_the_nets_and_the_ranges(
    search: LatentSearch, tmp_path: Path
) -> None:
    path = tmp_path / "latent.safetensors"
    save_inpainter(search, path, 123)
    loaded = load_generator(path)
    assert isinstance(loaded.net, LatentSearch) and loaded.images_trained == 123
    assert loaded.size == 64 and loaded.net.takes.mask and not loaded.net.takes.id_embedding
    torch.testing.assert_close(loaded.net.ranges.content, search.ranges.content, atol=1e-3, rtol=0)
    z = torch.randn(1, N_LATENT)
    torch.testing.assert_close(loaded.net.generator(z), search.generator(z), atol=0.02, rtol=0)


def test_a_checkpoint_that_does_not_fit_is_refused(search: LatentSearch, tmp_path: Path) -> None:
    path = tmp_path / "latent.safetensors"
    search.config = DcganConfig(8, 4)
    save_inpainter(search, path, 1)
    with pytest.raises(CheckpointError, match="does not fit this version's latent"):
        load_generator(path)
    for width in (10**9, 0, -1):
        search.config = DcganConfig(width, 4)
        save_inpainter(search, path, 1)
        with pytest.raises(CheckpointError, match="not within 1 to 4096"):
            load_generator(path)


@pytest.mark.parametrize(
    "config",
    ["[" * 100_000, "[" * 2000, "7", '{"generator_width": "wide"}', '{"depth": 3}', "{", '""',
     '{"generator_width": 1e400}', '{"generator_width": true}'],
)  # fmt: skip
def test_a_hostile_configuration_is_refused(
    search: LatentSearch, tmp_path: Path, config: str
) -> None:
    path = tmp_path / "latent.safetensors"
    metadata = {"architecture": "latent", "config": config}
    write_checkpoint(dict(search.named_parameters()), path, metadata)
    with pytest.raises(CheckpointError, match="does not fit this version's latent"):
        load_generator(path)


def test_faces_of_another_size_are_filled_at_the_nets_own(search: LatentSearch) -> None:
    search.settings = replace(search.settings, iterations=2)
    masks = F.interpolate(_square_hole(1), 256)
    batch = FaceBatch(torch.zeros(1, 3, 256, 256), masks=masks)
    assert at_size(search, batch).shape == (1, 3, 256, 256)
    with pytest.raises(BadOptionError, match="needs a mask"):
        search.swap(FaceBatch(torch.zeros(1, 3, 64, 64)))
