"""Animated WebP and PNG keep their frames, times, loops and transparency."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidswap.errors import CodecError, NotAVideoError
from vidswap.media import read_marks, synthetic_metadata
from vidswap.media.animated_picture import Animation, check_animated_suffix, is_animated
from vidswap.media.probing import probe

from .clips import moving_picture

MARKS = synthetic_metadata("1.2.3", "ab" * 32, {"alpha": 0.08})
DURATIONS = [40, 100, 70, 200, 33]


def animated(path: Path, *, alpha: bool = False, **options: object) -> list[np.ndarray]:
    """Write an animation and give its frames (H, W, 4)."""
    frames = []
    for number in range(len(DURATIONS)):
        opaque = np.full((48, 64), 255, np.uint8)
        veil = np.tile(np.arange(64, dtype=np.uint8) * 3 + number, (48, 1))
        frames.append(np.dstack([moving_picture(number, 64, 48), veil if alpha else opaque]))
    images = [Image.fromarray(f if alpha else f[..., :3]) for f in frames]
    kind = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=DURATIONS, loop=3, **kind, **options
    )
    return frames


def read(path: Path) -> tuple[list[np.ndarray], list[float], int]:
    frames, lasts = [], []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGBA")))
            lasts.append(image.info["duration"])
        return frames, lasts, image.info["loop"]


def inverted(source: Path, out: Path) -> None:
    """Write an animation whose frames are inverted in a box, as a swap changes them."""
    animation = Animation.of(source)
    writer = animation.writer(out, MARKS, overwrite=False)
    for picture in animation.pictures():
        frame, view = picture.frame, picture.frame.rgb.copy()
        view[10:20, 12:30] = 255 - view[10:20, 12:30]
        pixels = picture.pixels(out.suffix, view)
        writer.write(pixels, frame.pts, frame.pts + frame.duration)
    writer.close()


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("source", ["in.webp", "in.png"])
@pytest.mark.parametrize("name", ["out.webp", "out.png"])
def test_all_frames_keep_times_loops_and_transparency(
    tmp_path: Path, source: str, name: str, alpha: bool
) -> None:
    before = animated(tmp_path / source, alpha=alpha)
    assert is_animated(tmp_path / source)
    inverted(tmp_path / source, tmp_path / name)
    after, lasts, loops = read(tmp_path / name)
    assert lasts == DURATIONS and loops == 3
    for old, new in zip(before, after, strict=True):
        wanted = old.copy()
        wanted[10:20, 12:30, :3] = 255 - wanted[10:20, 12:30, :3]
        # Colours that are not seen at all are not kept by animated WebP.
        seen = wanted[..., 3] > 0
        assert np.array_equal(new[..., 3], wanted[..., 3])
        assert np.array_equal(new[seen], wanted[seen])
    assert read_marks(tmp_path / name) == MARKS


def test_frames_carry_their_times(tmp_path: Path) -> None:
    animated(tmp_path / "in.webp")
    frames = [picture.frame for picture in Animation.of(tmp_path / "in.webp").pictures()]
    assert [frame.pts for frame in frames] == [0, 40, 140, 210, 410]
    assert [frame.duration for frame in frames] == DURATIONS
    assert all(frame.time_base == frames[0].time_base for frame in frames)


def test_a_default_image_outside_the_animation_is_no_frame(tmp_path: Path) -> None:
    images = [Image.fromarray(moving_picture(number, 64, 48)) for number in range(4)]
    images[0].save(
        tmp_path / "in.png", save_all=True, append_images=images[1:], duration=50,
        default_image=True,
    )  # fmt: skip
    frames = [picture.frame.rgb for picture in Animation.of(tmp_path / "in.png").pictures()]
    assert len(frames) == 3
    assert np.array_equal(frames[0], moving_picture(1, 64, 48))


def test_stills_are_not_animated(tmp_path: Path) -> None:
    Image.fromarray(moving_picture(0, 64, 48)).save(tmp_path / "in.png")
    Image.fromarray(moving_picture(0, 64, 48)).save(tmp_path / "in.webp")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nbad")
    assert not any(is_animated(tmp_path / name) for name in ("in.png", "in.webp", "bad.png"))
    assert probe(tmp_path / "in.png").frames == 1


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".tif"])
def test_a_name_that_holds_one_frame_is_refused(tmp_path: Path, suffix: str) -> None:
    animated(tmp_path / "in.webp")
    with pytest.raises(CodecError, match=r"animated \(5 frames\).*\.webp, \.png, \.gif, \.mp4"):
        check_animated_suffix(tmp_path / "in.webp", tmp_path / f"out{suffix}")
    assert probe(tmp_path / "in.webp").frames == 5


@pytest.mark.parametrize("name", ["in.webp", "in.png"])
def test_a_damaged_animation_is_refused_by_name(tmp_path: Path, name: str) -> None:
    animated(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
    try:
        list(Animation.of(tmp_path / name).pictures())
    except NotAVideoError as error:
        assert name in str(error)
