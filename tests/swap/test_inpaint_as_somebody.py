"""`vidswap inpaint --model swapinpaint` fills a hole as the person in the source."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.photographs import astronaut
from vidswap.errors import BadOptionError, NoFaceInSourceError
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.inpainting.swapinpaint import SwapInpaint, SwapInpaintConfig
from vidswap.swap.inpaint_job import inpaint_file
from vidswap.swap.inpaint_options import InpaintOptions


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A content net that has learnt nothing: what it infers is grey, all alike."""
    net = SwapInpaint(SwapInpaintConfig((4, 4, 4, 4), 4))
    with torch.no_grad():
        net.content.to_finest.weight.zero_()
        net.content.to_finest.bias.zero_()
    path = tmp_path_factory.mktemp("weights") / "swapinpaint.safetensors"
    save_inpainter(net, path, 5)
    return path


def written(path: Path, picture: np.ndarray) -> Path:
    cv2.imwrite(str(path), picture[:, :, ::-1])
    return path


def test_a_mouth_is_filled_as_the_source_and_nothing_else_changes(
    weights: Path, tmp_path: Path
) -> None:
    photo = astronaut()
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    given, source = written(tmp_path / "a.png", photo), written(tmp_path / "s.png", mirrored)
    options = InpaintOptions(model="swapinpaint", checkpoint=weights, region="mouth")
    result = inpaint_file(given, tmp_path / "out.png", options, [source])
    out = cv2.imread(str(tmp_path / "out.png"))[:, :, ::-1]
    changed = (out != photo).any(axis=2)
    assert result.faces_filled == 1 and 200 < changed.sum() < 8000
    ys, xs = np.nonzero(changed)
    assert 120 < ys.mean() < 200 and 180 < xs.mean() < 270
    # The source's mouth is laid over what C left grey: there are lips again.
    box = out[ys.min() : ys.max(), xs.min() : xs.max()].astype(float)
    assert box.std(axis=(0, 1)).max() > 10


def test_somebody_must_be_given_and_have_a_face(weights: Path, tmp_path: Path) -> None:
    given = written(tmp_path / "a.png", astronaut())
    options = InpaintOptions(model="swapinpaint", checkpoint=weights, region="eyes")
    with pytest.raises(BadOptionError, match="fills a face as somebody's; give --source"):
        inpaint_file(given, tmp_path / "out.png", options)
    wall = written(tmp_path / "wall.png", np.full((200, 200, 3), 90, np.uint8))
    with pytest.raises(NoFaceInSourceError, match="no face found"):
        inpaint_file(given, tmp_path / "out.png", options, [wall])
    assert not (tmp_path / "out.png").exists()


def test_what_was_under_the_mask_does_not_come_back(weights: Path, tmp_path: Path) -> None:
    photo = astronaut()
    source = written(tmp_path / "s.png", np.ascontiguousarray(photo[:, ::-1]))
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[140:170, 190:250] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    options = InpaintOptions(
        model="swapinpaint", checkpoint=weights, region=tmp_path / "mask.png", overwrite=True
    )
    scratched = photo.copy()
    scratched[mask > 0] = (255, 0, 255)
    outs = []
    for name, picture in (("clean", photo), ("scratched", scratched)):
        out = tmp_path / f"{name}-out.png"
        inpaint_file(written(tmp_path / f"{name}.png", picture), out, options, [source])
        outs.append(cv2.imread(str(out)).astype(int))
    assert np.array_equal(*outs)
