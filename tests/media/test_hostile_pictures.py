"""Pictures whose text, profile or EXIF is made to burst or to nest are read within bounds."""

from __future__ import annotations

import json
import random
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from vidswap.commands.main import main
from vidswap.errors import NotAVideoError
from vidswap.media.animated_picture import Animation
from vidswap.media.marks import read_marks
from vidswap.media.picture import (
    is_picture,
    open_picture,
    picture_format,
    read_picture,
    write_picture,
)
from vidswap.media.picture_text import EXIF_DESCRIPTION, read_text
from vidswap.media.probing import probe

from .clips import moving_picture

MARK = b"vidswap_synthetic\0true"
MIB = 2**20


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def with_chunks(path: Path, *chunks: bytes) -> Path:
    """A PNG with chunks put in after its header."""
    Image.fromarray(moving_picture(0, 40, 30)).save(path)
    png = path.read_bytes()
    path.write_bytes(png[:33] + b"".join(chunks) + png[33:])
    return path


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """256 MiB of zeros, deflated."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(MIB)) for _ in range(256)]
    return b"".join([*parts, packer.flush()])


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP", "eXIf"])
def test_what_bursts_is_cut_and_the_other_texts_are_read(
    bomb: bytes, tmp_path: Path, kind: str
) -> None:
    content = {
        "zTXt": b"comment\0\0" + bomb,
        "iTXt": b"comment\0\1\0\0\0" + bomb,
        "iCCP": b"profile\0\0" + bomb,
        "eXIf": b"II*\0" + bytes(1000),
    }[kind]
    picture = with_chunks(tmp_path / "a.png", chunk(kind.encode(), content), chunk(b"tEXt", MARK))
    texts = read_text(picture)
    assert texts["vidswap_synthetic"] == "true"
    assert sum(map(len, texts.values())) <= MIB + 4
    assert read_picture(picture).width == 40 and picture_format(picture) == "png"
    result = CliRunner().invoke(main, ["verify", str(picture)])
    assert result.exit_code == 0 and "not signed" in result.output and len(result.output) < 10_000


def test_many_bombs_are_bounded_together(bomb: bytes, tmp_path: Path) -> None:
    many = [chunk(b"zTXt", b"comment%d\0\0" % n + bomb) for n in range(40)]
    assert sum(map(len, read_text(with_chunks(tmp_path / "a.png", *many)).values())) <= 18 * MIB


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0", b"no separator", b"key\0\0not deflated", b"key\0\1\0", b"k" * 500 + b"\0text",
        b"k\0\xff\xfe\x80",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_damaged_chunks_are_left_out(tmp_path: Path, kind: bytes, content: bytes) -> None:
    picture = with_chunks(tmp_path / "a.png", chunk(kind, content), chunk(b"tEXt", MARK))
    assert read_text(picture)["vidswap_synthetic"] == "true"


def test_a_chunk_that_is_longer_than_the_file_is_the_last(tmp_path: Path) -> None:
    endless = struct.pack(">I", 0x7FFFFFFF) + b"tEXtkey\0text"
    picture = with_chunks(tmp_path / "a.png", chunk(b"tEXt", MARK), endless)
    assert read_text(picture) == {"vidswap_synthetic": "true"}


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif"])
@pytest.mark.parametrize(
    "description",
    [
        "[" * 30_000,
        '{"vidswap_a":' * 3_000 + "1" + "}" * 3_000,
        '{"vidswap_a": ' + "9" * 10_000 + "}",
        "{}" * 9,
        "null",
    ],
)
def test_descriptions_that_nest_are_no_marks(tmp_path: Path, suffix: str, description: str) -> None:
    exif = Image.Exif()
    exif[EXIF_DESCRIPTION] = description
    picture = tmp_path / f"a{suffix}"
    Image.fromarray(moving_picture(0, 40, 30)).save(picture, exif=exif)
    assert read_marks(picture) == {}
    assert probe(picture).width == 40
    assert CliRunner().invoke(main, ["verify", str(picture)]).exit_code == 31


def test_half_characters_are_shown_and_written(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[EXIF_DESCRIPTION] = '{"vidswap_x": "\\ud800", "vidswap_\\udfff": "a\\u001b[2J"}'
    picture = tmp_path / "a.jpg"
    Image.fromarray(moving_picture(0, 40, 30)).save(picture, exif=exif)
    result = CliRunner().invoke(main, ["verify", str(picture)])
    assert result.exit_code == 0
    assert 'vidswap_x = "\\ud800"' in result.output and "\x1b" not in result.output
    found = CliRunner().invoke(main, ["verify", str(picture), "--json"])
    assert json.loads(found.stdout)["marks"]["vidswap_x"] == "\ud800"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize("dots", [IFDRational(1, 0), 1e9, 0])
def test_impossible_dots_per_inch_are_left_out(
    tmp_path: Path, suffix: str, dots: IFDRational | float
) -> None:
    source = tmp_path / "in.tif"
    Image.fromarray(moving_picture(0, 40, 30)).save(source, tiffinfo={282: dots, 283: 1, 296: 2})
    picture = open_picture(source)
    write_picture(tmp_path / f"out{suffix}", picture.frame.rgb, like=picture)
    assert read_picture(tmp_path / f"out{suffix}").width == 40


def test_exif_that_leaves_no_room_for_the_marks_is_named(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "M" * 65_000
    source, out = tmp_path / "in.jpg", tmp_path / "out.jpg"
    Image.fromarray(moving_picture(0, 40, 30)).save(source, exif=exif)
    picture, marks = open_picture(source), {"vidswap_settings": "s" * 2_000}
    assert picture.lost(out) == ["EXIF (does not fit into such .jpg files)"]
    write_picture(out, picture.frame.rgb, marks, like=picture)
    assert read_marks(out) == marks


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".bmp"])
def test_damage_anywhere_is_read_or_refused_and_what_is_read_can_be_written(
    tmp_path: Path, suffix: str
) -> None:
    rng = random.Random(7)
    source, out = tmp_path / f"in{suffix}", tmp_path / "out.png"
    exif = Image.Exif()
    exif[0x010F], exif.get_ifd(0x8769)[0x9003] = "Maker", "2024:01:02 03:04:05"
    along = {} if suffix == ".bmp" else {"exif": exif}
    Image.fromarray(moving_picture(0, 40, 30)).save(source, dpi=(300, 300), **along)
    whole = source.read_bytes()
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 4, 16))):
            damaged[rng.randrange(min(len(damaged), 1200))] = rng.randrange(256)
        source.write_bytes(damaged)
        if is_picture(source):
            with suppress(NotAVideoError):
                picture = open_picture(source)
                write_picture(out, picture.frame.rgb, overwrite=True, like=picture)
            read_text(source)


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**31 - 1, 2**31 - 1), (1_100_000, 4)])
def test_more_pixels_than_can_be_read_are_refused_before_any_is(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    picture = with_chunks(tmp_path / "a.png")
    png = picture.read_bytes()
    head = struct.pack(">II", *size) + png[24:29]
    picture.write_bytes(png[:8] + chunk(b"IHDR", head) + png[33:])
    with pytest.raises(NotAVideoError, match=rf"a\.png has {size[0]}x{size[1]} pixels, more than"):
        read_picture(picture)


def test_loops_beyond_those_of_webp_are_cut(tmp_path: Path) -> None:
    frames = [Image.fromarray(moving_picture(n, 40, 30)) for n in range(2)]
    source = tmp_path / "a.png"
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=50, loop=2**32 - 1)
    animation = Animation.of(source)
    writer = animation.writer(tmp_path / "a.webp", {}, overwrite=False)
    for picture in animation.pictures():
        writer.write(picture.frame.rgb, picture.frame.pts, picture.frame.pts + 50)
    writer.close()
    assert Animation.of(tmp_path / "a.webp").loops == 65_535
