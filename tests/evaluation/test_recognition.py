"""How recognisers are measured on people held out, and Table 2 of the context GAN in small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from pipelines.tables import main
from tests.training.small_dataset import album_dataset
from tests.training.test_recogniser_training import TINY
from vidswap.evaluation.judge import Judge
from vidswap.evaluation.recognition import read_held_out_albums, recognise
from vidswap.identity.recogniser import Recogniser, RecogniserConfig
from vidswap.inpainting.context_gan import ContextConfig, ContextNet
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.training.data.face_shards import read_index


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recognition") / "faces"
    return album_dataset(folder, "person1\nperson3", "lfw")


def by_names(faces: Path) -> Judge:
    """A judge that knows everybody: the pictures in the order of the people held out."""
    people = [r.person for r in read_index(faces) if r.held_out]
    number = {person: i for i, person in enumerate(sorted(set(people)))}
    known = torch.eye(4)[[number[person] for person in people]]
    return Judge("names", "", False, lambda crops: known[: len(crops)])


def table(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_a_net_that_knows_everybody_recognises_all_people_held_out(faces: Path) -> None:
    albums = read_held_out_albums(faces)
    assert sorted(albums.people) == ["person1"] * 2 + ["person3"] * 2
    for pair in albums.pairs:
        assert (albums.people[pair.first] == albums.people[pair.second]) is pair.same
    quality = recognise(albums, by_names(faces))
    assert quality.accuracy.value == quality.found.value == quality.verified.auc == 1.0
    assert quality.accuracy.low < 0.6  # four pairs do not say much


def test_every_net_is_a_row_of_the_table(faces: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_inpainter(Recogniser(RecogniserConfig((4, 4, 4, 4), embedding=8)), path, 0)
    result = table("recogniser", "--faces", faces, "--run", tmp_path, "--checkpoint", path)
    assert result.exit_code == 0, result.output
    assert "| dlib ResNet |" in result.output
    assert "| mine |" in result.output


def test_table_2_trains_with_and_without_what_a_net_hallucinates(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Drawn faces are all alike to a face net.
    monkeypatch.setattr(
        "vidswap.training.data.aligned_faces.shows_held_out",
        lambda _, records: np.zeros(len(records), bool),
    )
    context = tmp_path / "context.safetensors"
    save_inpainter(ContextNet(ContextConfig(2, 8)), context, 0)
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps(TINY))
    run = tmp_path / "run"
    given = (
        "context", "--recogniser", "--faces", faces, "--run", run, "--cache", tmp_path / "cache",
        "--checkpoint", context, "--recogniser-config", config,
    )  # fmt: skip
    assert "--images" in table(*given).output
    result = table(*given, "--images", 8)
    assert result.exit_code == 0, result.output
    lines = [json.loads(x) for x in (run / "augmentation.jsonl").read_text().splitlines()]
    counts = [(x["photographs"], x["augmented"], x["people"]) for x in lines[:2]]
    assert counts == [(8, 0, 5), (8, 8, 5)]  # of seven people, two are held out
    assert lines[2]["gain"] == pytest.approx(lines[1]["tpr"] - lines[0]["tpr"])
    assert "| augmented | 8 | 8 | 5 |" in result.output
    trained = json.loads((run / "augmented-1" / "config.json").read_text())
    assert trained["net"]["inner"] is False  # or it would not see what was hallucinated
    logged = (run / "photographs-1" / "state.pt").stat().st_mtime_ns
    found = (run / "augmentation.jsonl").read_bytes()
    assert table(*given, "--images", 8, "--augmented", run / "augmented").exit_code == 0
    assert (run / "augmentation.jsonl").read_bytes() == found
    assert (run / "photographs-1" / "state.pt").stat().st_mtime_ns == logged
    assert "begun with other settings" in table(*given, "--images", 9).output
