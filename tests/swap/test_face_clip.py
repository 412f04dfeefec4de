"""The face alone as a clip: over the target by its own opacity it is the result."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.clips import frame_times, make_clip
from tests.swap.test_sequences import FACELESS, FRAMES, SIZE, frame
from vidswap.errors import BadOptionError
from vidswap.media.marks import read_marks
from vidswap.swap.options import SwapCounts, SwapOptions, SwapResult
from vidswap.swap.worker import swap_video


class StoppedError(Exception):
    """Ends a run from within, as a crash would."""


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    times = [2 * n + (n % 3 == 0) for n in range(FRAMES)]
    return make_clip(
        tmp_path_factory.mktemp("face") / "plate.mkv", picture=lambda n, *_: frame(n),
        size=SIZE, frames=FRAMES, pts=times, codec="ffv1", pixel_format="bgr0", sound=["aac"],
    )  # fmt: skip


def rgba(clip: Path) -> list[np.ndarray]:
    with av.open(str(clip)) as container:
        return [f.to_ndarray(format="rgba") for f in container.decode(video=0)]


def rgb(clip: Path) -> list[np.ndarray]:
    with av.open(str(clip)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "ffv1"), (".mov", "prores")])
def test_the_face_over_the_target_is_the_result(
    tmp_path: Path, plate: Path, source_picture: Path, untrained: Path, suffix: str, codec: str
) -> None:
    out, face = tmp_path / "out.mkv", tmp_path / f"face{suffix}"

    def swap(progress: object = None) -> SwapResult:
        options = SwapOptions(
            checkpoint=untrained, codec="ffv1", face_clip=face, no_provenance="a test",
            segment_frames=4,
        )  # fmt: skip
        return swap_video([source_picture], plate, out, options, progress)  # type: ignore[arg-type]

    def stop(counts: SwapCounts) -> None:
        if counts.frames >= 7:
            raise StoppedError

    if suffix == ".mkv":  # also one that was broken off
        with pytest.raises(StoppedError):
            swap(stop)
        assert not face.exists()
    result = swap()
    assert (result.frames_kept > 0) == (suffix == ".mkv")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([out.name, face.name])
    with av.open(str(face)) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == codec
        assert not container.streams.audio
    assert frame_times(face) == frame_times(plate)
    layers, plates, results = rgba(face), rgb(plate), rgb(out)
    assert len(layers) == FRAMES
    for layer, target, wanted in list(zip(layers, plates, results, strict=True))[:-FACELESS]:
        opacity = layer[..., 3:] / 255.0
        assert opacity.max() > 0.9 and 0 < (opacity > 0).mean() < 0.5
        recomposed = layer[..., :3] * opacity + (1.0 - opacity) * target
        error = np.abs(recomposed - wanted)
        assert error.max() < 2 if suffix == ".mkv" else np.percentile(error, 99) < 6
    assert not layers[-1][..., 3].any()
    assert read_marks(face)["vidswap_synthetic"] == "true"


def test_vp9_has_transparency_too(
    tmp_path: Path, plate: Path, source_picture: Path, untrained: Path
) -> None:
    face = tmp_path / "face.webm"
    options = SwapOptions(
        checkpoint=untrained, codec="ffv1", face_clip=face, no_provenance="a test", end=0.2
    )
    swap_video([source_picture], plate, tmp_path / "out.mkv", options)
    with av.open(str(face)) as container:
        assert container.streams.video[0].metadata["alpha_mode"] == "1"


def test_what_holds_no_transparency_is_refused(
    tmp_path: Path, plate: Path, source_picture: Path, untrained: Path
) -> None:
    def swap(face: Path) -> None:
        options = SwapOptions(checkpoint=untrained, face_clip=face)
        swap_video([source_picture], plate, tmp_path / "out.mkv", options)

    with pytest.raises(BadOptionError, match=r"end it in \.mov \(ProRes 4444\)"):
        swap(tmp_path / "face.mp4")
    with pytest.raises(BadOptionError, match="is the output itself"):
        swap(tmp_path / "out.mkv")
