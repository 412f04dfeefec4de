"""The tables of the inpainting papers: pairs, likeness, and the share of accuracy regained."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pipelines.tables import main
from tests.training.small_dataset import album_dataset, small_dataset
from vidswap.errors import InputNotFoundError
from vidswap.evaluation.inpainting import (
    HeldOutHoles,
    VerificationPair,
    by_model,
    by_opencv,
    draw_verification_pairs,
    latent_masks,
    measure_fillings,
    occluded,
    read_holes,
)
from vidswap.evaluation.judge import Judge
from vidswap.inpainting.dcgan import DcganConfig
from vidswap.inpainting.id_gan import IdGanConfig, InpaintingNet
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.inpainting.masks import centre_square
from vidswap.inpainting.search import LatentSearch
from vidswap.metrics.matching import accuracies_over_people, people_drawn
from vidswap.training.data.face_shards import FaceRecord


def records(n_people: int, per_person: int, held_out: bool = True) -> list[FaceRecord]:
    return [
        FaceRecord(f"{p}-{i}.webp", "a.zip", "lfw", f"person{p}", held_out)
        for p in range(n_people)
        for i in range(per_person)
    ]


def test_pairs_are_balanced_held_out_and_the_same_at_every_call() -> None:
    known = records(12, 3) + records(5, 4, held_out=False)
    excluded = np.zeros(len(known), bool)
    excluded[0] = True
    pairs, rows = draw_verification_pairs(known, excluded, 40, "lfw", 1)
    again, _ = draw_verification_pairs(known, excluded, 40, "lfw", 1)
    assert pairs == again and len(pairs) == 40
    assert sum(pair.same for pair in pairs) == 20
    for pair in pairs:
        one, other = known[rows[pair.first]], known[rows[pair.second]]
        assert one.held_out and other.held_out and rows[pair.first] != rows[pair.second]
        assert (one.person == other.person) == pair.same
    assert 0 not in rows


def test_people_with_one_picture_make_no_pairs() -> None:
    with pytest.raises(InputNotFoundError, match="no person held out has two pictures"):
        draw_verification_pairs(records(5, 1), np.zeros(5, bool), 10, "lfw", 1)


def colour_judge() -> Judge:
    """Tells people by the colour of the picture's middle."""

    def embed(crops: torch.Tensor) -> torch.Tensor:
        side = crops.shape[-1]
        middle = crops[:, :, side // 3 : 2 * side // 3, side // 3 : 2 * side // 3]
        mean = middle.mean(dim=(2, 3))
        return mean - mean.mean(dim=1, keepdim=True) + 1e-4

    return Judge("colour", "", False, embed)


def test_filling_regains_what_occlusion_costs() -> None:
    random = np.random.default_rng(0)
    colours = random.integers(40, 220, (8, 3))
    pictures = [np.full((64, 64, 3), colours[i // 2], np.uint8) for i in range(16)]
    for picture in pictures:
        picture[::9] = random.integers(0, 255, 3)
    mask = centre_square(64)
    pairs = [VerificationPair(2 * i, 2 * i + 1, True) for i in range(8)]
    pairs += [VerificationPair(2 * i, (2 * i + 3) % 16, False) for i in range(8)]
    people = [str(i // 2) for i in range(16)]
    faces = HeldOutHoles(pictures, [mask] * 16, pairs, people)

    def perfect(_: object, __: object) -> list[np.ndarray]:
        return pictures

    rows = dict(
        measure_fillings(
            faces, {"Telea": by_opencv(cv2.INPAINT_TELEA), "perfect": perfect}, [colour_judge()]
        )
    )
    name = colour_judge().stated
    assert list(rows) == ["ground truth", "occluded", "Telea", "perfect"]
    regained = rows["perfect"].regained[name]
    assert (regained.value, regained.low, regained.high) == pytest.approx((1.0, 1.0, 1.0))
    truth = rows["ground truth"]
    assert truth.drawn[name][0] == truth.accuracy[name].correct.mean()
    assert rows["occluded"].accuracy[name].accuracy < rows["perfect"].accuracy[name].accuracy
    assert rows["occluded"].psnr < rows["Telea"].psnr < rows["perfect"].psnr
    assert rows["occluded"].ssim < rows["Telea"].ssim < rows["perfect"].ssim == 1.0


def test_accuracy_over_people_counts_pairs_as_often_as_their_people_are_drawn() -> None:
    first, second = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 2])
    correct = np.array([True, False, True, False])
    shares = accuracies_over_people(correct, first, second)
    assert shares[0] == 0.5  # one of two pairs of one person, one of two pairs of two
    for drawn, share in zip(people_drawn(3), shares, strict=True):
        same = drawn[0] + drawn[1]
        apart = drawn[0] * drawn[1] + drawn[1] * drawn[2]
        if same and apart:
            right = (drawn[0] / same + drawn[0] * drawn[1] / apart) / 2
            assert share == pytest.approx(right)
        else:
            assert np.isnan(share)


def test_blocks_at_other_places_hide_the_same_pairs_again(tmp_path: Path) -> None:
    folder = album_dataset(tmp_path / "faces", "person0\nperson1\nperson2\n", "lfw")
    once, twice = read_holes(folder, 8), read_holes(folder, 8, blocks=2)
    n = len(once.pictures)
    assert len(twice.pictures) == 2 * n and len(twice.pairs) == 2 * len(once.pairs)
    assert twice.people == 2 * (once.people or [])
    for pair, again in zip(once.pairs, twice.pairs[len(once.pairs) :], strict=True):
        assert (again.first, again.second) == (pair.first + n, pair.second + n)
    assert not all(np.array_equal(twice.masks[i], twice.masks[n + i]) for i in range(n))


def test_a_models_filling_leaves_what_is_known_and_never_sees_the_hole() -> None:
    torch.manual_seed(0)
    model = InpaintingNet(IdGanConfig((4, 4, 4, 4))).eval()
    random = np.random.default_rng(1)
    pictures = [random.integers(0, 255, (128, 128, 3), np.uint8) for _ in range(3)]
    masks = [centre_square(128)] * 3
    for blended in (True, False):
        fill = by_model(model, blended)
        one = fill(pictures, masks)
        other = fill(occluded(pictures, masks), masks)
        for a, b, picture, mask in zip(one, other, pictures, masks, strict=True):
            assert np.array_equal(a, b) and np.array_equal(a[~mask], picture[~mask])


def test_holes_of_the_latent_table_hide_what_their_names_say() -> None:
    for name, masks in latent_masks(64, 2).items():
        share = {"centre": 0.25}.get(name, 0.5)
        if "pixels" in name:
            share = int(name.split("%")[0]) / 100
        assert all(mask.mean() == pytest.approx(share, abs=0.03) for mask in masks), name


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people held out with two drawn pictures each, said to be LFW's."""
    folder = small_dataset(tmp_path_factory.mktemp("tables") / "faces")
    index = folder / "index.csv"
    lines = index.read_text().splitlines()
    head, rows = lines[0], [line.split(",") for line in lines[1:]]
    for i, row in enumerate(rows):
        row[2], row[3] = "lfw", f"person{i // 2}"
    index.write_text("\n".join([head, *(",".join(row) for row in rows)]) + "\n")
    (folder / "held-out.txt").write_text("person0\nperson1\nperson2\n")
    return folder


def test_one_command_prints_each_table(faces: Path, tmp_path: Path) -> None:
    idgan, latent = tmp_path / "idgan.safetensors", tmp_path / "latent.safetensors"
    save_inpainter(InpaintingNet(IdGanConfig((4, 4, 4, 4))), idgan, 1)
    save_inpainter(LatentSearch(DcganConfig(4, 4)), latent, 1)
    common = ["--faces", str(faces), "--run", str(tmp_path)]
    result = CliRunner().invoke(main, ["idgan", *common, "--row", f"mine={idgan}", "--pairs", "6"])
    assert result.exit_code == 0, result.output
    for row in ("ground truth", "occluded", "Telea", "Navier-Stokes", "mine"):
        assert f"| {row} |" in result.output
    assert len((tmp_path / "idgan.jsonl").read_text().splitlines()) == 5
    result = CliRunner().invoke(
        main,
        ["latent", *common, "--checkpoint", str(latent), "--count", "2", "--iterations", "2",
         "--holes", "centre"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "| centre | both |" in result.output and "| centre | L1 alone (DIP) |" in result.output
    result = CliRunner().invoke(main, ["latent", *common, "--checkpoint", str(idgan)])
    assert result.exit_code == 2 and "needs a latent search" in result.output
