"""A swap of image sequences: what comes in goes out, and broken runs go on."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from tests.media.clips import decoded_planes
from tests.photographs import grace_hopper
from tests.swap_fixtures import moved
from vidswap.commands.main import main
from vidswap.errors import BadOptionError, OutputExistsError, OutputNotWritableError
from vidswap.media.colour_space import srgb_light
from vidswap.media.decoder import VideoReader
from vidswap.media.marks import read_marks
from vidswap.media.probing import probe
from vidswap.media.sequence_picture import read_sequence_picture
from vidswap.report.frames import PairedClips
from vidswap.swap.options import SwapCounts, SwapOptions, SwapResult
from vidswap.swap.worker import swap_video

FRAMES = 14
FACELESS = 5  # frames at the end without a face
SIZE = (192, 144)


class StoppedError(Exception):
    """Ends a run from within, as a crash would."""


def frame(index: int, bits: int = 8) -> np.ndarray:
    rgb = moved(grace_hopper(), index % 9, *SIZE)
    if index >= FRAMES - FACELESS:
        rgb = np.full_like(rgb, 90)
    if bits == 8:
        return rgb
    fine = np.random.default_rng(index).integers(0, 257, rgb.shape)
    return np.minimum(rgb.astype(np.int64) * 257 + fine, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def options(untrained: Path) -> SwapOptions:
    return SwapOptions(checkpoint=untrained, segment_frames=4, no_provenance="a test")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16-bit PNG frames, shot.1001.png on."""
    folder = tmp_path_factory.mktemp("deep")
    for index in range(FRAMES):
        cv2.imwrite(str(folder / f"shot.{1001 + index}.png"), frame(index, 16)[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, deep: Path, source_picture: Path, options: SwapOptions
) -> Path:
    """The frames of a run in one go."""
    out = tmp_path_factory.mktemp("whole") / "out"
    result = swap_video([source_picture], deep, out, options)
    assert (result.frames, result.frames_without_face) == (FRAMES, FACELESS)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_frames_keep_name_number_and_depth(deep: Path, whole: Path) -> None:
    before, after = contents(deep), contents(whole)
    assert list(before) == list(after)
    for name in list(before)[:-FACELESS]:
        own, new = (cv2.imread(str(f / name), cv2.IMREAD_UNCHANGED) for f in (deep, whole))
        assert new.dtype == np.uint16
        changed = (own != new).any(axis=2)
        assert 500 < changed.sum() < changed.size / 2
        # Away from the face every one of the 16 bits is the target's.
        np.testing.assert_array_equal(own[:, :20], new[:, :20])
        assert read_marks(whole / name)["vidswap_synthetic"] == "true"


def test_frames_that_a_swap_leaves_are_the_targets_files(deep: Path, whole: Path) -> None:
    before, after = contents(deep), contents(whole)
    for name in list(before)[-FACELESS:]:
        assert before[name] == after[name]


@pytest.mark.parametrize("after", [3, 11])
def test_a_broken_run_goes_on_to_the_same_frames(
    tmp_path: Path, deep: Path, whole: Path, source_picture: Path, options: SwapOptions, after: int
) -> None:
    def stop(counts: SwapCounts) -> None:
        if counts.frames >= after:
            raise StoppedError

    out = tmp_path / "out"
    with pytest.raises(StoppedError):
        swap_video([source_picture], deep, out, options, stop)
    result = swap_video([source_picture], deep, out, options)
    assert result.frames == FRAMES
    assert (result.frames_kept > 0) == (after > 5)
    assert contents(out) == contents(whole)


def test_a_finished_frame_that_was_changed_since_is_not_kept(
    tmp_path: Path, deep: Path, whole: Path, source_picture: Path, options: SwapOptions
) -> None:
    def stop(counts: SwapCounts) -> None:
        if counts.frames >= 11:
            raise StoppedError

    out = tmp_path / "out"
    with pytest.raises(StoppedError):
        swap_video([source_picture], deep, out, options, stop)
    (out / "shot.1002.png").write_bytes(b"another's")
    again = SwapOptions(**{**vars(options), "overwrite": True})
    result = swap_video([source_picture], deep, out, again)
    assert result.frames_kept == 0
    assert any("starting over" in line for line in result.warnings)
    assert contents(out) == contents(whole)


def test_frames_that_are_there_are_not_replaced_unasked(
    tmp_path: Path, deep: Path, source_picture: Path, options: SwapOptions
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "shot.1003.png").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=r"shot\.1003\.png exist"):
        swap_video([source_picture], deep, out, options)
    assert contents(out) == {"shot.1003.png": b"mine"}


def test_a_clip_becomes_frames_and_frames_a_clip(
    tmp_path: Path, target_clip: Path, source_picture: Path, options: SwapOptions, deep: Path
) -> None:
    pattern = tmp_path / "f_%03d.png"
    numbered = SwapOptions(**{**vars(options), "first_frame": 7})
    result = swap_video([source_picture], target_clip, pattern, numbered)
    assert sorted(p.name for p in tmp_path.glob("*.png"))[0] == "f_007.png"
    assert len(list(tmp_path.glob("*.png"))) == result.frames == 12
    assert any("sound" in line for line in result.warnings)
    with VideoReader(target_clip) as reader:
        first = next(iter(reader)).rgb
    swapped = cv2.imread(str(tmp_path / "f_007.png"))[..., ::-1]
    np.testing.assert_array_equal(first[:, :40], swapped[:, :40])

    clip = tmp_path / "out.mkv"
    coded = SwapOptions(**{**vars(options), "codec": "ffv1", "fps": 30.0})
    swap_video([source_picture], deep, clip, coded)
    facts = probe(clip)
    assert (facts.frames, round(facts.fps), facts.bit_depth) == (FRAMES, 30, 16)
    green = decoded_planes(clip)[0][0][: SIZE[1], : SIZE[0]]
    own = cv2.imread(str(deep / "shot.1001.png"), cv2.IMREAD_UNCHANGED)[..., 1]
    np.testing.assert_array_equal(green.view(np.uint16)[:, :20], own[:, :20])


