"""`clean` removes every kind of file that a killed command leaves, and nothing else."""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from vidswap.commands.main import main
from vidswap.media import VideoReader, VideoWriter
from vidswap.media.animated_writer import AnimationWriter
from vidswap.media.leftovers import left_in
from vidswap.media.output import temporary_path
from vidswap.provenance.record import _unsigned_path

from .clips import make_clip

HOURS_AGO = time.time() - 7200
LEFT = (
    ".out.part.mp4", ".out.part.MOV", ".out.unsigned.mp4", "..out.unsigned.part.png",
    ".out.mp4.part", ".a\nb.part.webp", ".shot.0001.part.exr", ".report.part.html",
    ".job-1.4711-0123abcd.part", ".0123456789abcdef.part.mkv", ".tracks.part.npz",
    ".me.part.vsid", ".net.part.safetensors", ".people.part.toml", ".kanji-漢字.part.gif",
)  # fmt: skip
OTHERS = (
    "out.mp4", "out.part.mp4", ".out.mp4", "out.mp4.part", ".part.mp4", ".out.part.doc",
    ".out.partial.mp4", ".outpart.mp4", ".bashrc.part", ".job.4711.part", "unsigned.mp4",
    ".x.part.mp4.bak", ".unsigned.mp4",
)  # fmt: skip


def clean(folder: Path, *options: str) -> str:
    result = CliRunner().invoke(main, ["clean", str(folder), *options])
    assert result.exit_code == 0, result.output
    return result.output


def make(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (HOURS_AGO, HOURS_AGO))


def test_every_kind_of_leftover_goes_and_everything_else_stays(tmp_path: Path) -> None:
    make(tmp_path, LEFT + OTHERS)
    (tmp_path / ".folder.part.mp4").mkdir()
    (tmp_path / ".link.part.mp4").symlink_to(tmp_path / "out.mp4")
    told = clean(tmp_path, "--dry-run")
    assert told.count("would remove") == len(LEFT) and (tmp_path / LEFT[0]).exists()
    told = clean(tmp_path)
    assert len(told.splitlines()) == len(LEFT)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*OTHERS, ".folder.part.mp4", ".link.part.mp4"}
    assert "nothing to remove" in clean(tmp_path, "--all")


def test_the_names_are_those_that_are_written(tmp_path: Path) -> None:
    for name in ("out.mp4", "out.webm", "a.png", "out.gif", "s.0001.exr", "r.html", "p.toml",
                 "x" * 251 + ".mp4", "漢" * 83 + ".mov"):  # fmt: skip
        for path in (
            temporary_path(tmp_path / name),
            _unsigned_path(tmp_path / name),
            temporary_path(_unsigned_path(tmp_path / name)),
        ):
            path.write_bytes(b"x")
            assert [each.path for each in left_in(tmp_path)] == [path]
            path.unlink()


def test_a_new_one_waits_unless_all_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / ".out.part.mp4").write_bytes(b"x")
    assert "changed of late; --all removes it" in clean(tmp_path)
    assert "removed" in clean(tmp_path, "--all") and not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["clip", "animation", "open"])
def test_what_a_command_is_writing_stays(tmp_path: Path, kind: str) -> None:
    if kind == "clip":
        clip = make_clip(tmp_path / "in.mp4", frames=4)
        with VideoReader(clip) as reader:
            writer = VideoWriter(tmp_path / "out.mp4", reader)
        part = temporary_path(tmp_path / "out.mp4")
    elif kind == "animation":
        writer = AnimationWriter(tmp_path / "out.webp")
        writer.write(np.zeros((8, 8, 3), np.uint8), 0, 40)
        part = temporary_path(tmp_path / "out.webp")
    else:
        part = tmp_path / ".out.part.png"
        writer = part.open("wb")
    os.utime(part, (HOURS_AGO, HOURS_AGO))
    assert "nothing to remove" in clean(tmp_path, "--all") and part.exists()
    if kind == "open":
        writer.close()
        assert "removed" in clean(tmp_path)
    else:
        writer.abort()
        assert not part.exists()


def test_folders_for_temporary_files_go_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, other, beside = (
        tmp_path / name for name in
        ("vidswap-plan-ab12_cd9", "vidswap-abcdefgh", "vidswap-films", ".vidswap-ab12_cd9")
    )  # fmt: skip
    for folder in (old, new, other, beside):
        folder.mkdir()
        (folder / "animation").write_bytes(b"x" * 10)
        if folder != new:
            for path in (folder / "animation", folder):
                os.utime(path, (HOURS_AGO, HOURS_AGO))
    assert clean(tmp_path, "--all").startswith(f"removed {beside}")
    assert "nothing to remove" in clean(tmp_path, "--all")  # not the system's folder
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    assert f"removed {old}" in clean(tmp_path, "--all")
    assert sorted(tmp_path.iterdir()) == [new, other]


def test_a_pass_that_was_broken_off_goes_with_all(tmp_path: Path) -> None:
    work = tmp_path / ".work"
    work.mkdir()
    for name in ("found.jsonl", "state", "facts.json"):
        (work / name).write_bytes(b"x")
        os.utime(work / name, (HOURS_AGO, HOURS_AGO))
    assert "nothing to remove" in clean(tmp_path, "--all")  # of this hour, it may go on
    os.utime(work, (HOURS_AGO, HOURS_AGO))
    assert "unfinished" in clean(tmp_path)
    assert "removed" in clean(tmp_path, "--all") and not work.exists()
