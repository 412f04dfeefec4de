"""Image sequences: their names, and that a frame's own numbers come through bit for bit."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from vidswap.errors import (
    BadOptionError,
    InputNotFoundError,
    MissingLibraryError,
    NotAVideoError,
)
from vidswap.media import colour_space, exr
from vidswap.media.colour_space import ACES_AP1, named_space, srgb_codes, srgb_light
from vidswap.media.ffmpeg import ffmpeg_executable
from vidswap.media.marks import synthetic_metadata
from vidswap.media.probing import probe
from vidswap.media.sequence import (
    SequenceName,
    found_sequence,
    is_sequence,
    missing_frames,
    named_sequence,
    output_sequence,
)
from vidswap.media.sequence_picture import encoded_as, lost_as, read_sequence_picture
from vidswap.media.sequence_reader import SequenceReader

WIDTH, HEIGHT = 37, 25
BOX = np.s_[5:14, 8:23]


def picture(bits: int = 16, seed: int = 0) -> np.ndarray:
    """Noise over all codes, (H, W, 3)."""
    random = np.random.default_rng(seed)
    kind = np.uint8 if bits == 8 else np.uint16
    return random.integers(0, 2**bits, (HEIGHT, WIDTH, 3)).astype(kind)


def with_face(view: np.ndarray) -> np.ndarray:
    """A view with other pixels in a box."""
    changed = view.copy()
    changed[BOX] = np.random.default_rng(9).integers(0, 256, changed[BOX].shape)
    return changed


def write_exr(path: Path, header: dict[str, Any] | None = None, **more: np.ndarray) -> None:
    openexr = pytest.importorskip("OpenEXR")
    random = np.random.default_rng(3)
    channels = {c: (random.random((HEIGHT, WIDTH)) * 4 - 0.2).astype(np.float16) for c in "RGB"}
    channels["R"][0, 0], channels["G"][0, 1] = np.nan, np.inf
    base = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    openexr.File({**base, **(header or {})}, {**channels, **more}).write(str(path))


def write_dpx(path: Path, pixel_format: str) -> None:
    source = f"testsrc2=s={WIDTH}x{HEIGHT}:d=0.04,format=rgb48le,noise=alls=30"
    command = [ffmpeg_executable(), "-v", "error", "-f", "lavfi", "-i", source]
    subprocess.run(
        [*command, "-frames:v", "1", "-pix_fmt", pixel_format, "-update", "1", path], check=True
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shot.%04d.exr", ("shot.", 4, ".exr")), ("%d.png", ("", 1, ".png")),
        ("a_####.dpx", ("a_", 4, ".dpx")), ("%06d_left.tif", ("", 6, "_left.tif")),
    ],
)  # fmt: skip
def test_patterns(name: str, expected: tuple[str, int, str]) -> None:
    found = named_sequence(Path("folder") / name)
    assert (found.prefix, found.digits, found.suffix) == expected


@pytest.mark.parametrize("name", ["a%04d.mp4", "%04d.%04d.png", "a%04d", "%099d.png"])
def test_what_is_no_pattern_is_refused(name: str) -> None:
    with pytest.raises(BadOptionError):
        named_sequence(Path(name))


def test_frames_are_found_by_folder_and_by_pattern(tmp_path: Path) -> None:
    for name in ("shot.0998.png", "shot.1001.png", "shot.10000.png", "shot.01002.png", "x.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".shot.0003.png").write_bytes(b"")
    by_folder = found_sequence(tmp_path)
    assert by_folder == SequenceName(tmp_path, "shot.", 4, ".png")
    assert by_folder.numbers() == [998, 1001, 10000]
    assert found_sequence(tmp_path / "shot.%04d.png") == by_folder
    assert is_sequence(tmp_path) and is_sequence(tmp_path / "shot.%04d.png")


def test_a_file_of_that_very_name_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a%04d.mp4").write_bytes(b"x")
    assert not is_sequence(tmp_path / "a%04d.mp4")


def test_what_is_not_there_or_not_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotAVideoError, match="without numbered pictures"):
        found_sequence(tmp_path)
    with pytest.raises(InputNotFoundError, match="no frame of"):
        found_sequence(tmp_path / "a.%04d.png")
    for name in ("a.0001.png", "b.0001.exr"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(BadOptionError, match=r"several sequences; name one of a\.%04d\.png, b\."):
        found_sequence(tmp_path)


def test_gaps_are_named() -> None:
    assert missing_frames([4, 5, 6]) is None
    assert missing_frames([1, 2, 5, 7]) == "3 frames missing: 3 to 4, 6"


def test_an_output_folder_takes_the_names_of_the_target(tmp_path: Path) -> None:
    target = SequenceName(tmp_path / "in", "a.", 4, ".exr")
    assert output_sequence(tmp_path / "out", target) == SequenceName(
        tmp_path / "out", "a.", 4, ".exr"
    )
    assert output_sequence(tmp_path / "out.mov", target) is None
    (tmp_path / "in").mkdir()
    with pytest.raises(BadOptionError, match="the target itself"):
        output_sequence(tmp_path / "in", target)


@pytest.mark.parametrize(
    ("suffix", "bits", "alpha"),
    [(".png", 8, False), (".png", 16, False), (".png", 16, True), (".tif", 16, False),
     (".tif", 8, False), (".bmp", 8, False)],
)  # fmt: skip
def test_flat_pictures_keep_their_samples(
    tmp_path: Path, suffix: str, bits: int, alpha: bool
) -> None:
    path = tmp_path / f"a.0001{suffix}"
    samples = picture(bits)
    opacity = picture(bits, 5)[..., :1]
    assert cv2.imwrite(str(path), np.dstack([samples[..., ::-1]] + [opacity] * alpha))
    check_exact(path, tmp_path / f"out{suffix}")


@pytest.mark.parametrize(
    "pixel_format",
    ["rgb24", "rgba", "abgr", "gbrp10be", "gbrp10le", "gbrp12be", "gbrp12le", "rgb48be", "rgb48le"],
)
def test_dpx_keeps_its_samples_and_its_header(tmp_path: Path, pixel_format: str) -> None:
    path, out = tmp_path / "a.0001.dpx", tmp_path / "out.dpx"
    write_dpx(path, pixel_format)
    before = path.read_bytes()
    changed = before[:1920] + b"\x01\x23\x45\x67" + before[1924:]  # a time code
    path.write_bytes(changed)
    check_exact(path, out)
    assert out.read_bytes()[:2048] == changed[:2048]


def test_dpx_tells_that_it_is_synthetic(tmp_path: Path) -> None:
    path = tmp_path / "a.0001.dpx"
    write_dpx(path, "gbrp10be")
    assert not probe(tmp_path).is_synthetic
    frame = read_sequence_picture(path)
    marks = synthetic_metadata("1.0", "ab" * 32, {})
    path.write_bytes(frame.encoded(with_face(frame.still.view), marks))
    assert probe(tmp_path).marks["vidswap_synthetic"] == "true"


def test_dpx_is_read_as_ffmpeg_reads_it(tmp_path: Path) -> None:
    path, png = tmp_path / "a.0001.dpx", tmp_path / "a.png"
    write_dpx(path, "gbrp10be")
    command = [ffmpeg_executable(), "-v", "error", "-i", path, "-pix_fmt", "rgb48be", png]
    subprocess.run(command, check=True)
    reference = cv2.imread(str(png), cv2.IMREAD_UNCHANGED)[..., ::-1] >> 6
    np.testing.assert_array_equal(read_sequence_picture(path).still.samples, reference)


def test_exr_keeps_its_samples_channels_and_attributes(tmp_path: Path) -> None:
    path, out = tmp_path / "a.0001.exr", tmp_path / "out.exr"
    random = np.random.default_rng(1)
    window = (np.array([3, 2], np.int32), np.array([2 + WIDTH, 1 + HEIGHT], np.int32))
    display = (np.array([0, 0], np.int32), np.array([63, 47], np.int32))
    depth = random.random((HEIGHT, WIDTH)).astype(np.float32)
    ids = random.integers(0, 2**31, (HEIGHT, WIDTH)).astype(np.uint32)
    write_exr(
        path,
        {"dataWindow": window, "displayWindow": display, "owner": "a studio"},
        **{"depth.Z": depth, "ids": ids, "A": random.random((HEIGHT, WIDTH)).astype(np.float16)},
    )
    check_exact(path, out, metadata={"vidswap_synthetic": "true"})
    openexr = pytest.importorskip("OpenEXR")
    before, after = (openexr.File(str(p), separate_channels=True) for p in (path, out))
    for name in ("depth.Z", "ids", "A"):
        np.testing.assert_array_equal(before.channels()[name].pixels, after.channels()[name].pixels)
    assert after.channels()["R"].pixels.dtype == np.float16
    header = after.header()
    np.testing.assert_array_equal(header["dataWindow"], window)
    assert header["owner"] == "a studio" and header["vidswap_synthetic"] == "true"


def test_exr_of_a_lossy_compression_is_written_without_loss(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    path, out = tmp_path / "a.0001.exr", tmp_path / "out.exr"
    write_exr(path, {"compression": openexr.DWAA_COMPRESSION})
    check_exact(path, out)


def check_exact(path: Path, out: Path, metadata: dict[str, str] | None = None) -> None:
    """Numbers of pixels that a swap leaves are the file's; the others look as they should."""
    frame = read_sequence_picture(path)
    view = with_face(frame.still.view)
    out.write_bytes(frame.encoded(view, metadata or {}))
    again = read_sequence_picture(out)
    outside = np.ones((HEIGHT, WIDTH), np.bool_)
    outside[BOX] = False
    bytes_of = [np.ascontiguousarray(p.still.samples[outside]).tobytes() for p in (frame, again)]
    assert bytes_of[0] == bytes_of[1]
    assert np.abs(again.still.view[BOX].astype(int) - view[BOX]).max() <= 1
    for one, other in [(frame.still.alpha, again.still.alpha)]:
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["linear", "ACEScg", "LogC", "ARRI LogC4"])
def test_a_view_goes_back_into_any_colour_space(name: str) -> None:
    if name != "linear":
        pytest.importorskip("PyOpenColorIO")
    space = named_space(name)
    view = picture(8)
    np.testing.assert_array_equal(space.view(space.codes(view)), view)


