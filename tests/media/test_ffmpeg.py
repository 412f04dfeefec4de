from pathlib import Path

import numpy as np
import pytest

from tests.media.clips import decoded_planes, moving_picture
from vidswap.errors import CodecError
from vidswap.media.ffmpeg import write_h264


def test_frames_come_back_from_an_h264_clip(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_h264(path, (moving_picture(i, 96, 64) for i in range(7)), fps=25, crf=10)
    planes = decoded_planes(path)
    assert len(planes) == 7 and planes[0][0].shape == (64, 96)
    # The bright square moves to the right.
    columns = [float((p[0][8:24] > 180).sum(axis=0) @ np.arange(96)) for p in planes]
    assert columns == sorted(columns)


def test_a_failure_is_told_in_ffmpegs_words(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="could not write"):
        write_h264(tmp_path / "absent" / "clip.mp4", [moving_picture(0, 96, 64)] * 3, fps=25)
