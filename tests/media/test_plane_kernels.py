"""One pass over memory writes what the separate NumPy steps do."""

from __future__ import annotations

import av
import numpy as np
import pytest

from vidswap.media import planes
from vidswap.media.planes import rows_of, to_rgb, write_boxes

SIZE = (45, 63)  # height and width, neither whole in chroma blocks


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv411p", "nv12", "nv21", "gbrp"]
)
@pytest.mark.parametrize("box", [(0, 0, 63, 45), (5, 7, 40, 33), (61, 43, 63, 45)])
def test_the_kernel_writes_what_the_steps_do(
    pixel_format: str, box: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (*SIZE, 3), np.uint8)
    coded = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixel_format)
    before = to_rgb(coded, SIZE[0])
    after = before.copy()
    left, top, right, bottom = box
    part = after[top:bottom, left:right]
    chosen = random.random(part.shape[:2]) < 0.3
    part[chosen] = random.integers(0, 256, (int(chosen.sum()), 3), np.uint8)
    written = write_boxes(coded, [box], before, after, SIZE[0])
    monkeypatch.setattr(planes, "_fits_kernel", lambda layout: False)
    expected = write_boxes(coded, [box], before, after, SIZE[0])
    for index in range(len(coded.planes)):
        shown = np.s_[: coded.planes[index].height]
        ours, steps = (rows_of(frame, index)[shown].astype(int) for frame in (written, expected))
        # A mean of four products may round the other way than a product of four means.
        assert np.abs(ours - steps).max() <= 1
        assert (ours != steps).mean() < 0.002


def test_what_does_not_differ_keeps_every_sample() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    coded = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
    rgb = to_rgb(coded, SIZE[0])
    written = write_boxes(coded, [(0, 0, 63, 45)], rgb, rgb.copy(), SIZE[0])
    for index, plane in enumerate(coded.planes):
        shown = np.s_[: plane.height, : plane.width]
        np.testing.assert_array_equal(rows_of(written, index)[shown], rows_of(coded, index)[shown])