def test_light_of_srgb_is_that_of_the_standard() -> None:
    codes = np.array([[0.0, 0.04045, 0.5, 1.0]], np.float32)
    np.testing.assert_allclose(srgb_light(codes), [[0.0, 0.0031308, 0.2140411, 1.0]], atol=1e-6)
    np.testing.assert_allclose(srgb_codes(srgb_light(codes)), codes, atol=1e-6)


def test_stated_primaries_need_no_opencolorio() -> None:
    ocio = pytest.importorskip("PyOpenColorIO")
    config = ocio.Config.CreateFromBuiltinConfig("ocio://studio-config-latest")
    reference = np.eye(3, dtype=np.float32)[None].copy()
    config.getProcessor("ACEScg", "lin_rec709").getDefaultCPUProcessor().applyRGB(reference)
    ours = colour_space.linear_space(ACES_AP1).to_bt709
    np.testing.assert_allclose(ours.T, reference[0], atol=1e-4)


def test_names_of_no_colour_space_are_refused_and_shown_escaped() -> None:
    pytest.importorskip("PyOpenColorIO")
    with pytest.raises(BadOptionError, match=r"\\x1b.*it must be srgb, linear"):
        named_space("a\x1b[2J")


def test_what_is_absent_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    write_exr(tmp_path / "a.exr")
    monkeypatch.setattr(colour_space, "import_module", absent)
    monkeypatch.setattr(exr, "import_module", absent)
    with pytest.raises(MissingLibraryError, match=r"pip install 'vidswap\[layers\]'"):
        named_space("Log3G10 REDWideGamutRGB")
    with pytest.raises(MissingLibraryError, match=r"pip install 'vidswap\[layers\]'"):
        read_sequence_picture(tmp_path / "a.exr")


