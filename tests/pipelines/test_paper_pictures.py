"""Pictures of the papers' tables: rows of portraits, and curves of several runs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pipelines.paper_pictures import NAMES, SIZE, contexts, fillings, main
from vidswap.animation.clip import portrait_names
from vidswap.errors import BadOptionError, InputNotFoundError
from vidswap.inpainting.id_gan import IdGanConfig, InpaintingNet
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.media.marks import read_marks


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("paper") / "idgan.safetensors"
    save_inpainter(InpaintingNet(IdGanConfig((4, 4, 4, 4))), path, 1)
    return path


def test_every_row_fills_the_same_holes_and_leaves_the_rest(checkpoint: Path) -> None:
    shown = fillings({"mine": checkpoint})
    assert list(shown) == ["picture", "hidden", "Telea", "mine"]
    n = len(portrait_names())
    assert all(len(pictures) == n for pictures in shown.values())
    for whole, hidden, filled in zip(shown["picture"], shown["hidden"], shown["mine"], strict=True):
        hole = (hidden != whole).any(axis=2)
        assert 0.005 < hole.mean() < 0.2
        # The eyes, the mouth and blocks lie on the face, not in the corner of the crop.
        assert not hole[:8].any() and not hole[:, :8].any()
        near = cv2.dilate(hole.astype(np.uint8), np.ones((5, 5))) > 0  # white is white already
        assert np.array_equal(filled[~near], whole[~near])


def test_a_sheet_has_a_row_per_net_and_says_that_it_is_synthetic(
    checkpoint: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "rows.png"
    told = CliRunner().invoke(main, ["fillings", "-o", str(sheet), "--row", f"mine={checkpoint}"])
    assert told.exit_code == 0, told.output
    height, width, _ = cv2.imread(str(sheet)).shape
    assert (height, width) == (4 * SIZE, NAMES + len(portrait_names()) * SIZE)
    assert read_marks(sheet)["vidswap_synthetic"] == "true"


def test_a_net_of_another_kind_hallucinates_nothing(checkpoint: Path) -> None:
    with pytest.raises(BadOptionError, match="holds idgan; contexts needs a context GAN"):
        contexts({"mine": checkpoint})


def test_curves_of_a_measure_that_no_run_has_are_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    lines = [json.dumps({"images": i, "hole_error": 1.0 / i}) for i in range(1, 9)]
    (run / "log.jsonl").write_text("\n".join(lines))
    plot = tmp_path / "curves.png"
    arguments = ["curves", "-o", str(plot), "--row", f"one={run}"]
    assert CliRunner().invoke(main, arguments).exit_code == 0 and plot.stat().st_size > 5000
    told = CliRunner().invoke(main, [*arguments, "--measure", "loss"])
    assert told.exit_code == 2 and "0 lines have 'loss'" in told.stderr
    nowhere = ["curves", "-o", str(plot), "--row", f"one={tmp_path / 'none'}"]
    told = CliRunner().invoke(main, nowhere)
    assert told.exit_code == InputNotFoundError.exit_code and "no such file" in told.stderr
