"""Bad input gets one clear line, its own exit code, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.media.clips import decoded_planes, make_clip
from tests.photographs import astronaut, grace_hopper
from tests.swap_fixtures import moved
from vidswap.commands.main import main
from vidswap.media.segments import work_folders

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def assert_refused(result: Result, code: int, *words: str) -> None:
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert result.exit_code == code, result.output
    assert len(lines) == 1 and lines[0].startswith("vidswap: "), result.stderr
    for word in words:
        assert word in lines[0]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.mp4"


def test_no_such_source(target_clip: Path, out: Path, untrained: Path) -> None:
    result = run("absent.jpg", target_clip, "-o", out, "--checkpoint", untrained)
    assert_refused(result, 3, "absent.jpg", "no such file")


def test_no_such_target(source_picture: Path, out: Path) -> None:
    assert_refused(run(source_picture, "absent.mp4", "-o", out), 3, "absent.mp4", "no such file")


@pytest.mark.parametrize("content", [b"", b"a text, no video\n" * 50])
def test_a_target_that_is_no_video(
    source_picture: Path, out: Path, untrained: Path, tmp_path: Path, content: bytes
) -> None:
    target = tmp_path / "notes.mp4"
    target.write_bytes(content)
    result = run(source_picture, target, "-o", out, "--checkpoint", untrained)
    assert_refused(result, 4, "notes.mp4")
    assert not out.exists()


def test_a_source_without_a_face(
    target_clip: Path, out: Path, untrained: Path, tmp_path: Path
) -> None:
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), np.full((200, 200, 3), 128, np.uint8))
    result = run(grey, target_clip, "-o", out, "--checkpoint", untrained)
    assert_refused(result, 5, "grey.png", "no face")
    assert not out.exists()


def test_a_source_with_several_faces_says_how_to_choose(
    target_clip: Path, out: Path, untrained: Path, tmp_path: Path
) -> None:
    both = tmp_path / "both.png"
    hopper = cv2.resize(grace_hopper(), (432, 512))
    cv2.imwrite(str(both), np.concatenate([astronaut(), hopper], axis=1)[:, :, ::-1])
    result = run(both, target_clip, "-o", out, "--checkpoint", untrained)
    assert_refused(result, 6, "both.png", "2 faces", "--source-face")
    chosen = run(
        both, target_clip, "-o", out, "--checkpoint", untrained, "--source-face", "largest"
    )
    assert chosen.exit_code == 0, chosen.output


def test_a_target_without_a_face_is_given_back_unchanged(
    source_picture: Path, faceless_clip: Path, out: Path, untrained: Path
) -> None:
    result = run(source_picture, faceless_clip, "-o", out, "--checkpoint", untrained)
    assert result.exit_code == 0
    assert "no face found" in result.stderr
    assert out.read_bytes() == faceless_clip.read_bytes()


def test_a_clip_that_breaks_off_is_finished_as_far_as_it_goes(
    source_picture: Path, out: Path, untrained: Path, tmp_path: Path
) -> None:
    photo = grace_hopper()
    whole = make_clip(
        tmp_path / "whole.mkv",
        picture=lambda index, width, height: moved(photo, index, width, height),
        size=(320, 240),
        frames=40,
        key_every=6,
    )
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 5 // 10])
    result = run(source_picture, broken, "-o", out, "--checkpoint", untrained)
    assert result.exit_code == 0, result.output
    assert "warning" in result.stderr
    assert "cut short" in result.stderr
    assert 6 <= len(decoded_planes(out)) < 40


def test_an_existing_output_is_kept(
    source_picture: Path, target_clip: Path, out: Path, untrained: Path
) -> None:
    out.write_bytes(b"precious")
    result = run(source_picture, target_clip, "-o", out, "--checkpoint", untrained)
    assert_refused(result, 7, "out.mp4", "--overwrite")
    assert out.read_bytes() == b"precious"


def test_the_target_is_never_overwritten(source_picture: Path, target_clip: Path) -> None:
    before = target_clip.read_bytes()
    result = run(source_picture, target_clip, "-o", target_clip, "--overwrite")
    assert_refused(result, 2, "is the target itself")
    assert target_clip.read_bytes() == before


def test_a_missing_output_folder(source_picture: Path, target_clip: Path, tmp_path: Path) -> None:
    result = run(source_picture, target_clip, "-o", tmp_path / "absent" / "out.mp4")
    assert_refused(result, 8, "no such folder")


def test_an_unknown_codec_names_the_known_ones(
    source_picture: Path, target_clip: Path, out: Path
) -> None:
    result = run(source_picture, target_clip, "-o", out, "--codec", "betamax")
    assert_refused(result, 10, "betamax", "h264")


def test_a_wrong_checkpoint(
    source_picture: Path, target_clip: Path, out: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"not weights")
    result = run(source_picture, target_clip, "-o", out, "--checkpoint", wrong)
    assert_refused(result, 11, "wrong.safetensors")


def test_cuda_is_never_silently_replaced(
    source_picture: Path, target_clip: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = run(source_picture, target_clip, "-o", out, "--device", "cuda")
    assert_refused(result, 2, "--device cuda")


@pytest.mark.parametrize("option", [("--k-shot", "0"), ("--batch-size", "0")])
def test_numbers_out_of_range(
    source_picture: Path, target_clip: Path, out: Path, option: tuple[str, str]
) -> None:
    assert_refused(run(source_picture, target_clip, "-o", out, *option), 2, "must be 1 or more")


def test_a_full_disk(
    source_picture: Path,
    target_clip: Path,
    out: Path,
    untrained: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    # Where the segment is put in safety, the system says that the disk is full.
    monkeypatch.setattr("vidswap.media.packet_file.os.fsync", no_space)
    result = run(source_picture, target_clip, "-o", out, "--checkpoint", untrained)
    assert_refused(result, 9, "no space left")
    assert list(out.parent.iterdir()) == []


def test_debug_shows_where_an_error_came_from(source_picture: Path, out: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "vidswap", "run", source_picture, "absent.mp4", "-o", out,
         "--debug"], cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" in result.stderr and "InputNotFoundError" in result.stderr


def test_ctrl_c_leaves_no_half_written_file(
    source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    photo = grace_hopper()
    long_clip = make_clip(
        tmp_path / "long.mp4",
        picture=lambda index, width, height: moved(photo, index % 40, width, height),
        size=(320, 240),
        frames=400,  # seconds of work, however fast the machine
    )
    out = tmp_path / "out" / "swapped.mp4"
    out.parent.mkdir()
    job = subprocess.Popen(
        [sys.executable, "-m", "vidswap", "run", source_picture, long_clip, "-o", out,
         "--checkpoint", untrained],
        cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not work_folders(out) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert work_folders(out), "the job never began to write"
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 130
    assert "interrupted" in errors and "Traceback" not in errors
    assert list(out.parent.iterdir()) == []


def in_time(*arguments: object, stdin: object = subprocess.DEVNULL) -> tuple[int, str]:
    """Exit code and standard error of the program, which must end by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "vidswap", *map(str, arguments)], cwd=REPOSITORY, stdin=stdin,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("place", ["target", "source", "info", "verify"])
