"""Verification over pictures: the two public-domain people, as LFW lays its pictures out."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from tests.photographs import astronaut, grace_hopper
from vidswap.commands.main import main
from vidswap.inpainting.id_gan import IdGanConfig, InpaintingNet
from vidswap.inpainting.inpainter import save_inpainter


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people with three pictures each, and one picture without a face."""
    root = tmp_path_factory.mktemp("lfw")
    for name, photograph in (("Eileen", astronaut()), ("Grace", grace_hopper())):
        (root / name).mkdir()
        for number in (1, 2, 3):
            picture = cv2.convertScaleAbs(photograph, alpha=0.7 + 0.1 * number)
            path = root / name / f"{name}_{number:04d}.jpg"
            cv2.imwrite(str(path), picture[:, :, ::-1])
    (root / "Nobody").mkdir()
    cv2.imwrite(str(root / "Nobody" / "Nobody_0001.jpg"), np.full((200, 200, 3), 120, np.uint8))
    return root


def pairs_file(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.txt"
    path.write_text("\n".join(("1 3", *lines)) + "\n")
    return path


PAIRS = (
    "Eileen 1 2", "Grace 2 3", "Eileen 1 3", "Eileen 1 Grace 1", "Eileen 2 Grace 3",
    "Eileen 3 Grace 2",
)  # fmt: skip


def run(*arguments: object) -> dict:
    result = CliRunner().invoke(main, ["pairs", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_two_people_are_told_apart(folder: Path) -> None:
    found = run(pairs_file(folder, *PAIRS), folder)
    assert (found["pairs"], found["left_out"]) == (6, 0)
    assert found["accuracy"] == found["auc"] == found["tpr_at_fpr"]["0.01"] == 1.0
    assert "took part in training" in found["judge"]


def test_a_picture_without_a_face_is_counted_and_left_out(folder: Path) -> None:
    found = run(pairs_file(folder, *PAIRS, "Eileen 1 Nobody 1"), folder)
    assert (found["pairs"], found["left_out"]) == (6, 1)


def test_people_who_were_exchanged_are_no_longer_recognised(folder: Path, tmp_path: Path) -> None:
    for name, other in (("Eileen", "Grace"), ("Grace", "Eileen")):
        (tmp_path / name).mkdir()
        for number in (1, 2, 3):
            picture = (folder / other / f"{other}_{number:04d}.jpg").read_bytes()
            (tmp_path / name / f"{name}_{number:04d}.jpg").write_bytes(picture)
    found = run(pairs_file(folder, *PAIRS), folder, "--altered", tmp_path)
    assert found["auc"] == 0.0


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        (("Eileen 1 9",), 3, "Eileen_0009.jpg: no such picture"),
        (("Eileen 1 2",), 14, "pairs of one person and pairs of two"),
        (("Eileen one two",), 14, "is no pair"),
    ],
)
def test_what_cannot_be_verified_is_said(
    folder: Path, lines: tuple[str, ...], code: int, words: str
) -> None:
    arguments = ["pairs", str(pairs_file(folder, *lines)), str(folder)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code and words in result.stderr, result.stderr


def test_hiding_a_square_and_filling_it_again_is_a_table(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "idgan.safetensors"
    save_inpainter(InpaintingNet(IdGanConfig((4, 4, 4, 4))), model, 1)
    listed = pairs_file(folder, *PAIRS)
    rows = run(listed, folder, "--occlude", 48, "--inpaint", model)
    assert [row["method"] for row in rows] == [
        "ground truth", "occluded", "Telea", "Navier-Stokes", "idgan",
    ]  # fmt: skip
    truth, hidden, telea = rows[:3]
    assert truth["accuracy"] == 1.0 and truth["psnr"] is None
    assert hidden["psnr"] < telea["psnr"] and hidden["ssim"] < telea["ssim"]
    told = CliRunner().invoke(main, ["pairs", str(listed), str(folder), "--occlude", "48"])
    # The same squares are hidden again.
    assert f"occluded         {hidden['psnr']:.2f}" in told.output and "regained" in told.output


def test_filling_without_hiding_is_refused(folder: Path, tmp_path: Path) -> None:
    arguments = ["pairs", str(pairs_file(folder, *PAIRS)), str(folder), "--inpaint", "idgan"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2 and "--inpaint goes with --occlude" in result.output
