"""What a picture has beyond 8-bit sRGB pixels: alpha, depth, profile, metadata; HEIC and AVIF."""

import contextlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from vidswap.errors import MissingLibraryError, NotAVideoError
from vidswap.media import (
    VideoReader,
    is_picture,
    read_marks,
    read_picture,
    synthetic_metadata,
    write_picture,
)  # fmt: skip
from vidswap.media.picture import open_picture, picture_format

from .clips import ffmpeg, moving_picture
from .heic import grid_heic

MARKS = synthetic_metadata("1.2.3", "ab" * 32, {"alpha": 0.08})
BOX = np.s_[10:20, 12:30]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6" dc:title="home"/></x:xmpmeta>'


def wide_gamut() -> bytes:
    """An ICC profile whose green is far outside sRGB, with gamma 1.8 (ICC.1, 8.3)."""
    import struct

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ " + bytes(4) + number(x) + number(y) + number(z)

    name = b"Wide test"
    text = b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(1 + 78)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(1.8 * 256)) + bytes(2)
    tags = {
        b"desc": text, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.7976, 0.2880, 0.0), b"gXYZ": xyz(0.1352, 0.7119, 0.0),
        b"bXYZ": xyz(0.0313, 0.0001, 0.8249), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    table, bodies, place = b"", b"", 128 + 4 + 12 * len(tags)
    for key, body in tags.items():
        table += key + struct.pack(">II", place, len(body))
        padded = body + bytes(-len(body) % 4)
        bodies, place = bodies + padded, place + len(padded)
    head = struct.pack(">I4sI4s4s4s", place, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + number(0.9642) + number(1) + number(0.8249)
    return (head + bytes(128 - len(head))) + struct.pack(">I", len(tags)) + table + bodies


WIDE = wide_gamut()


def exif_of(turn: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    exif.get_ifd(0x8825)[1] = "N"
    return exif


def changed(view: np.ndarray) -> np.ndarray:
    """The view with a box that looks otherwise."""
    view = view.copy()
    view[BOX] = 255 - view[BOX] // 2
    return view


def swapped(source: Path, out: Path) -> None:
    picture = open_picture(source)
    write_picture(out, changed(picture.frame.rgb), MARKS, like=picture)


def outside(pixels: np.ndarray) -> np.ndarray:
    """The pixels with the changed box blanked."""
    pixels = pixels.copy()
    pixels[BOX] = 0
    return pixels


@pytest.mark.parametrize("source", [".png", ".webp", ".tiff"])
@pytest.mark.parametrize("name", ["out.png", "out.webp", "out.tif"])
def test_transparency_is_kept(tmp_path: Path, source: str, name: str) -> None:
    alpha = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    pixels = np.dstack([moving_picture(0, 64, 48), alpha])
    Image.fromarray(pixels).save(tmp_path / f"in{source}", lossless=True, exact=True)
    swapped(tmp_path / f"in{source}", tmp_path / name)
    assert open_picture(tmp_path / f"in{source}").lost(tmp_path / name) == []
    with Image.open(tmp_path / name) as image:
        result = np.asarray(image.convert("RGBA"))
    assert np.array_equal(result[..., 3], alpha)
    assert np.array_equal(outside(result[..., :3]), outside(pixels[..., :3]))
    assert np.array_equal(result[..., :3][BOX], changed(pixels[..., :3])[BOX])
    assert read_marks(tmp_path / name) == MARKS


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_transparency_of_grey_and_palette_is_kept(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(moving_picture(0, 64, 48))
    if mode == "P":
        image = image.quantize(16)
        image.save(tmp_path / "in.png", transparency=3)
    else:
        image = image.convert("LA")
        image.putalpha(77)
        image.save(tmp_path / "in.png")
    swapped(tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "in.png") as before, Image.open(tmp_path / "out.png") as after:
        alphas = [np.asarray(i.convert("RGBA").getchannel("A")) for i in (before, after)]
    assert np.array_equal(*alphas) and alphas[0].min() < 255


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_kept(tmp_path: Path, channels: int, suffix: str) -> None:
    rng = np.random.default_rng(0)
    shape = (48, 64) if channels == 1 else (48, 64, channels)
    deep = rng.integers(0, 65536, shape, np.uint16)
    cv2.imwrite(str(tmp_path / f"in{suffix}"), deep)
    swapped(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    result = cv2.imread(str(tmp_path / f"out{suffix}"), cv2.IMREAD_UNCHANGED)
    assert result.dtype == np.uint16 and result.shape == shape
    assert np.array_equal(outside(result), outside(deep))
    assert not np.array_equal(result, deep)
    wanted = changed(read_picture(tmp_path / f"in{suffix}").rgb).astype(int)
    seen = read_picture(tmp_path / f"out{suffix}").rgb.astype(int)
    assert np.abs(seen - wanted).max() <= 1
    assert read_marks(tmp_path / f"out{suffix}") == MARKS


def test_sixteen_bits_of_tiff_keep_profile_and_metadata(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (48, 64, 3), np.uint16)
    tags = [(700, 1, len(XMP), XMP, True)]
    tifffile.imwrite(
        tmp_path / "in.tif", deep, photometric="rgb", iccprofile=WIDE, resolution=(300, 200),
        resolutionunit="INCH", extratags=tags, software=False, metadata=None,
    )  # fmt: skip
    assert open_picture(tmp_path / "in.tif").lost(tmp_path / "out.tif") == []
    swapped(tmp_path / "in.tif", tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as image:
        assert image.info["icc_profile"] == WIDE
        assert image.info["dpi"] == pytest.approx((300, 200), abs=0.1)
        assert b'dc:title="home"' in image.tag_v2[700]
    assert np.array_equal(outside(tifffile.imread(tmp_path / "out.tif")), outside(deep))
    assert read_marks(tmp_path / "out.tif") == MARKS


def test_what_a_format_cannot_hold_is_named(tmp_path: Path) -> None:
    deep = np.full((48, 64, 4), 30_000, np.uint16)
    cv2.imwrite(str(tmp_path / "in.png"), deep)
    picture = open_picture(tmp_path / "in.png")
    for suffix in (".jpg", ".bmp"):
        said = " ".join(picture.lost(tmp_path / f"out{suffix}"))
        assert "transparency" in said and "16 bits a sample" in said
        swapped(tmp_path / "in.png", tmp_path / f"out{suffix}")
        assert read_picture(tmp_path / f"out{suffix}").rgb[0, 0, 0] == pytest.approx(117, abs=1)
    assert picture.lost(tmp_path / "out.webp") == ["16 bits a sample (.webp files have 8)"]
    Image.fromarray(moving_picture(0, 64, 48)).save(tmp_path / "p.jpg", icc_profile=WIDE)
    assert "ICC profile" in " ".join(open_picture(tmp_path / "p.jpg").lost(tmp_path / "o.bmp"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_nets_see_srgb_and_the_output_keeps_the_profile(tmp_path: Path, suffix: str) -> None:
    own = moving_picture(0, 64, 48)
    save = {"quality": 100, "subsampling": 0} if suffix == ".jpg" else {"lossless": True}
    source, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    Image.fromarray(own).save(source, icc_profile=WIDE, **save)
    with Image.open(source) as image:
        srgb = ImageCms.profileToProfile(
            image.convert("RGB"), ImageCms.ImageCmsProfile(io.BytesIO(WIDE)),
            ImageCms.createProfile("sRGB"), renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )  # fmt: skip
    view = read_picture(source).rgb
    assert np.abs(view.astype(int) - np.asarray(srgb)).max() <= 3
    assert np.abs(view.astype(int) - own).mean() > 5
    swapped(source, out)
    with Image.open(out) as image:
        assert image.info["icc_profile"] == WIDE
        pixels = np.asarray(image.convert("RGB")).astype(int)
    tolerance = 6 if suffix == ".jpg" else 0
    before = own if tolerance == 0 else np.asarray(Image.open(source).convert("RGB"))
    error = np.abs(outside(pixels) - outside(before).astype(int))
    assert error.max() <= tolerance or np.percentile(error, 97) <= tolerance
    wanted = changed(view).astype(int)
    seen = read_picture(out).rgb.astype(int)
    assert np.abs(seen[BOX] - wanted[BOX]).mean() < 6


def test_a_profile_of_srgb_changes_nothing(tmp_path: Path) -> None:
    pixels = moving_picture(0, 64, 48)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(tmp_path / "in.png", icc_profile=srgb)
    assert np.array_equal(read_picture(tmp_path / "in.png").rgb, pixels)
    swapped(tmp_path / "in.png", tmp_path / "out.png")
    assert np.array_equal(read_picture(tmp_path / "out.png").rgb, changed(pixels))
    assert Image.open(tmp_path / "out.png").info["icc_profile"] == srgb


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("turn", [1, 3, 6])
def test_metadata_is_kept_for_the_upright_picture(tmp_path: Path, suffix: str, turn: int) -> None:
    source, out = tmp_path / "in.jpg", tmp_path / f"out{suffix}"
    Image.fromarray(moving_picture(0, 64, 48)).save(
        source, exif=exif_of(turn), dpi=(300, 200), xmp=XMP, quality=95
    )
    swapped(source, out)
    with Image.open(out) as image:
        assert image.size == ((48, 64) if turn == 6 else (64, 48))
        exif = image.getexif()
        assert exif[0x0112] == 1
        assert exif[0x010F] == "Maker"
        assert exif.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
        assert exif.get_ifd(0x8825)[1] == "N"
        image.load()
        found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
        found = found.encode() if isinstance(found, str) else found
        assert b'dc:title="home"' in found and b'tiff:Orientation="1"' in found
        if suffix != ".webp":
            assert image.info["dpi"] == pytest.approx((300, 200), abs=0.1)
    assert read_marks(out) == MARKS


def test_a_preview_of_the_original_face_is_not_kept(tmp_path: Path) -> None:
    preview = io.BytesIO()
    Image.fromarray(moving_picture(0, 32, 24)).save(preview, "JPEG")
    exif = exif_of()
    exif.get_ifd(0x8769)[0x927C] = b"MAKERNOTE" + preview.getvalue()
    Image.fromarray(moving_picture(0, 64, 48)).save(tmp_path / "in.jpg", exif=exif)
    assert b"MAKERNOTE" in (tmp_path / "in.jpg").read_bytes()
    swapped(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert b"MAKERNOTE" not in (tmp_path / "out.jpg").read_bytes()


def test_pictures_beyond_pillows_limit_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(moving_picture(0, 64, 48)).save(tmp_path / "in.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert open_picture(tmp_path / "in.png").frame.width == 64
    assert Image.MAX_IMAGE_PIXELS == 100


def test_avif_is_read_whole(tmp_path: Path) -> None:
    pixels = moving_picture(0, 600, 400)
    Image.fromarray(pixels).save(tmp_path / "in.avif", quality=95)
    assert is_picture(tmp_path / "in.avif")
    view = read_picture(tmp_path / "in.avif").rgb
    assert view.shape == pixels.shape
    assert np.abs(view.astype(int) - pixels).mean() < 3


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def test_heic_without_its_library_is_said_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "phone.heic").write_bytes(HEIC)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert is_picture(tmp_path / "phone.heic")
    with pytest.raises(MissingLibraryError, match=r"phone\.heic.*pip install 'vidswap\[heic\]'"):
        read_picture(tmp_path / "phone.heic")


def test_heic_with_its_library_is_opened_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "phone.heic").write_bytes(HEIC)
    registered = []
    heif = SimpleNamespace(register_heif_opener=lambda: registered.append(True))
    monkeypatch.setitem(sys.modules, "pillow_heif", heif)
    with pytest.raises(NotAVideoError, match=r"phone\.heic is not a picture that can be read"):
        read_picture(tmp_path / "phone.heic")
    assert registered


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_heic_of_tiles_is_read_whole_and_upright(tmp_path: Path, turns: int) -> None:
    heif = pytest.importorskip("pillow_heif")
    pixels = moving_picture(0, 300, 200)  # not whole tiles
    (tmp_path / "phone.heic").write_bytes(grid_heic(pixels, heif, quarter_turns=turns))
    view = read_picture(tmp_path / "phone.heic").rgb
    assert view.shape == np.rot90(pixels, turns).shape
    assert np.abs(view.astype(int) - np.rot90(pixels, turns)).mean() < 2
    assert open_picture(tmp_path / "phone.heic").lost(tmp_path / "out.png") == []


def test_a_heic_of_tiles_that_lacks_one_is_refused_or_read(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    content = grid_heic(moving_picture(0, 192, 128), heif)
    for size in (len(content) - 40, len(content) // 2, 400, 100):
        (tmp_path / "cut.heic").write_bytes(content[:size])
        with contextlib.suppress(NotAVideoError):
            assert read_picture(tmp_path / "cut.heic").rgb.shape == (128, 192, 3)


def test_an_avif_under_the_common_brand_is_read_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = moving_picture(0, 64, 48)
    Image.fromarray(pixels).save(tmp_path / "in.avif", quality=95)
    content = (tmp_path / "in.avif").read_bytes()
    (tmp_path / "in.avif").write_bytes(content.replace(b"ftypavif", b"ftypmif1", 1))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert picture_format(tmp_path / "in.avif") == "avif"
    assert np.abs(read_picture(tmp_path / "in.avif").rgb.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_bits_that_are_not_read_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    if suffix == ".heic":
        heif = pytest.importorskip("pillow_heif")
        samples = np.repeat(moving_picture(0, 64, 48).astype("<u2") * 257, 1)
        heif.from_bytes(mode="RGB;16", size=(64, 48), data=samples.tobytes()).save(path, quality=90)
    else:
        ffmpeg(
            "-f", "lavfi", "-i", "testsrc=s=64x48", "-frames:v", "1", "-pix_fmt", "yuv420p10le",
            "-c:v", "libaom-av1", "-still-picture", "1", "-cpu-used", "8", "-y", path,
        )  # fmt: skip
    assert any("10 bits a sample" in line for line in open_picture(path).lost(tmp_path / "a.png"))


def test_an_animated_avif_is_a_clip(tmp_path: Path) -> None:
    frames = [Image.fromarray(moving_picture(n, 64, 48)) for n in range(4)]
    frames[0].save(
        tmp_path / "in.avif", save_all=True, append_images=frames[1:], duration=100, quality=95
    )
    assert not is_picture(tmp_path / "in.avif")
    with VideoReader(tmp_path / "in.avif") as reader:
        got = list(reader)
    assert [round(frame.seconds * 1000) for frame in got] == [0, 100, 200, 300]
    for frame, wanted in zip(got, frames, strict=True):
        assert np.abs(frame.rgb.astype(int) - np.asarray(wanted)).mean() < 4
