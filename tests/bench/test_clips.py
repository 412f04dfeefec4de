"""Clips to time swaps on show as many faces as asked for, as large as asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from vidswap.bench.clips import write_faces
from vidswap.commands.main import main
from vidswap.errors import BadOptionError
from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector
from vidswap.media.decoder import VideoReader


@pytest.mark.parametrize(
    ("faces", "height", "size"), [(1, 120, (640, 360)), (5, None, (960, 540)), (3, 64, (640, 360))]
)
def test_faces_are_as_many_and_as_high_as_asked_for(
    faces: int, height: int | None, size: tuple[int, int], tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    write_faces(clip, 1, size, faces, height)
    with VideoReader(clip) as reader:
        (frame,) = [frame.rgb for frame in reader]
    assert frame.shape == (size[1], size[0], 3)
    found = BlazeFaceDetector().detect(frame)
    assert len(found) == faces
    for detection in found:
        face = AttentionMeshFinder().landmarks(frame, detection)
        assert face is not None
        if height is not None:
            assert face.box[3] - face.box[1] == pytest.approx(height, abs=0.05 * height)


def test_a_face_that_does_not_fit_is_refused_with_what_would(tmp_path: Path) -> None:
    with pytest.raises(BadOptionError, match=r"faces of 900 pixels.*may have 32 to \d+"):
        write_faces(tmp_path / "clip.mp4", 1, (640, 360), 1, 900)


@pytest.mark.parametrize("size", ["1280", "1280x", "axb", "1281x720", "16x16", "-2x64", "64x99999"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    result = CliRunner().invoke(main, ["bench", "--size", size])
    assert result.exit_code == 2 and f"--size {size}" in result.output