def test_from_format_to_format_the_light_stays(tmp_path: Path) -> None:
    """8-bit codes to light in OpenEXR and back are the same codes."""
    pytest.importorskip("OpenEXR")
    png, light, back = (tmp_path / name for name in ("a.png", "a.exr", "back.png"))
    cv2.imwrite(str(png), picture(8))
    frame = read_sequence_picture(png)
    light.write_bytes(encoded_as(frame, ".exr", frame.still.view, {}))
    middle = read_sequence_picture(light)
    expected = srgb_light(frame.still.view.astype(np.float32) / 255)
    np.testing.assert_allclose(middle.still.samples, expected, rtol=1e-3, atol=1e-6)
    back.write_bytes(encoded_as(middle, ".png", middle.still.view, {}))
    codes = read_sequence_picture(back).still.samples
    assert codes.dtype == np.uint16
    assert np.abs(codes / 257 - frame.still.samples).max() < 0.2
    assert any("light above white" in line for line in lost_as(middle, ".png"))


def test_a_range_of_frames_lies_at_the_times_of_its_numbers(tmp_path: Path) -> None:
    for number in (10, 11, 13, 14):
        Image.fromarray(picture(8)).save(tmp_path / f"a.{number:04d}.png")
    with SequenceReader(tmp_path, fps=10.0) as reader:
        assert [frame.seconds for frame in reader] == [0.0, 0.1, 0.3, 0.4]
        assert "1 frame missing: 12" in reader.warnings[0]
        reader.go_to(2)
        assert [frame.number for frame in reader] == [13, 14]
    with SequenceReader(tmp_path, 0.1, 0.4, fps=10.0) as reader:
        assert [frame.number for frame in reader] == [11, 13]
    with pytest.raises(BadOptionError, match="no frame from 9"):
        SequenceReader(tmp_path, 9.0)


def test_frames_of_another_size_are_named(tmp_path: Path) -> None:
    Image.fromarray(picture(8)).save(tmp_path / "a.0001.png")
    Image.fromarray(picture(8)[:9]).save(tmp_path / "a.0002.png")
    with (
        SequenceReader(tmp_path) as reader,
        pytest.raises(NotAVideoError, match=r"a\.0002\.png is 37x9 in a sequence of 37x25"),
    ):
        list(reader)


@pytest.mark.parametrize("suffix", [".exr", ".dpx", ".png", ".tif"])
def test_damaged_frames_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.0001{suffix}"
    if suffix == ".exr":
        write_exr(path)
    elif suffix == ".dpx":
        write_dpx(path, "gbrp10be")
    else:
        cv2.imwrite(str(path), picture(16))
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for case in range(40):
        broken = bytearray(content[: len(content) // 2] if case % 4 == 0 else content)
        for place in random.integers(0, min(len(broken), 2048), 20):
            broken[place] = random.integers(0, 256)
        path.write_bytes(broken)
        try:
            read_sequence_picture(path)
        except (NotAVideoError, BadOptionError) as error:
            assert path.name in str(error)
