"""Pictures, and the marks that say a result is synthetic."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from vidswap.errors import CodecError, InputNotFoundError, OutputExistsError
from vidswap.media import (
    is_picture,
    probe,
    read_marks,
    read_picture,
    synthetic_metadata,
    write_picture,
)

from .clips import make_clip, moving_picture

Copy = Callable[..., Path]
MARKS = synthetic_metadata("1.2.3", "ab" * 32, {"alpha": 0.08, "who": "Zoë"})
LOSSLESS = [".png", ".webp", ".bmp", ".tiff"]


def test_marks_say_what_they_should() -> None:
    assert MARKS["vidswap_synthetic"] == "true"
    assert MARKS["vidswap_version"] == "1.2.3"
    assert MARKS["vidswap_checkpoint"] == "ab" * 32
    assert json.loads(MARKS["vidswap_settings"]) == {"alpha": 0.08, "who": "Zoë"}
    assert MARKS["comment"].startswith("Synthetic: face swapped by vidswap 1.2.3")


@pytest.mark.parametrize("name", ["out.mp4", "out.m4v", "out.mov", "out.mkv", "out.webm"])
def test_marks_are_read_back_from_clips(tmp_path: Path, copied: Copy, name: str) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=4, metadata={"title": "home", "comment": "old"})
    assert read_marks(source) == {}
    assert not probe(source).is_synthetic
    out = copied(source, name, metadata=MARKS)
    assert read_marks(out) == MARKS
    assert probe(out).is_synthetic
    assert probe(out).marks == MARKS


def test_the_sources_own_metadata_is_kept(tmp_path: Path, copied: Copy) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=4, metadata={"title": "home"})
    with av.open(str(copied(source, "out.mp4", metadata=MARKS))) as container:
        assert container.metadata["title"] == "home"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".tif"])
def test_marks_are_read_back_from_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write_picture(path, moving_picture(0, 40, 30), MARKS)
    assert read_marks(path) == MARKS
    assert probe(path).marks == MARKS


def test_pictures_without_marks_have_none(tmp_path: Path) -> None:
    for suffix in (*LOSSLESS, ".jpg"):
        path = tmp_path / f"out{suffix}"
        write_picture(path, moving_picture(0, 40, 30))
        assert read_marks(path) == {}


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("name", ["plain", "Grüße 顔 %d"])
def test_lossless_pictures_come_back_exactly(tmp_path: Path, suffix: str, name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (31, 45, 3), np.uint8)
    path = tmp_path / f"{name}{suffix}"
    write_picture(path, pixels)
    assert is_picture(path)
    assert np.array_equal(read_picture(path).rgb, pixels)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_jpeg_is_close(tmp_path: Path) -> None:
    pixels = moving_picture(0, 64, 48)
    write_picture(tmp_path / "a.jpg", pixels)
    again = read_picture(tmp_path / "a.jpg").rgb
    assert np.abs(again.astype(int) - pixels).mean() < 2.0


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a)),
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
def test_exif_orientation_is_applied(
    tmp_path: Path, orientation: int, turn: Callable[[np.ndarray], np.ndarray], suffix: str
) -> None:
    stored = moving_picture(0, 64, 40)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(stored).save(path, exif=exif, **({"quality": 95} if suffix == ".jpg" else {}))
    upright = turn(stored)
    rgb = read_picture(path).rgb
    assert rgb.shape == upright.shape
    assert np.abs(rgb.astype(int) - upright).mean() < 4.0


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16", "1", "CMYK"])
def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    picture = moving_picture(0, 40, 30)
    if mode == "I;16":
        Image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(picture).convert(mode).save(path)
    rgb = read_picture(path).rgb
    assert rgb.shape == (30, 40, 3)
    assert rgb.dtype == np.uint8
    expected = picture[..., [0, 0, 0]] if mode == "I;16" else picture
    if mode not in ("1", "P", "L"):
        assert np.abs(rgb.astype(int) - expected).mean() < 6.0


def test_probe_of_a_picture(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.webp", moving_picture(0, 40, 30))
    info = probe(tmp_path / "a.webp")
    assert (info.kind, info.container, info.width, info.height) == ("picture", "webp", 40, 30)
    assert (info.frames, info.has_audio, info.rotation) == (1, False, 0)


def test_existing_picture_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_picture(path, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(OutputExistsError):
        write_picture(path, np.full((4, 4, 3), 9, np.uint8))
    assert read_picture(path).rgb.max() == 0
    write_picture(path, np.full((4, 4, 3), 9, np.uint8), overwrite=True)
    assert read_picture(path).rgb.max() == 9


def test_unknown_picture_suffix(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"\.png"):
        write_picture(tmp_path / "a.gif", np.zeros((4, 4, 3), np.uint8))


def test_missing_picture(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError):
        read_picture(tmp_path / "a.png")


def test_clips_are_not_pictures(talking: Path, tmp_path: Path) -> None:
    assert not is_picture(talking)
    assert not is_picture(tmp_path / "gone.png")
    wrong = tmp_path / "clip.png"
    wrong.write_bytes(talking.read_bytes())
    assert not is_picture(wrong)
    assert probe(wrong).kind == "video"


def test_picture_written_by_opencv_reads_the_same(tmp_path: Path) -> None:
    pixels = moving_picture(0, 40, 30)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    assert np.array_equal(read_picture(tmp_path / "a.png").rgb, pixels)
