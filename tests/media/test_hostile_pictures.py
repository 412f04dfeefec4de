"""Pictures whose text, profile or EXIF is made to burst or to nest are read within bounds."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from vidswap.commands.main import main
from vidswap.media.marks import read_marks
from vidswap.media.picture import picture_format, read_picture
from vidswap.media.picture_text import EXIF_DESCRIPTION, read_text
from vidswap.media.probe import probe

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
