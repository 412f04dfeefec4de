"""Animated pictures as targets and outputs of whole runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.photographs import grace_hopper
from tests.swap_fixtures import moved
from vidswap.errors import BadOptionError, CodecError, VidswapError
from vidswap.media.decoder import VideoReader
from vidswap.media.marks import read_marks
from vidswap.media.probing import probe
from vidswap.provenance.verify import verify_file
from vidswap.swap.options import SwapOptions
from vidswap.swap.plan import plan_swap
from vidswap.swap.worker import swap_video

LASTS = [40, 100, 70, 200, 30]


@pytest.fixture(scope="module")
def options(untrained: Path) -> SwapOptions:
    return SwapOptions(checkpoint=untrained, no_provenance="a test", face="all")


@pytest.fixture(scope="module")
def animation(folder: Path) -> Path:
    """Grace Hopper as an animated PNG of five frames."""
    frames = [Image.fromarray(moved(grace_hopper(), n, 320, 240)) for n in range(len(LASTS))]
    path = folder / "hopper-animated.png"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=LASTS, loop=2)
    return path


def lasts_of(path: Path) -> list[float]:
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            found.append(image.info["duration"])
        return found


@pytest.mark.parametrize("name", ["out.webp", "out.png", "out.gif"])
def test_an_animated_picture_to_another(
    tmp_path: Path, animation: Path, source_picture: Path, options: SwapOptions, name: str
) -> None:
    out = tmp_path / name
    result = swap_video([source_picture], animation, out, options)
    assert result.frames == result.faces_swapped == 5
    assert lasts_of(out) == LASTS and read_marks(out)["vidswap_synthetic"] == "true"
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert any("256 colours" in line for line in result.warnings) == (name == "out.gif")


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.webm"])
def test_an_animated_picture_to_a_clip(
    tmp_path: Path, animation: Path, source_picture: Path, options: SwapOptions, name: str
) -> None:
    out = tmp_path / name
    result = swap_video([source_picture], animation, out, options)
    assert result.faces_swapped == 5 and not any("vidswap-" in line for line in result.warnings)
    with VideoReader(out) as reader:
        times = [round(frame.seconds * 1000) for frame in reader]
    assert times == [0, 40, 140, 210, 410]
    assert probe(out).is_synthetic and [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out.webp", "out.png", "out.gif"])
def test_a_clip_to_an_animated_picture(
    tmp_path: Path, target_clip: Path, source_picture: Path, options: SwapOptions, name: str
) -> None:
    out = tmp_path / name
    result = swap_video([source_picture], target_clip, out, options)
    assert result.frames == result.faces_swapped == 12
    assert lasts_of(out) == [40] * 12
    assert any("audio stream 1 (aac)" in line for line in result.warnings)
    assert probe(out).is_synthetic and [p.name for p in tmp_path.iterdir()] == [name]
    with VideoReader(target_clip) as reader, Image.open(out) as image:
        target = next(iter(reader)).rgb.astype(int)
        swapped = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(swapped[-40:, :40] - target[-40:, :40]).mean() < 8  # far from the face


def test_a_gif_to_a_gif_keeps_times_and_loops_and_is_signed(
    tmp_path: Path, source_picture: Path, options: SwapOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    frames = [Image.fromarray(moved(grace_hopper(), n, 320, 240)) for n in range(4)]
    target, out = tmp_path / "in.gif", tmp_path / "out.gif"
    frames[0].save(target, save_all=True, append_images=frames[1:], duration=[50, 90, 70, 120],
                   loop=3)  # fmt: skip
    result = swap_video([source_picture], target, out, replace(options, no_provenance=None))
    assert lasts_of(out) == [50, 90, 70, 120] and result.faces_swapped == 4
    with Image.open(out) as image:
        assert image.info["loop"] == 3
    assert result.manifest is not None and verify_file(out).exit_code == 0
    assert read_marks(out)["vidswap_synthetic"] == "true"


def test_without_a_face_the_animation_stays(
    tmp_path: Path, source_picture: Path, options: SwapOptions
) -> None:
    frames = [Image.new("RGB", (64, 48), (n, 0, 0)) for n in (10, 20, 30)]
    target = tmp_path / "in.png"
    frames[0].save(target, save_all=True, append_images=frames[1:], duration=LASTS[:3])
    result = swap_video([source_picture], target, tmp_path / "out.png", options)
    assert (tmp_path / "out.png").read_bytes() == target.read_bytes()
    assert any("the target unchanged" in line for line in result.warnings)
    swap_video([source_picture], target, tmp_path / "out.webp", options)
    assert lasts_of(tmp_path / "out.webp") == LASTS[:3] and read_marks(tmp_path / "out.webp") == {}


@pytest.mark.parametrize(
    ("name", "change", "kind", "said"),
    [
        ("out.jpg", {}, CodecError, "names one; end the output in one of .mp4, "),
        ("out.gif", {"codec": "h264"}, BadOptionError, "--codec is for clips and .*out.gif"),
        ("out.webp", {"audio_codec": "aac"}, BadOptionError, "--audio-codec is for clips"),
        ("out.png", {"match_bitrate": True}, BadOptionError, "--match-bitrate is for clips"),
    ],
)
def test_what_an_animated_picture_has_not_is_refused_before_the_work(
    tmp_path: Path, target_clip: Path, options: SwapOptions, name: str,
    change: dict[str, object], kind: type[VidswapError], said: str,
) -> None:  # fmt: skip
    crf = {"crf": None} if "match_bitrate" in change else {}
    asked = replace(options, checkpoint=tmp_path / "none.safetensors", **crf, **change)
    with pytest.raises(kind, match=said):
        swap_video([target_clip], target_clip, tmp_path / name, asked)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_a_conversion_is_refused_in_words(
    tmp_path: Path, target_clip: Path, animation: Path, options: SwapOptions
) -> None:
    for target, name in ((target_clip, "out.gif"), (animation, "out.mp4")):
        with pytest.raises(BadOptionError, match="--dry-run plans no conversions"):
            plan_swap([target_clip], target, tmp_path / name, options)
