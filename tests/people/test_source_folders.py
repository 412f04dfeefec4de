"""Folders of source pictures: every file is read, or named with the reason."""

import sys
from pathlib import Path

import pytest

from tests.photographs import astronaut
from vidswap.errors import NoFaceInSourceError
from vidswap.faces.detection import Face
from vidswap.media.picture import write_picture
from vidswap.people.source import SourceReader, _source_frames

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


class NoFaces(SourceReader):
    """A reader that finds no face in any picture."""

    def __init__(self) -> None:
        pass

    def faces(self, rgb: object) -> list[Face]:
        return []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    write_picture(tmp_path / "a.png", astronaut()[:64, :64])
    (tmp_path / "b.heic").write_bytes(HEIC)
    (tmp_path / "c.mp4").write_bytes(b"clip")
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / ".hidden").write_text("none")
    (tmp_path / "folder").mkdir()
    return tmp_path


def test_files_of_a_folder_that_are_not_read_are_named(folder: Path) -> None:
    skipped: list[tuple[str, str]] = []
    read = [name for name, _, _ in _source_frames([folder], 3, skipped)]
    assert read == ["a.png"]
    assert sorted(name for name, _ in skipped) == ["b.heic", "c.mp4", "notes.txt"]
    assert "vidswap[heic]" in dict(skipped)["b.heic"]
    assert "clips by themselves" in dict(skipped)["c.mp4"]


def test_a_folder_without_a_face_says_what_was_skipped(folder: Path) -> None:
    with pytest.raises(NoFaceInSourceError, match=r"in 1 frame.*c\.mp4 was skipped.*b\.heic was"):
        NoFaces().read([folder])
