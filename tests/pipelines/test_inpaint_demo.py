from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipelines import inpaint_demo
from vidswap.animation.clip import load_portrait
from vidswap.inpainting.id_gan import IdGanConfig, InpaintingNet
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.media.marks import MARK_PREFIX, read_marks
from vidswap.media.picture import read_picture


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inpaint") / "idgan.safetensors"
    save_inpainter(InpaintingNet(IdGanConfig((4, 4, 4, 4))), path, 0)
    return path


def test_the_demo_fills_a_picture_and_every_frame_of_a_clip(
    checkpoint: Path, tmp_path: Path
) -> None:
    result = inpaint_demo.run_demo(tmp_path, seconds=0.2, checkpoint=checkpoint)
    assert result.picture.faces_filled == 1 and result.clip.faces_filled == result.clip.frames
    photo, mask = load_portrait(inpaint_demo.PORTRAIT), read_picture(tmp_path / "mask.png").rgb
    filled, hole = read_picture(tmp_path / "filled.png").rgb, mask[..., 0] > 0
    assert 0.005 < hole.mean() < 0.2 and np.array_equal(filled[~hole], photo[~hole])
    assert f"{MARK_PREFIX}synthetic" in read_marks(result.side_by_side)


def test_a_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    arguments = ["-o", str(tmp_path / "demo"), "--checkpoint", str(tmp_path / "none.safetensors")]
    result = CliRunner().invoke(inpaint_demo.main, [*arguments, "--seconds", "0.2"])
    assert result.exit_code == 11 and result.output.count("\n") == 1
