from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipelines import context_demo
from vidswap.animation.clip import portrait_names
from vidswap.inpainting.context_gan import ContextConfig, ContextNet
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.media.marks import MARK_PREFIX, read_marks
from vidswap.media.picture import read_picture


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("context") / "context.safetensors"
    save_inpainter(ContextNet(ContextConfig(2, 8)), path, 0)
    return path


def test_the_demo_surrounds_portraits_and_changes_what_is_behind(
    checkpoint: Path, tmp_path: Path
) -> None:
    portraits = list(portrait_names())[:1]
    result = context_demo.run_demo(tmp_path, checkpoint, portraits)
    assert all(made.pictures == 1 for made in result.results.values())
    pictures = [
        read_picture(tmp_path / kind / f"{portraits[0]}-1.png").rgb for kind in result.results
    ]
    middle = (slice(112, 144), slice(112, 144))
    assert all(np.array_equal(each[middle], pictures[0][middle]) for each in pictures)
    assert len({each.tobytes() for each in pictures}) == len(pictures)
    assert f"{MARK_PREFIX}synthetic" in read_marks(result.side_by_side)


def test_a_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    arguments = ["-o", str(tmp_path / "demo"), "--checkpoint", str(tmp_path / "none.safetensors")]
    result = CliRunner().invoke(context_demo.main, arguments)
    assert result.exit_code == 11 and result.output.count("\n") == 1
