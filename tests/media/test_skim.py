"""Frames that are converted only where somebody looks: the same values, found sooner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.media.clips import make_clip
from vidswap.faces.cuts import CutDetector, sampling_step
from vidswap.media.decoder import VideoReader

HD = (1, 1, 1, 1)  # range, primaries, transfer, matrix: BT.709, limited
PQ = (1, 9, 16, 9)


def noisy(index: int, width: int, height: int) -> np.ndarray:
    rng = np.random.default_rng(index)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "tags", "turned"),
    [
        ("libx264", "yuv420p", None, 0), ("libx264", "yuv420p", HD, 0),
        ("libx264", "yuvj420p", None, 0), ("libx264", "yuv420p10le", HD, 0),
        ("libx264", "yuv422p", None, 0), ("libx264", "yuv422p10le", None, 0),
        ("libx264", "yuv444p", None, 0), ("libx265", "yuv420p10le", PQ, 0),
        ("ffv1", "bgr0", None, 0), ("ffv1", "gray", None, 0), ("libx264", "yuv420p", None, 90),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [(202, 110), (97, 391)])
def test_sampled_pixels_are_those_of_the_whole_frame(
    tmp_path: Path, codec: str, pixel_format: str, tags: tuple[int, int, int, int] | None,
    turned: int, size: tuple[int, int],
) -> None:  # fmt: skip
    if codec != "ffv1" and pixel_format[4:] != "444p":
        size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    path = tmp_path / ("clip.mkv" if codec == "ffv1" else "clip.mp4")
    options = {"x265-params": "log-level=error"} if codec == "libx265" else {"crf": "12"}
    make_clip(
        path, picture=noisy, size=size, frames=3, codec=codec, pixel_format=pixel_format,
        options={} if codec == "ffv1" else options, tags=tags, rotation=turned,
    )  # fmt: skip
    with VideoReader(path) as reader:
        frames = list(reader)
    for step in (1, 2, 3, 7):
        with VideoReader(path) as reader:
            for skimmed, frame in zip(reader.skim(), frames, strict=True):
                expected = frame.rgb[step // 2 :: step, step // 2 :: step]
                assert np.array_equal(skimmed.sampled(step), expected), step
                assert skimmed.pts == frame.pts and skimmed.seconds == frame.seconds
                assert np.array_equal(skimmed.frame().rgb, frame.rgb)


@pytest.mark.parametrize("size", [(96, 95), (97, 96), (191, 300), (192, 193), (1280, 719)])
def test_a_cut_detector_says_the_same_of_the_pixels_it_looks_at(size: tuple[int, int]) -> None:
    whole, sampled = CutDetector(), CutDetector()
    rng = np.random.default_rng(1)
    coarse = [rng.integers(0, 256, (6, 8, 3), np.uint8) for _ in range(3)]
    pictures = [
        np.kron(coarse[n // 3], np.ones((size[1] // 6 + 1, size[0] // 8 + 1, 1), np.uint8))
        [: size[1], : size[0]] // (1 + n % 2)
        for n in range(9)
    ]  # fmt: skip
    step, said = sampling_step(size[1], size[0]), []
    for picture in pictures:
        said.append(whole.is_cut(picture))
        assert sampled.is_cut(picture[step // 2 :: step, step // 2 :: step]) == said[-1]
    assert sum(said) == 2
