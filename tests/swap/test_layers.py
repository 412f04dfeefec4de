"""Layers: put together again they are the result, and outside the matte the target itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.media.clips import make_clip
from tests.swap.test_sequences import FACELESS, FRAMES, SIZE, frame
from vidswap.choices import LayerFormat
from vidswap.errors import BadOptionError, OutputExistsError
from vidswap.media.colour_space import ACES_AP1, BT709, srgb_light
from vidswap.media.decoder import VideoReader
from vidswap.media.marks import read_marks
from vidswap.media.sequence_picture import deep_samples
from vidswap.swap.layer_files import LayerFiles
from vidswap.swap.options import SwapCounts, SwapOptions, SwapResult
from vidswap.swap.worker import swap_video

openexr = pytest.importorskip("OpenEXR")

HALF = 2.0**-10  # of a value: the step between two halves


class StoppedError(Exception):
    """Ends a run from within, as a crash would."""


@dataclass(frozen=True)
class Case:
    source: Path
    target: Path
    options: SwapOptions

    def swap(self, output: Path, progress: Any = None, **more: object) -> SwapResult:
        options = SwapOptions(**{**vars(self.options), **more})
        return swap_video([self.source], self.target, output, options, progress)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, source_picture: Path, untrained: Path) -> Case:
    clip = make_clip(
        tmp_path_factory.mktemp("layers") / "plate.mkv", picture=lambda n, *_: frame(n),
        size=SIZE, frames=FRAMES, codec="ffv1",
    )  # fmt: skip
    options = SwapOptions(
        checkpoint=untrained, codec="ffv1", segment_frames=4, no_provenance="a test"
    )
    return Case(source_picture, clip, options)


@pytest.fixture(scope="module")
def exr_layers(tmp_path_factory: pytest.TempPathFactory, case: Case) -> Path:
    folder = tmp_path_factory.mktemp("exr")
    result = case.swap(folder / "out.mkv", layers=folder / "layers")
    assert result.faces_swapped == FRAMES - FACELESS
    return folder / "layers"


def channels(path: Path) -> dict[str, np.ndarray]:
    """All channels of all parts on the display window, zero where a part has no data."""
    file = openexr.File(str(path))
    low, high = file.header()["displayWindow"]
    width, height = high - low + 1
    found = {}
    for part in file.parts:
        (left, top), _ = part.header["dataWindow"]
        for name, channel in part.channels.items():
            own = channel.pixels.astype(np.float32)
            whole = np.zeros((height, width, *own.shape[2:]), np.float32)
            whole[top : top + own.shape[0], left : left + own.shape[1]] = own
            found[name] = whole
    return found


def header(path: Path) -> dict[str, Any]:
    return dict(openexr.File(str(path), header_only=True).header())


def plates(clip: Path) -> list[np.ndarray]:
    """The light of a clip's frames, (H, W, 3)."""
    with VideoReader(clip) as reader:
        return [srgb_light(deep_samples(each).astype(np.float32) / 65535.0) for each in reader]


def test_the_face_over_the_target_is_the_result(case: Case, exr_layers: Path) -> None:
    files = sorted(exr_layers.iterdir())
    assert [path.name for path in files] == [f"plate.{n:04d}.exr" for n in range(1, FRAMES + 1)]
    for path, plate in list(zip(files, plates(case.target), strict=True))[:-FACELESS]:
        found = channels(path)
        final, face, matte = found["RGBA"][..., :3], found["face"], found["matte.A"]
        assert matte.max() > 0.9 and 200 < (matte > 0).sum() < matte.size / 2
        np.testing.assert_array_equal(face[..., 3], matte)
        recomposed = face[..., :3] + (1.0 - matte[..., None]) * plate
        assert np.abs(recomposed - final).max() < HALF
        changed = np.abs(final - plate).max(axis=2) > 2 * HALF
        assert changed.sum() > 200
        assert not changed[matte == 0].any()
        outside = matte == 0
        np.testing.assert_allclose(final[outside], plate[outside], rtol=HALF, atol=1e-6)
        assert (found["RGBA"][..., 3] == 1).all()


def test_the_other_layers_belong_to_the_same_place(exr_layers: Path) -> None:
    found = channels(exr_layers / "plate.0001.exr")
    inside, covered = found["matte.A"] > 0, found["raw"][..., 3] > 0
    assert (covered | ~inside).all()
    assert set(np.unique(found["id.R"])) == {0.0, 1.0}
    np.testing.assert_array_equal(found["id.R"] > 0, inside)
    assert found["occlusion.A"].min() >= 0 and found["occlusion.A"].max() <= 1
    u, v = found["uv.R"], found["uv.G"]
    for places in (u, v):
        assert places[~covered].max() == 0 and places.min() >= 0 and places.max() <= 1
    rows, columns = np.nonzero(covered)
    # u grows to the right and v upwards, as a compositor has them.
    assert np.corrcoef(u[covered], columns)[0, 1] > 0.99
    assert np.corrcoef(v[covered], rows)[0, 1] < -0.99
    # Where nothing of the target shows through, the raw crop is another face than the target's.
    assert found["raw"][covered, :3].std() > 0.01


def test_frames_without_a_face_have_empty_layers(case: Case, exr_layers: Path) -> None:
    found = channels(exr_layers / f"plate.{FRAMES:04d}.exr")
    assert all(not found[name].any() for name in ("face", "raw", "matte.A", "uv.R", "id.R"))
    np.testing.assert_allclose(found["RGBA"][..., :3], plates(case.target)[-1], rtol=HALF)


