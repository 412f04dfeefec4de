"""Models that fill faces train in the one loop: runs resume exactly and export what loads."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.small_dataset import small_dataset
from vidswap.errors import CheckpointError, OutputExistsError, TrainingConfigError
from vidswap.faces import mesh
from vidswap.inpainting.search import LatentSearch
from vidswap.models.checkpoint import load_generator
from vidswap.training.data import aligned_faces
from vidswap.training.data.aligned_faces import FaceSampler, Placing, read_aligned_faces
from vidswap.training.data.face_shards import cached_faces, read_index
from vidswap.training.export import export_generator
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
