"""What the tables of SwapInpaint and of the context GAN measure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.photographs import astronaut
from tests.training.small_dataset import small_dataset
from vidswap.evaluation.context import (
    measure_contexts,
    nothing_around,
    pearson,
    read_held_out_context,
)
from vidswap.evaluation.held_out import HeldOutFaces
from vidswap.evaluation.judge import Judge
from vidswap.evaluation.swapinpaint import FilledMeasure, fill_pairs, table_rows
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.inpainting.masks import region_mask
from vidswap.inpainting.swapinpaint import SwapInpaint, SwapInpaintConfig
from vidswap.people.source import SourceReader


def colours(crops: torch.Tensor) -> torch.Tensor:
    """A judge by colour: the means of four quarters."""
    return torch.nn.functional.adaptive_avg_pool2d(crops, 2).flatten(1)


JUDGE = Judge("colours", "", False, colours)


@pytest.fixture(scope="module")
def reader() -> Iterator[SourceReader]:
    reader = SourceReader.load()
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def pair(reader: SourceReader) -> HeldOutFaces:
    """The astronaut, and the astronaut in a mirror as the source, twice."""

    def aligned(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        face = reader.faces(rgb)[0]
        affine = face_affine(face.landmarks)
        return align_face(rgb, affine), warp_points(affine, face.landmarks).astype(np.float32)

    target, points = aligned(astronaut())
    source, source_points = aligned(np.ascontiguousarray(astronaut()[:, ::-1]))
    known = np.arange(478)
    return HeldOutFaces(
        [source] * 2, [target] * 2, [points] * 2, [source_points] * 2, known, [],
        np.zeros(0, np.intp), False,
    )  # fmt: skip


def test_correlation_is_pearsons() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 3, 10))
    wanted = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
    assert np.allclose(pearson(a, b), wanted)


def test_contexts_are_measured_on_people_held_out_and_the_same_is_best(tmp_path: Path) -> None:
    folder = small_dataset(tmp_path / "faces", n_faces=6)
    (folder / "held-out.txt").write_text("person1\nperson4\nperson5\n")
    faces = read_held_out_context(folder, 2, kind="drawn")
    assert len(faces.pictures) == 2 and faces.pictures[0].shape == (128, 128, 3)
    surrounds = {"same": lambda pictures, _: list(pictures), "nothing": nothing_around}
    rows = dict(measure_contexts(faces, surrounds, JUDGE))
    same, nothing = rows["same"], rows["nothing"]
    assert (same.match, same.ssim) == (pytest.approx(1.0), pytest.approx(1.0))
    assert same.fid == pytest.approx(0.0, abs=1e-6) and same.perceptual == pytest.approx(0.0)
    assert nothing.ssim < 0.9 and nothing.perceptual > 0.1 and nothing.fid > 0.0


def test_untouched_targets_measure_as_no_change(pair: HeldOutFaces, reader: SourceReader) -> None:
    measure = FilledMeasure(pair, JUDGE, reader)
    quality = measure(pair.targets)
    assert (quality.mse, quality.ssim, quality.lost) == (0.0, pytest.approx(1.0), 0.0)
    assert quality.pose == pytest.approx(0.0, abs=1e-6)
    assert quality.apart == 0.0
    copied = measure(pair.sources)
    assert copied.identity == pytest.approx(1.0) and copied.apart == 1.0 and copied.mse > 100


def test_fillings_change_the_region_alone(pair: HeldOutFaces, reader: SourceReader) -> None:
    model = SwapInpaint(SwapInpaintConfig((4, 4, 4, 4), 4, 64)).eval()
    outside = ~region_mask(pair.landmarks[0], "mouth")
    results = {
        given: fill_pairs(model, reader, pair, "mouth", given)[0]
        for given in ("content alone", "edges", "inferred")
    }
    for result in results.values():
        assert np.array_equal(result[outside], pair.targets[0][outside])
    assert not np.array_equal(results["edges"], results["content alone"])


def test_the_centre_has_the_rows_of_table_ii() -> None:
    model = SwapInpaint(SwapInpaintConfig((4, 4, 4, 4), 4, 64))
    rows = [(name, given) for name, _, given in table_rows({"with C": model}, "centre")]
    assert [given for _, given in rows] == ["content alone", "incomplete", "edges", "inferred"]
    assert [name for name, _, _ in table_rows({"with C": model}, "eyes")][-1] == "with C"
