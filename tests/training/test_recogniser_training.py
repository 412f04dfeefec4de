"""The recogniser learns from training people alone, in batches and runs that come out the same."""

from __future__ import annotations

import csv
import math
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.training.small_dataset import album_dataset
from tests.training.test_inpainter_training import assert_halves_are_the_whole, job
from vidswap.errors import CheckpointError, DatasetError
from vidswap.identity.recogniser import (
    Recogniser,
    RecogniserConfig,
    inner_face,
    recogniser_view,
)
from vidswap.models.checkpoint import load_generator
from vidswap.training.data.aligned_faces import AlignedFaces, read_aligned_faces
from vidswap.training.inpainting.run import export_inpainter
from vidswap.training.recogniser.albums import Albums, read_albums
from vidswap.training.recogniser.run import (
    RecogniserTraining,
    margin_softmax,
    rate_share,
    supervised_contrast,
)
from vidswap.training.recogniser.views import (
    PeopleSampler,
    ViewConfig,
    cut_view,
    views_to_tensor,
)

TINY = {
    "base": "recogniser-64", "net": {"widths": [4, 4, 4, 4], "embedding": 8}, "batch": 4,
    "singles": 0.5, "images": 12, "warm_images": 4,
}  # fmt: skip
HELD_OUT = "person4"


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return album_dataset(tmp_path_factory.mktemp("recogniser") / "faces", HELD_OUT)


@pytest.fixture
def read(faces: Path, monkeypatch: pytest.MonkeyPatch) -> AlignedFaces:
    # Drawn faces are all alike to a face net.
    monkeypatch.setattr(
        "vidswap.training.data.aligned_faces.shows_held_out",
        lambda _, records: np.zeros(len(records), bool),
    )
    return read_aligned_faces(faces, faces.parent / "cache", 128)


@pytest.fixture
def augmented(faces: Path, tmp_path: Path) -> Path:
    """What `vidswap context` would make of the faces, one of each, in another order."""
    folder = tmp_path / "augmented"
    shutil.copytree(faces, folder)
    with (folder / "index.csv").open(newline="") as lines:
        head, *rows = list(csv.reader(lines))
    made = [[*row, f"{row[0]}, 1"] for row in reversed(rows)]
    with (folder / "index.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([[*head, "source"], *made])
    (folder / "held-out.txt").unlink()  # the split is that of the photographs
    return folder


def sampler(albums: Albums, seed: int = 1) -> PeopleSampler:
    return PeopleSampler(albums, 8, 0.25, seed, ViewConfig())


def test_people_held_out_are_in_no_album_whatever_an_augmented_dataset_lists(
    read: AlignedFaces, augmented: Path, tmp_path: Path
) -> None:
    own = read_albums(read)
    both = read_albums(read, "", augmented, tmp_path / "cache")
    held_out = set(read.held_out.tolist())
    assert {read.records[row].person for row in held_out} == {HELD_OUT} and len(held_out) == 2
    assert [len(album) for album in own.several] == [2] * 4 and len(own.single) == 2
    assert [len(album) for album in both.several] == [4] * 4
    assert [len(album) for album in both.single] == [2] * 2
    for albums in (own, both):
        for album in (*albums.several, *albums.single):
            shown = {read.records[i if i < 12 else 11 - (i - 12)].person for i in album}
            assert len(shown) == 1 and HELD_OUT not in shown


def test_an_augmented_dataset_of_other_faces_is_refused(
    read: AlignedFaces, augmented: Path, tmp_path: Path
) -> None:
    index = augmented / "index.csv"
    index.write_text(index.read_text().replace("000003.webp, 1", "elsewhere.webp, 1"))
    with pytest.raises(DatasetError, match=r"elsewhere\.webp"):
        read_albums(read, "", augmented, tmp_path / "cache")


def test_without_people_of_two_photographs_nothing_is_learnt(read: AlignedFaces) -> None:
    with pytest.raises(DatasetError, match="of kind other"):
        read_albums(read, "other")


def test_a_batch_is_the_same_at_every_call_and_another_for_another_number(
    read: AlignedFaces,
) -> None:
    drawing = sampler(read_albums(read))
    first, again, other = drawing.batch(3), drawing.batch(3), drawing.batch(4)
    assert torch.equal(first.views, again.views) and torch.equal(first.people, again.people)
    assert not torch.equal(first.views, other.views)
    assert not torch.equal(first.views, sampler(read_albums(read), 2).batch(3).views)


def test_a_batch_shows_every_person_twice_in_two_photographs_where_there_are_two(
    read: AlignedFaces,
) -> None:
    albums = read_albums(read)
    drawn = sampler(albums).batch(0)
    assert drawn.views.shape == (8, 3, 64, 64) and torch.equal(drawn.people[:4], drawn.people[4:])
    assert int((drawn.people[:4] >= len(albums.several)).sum()) == 1
    assert -1.0 <= float(drawn.views.min()) < float(drawn.views.max()) <= 1.0


def test_training_and_judging_see_the_same_part_of_a_face() -> None:
    random = np.random.default_rng(0)
    picture = cv2.resize(random.integers(0, 256, (16, 16, 3), np.uint8), (128, 128))
    cut = views_to_tensor(cut_view(picture)[None])
    whole = torch.from_numpy(picture)[None].permute(0, 3, 1, 2).float() / 127.5 - 1.0
    double = F.interpolate(whole, scale_factor=2.0)
    for crops in (whole, double):
        assert float((recogniser_view(crops) - cut).abs().mean()) < 0.01
    assert float((recogniser_view(whole) - cut.roll(1, 3)).abs().mean()) > 0.05


def test_the_losses_are_those_of_their_equations() -> None:
    cosines = torch.tensor([[0.5, 0.1], [-0.2, 0.3]])
    own = [math.exp(8 * (0.5 - 0.2)), math.exp(8 * (0.3 - 0.2))]
    other = [math.exp(8 * 0.1), math.exp(8 * -0.2)]
    expected = -sum(math.log(a / (a + b)) for a, b in zip(own, other, strict=True)) / 2
    found = margin_softmax(cosines, torch.tensor([0, 1]), 0.2, 8.0)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    embeddings = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0]]))
    alike = (embeddings @ embeddings.T).numpy() / 0.5
    terms = []
    for i, positive in enumerate((2, 3, 0, 1)):
        rest = [math.exp(alike[i, j]) for j in range(4) if j != i]
        terms.append(-math.log(math.exp(alike[i, positive]) / sum(rest)))
    found = supervised_contrast(embeddings, torch.tensor([0, 1, 0, 1]), 0.5)
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-5)