def test_hdr_light_of_exr_stays(tmp_path: Path, source_picture: Path, options: SwapOptions) -> None:
    openexr = pytest.importorskip("OpenEXR")
    (tmp_path / "in").mkdir()
    for index in range(3):
        light = srgb_light(frame(index).astype(np.float32) / 255.0).astype(np.float16)
        light[:10, :10] = 37.5  # a lamp
        openexr.File({}, {"RGB": light}).write(str(tmp_path / "in" / f"a.{index:04d}.exr"))
    result = swap_video([source_picture], tmp_path / "in", tmp_path / "out", options)
    assert result.faces_swapped == 3
    for index in range(3):
        own, new = (
            read_sequence_picture(tmp_path / name / f"a.{index:04d}.exr").still.samples
            for name in ("in", "out")
        )
        changed = (own != new).any(axis=2)
        assert 500 < changed.sum() < changed.size / 2
        np.testing.assert_array_equal(own[:, :20], new[:, :20])
        assert new.max() == 37.5
    assert probe(tmp_path / "out").marks["vidswap_synthetic"] == "true"
    assert not probe(tmp_path / "in").is_synthetic


def test_what_goes_wrong_is_said_before_any_work(
    tmp_path: Path, deep: Path, source_picture: Path, target_clip: Path, options: SwapOptions
) -> None:
    def swap(target: Path, output: Path, **more: object) -> SwapResult:
        changed = SwapOptions(**{**vars(options), **more})
        return swap_video([source_picture], target, output, changed)

    with pytest.raises(BadOptionError, match="is the target itself"):
        swap(deep, deep / "shot.%04d.png")
    with pytest.raises(OutputNotWritableError, match="no such folder"):
        swap(deep, tmp_path / "absent" / "a.%04d.png")
    with pytest.raises(BadOptionError, match="--hwaccel"):
        swap(deep, tmp_path / "out", hwaccel="cuda")
    with pytest.raises(BadOptionError, match="--fps is for image sequences"):
        swap(target_clip, tmp_path / "out.mp4", fps=24.0)
    with pytest.raises(BadOptionError, match="--colour-space"):
        swap(deep, tmp_path / "out", colour_space="of the rainbow")


def test_missing_frames_are_told_and_missing_in_the_output(
    tmp_path: Path, deep: Path, source_picture: Path, options: SwapOptions
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1001, 1002, 1004):
        (folder / f"shot.{number}.png").write_bytes((deep / f"shot.{number}.png").read_bytes())
    result = swap_video([source_picture], folder, tmp_path / "out", options)
    assert any("1 frame missing: 1003" in line for line in result.warnings)
    assert sorted(contents(tmp_path / "out")) == [f"shot.{n}.png" for n in (1001, 1002, 1004)]


def test_info_and_preview_of_a_sequence(
    tmp_path: Path, deep: Path, source_picture: Path, untrained: Path
) -> None:
    told = CliRunner().invoke(main, ["info", str(deep)])
    assert told.exit_code == 0, told.output
    assert "shot.%04d.png, 1001 to 1014" in told.output and "14 frames" in told.output
    out = tmp_path / "out.png"
    words = ["preview", source_picture, deep, "-o", out, "--checkpoint", untrained]
    shown = CliRunner().invoke(main, list(map(str, words)))
    assert shown.exit_code == 0, shown.output
    assert cv2.imread(str(out)).shape == (SIZE[1], 2 * SIZE[0], 3)


def test_a_dry_run_says_what_becomes_of_frames_and_writes_none(
    tmp_path: Path, deep: Path, source_picture: Path, untrained: Path
) -> None:
    words = ["run", source_picture, deep, "-o", tmp_path / "a.%04d.jpg", "--dry-run",
             "--json", "--checkpoint", untrained]  # fmt: skip
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    plan = json.loads(result.output)
    assert plan["target"]["frames"] == len(list(deep.iterdir()))
    assert (plan["target"]["width"], plan["target"]["height"]) == SIZE
    assert plan["output"]["encoder"] == ".jpg frames" and plan["output"]["signed_by"] is None
    assert plan["faces"]["chosen"] > 0 and plan["estimate"]["bytes"] > 0
    assert any("16 bits a sample (.jpg files have 8)" in line for line in plan["warnings"])
    assert list(tmp_path.iterdir()) == []


def test_frames_are_measured_beside_the_targets(
    tmp_path: Path, deep: Path, source_picture: Path, untrained: Path
) -> None:
    page, out = tmp_path / "r.html", tmp_path / "out"
    words = ["run", source_picture, deep, "-o", out, "--report", page, "--checkpoint", untrained]
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    assert "data:image" in page.read_text()
    with PairedClips(deep, out) as pairs:
        seen = list(pairs)
    assert pairs.missing == 0 and len(seen) == len(list(deep.iterdir()))
    assert any((pair.target != pair.swapped).any() for pair in seen)
