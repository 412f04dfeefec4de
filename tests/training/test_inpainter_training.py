"""Models that fill faces train in the one loop: runs resume exactly and export what loads."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.inpainting.test_masks_and_blending import mesh_in_crop
from tests.training.small_dataset import small_dataset
from vidswap.errors import CheckpointError, OutputExistsError, TrainingConfigError
from vidswap.faces import mesh
from vidswap.inpainting.id_gan import IdGanConfig, InpaintingNet
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.inpainting.parsing import PARTS, ParsingConfig, ParsingNet, load_parsing
from vidswap.inpainting.search import LatentSearch
from vidswap.models.checkpoint import load_generator
from vidswap.training.data import aligned_faces
from vidswap.training.data.aligned_faces import FaceSampler, Placing, read_aligned_faces
from vidswap.training.data.face_shards import cached_faces, read_index
from vidswap.training.export import export_generator
from vidswap.training.id_targets import split_embedding
from vidswap.training.inpainting.face_labels import face_labels
from vidswap.training.inpainting.hole_masks import discount, drawn_hole, window_in
from vidswap.training.inpainting.idgan import (
    HoleSampler,
    IdGanTrainer,
    IdGanTraining,
    IdGanWeights,
    SecondRecogniser,
    discounted,
    identity_centres,
    identity_term,
)
from vidswap.training.inpainting.kinds import InpaintJob, configured, kinds
from vidswap.training.inpainting.run import export_inpainter, train_inpainter
from vidswap.training.records import read_state

TINY_DCGAN = {
    "base": "dcgan-64", "nets": {"generator_width": 4, "discriminator_width": 4}, "batch": 8,
    "range_samples": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_dataset(tmp_path_factory.mktemp("inpainting") / "faces")
    (folder / "held-out.txt").write_text("")  # drawn faces are all alike to a face net
    return folder


def job(faces: Path, run: str, config: dict[str, Any], **given: Any) -> InpaintJob:
    """A run beside the faces, configured by a file."""
    path = faces.parent / f"{run}.json"
    path.write_text(json.dumps(config))
    return InpaintJob(str(path), faces, faces.parent / run, faces.parent / "cache", **given)


def assert_halves_are_the_whole(whole: InpaintJob, first: int, nets: tuple[str, ...]) -> None:
    """Train `whole`, and again in two parts; every net must end the same."""
    train_inpainter(whole)
    halves = replace(whole, run=whole.run.with_name(whole.run.name + "-halves"))
    train_inpainter(replace(halves, images=first))
    train_inpainter(replace(halves, resume=True))
    one, two = (read_state(each.run / "state.pt") for each in (whole, halves))
    assert one["images"] == two["images"] == whole.images
    for net in nets:
        for name, tensor in one[net].items():
            assert torch.equal(tensor, two[net][name]), f"{net} {name}"


def test_faces_held_out_excluded_or_shown_again_are_never_drawn(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "faces"
    shutil.copytree(faces, folder)
    records = read_index(folder)
    (folder / "held-out.txt").write_text(records[3].person)
    (folder / "exclude.txt").write_text(records[0].file)
    copies = np.arange(len(records)) == 5
    monkeypatch.setattr(aligned_faces, "shows_held_out", lambda *_: copies)
    read = read_aligned_faces(folder, faces.parent / "cache", 64)
    assert read.held_out.tolist() == [3]
    assert read.rows.tolist() == [i for i in range(len(records)) if i not in (0, 3, 5)]
    drawn = {int(row) for n in range(20) for row in FaceSampler(read, 8, 1).batch(n).rows}
    assert drawn == set(read.rows.tolist())


def test_a_batch_is_the_same_at_every_call_and_another_for_another_number(faces: Path) -> None:
    sampler = FaceSampler(
        read_aligned_faces(faces, faces.parent / "cache", 64), 4, 1, Placing(0.5, 15.0, 8.0)
    )
    first, again, other = sampler.batch(3), sampler.batch(3), sampler.batch(4)
    assert torch.equal(first.pictures, again.pictures)
    assert np.array_equal(first.meshes, again.meshes)
    assert not np.array_equal(first.rows, other.rows)


def test_landmarks_move_with_the_pictures(faces: Path) -> None:
    read = read_aligned_faces(faces, faces.parent / "cache", 128)
    drawn = FaceSampler(read, 6, 2, Placing(0.5, 15.0, 10.0)).batch(0)
    for picture, points in zip(drawn.pictures, drawn.meshes, strict=True):
        # The drawn face is an ellipse about the crop's middle, brighter than what is around it.
        bright = (picture.mean(dim=0) > picture.mean(dim=0).mean()).numpy()
        ys, xs = np.nonzero(bright)
        middle = points[list(mesh.FACE_OVAL)].mean(axis=0) / 2
        assert np.hypot(xs.mean() - middle[0], ys.mean() - middle[1]) < 4.0


def test_smaller_faces_are_reduced_from_those_decoded_before(faces: Path, tmp_path: Path) -> None:
    decoded = cached_faces(faces, tmp_path, 64).astype(int)
    cached_faces(faces, tmp_path / "again", 256)
    reduced = cached_faces(faces, tmp_path / "again", 64).astype(int)
    assert np.abs(decoded - reduced).mean() < 2.0


def test_two_halves_of_a_dcgan_run_are_the_whole_run(faces: Path, tmp_path: Path) -> None:
    whole = job(faces, "dcgan", TINY_DCGAN, images=24)
    nets = ("generator", "average", "discriminator", "ranges")
    assert_halves_are_the_whole(whole, 8, nets)
    path = tmp_path / "latent.safetensors"
    assert export_inpainter(whole.run, path) == 24
    net = load_generator(path).net
    assert isinstance(net, LatentSearch)
    low, high = net.ranges.content.tolist()
    assert 0 < (low + high) / 2 < 2 and low < high


def test_a_run_is_not_begun_over_nor_gone_on_with_by_other_nets(faces: Path) -> None:
    begun = job(faces, "begun", TINY_DCGAN, images=8)
    train_inpainter(begun)
    with pytest.raises(OutputExistsError, match="8 images; give --resume"):
        train_inpainter(begun)
    wider = TINY_DCGAN | {"nets": {"generator_width": 8, "discriminator_width": 4}}
    with pytest.raises(CheckpointError, match="another architecture"):
        train_inpainter(job(faces, "begun", wider, resume=True))


def test_configurations_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingConfigError, match=f"one of {kinds()[0]}"):
        configured("vgg-16")
    path = tmp_path / "a.json"
    path.write_text('{"batch": 8}')
    with pytest.raises(TrainingConfigError, match="no JSON object with a base"):
        configured(str(path))
    path.write_text('{"base": "dcgan-64", "colour": 8}')
    with pytest.raises(TrainingConfigError, match="colour is no setting"):
        configured(str(path))


def test_runs_of_the_swap_are_left_to_their_own_export(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"")
    (tmp_path / "config.json").write_text("{}")
    assert export_inpainter(tmp_path, tmp_path / "a.safetensors") is None
    with pytest.raises(CheckpointError, match="not a training state"):
        export_generator(tmp_path, tmp_path / "a.safetensors")


def test_labels_name_the_parts_that_the_mesh_outlines() -> None:
    picture = np.full((128, 128, 3), (90, 120, 200), np.uint8)  # a blue wall
    points = mesh_in_crop()
    oval = np.rint(points[list(mesh.FACE_OVAL)] / 2).astype(np.int32)
    centre = oval.mean(axis=0)
    cv2.fillPoly(picture, [np.rint(centre + 1.3 * (oval - centre)).astype(np.int32)], (60, 40, 20))
    cv2.fillPoly(picture, [oval], (220, 170, 140))
    person = np.ones((128, 128), bool)
    person[:, :8] = False
    labels = face_labels(picture, points, person)

    def at(point: np.ndarray) -> str:
        return PARTS[labels[int(point[1] / 2), int(point[0] / 2)]]

    assert at(points[list(mesh.RIGHT_EYE)].mean(axis=0)) == "eyes"
    assert at(points[list(mesh.INNER_LIPS)].mean(axis=0)) in ("mouth", "lips")
    assert at(points[4]) == "nose" and at(points[50]) == "skin"
    assert PARTS[labels[3, 3]] == "rest"
    above = points[10] - (0, 12)
    assert at(above) == "hair"
    assert PARTS[face_labels(picture, points, ~person)[int(above[1] / 2), 64]] == "rest"


def test_the_parsing_net_learns_and_its_checkpoint_loads(faces: Path, tmp_path: Path) -> None:
    tiny = {"base": "parsing-128", "net": {"widths": [4, 4, 4, 4, 4]}, "batch": 4}
    whole = job(faces, "parsing", tiny, images=24)
    assert_halves_are_the_whole(whole, 8, ("generator", "average"))
    path = tmp_path / "parsing.safetensors"
    assert export_inpainter(whole.run, path) == 24
    net = load_parsing(path)
    assert net(torch.zeros(1, 3, 128, 128)).shape == (1, len(PARTS), 128, 128)
    with pytest.raises(CheckpointError, match="allowed: "):
        load_generator(path)


@pytest.fixture(scope="module")
def parsing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parsing") / "parsing.safetensors"
    save_inpainter(ParsingNet(ParsingConfig((4, 4, 4, 4, 4))), path, 1)
    return path


TINY_IDGAN = {
    "base": "idgan-128", "net": {"widths": [4, 4, 4, 4]}, "discriminator_width": 4, "batch": 4,
    "warm_images": 4, "judged": 0.5,
}  # fmt: skip


def test_two_halves_of_an_idgan_run_are_the_whole_run(
    faces: Path, parsing: Path, tmp_path: Path
) -> None:
    whole = job(faces, "idgan", TINY_IDGAN, images=12, parsing=parsing)
    assert_halves_are_the_whole(whole, 4, ("generator", "average", "discriminators"))
    path = tmp_path / "idgan.safetensors"
    assert export_inpainter(whole.run, path) == 12
    net = load_generator(path).net
    assert isinstance(net, InpaintingNet) and net.takes.mask
    with pytest.raises(TrainingConfigError, match="needs --parsing"):
        train_inpainter(replace(whole, run=tmp_path / "none", parsing=None))


def test_a_filling_comes_nearer_to_the_face_over_a_few_steps(faces: Path, parsing: Path) -> None:
    config = replace(
        IdGanTraining(), net=IdGanConfig((8, 8, 16, 16)), discriminator_width=4, batch=4,
        generator_rate=3e-3, warm_images=10**6,
    )  # fmt: skip
    read = read_aligned_faces(faces, faces.parent / "cache", 128)
    trainer = IdGanTrainer(
        config, load_parsing(parsing), identity_centres(read), torch.device("cpu")
    )
    batch = HoleSampler(FaceSampler(read, 4, 1), 1.0).batch(0)
    errors = [(trainer.step(batch) or {})["hole_error"] for _ in range(10)]
    assert errors[-1] < 0.8 * errors[0]


class BrightnessOfParts(torch.nn.Module):
    """Faces (B, 3, H, W) to the brightness of 16 parts, for a face net."""

    def forward(self, faces: torch.Tensor, jitter: torch.Tensor | None = None) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(faces.mean(dim=1), 4).flatten(1) + 1.5


def test_a_second_recogniser_is_asked_of_fillings_and_stays_as_it_is(
    faces: Path, parsing: Path
) -> None:
    alone = IdGanWeights(0.0, 0.0, 0.0, 0.0, 0.0, second=1.0)
    config = replace(
        IdGanTraining(), net=IdGanConfig((4, 4, 8, 8)), discriminator_width=4, batch=4,
        weights=alone, generator_rate=3e-3, warm_images=10**6,
    )  # fmt: skip
    read = read_aligned_faces(faces, faces.parent / "cache", 128)
    net = BrightnessOfParts()
    pictures = torch.from_numpy(np.array(read.pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    features = torch.nn.functional.normalize(net(pictures), dim=1)
    second = SecondRecogniser(net, identity_centres(read, features))  # type: ignore[arg-type]
    trainer = IdGanTrainer(
        config, load_parsing(parsing), identity_centres(read), torch.device("cpu"), second
    )
    batch = HoleSampler(FaceSampler(read, 4, 1), 1.0).batch(0)
    said = [(trainer.step(batch) or {})["second"] for _ in range(12)]
    assert 0.0 < said[-1] < 0.8 * said[0]
    assert trainer.nets_kept == ("generator", "average", "discriminators")


def test_a_second_recogniser_that_is_not_given_is_asked_for(faces: Path, parsing: Path) -> None:
    config = {**TINY_IDGAN, "weights": {"second": 1.0}}
    with pytest.raises(TrainingConfigError, match=r"weights.second is set .* --second-encoder"):
        train_inpainter(job(faces, "idgan-second", config, images=4, parsing=parsing))


def test_a_share_that_cannot_be_judged_is_refused() -> None:
    with pytest.raises(TrainingConfigError, match="judged is 0; it must be above 0 to 1"):
        IdGanTraining(judged=0.0)
    with pytest.raises(TrainingConfigError, match="1 with triplets"):
        IdGanTraining(judged=0.5, identity="triplet")
    with pytest.raises(TrainingConfigError, match="allowed: diversity"):
        IdGanTraining(identity="arcface")


def test_identity_terms_are_those_of_equation_six_and_table_three() -> None:
    centre = torch.zeros(3, 4)
    real = torch.tensor([[0.0, 0.5, 0, 0], [0, 0, 0.2, 0], [1.0, 0, 0, 0]])
    filled = torch.tensor([[0.0, 0.8, 0, 0], [0, 0, 0.1, 0], [1.0, 0, 0, 1.0]])
    diversity = identity_term("diversity", filled, real, centre)
    assert diversity is not None  # a filling nearer to its centre than the face costs nothing
    assert diversity.item() == pytest.approx((0.3 + 0.0 + 2**0.5 - 1.0) / 3, abs=1e-6)
    of_centre = identity_term("centre", filled, real, centre)
    assert of_centre is not None
    assert of_centre.item() == pytest.approx((0.64 + 0.01 + 2.0) / 3, abs=1e-6)
    triplet = identity_term("triplet", filled, real, centre)
    assert triplet is not None  # |a - p|^2 = 0.65, |a - n|^2 = 2.64
    assert triplet.item() == pytest.approx(0.0)
    assert identity_term("none", filled, real, centre) is None


def test_the_reconstruction_counts_less_the_farther_from_what_is_known() -> None:
    mask = np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True
    weights = discount(mask)
    assert weights[0, 0] == 1.0 and weights[8, 16] == pytest.approx(0.99)
    assert weights[15, 15] == pytest.approx(0.99**8, abs=1e-3)
    answer, real = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    answer[:, :, 15, 15] = 2.0
    loss = discounted(answer, real, torch.from_numpy(weights)[None, None])
    assert loss.item() == pytest.approx(4 * 0.99**16 / 1024, rel=1e-3)


def test_identity_centres_are_means_over_a_persons_training_pictures(faces: Path) -> None:
    read = read_aligned_faces(faces, faces.parent / "cache", 64)
    records = list(read.records)
    records[:3] = [replace(record, identity="same") for record in records[:3]]
    random = np.random.default_rng(0).normal(size=read.id_rows.shape).astype(np.float32)
    rows = np.array([0, 1, 5])
    changed = replace(read, records=records, rows=rows, id_rows=random)
    embeddings = split_embedding(torch.from_numpy(random)).embedding
    centres = identity_centres(changed)
    torch.testing.assert_close(centres[0], embeddings[:2].mean(dim=0))
    torch.testing.assert_close(centres[1], centres[0])
    torch.testing.assert_close(centres[5], embeddings[5])
    torch.testing.assert_close(centres[2], embeddings[2])  # no training picture


def test_triplets_are_two_pictures_of_one_person_and_one_of_another(faces: Path) -> None:
    read = read_aligned_faces(faces, faces.parent / "cache", 128)
    records = [replace(r, identity=f"person{i // 3}") for i, r in enumerate(read.records)]
    sampler = HoleSampler(FaceSampler(replace(read, records=records), 9, 1), 1.0, triplets=True)
    for number in range(5):
        drawn = sampler.batch(number).faces.rows
        people = np.array([records[row].person for row in drawn])
        assert (people[:3] == people[3:6]).all() and (drawn[:3] != drawn[3:6]).all()


@pytest.mark.parametrize("blocks", [0.0, 1.0])
def test_the_local_window_lies_in_the_picture_and_on_the_hole(blocks: float) -> None:
    random, points = np.random.default_rng(0), mesh_in_crop()
    for _ in range(40):
        mask = drawn_hole(128, points, random, blocks)
        assert 0 < mask.mean() < 0.7
        top, left = window_in(mask, 48, random)
        assert 0 <= top <= 80 and 0 <= left <= 80
        assert mask[top : top + 48, left : left + 48].any()
        if blocks:
            assert mask[top : top + 48, left : left + 48].all()