def test_the_rate_rises_and_falls_to_a_hundredth() -> None:
    config = replace(RecogniserTraining(), batch=10, warm_images=100, images=1000)
    shares = [rate_share(config, n) for n in (0, 90, 500, 1000, 5000)]
    assert shares[0] == pytest.approx(0.1, rel=0.01) and shares[1] > 0.95
    assert shares[2] == pytest.approx(0.505) and shares[3:] == pytest.approx([0.01, 0.01])


def test_two_halves_of_a_run_are_the_whole_run_and_its_checkpoint_loads(
    faces: Path, read: AlignedFaces, tmp_path: Path
) -> None:
    whole = job(faces, "recogniser", TINY, images=12)
    assert_halves_are_the_whole(whole, 4, ("generator", "average", "centres"))
    path = tmp_path / "judge.safetensors"
    assert export_inpainter(whole.run, path) == 12
    with pytest.raises(CheckpointError, match="allowed: "):
        load_generator(path)  # it makes no faces


def test_a_face_and_its_mirror_have_one_embedding() -> None:
    torch.manual_seed(0)
    net = Recogniser(RecogniserConfig((4, 4, 4, 4), embedding=8)).eval()
    crops = F.interpolate(torch.rand(2, 3, 8, 8) * 2 - 1, (256, 256), mode="bilinear")
    with torch.inference_mode():
        one, mirrored = net.embed(crops), net.embed(crops.flip(3))
        alone, apart = net(recogniser_view(crops)), net(recogniser_view(crops.flip(3)))
    assert float(F.cosine_similarity(one, mirrored).min()) > 0.999
    assert float(F.cosine_similarity(alone, apart).min()) < 0.99


def test_what_is_around_the_inner_face_says_nothing_of_whose_it_is() -> None:
    torch.manual_seed(0)
    views = torch.rand(2, 3, 64, 64) * 2 - 1
    seen = inner_face()
    assert float(seen[0, 0, 10, 32]) == 0.0 == float(seen[0, 0, 40, 4])  # forehead, ear
    assert float(seen[0, 0, 28, 20]) == 1.0 == float(seen[0, 0, 56, 32])  # eye, below the mouth
    around = torch.where(seen > 0, views, -views)
    inner = torch.where(seen > 0, -views, views)
    config = RecogniserConfig((4, 4, 4, 4), embedding=8)
    with torch.inference_mode():
        net = Recogniser(config).eval()
        assert torch.equal(net(views), net(around)) and not torch.equal(net(views), net(inner))
        whole = Recogniser(replace(config, inner=False)).eval()
        assert not torch.equal(whole(views), whole(around))
