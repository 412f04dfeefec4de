"""`vidswap context` keeps the inner face, makes all else, and writes pictures or a dataset."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import vidswap
from tests.photographs import astronaut
from tests.training.small_dataset import small_dataset
from tests.training.test_pairs import schematic_points
from vidswap.blending.pyramid import pyramid_blend
from vidswap.commands.main import main
from vidswap.errors import BadOptionError, CheckpointError, NoFaceInSourceError, OutputExistsError
from vidswap.inpainting.context_gan import ContextConfig, ContextNet
from vidswap.inpainting.hallucination import (
    Variation,
    face_hull,
    filling_square,
    hallucinate,
    with_forehead,
)
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.media.picture import read_picture_metadata
from vidswap.swap import context_job
from vidswap.swap.context_job import hallucinate_faces
from vidswap.swap.context_options import ContextOptions
from vidswap.swap.options import SwapOptions
from vidswap.training.data.face_shards import read_index, read_landmarks


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "context.safetensors"
    save_inpainter(ContextNet(ContextConfig(2, 8)), path, 7)
    return path


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "portrait.png"), astronaut()[:, :, ::-1])
    return tmp_path / "portrait.png"


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[:, :, ::-1]


def test_a_picture_of_a_face_becomes_a_picture_and_says_so(
    weights: Path, portrait: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    command = ["context", str(portrait), "-o", str(out), "--checkpoint", str(weights), "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert (told["faces"], told["pictures"], told["images_trained"]) == (1, 1, 7)
    assert read(out).shape == (256, 256, 3)
    assert "hallucinated" in read_picture_metadata(out)["comment"]
    assert CliRunner().invoke(main, command).exit_code == OutputExistsError("").exit_code


def test_pictures_of_one_face_differ_and_none_is_made_of_a_wall(
    weights: Path, portrait: Path, tmp_path: Path
) -> None:
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((200, 200, 3), 120, np.uint8))
    options = ContextOptions(checkpoint=weights, per_face=3)
    result = hallucinate_faces([portrait, wall], tmp_path / "out", options)
    made = [read(tmp_path / "out" / f"portrait-{i}.png") for i in (1, 2, 3)]
    assert result.pictures == 3 and result.left_out == ((str(wall), "no face found"),)
    assert not np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])
    middle = slice(96, 160)
    assert np.array_equal(made[0][middle, middle], made[1][middle, middle])
    with pytest.raises(NoFaceInSourceError, match="no face found"):
        hallucinate_faces([wall], tmp_path / "other", options)


def test_the_face_is_the_crops_own_and_what_is_around_it_does_not_depend_on_the_crop() -> None:
    torch.manual_seed(0)
    net, points = ContextNet(ContextConfig(2, 8)).eval(), schematic_points()
    hull = face_hull(points, 256)
    random = np.random.default_rng(0)
    crop = random.integers(0, 255, (256, 256, 3), np.uint8)
    # Beyond the hull's own rim, which smaller pixels of the net share.
    beyond = cv2.dilate(hull.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    other = crop.copy()
    other[beyond] = 0
    one, two = hallucinate(net, [crop, other], [points] * 2, [Variation()] * 2)
    assert np.array_equal(one, two)
    assert np.array_equal(one[hull], crop[hull])
    assert not np.array_equal(one[~hull], crop[~hull])
    (mirrored,) = hallucinate(net, [crop], [points], [Variation(mirrored=True)])
    assert np.array_equal(mirrored[hull], crop[hull])
    assert face_hull(points, 256, 0.9).sum() < hull.sum()


def test_a_forehead_takes_on_the_tone_of_the_face_and_hair_does_not() -> None:
    hull = face_hull(schematic_points(), 256)
    top, bottom = np.flatnonzero(hull.any(axis=1))[[0, -1]]
    middle = int(np.flatnonzero(hull[top]).mean())

    def around(level: int) -> np.ndarray:
        picture = np.full((256, 256, 3), level, np.uint8)
        picture[hull] = 160
        return with_forehead(picture, hull).astype(int)

    skin, hair = around(145), around(30)
    assert (skin[hull] == 160).all() and (hair[hull] == 160).all()
    assert (skin[top - 5, middle] >= 153).all()  # half of the gap and more is closed
    assert (skin[:, :20] == 145).all() and (skin[-20:] == 145).all()  # far away
    assert np.abs(skin[bottom + 2, middle] - 145).max() <= 1  # nor is the chin's outline
    assert np.abs(hair[top - 5, middle] - 30).max() <= 1


def test_a_colour_a_picture_and_a_blur_go_behind_the_person(
    weights: Path, portrait: Path, tmp_path: Path
) -> None:
    red = tmp_path / "red.png"
    cv2.imwrite(str(red), np.full((90, 160, 3), (0, 0, 255), np.uint8))
    pictures = {}
    for name, background in (
        ("none", None),
        ("colour", "#ff0000"),
        ("file", red),
        ("blur", "blur"),
    ):
        out = tmp_path / f"{name}.png"
        hallucinate_faces(
            [portrait], out, ContextOptions(checkpoint=weights, background=background)
        )
        pictures[name] = read(out).astype(int)
    assert np.array_equal(pictures["colour"], pictures["file"])
    assert pictures["colour"][4, 4].tolist() == [255, 0, 0]
    assert np.array_equal(pictures["colour"][110:150, 110:150], pictures["none"][110:150, 110:150])
    sharp, soft = (np.abs(np.diff(pictures[n][:20], axis=1)).mean() for n in ("none", "blur"))
    assert soft < sharp


def test_a_dataset_becomes_one_of_the_same_people_and_those_held_out(
    weights: Path, tmp_path: Path
) -> None:
    faces = small_dataset(tmp_path / "faces", n_faces=4)
    (faces / "held-out.txt").write_text("person1\n")
    options = ContextOptions(checkpoint=weights, per_face=2)
    result = hallucinate_faces([faces], tmp_path / "augmented", options)
    records = read_index(tmp_path / "augmented")
    assert result.faces == 4 and result.pictures == len(records) == 8
    assert {r.person for r in records} == {r.person for r in read_index(faces)}
    assert {r.person for r in records if r.held_out} == {"person1"}
    points, _ = read_landmarks(tmp_path / "augmented")
    assert points.shape[0] == 8 and np.isfinite(points).all()


def test_what_cannot_be_made_is_refused(weights: Path, portrait: Path, tmp_path: Path) -> None:
    def refused(match: str, error: type[Exception] = BadOptionError, **settings: object) -> None:
        with pytest.raises(error, match=match):
            options = ContextOptions(**{"checkpoint": weights, **settings})  # type: ignore[arg-type]
            hallucinate_faces([portrait], tmp_path / "out.png", options)
        assert not (tmp_path / "out.png").exists()

    refused("holds the cascaded variant", variant="progan")
    refused("six hexadecimal digits", background="#ff")
    refused("is one picture and --per-face 2", per_face=2)
    refused("per-face", per_face=0)
    refused("give a picture, a folder of them", Exception, background=tmp_path / "none.png")
    with pytest.raises(CheckpointError, match="no weights of the cascaded context GAN"):
        context_job.CHECKPOINTS["cascaded"] = "none.safetensors"
        try:
            context_job.load_context(ContextOptions())
        finally:
            context_job.CHECKPOINTS["cascaded"] = "context-128.safetensors"


def test_a_swap_is_not_made_by_a_model_that_fills(
    weights: Path, portrait: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadOptionError, match="holds context, which fills faces and swaps none"):
        vidswap.swap_video(
            [portrait], portrait, tmp_path / "out.png", SwapOptions(checkpoint=weights)
        )


def test_a_pyramid_blend_keeps_both_ends_and_mixes_between() -> None:
    front, behind = (np.full((64, 80, 3), v, np.uint8) for v in (200, 40))
    weight = np.zeros((64, 80), np.float32)
    weight[:, :40] = 1.0
    mixed = pyramid_blend(front, behind, weight, levels=2).astype(int)
    assert (mixed[:, :20] == 200).all() and (mixed[:, 60:] == 40).all()
    assert 60 < mixed[32, 40, 0] < 180
    assert (np.diff(mixed[32, :, 0]) <= 1).all()  # no seam that rings
    with pytest.raises(ValueError, match="one size"):
        pyramid_blend(front, behind, weight[:, :10])


def test_a_background_fills_the_square_from_its_middle() -> None:
    wide = np.zeros((50, 150, 3), np.uint8)
    wide[:, 50:100] = 255
    assert (filling_square(wide, 40) == 255).all()