def test_files_say_what_they_are(exr_layers: Path) -> None:
    told = header(exr_layers / "plate.0001.exr")
    np.testing.assert_allclose(told["chromaticities"], BT709, atol=1e-6)
    assert told["vidswap_synthetic"] == "true"
    assert told["compression"] == openexr.ZIP_COMPRESSION
    file = openexr.File(str(exr_layers / "plate.0001.exr"), separate_channels=True)
    kinds = {n: c.pixels.dtype for part in file.parts for n, c in part.channels.items()}
    assert {kinds[n] for n in ("R", "face.G", "raw.B", "matte.A")} == {np.dtype(np.float16)}


def test_flat_files_have_the_same_layers_in_one_part(
    case: Case, exr_layers: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "layers"
    case.swap(tmp_path / "out.mkv", layers=folder, layer_format="exr-flat", end=0.1)
    first = folder / "plate.0001.exr"
    assert len(openexr.File(str(first)).parts) == 1
    found = channels(first)
    assert set(found) == set(channels(exr_layers / first.name))
    behind = (1.0 - found["matte.A"][..., None]) * plates(case.target)[0]
    recomposed = found["face"][..., :3] + behind
    assert np.abs(recomposed - found["RGBA"][..., :3]).max() < HALF


def test_png_layers_put_together_are_the_result(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "layers"
    case.swap(
        tmp_path / "out.mkv", layers=folder, layer_format="png", only_faces=True, first_frame=50
    )

    def layer(name: str) -> np.ndarray:
        samples = cv2.imread(str(folder / name / "plate.0050.png"), cv2.IMREAD_UNCHANGED)
        assert samples.dtype == np.uint16
        return samples / 65535.0

    with VideoReader(case.target) as reader:
        plate = deep_samples(next(iter(reader)))[..., ::-1] / 65535.0
    face, matte = layer("face"), layer("matte")[..., None]
    recomposed = face[..., :3] * matte + plate * (1.0 - matte)
    assert np.abs(recomposed - layer("final")).max() < 1 / 255
    assert len(list((folder / "final").iterdir())) == FRAMES - FACELESS
    assert read_marks(folder / "face" / "plate.0050.png")["vidswap_synthetic"] == "true"


@pytest.mark.slow
def test_a_broken_run_goes_on_to_the_same_layers(
    case: Case, exr_layers: Path, tmp_path: Path
) -> None:
    def stop(counts: SwapCounts) -> None:
        if counts.frames >= 7:
            raise StoppedError

    more = {"layers": tmp_path / "layers"}
    with pytest.raises(StoppedError):
        case.swap(tmp_path / "out.mkv", stop, **more)
    assert case.swap(tmp_path / "out.mkv", **more).frames_kept > 0
    assert sorted(p.name for p in more["layers"].iterdir()) == sorted(
        p.name for p in exr_layers.iterdir()
    )
    for path in sorted(exr_layers.iterdir()):
        whole, again = channels(path), channels(more["layers"] / path.name)
        assert all(np.array_equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize("kind", ["exr", "png"])
def test_a_run_that_ends_before_its_first_frame_leaves_no_folder(
    case: Case, tmp_path: Path, kind: LayerFormat
) -> None:
    with VideoReader(case.target) as reader:
        files = LayerFiles(tmp_path / "layers", kind, reader, {}, {}, "face")
        assert (tmp_path / "layers").is_dir()
        files.close()
    assert list(tmp_path.iterdir()) == []


def test_layers_that_are_there_are_not_replaced_unasked(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "layers"
    folder.mkdir()
    (folder / "plate.0003.exr").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=r"plate\.0003\.exr exist"):
        case.swap(tmp_path / "out.mkv", layers=folder)
    assert (folder / "plate.0003.exr").read_bytes() == b"mine"


def test_light_of_a_sequence_keeps_its_primaries_and_numbers(case: Case, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in (1001, 1002):
        light = srgb_light(frame(number % 8).astype(np.float32) / 255.0).astype(np.float16)
        light[:9, :9] = 20.0
        openexr.File({"chromaticities": ACES_AP1}, {"RGB": light}).write(
            str(tmp_path / "in" / f"a.{number}.exr")
        )
    again = Case(case.source, tmp_path / "in", case.options)
    again.swap(tmp_path / "out", layers=tmp_path / "layers", codec=None)
    for number in (1001, 1002):
        plate = channels(tmp_path / "in" / f"a.{number}.exr")["RGB"]
        own = channels(tmp_path / "out" / f"a.{number}.exr")["RGB"]
        found = channels(tmp_path / "layers" / f"a.{number}.exr")
        np.testing.assert_array_equal(found["RGBA"][..., :3], own)
        matte = found["matte.A"][..., None]
        recomposed = found["face"][..., :3] + (1.0 - matte) * plate
        np.testing.assert_allclose(recomposed, own, rtol=2 * HALF, atol=HALF)
        told = header(tmp_path / "layers" / f"a.{number}.exr")
        np.testing.assert_allclose(told["chromaticities"], ACES_AP1, atol=1e-6)


def test_layers_of_a_picture_are_refused(case: Case, tmp_path: Path) -> None:
    again = Case(case.source, case.source, case.options)
    with pytest.raises(BadOptionError, match="--layers is for clips"):
        again.swap(tmp_path / "out.png", layers=tmp_path / "layers")


@pytest.mark.parametrize("kind", ["exr", "png"])
def test_layers_of_a_clip_whose_name_is_as_long_as_names_may_be(
    tmp_path: Path, case: Case, kind: str
) -> None:
    clip = tmp_path / f"{'漢' * 83}xx.mkv"
    clip.write_bytes(case.target.read_bytes())
    Case(case.source, clip, case.options).swap(
        tmp_path / "out.mkv", layers=tmp_path / "layers", layer_format=kind, end=0.1
    )
    names = {path.name for path in (tmp_path / "layers").rglob("*") if path.is_file()}
    assert names and all(len(name.encode()) < 40 for name in names)
