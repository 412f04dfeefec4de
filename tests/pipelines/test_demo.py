from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipelines import demo
from pipelines.readme_pictures import LOOP_EVERY, LOOP_SIZE, write_loop
from vidswap.errors import BadOptionError
from vidswap.media.decoder import VideoReader
from vidswap.media.marks import MARK_PREFIX, read_marks

SECONDS = 0.2
FRAMES = round(SECONDS * demo.FPS)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> demo.DemoResult:
    return demo.run_demo(tmp_path_factory.mktemp("demo"), seconds=SECONDS)


def test_the_demo_swaps_every_frame_and_moves_the_face_to_the_source(
    result: demo.DemoResult,
) -> None:
    assert (result.swap.frames, result.swap.faces_swapped) == (FRAMES, FRAMES)
    assert result.result_distance < result.target_distance


def test_the_picture_has_three_columns_of_three_moments(result: demo.DemoResult) -> None:
    width, height = demo.PANEL_SIZE
    with Image.open(result.side_by_side) as picture:
        assert picture.size == (3 * width, demo.HEADING_HEIGHT + 3 * height)
        pixels = np.asarray(picture.convert("RGB")).astype(int)[demo.HEADING_HEIGHT :]
    target, swapped = pixels[:, width : 2 * width], pixels[:, 2 * width :]
    assert np.abs(target - swapped)[:, :20].mean() < 2, "the background is the target's"
    assert np.abs(target - swapped).max() > 40
    assert f"{MARK_PREFIX}synthetic" in read_marks(result.side_by_side)


def test_the_loop_shows_target_and_result_for_ever_and_is_marked(
    result: demo.DemoResult, tmp_path: Path
) -> None:
    loop, folder = tmp_path / "loop.webp", result.side_by_side.parent
    clips = folder / "target.mp4", folder / "result.mp4"
    write_loop(loop, *clips, read_marks(clips[1]))
    with VideoReader(clips[0]) as reader:
        n_frames = len(range(0, sum(1 for _ in reader), LOOP_EVERY))
    with Image.open(loop) as picture:
        assert (picture.n_frames, picture.info["loop"]) == (n_frames, 0)
        assert picture.size == (2 * LOOP_SIZE[0], LOOP_SIZE[1])
    assert f"{MARK_PREFIX}synthetic" in read_marks(loop)


def test_a_portrait_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOptionError, match="clara"):
        demo.run_demo(tmp_path, source="nobody")
    assert CliRunner().invoke(demo.main, ["--source", "nobody"]).exit_code == 2