@pytest.mark.parametrize("kind", ["device", "pipe", "standard input"])
def test_what_is_no_regular_file_is_refused_at_once(
    source_picture: Path, target_clip: Path, tmp_path: Path, kind: str, place: str
) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    given = {"device": Path("/dev/zero"), "pipe": pipe, "standard input": Path("-")}[kind]
    if place in ("info", "verify"):
        arguments: list[object] = [place, given]
    elif place == "target":
        arguments = ["run", source_picture, given, "-o", tmp_path / "out.mp4"]
    else:
        arguments = ["run", given, target_clip, "-o", tmp_path / "out.mp4"]
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert_refused(result, 4, str(given), "save it to")


def test_a_terminal_or_a_pipe_as_standard_input_does_not_hang(tmp_path: Path) -> None:
    code, words = in_time("info", "/dev/stdin", stdin=subprocess.PIPE)
    assert code == 4 and "/dev/stdin is a" in words and len(words.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("http://example.org/a.mp4", "nothing is downloaded"),
        ("https://example.org/a.mp4", "nothing is downloaded"),
        ("concat:a.mp4|b.mp4", "protocols such as `concat:`"),
        ("pipe:0", "protocols such as `pipe:`"),
        ("file:a.mp4", "without `file:`"),
    ],
)
@pytest.mark.parametrize("as_target", [True, False])
def test_an_address_is_named_as_the_mistake(
    source_picture: Path, target_clip: Path, out: Path, name: str, words: str, as_target: bool
) -> None:
    source, target = (source_picture, name) if as_target else (name, target_clip)
    assert_refused(run(source, target, "-o", out), 4, words)
    result = CliRunner().invoke(main, ["info", name])
    assert_refused(result, 4, words)


def test_target_and_source_in_the_wrong_order(
    source_picture: Path, target_clip: Path, out: Path, tmp_path: Path
) -> None:
    result = run(target_clip, source_picture, "-o", out)
    assert_refused(result, 10, "is a picture", f"if {target_clip} is the clip to swap in", "last")


def test_a_picture_with_a_clips_name(source_picture: Path, out: Path, tmp_path: Path) -> None:
    disguised = tmp_path / "still.mp4"
    disguised.write_bytes(source_picture.read_bytes())
    result = run(source_picture, disguised, "-o", out)
    assert_refused(result, 10, "still.mp4 is a picture", ".png")


def test_a_clip_written_to_a_pictures_name(
    source_picture: Path, target_clip: Path, tmp_path: Path
) -> None:
    result = run(source_picture, target_clip, "-o", tmp_path / "out.jpg")
    assert_refused(result, 10, "is no picture", "vidswap preview")


@pytest.mark.parametrize("option", ["--settings", "--face", "--sign-key", "--checkpoint"])
def test_an_endless_file_as_an_option_is_refused_in_bounded_memory(
    source_picture: Path, target_clip: Path, out: Path, option: str
) -> None:
    more = ["--sign-cert", "/dev/zero"] if option == "--sign-key" else []
    result = run(source_picture, target_clip, "-o", out, option, "/dev/zero", *more)
    assert result.exit_code in (2, 3, 4, 11, 18)
    assert_refused(result, result.exit_code, "/dev/zero")
