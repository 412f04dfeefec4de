from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines import swapinpaint_demo
from vidswap.animation.clip import load_portrait
from vidswap.media.marks import MARK_PREFIX, read_marks
from vidswap.media.picture import read_picture


def test_the_demo_fills_pictures_and_a_clip_by_the_packaged_weights(tmp_path: Path) -> None:
    result = swapinpaint_demo.run_demo(tmp_path, seconds=0.2)
    photo = load_portrait(swapinpaint_demo.TARGET)
    shares = []
    for picture in result.pictures:
        assert picture.checkpoint == "swapinpaint.safetensors" and picture.images_trained > 0
        made = read_picture(Path(picture.output)).rgb
        shares.append(float((np.asarray(made) != photo).any(axis=2).mean()))
    assert all(0.0 < share < 0.2 for share in shares)
    assert shares[2] > max(shares[:2])  # the inner face is more than eyes or mouth
    assert result.clip.faces_filled == result.clip.frames > 0
    assert f"{MARK_PREFIX}synthetic" in read_marks(result.side_by_side)
