"""Identity files: the same source as the photographs, and nothing in one is trusted."""

from __future__ import annotations

import json
import struct
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load, save

from tests.photographs import astronaut, grace_hopper
from vidswap.animation.clip import load_portrait, portrait_names
from vidswap.commands.main import main
from vidswap.errors import BadOptionError, IdentityFileError, OutputExistsError
from vidswap.media.picture import read_picture, write_picture
from vidswap.people.identity import make_identity, write_contact_sheet
from vidswap.people.identity_file import _KEY, read_identity_file
from vidswap.people.source import SourceIdentity, SourceReader


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture(scope="module")
def photographs(folder: Path) -> Path:
    """Three shots of one person: as she is, mirrored, and with the ends of the picture cut off."""
    pictures = folder / "photographs"
    pictures.mkdir()
    for name, rgb in (
        ("a", astronaut()), ("b", astronaut()[:, ::-1]), ("c", astronaut()[:400, 60:])
    ):  # fmt: skip
        write_picture(pictures / f"{name}.png", np.ascontiguousarray(rgb))
    return pictures


@pytest.fixture(scope="module")
def good(folder: Path, photographs: Path) -> Path:
    path = folder / "good.vsid"
    make_identity([photographs], path, consent="Yes, for tests.")
    return path


def assert_same_source(one: SourceIdentity, other: SourceIdentity) -> None:
    np.testing.assert_array_equal(one.identity.rows().numpy(), other.identity.rows().numpy())
    assert len(one.references) == len(other.references) > 0
    for a, b in zip(one.references, other.references, strict=True):
        np.testing.assert_array_equal(a.shot.crop, b.shot.crop)
        np.testing.assert_array_equal(a.shot.landmarks, b.shot.landmarks)
        np.testing.assert_array_equal(a.shot.visibility, b.shot.visibility)
        assert (a.pose, a.mouth, a.flaws, a.clarity) == (b.pose, b.mouth, b.flaws, b.clarity)


def test_a_file_is_the_same_source_as_its_photographs(good: Path, photographs: Path) -> None:
    with closing(SourceReader.load()) as reader:
        photos, file = reader.read([photographs]), reader.read([good])
        assert_same_source(photos, file)
        assert file.consent == ("Yes, for tests.",)
        assert all(name.startswith("good.vsid: ") for name in file.used)
        both = reader.read([good, photographs / "a.png"])
    assert len(both.used) == 4 and sum(name.startswith("good.vsid") for name in both.used) == 3
    assert photos.photograph is not None and file.photograph is not None
    np.testing.assert_array_equal(photos.photograph.crop, file.photograph.crop)


def test_a_file_loads_at_once(good: Path) -> None:
    read_identity_file(good)
    began = time.perf_counter()
    read_identity_file(good).source()
    assert time.perf_counter() - began < 0.05


def test_what_was_left_out_is_told_with_the_reason(
    folder: Path, photographs: Path, tmp_path: Path
) -> None:
    blurred = np.asarray(astronaut())
    blurred = np.repeat(np.repeat(blurred[::12, ::12], 12, axis=0), 12, axis=1)
    write_picture(tmp_path / "blurred.png", blurred)
    write_picture(tmp_path / "nobody.png", np.full((200, 200, 3), 90, np.uint8))
    write_picture(tmp_path / "other.png", grace_hopper())
    output = tmp_path / "made.vsid"
    extra = [tmp_path / f"{name}.png" for name in ("blurred", "nobody", "other")]
    make_identity([photographs, *extra], output)
    reasons = dict(read_identity_file(output).left_out)
    assert reasons["nobody.png"] == "no face"
    assert reasons["other.png"] == "another person"
    assert reasons.get("blurred.png") in ("blurred", "no face", "another person")


def test_a_file_without_pictures_holds_embeddings_alone(
    folder: Path, photographs: Path, tmp_path: Path, good: Path
) -> None:
    path = tmp_path / "bare.vsid"
    make_identity([photographs], path, pictures=False)
    assert path.stat().st_size < 40_000
    source = read_identity_file(path).source()
    assert source.references == () and source.photograph is None
    rows = read_identity_file(good).mean.rows()
    np.testing.assert_array_equal(source.identity.rows().numpy(), rows.numpy())
    with closing(SourceReader.load()) as reader, pytest.raises(BadOptionError, match="no pictures"):
        reader.read([path, photographs])
    with pytest.raises(BadOptionError, match="no pictures"):
        write_contact_sheet(path, tmp_path / "sheet.png")


def test_only_the_owner_may_read_a_file(good: Path) -> None:
    assert good.stat().st_mode & 0o077 == 0


def rewritten(good: Path, path: Path, about: Any = None, **tensors: Any) -> Path:
    """The good file with some parts exchanged; None takes a tensor out."""
    content = good.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    facts = json.loads(header["__metadata__"][_KEY]) | (about or {})
    parts = load(content) | tensors
    parts = {name: np.ascontiguousarray(t) for name, t in parts.items() if t is not None}
    path.write_bytes(save(parts, {_KEY: json.dumps(facts)}))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"about": {"format": 99}}, "format \"99\""),
        ({"about": {"format": True}}, "format"),
        ({"about": {"consent": None}}, "consent is of the wrong kind"),
        ({"about": {"used": []}}, "out of bounds"),
        ({"about": {"used": [{"name": "a", "sha256": "", "pose": [1, 2]}] * 3}}, "not described"),
        ({"about": {"left_out": [["a"]]}}, "no reason"),
        ({"about": {"pictures": ["x" * 5000] * 3}}, "out of bounds"),
        ({"mean": np.full((1, 1120), np.nan, np.float32)}, "not finite"),
        ({"mean": np.zeros((2, 1120), np.float32)}, "shape"),
        ({"crops": np.zeros((3, 8, 8, 3), np.uint8)}, "shape"),
        ({"crops": None}, "missing"),
        ({"more": np.zeros(3, np.float32)}, "not one of its parts"),
        ({"visibility": np.full((3, 128, 128), 7.0, np.float32)}, "beyond"),
        ({"landmarks": np.zeros((3, 478, 2), np.float32)}, "no face"),
        ({"landmarks": np.zeros((3, 478, 2), np.float64)}, "F64"),
    ],
)  # fmt: skip
def test_a_strangers_file_is_refused_in_one_line(
    good: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = rewritten(good, tmp_path / "odd.vsid", **change)
    with pytest.raises(IdentityFileError, match=words) as caught:
        read_identity_file(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_header_of_a_gigabyte_is_not_read(tmp_path: Path, good: Path) -> None:
    path = tmp_path / "huge.vsid"
    path.write_bytes(struct.pack("<Q", 2**30) + good.read_bytes()[8:])
    with pytest.raises(IdentityFileError, match="header would have 1073741824 bytes"):
        read_identity_file(path)
    with path.open("wb") as file:
        file.truncate(2**33)  # sparse
    with pytest.raises(IdentityFileError, match="8589934592 bytes"):
        read_identity_file(path)
    path.write_bytes(b"")
    with pytest.raises(IdentityFileError):
        read_identity_file(path)


def test_a_file_of_another_net_is_embedded_again(good: Path, tmp_path: Path) -> None:
    path = rewritten(good, tmp_path / "old.vsid", {"identity_net": "older"}, mean=np.zeros(
        (1, 1120), np.float32))  # fmt: skip
    with pytest.raises(IdentityFileError, match="no pictures to embed again"):
        read_identity_file(path)  # without an encoder
    with closing(SourceReader.load()) as reader:
        again = reader.read([path]).identity.rows().numpy()
    np.testing.assert_allclose(again, read_identity_file(good).mean.rows().numpy(), atol=1e-3)


def test_the_command_makes_a_file_and_info_shows_it(photographs: Path, tmp_path: Path) -> None:
    consent = tmp_path / "consent.txt"
    consent.write_text("I, \x1b[31mred, agree.\n")
    output, sheet = tmp_path / "a.vsid", tmp_path / "sheet.png"
    arguments = ["identity", str(photographs), "-o", str(output), "--consent", str(consent)]
    made = CliRunner().invoke(main, arguments)
    assert made.exit_code == 0, made.output
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == OutputExistsError.exit_code
    told = CliRunner().invoke(main, ["info", str(output), "--sheet", str(sheet)])
    assert told.exit_code == 0 and r'"I, \x1b[31mred, agree."' in told.output
    assert "\x1b" not in told.output
    assert read_picture(sheet).rgb.shape == (194, 480, 3)
    facts = json.loads(CliRunner().invoke(main, ["info", str(output), "--json"]).output)
    assert len(facts["used"]) == 3 and all(len(s["sha256"]) == 64 for s in facts["used"])


def test_another_suffix_is_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(BadOptionError, match=r"\.vsid"):
        make_identity([photographs], tmp_path / "a.bin")


def test_a_run_can_take_a_generated_person(tmp_path: Path) -> None:
    portrait = tmp_path / "p.png"
    write_picture(portrait, load_portrait(portrait_names()[0]))
    path = tmp_path / "p.vsid"
    assert make_identity([portrait], path).used[0].name == "p.png"
