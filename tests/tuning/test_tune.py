"""`vidswap tune` from files to a file, on two public-domain photographs and an untrained net."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors import safe_open

from tests.photographs import astronaut, grace_hopper
from tests.swap.test_bad_input import assert_refused
from vidswap.commands.main import main
from vidswap.errors import BadOptionError
from vidswap.models.apgan.checkpoint import save_adapter
from vidswap.models.checkpoint import load_generator
from vidswap.people.source import SourceReader
from vidswap.tuning.pair_examples import ExampleMaker, Examples
from vidswap.tuning.tune import TuneOptions, read_source_shots, tune_pair

MOMENT = 1e-4  # minutes: one step


def tune(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["tune", *map(str, arguments)])


@pytest.fixture(autouse=True)
def small_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few faces, and batches of one example of the two kinds that differ."""
    monkeypatch.setattr("vidswap.tuning.tune.MAX_SHOTS", 4)
    monkeypatch.setattr(
        "vidswap.tuning.pair_examples.ExampleMaker.batch", _batch_of_two(ExampleMaker.batch)
    )


def _batch_of_two(whole: Callable[[ExampleMaker], Examples]) -> Callable[[ExampleMaker], Examples]:
    def batch(maker: ExampleMaker) -> Examples:
        maker.config = replace(maker.config, back=1, own=0, across=1)
        return whole(maker)

    return batch


@pytest.fixture
def out(tmp_path: Path, untrained: Path) -> Path:
    # An adapter's generator is looked for beside it.
    (tmp_path / untrained.name).write_bytes(untrained.read_bytes())
    return tmp_path / "pair.safetensors"


@pytest.fixture(scope="module")
def reader() -> SourceReader:
    return SourceReader.load()


def test_a_photograph_and_a_clip_make_a_checkpoint_that_run_takes(
    source_picture: Path, target_clip: Path, untrained: Path, out: Path
) -> None:
    result = tune(
        source_picture, target_clip, "-o", out, "--minutes", MOMENT,
        "--checkpoint", untrained, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["source_shots"] == 1 and report["target_shots"] == 4
    assert report["images"] > 0 and "1 frame(s)" in report["warnings"][0]
    with safe_open(out, framework="pt") as file:
        marks = file.metadata()
    assert marks["architecture"] == "apgan-adapter"
    assert marks["base_sha256"] == load_generator(untrained).sha256
    assert int(marks["images"]) == report["images"] and float(marks["minutes"]) > 0
    swapped = out.with_name("swapped.png")
    preview = ["preview", str(source_picture), str(target_clip), "-o", str(swapped)]
    shown = CliRunner().invoke(main, [*preview, "--checkpoint", str(out)])
    assert shown.exit_code == 0 and swapped.is_file(), shown.output


def test_ctrl_c_keeps_what_was_learnt(
    source_picture: Path, target_clip: Path, untrained: Path, out: Path
) -> None:
    def interrupt(_progress: object) -> None:
        raise KeyboardInterrupt

    options = TuneOptions(minutes=60.0, checkpoint=untrained)
    result = tune_pair([source_picture], target_clip, out, options, interrupt)
    assert result.interrupted and result.images == 2
    assert load_generator(out).images_trained == result.images


def test_a_full_disk_is_one_line_and_leaves_nothing(
    source_picture: Path,
    target_clip: Path,
    untrained: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vidswap.models.checkpoint_file.os.fsync", full)
    monkeypatch.setattr("vidswap.tuning.tune._train", lambda *_: (0.1, False, {}))
    result = tune(
        source_picture, target_clip, "-o", out, "--minutes", MOMENT, "--checkpoint", untrained,
        "--quiet",
    )  # fmt: skip
    assert_refused(result, 9, "no space left", "pair.safetensors")
    assert [p.name for p in out.parent.iterdir()] == [untrained.name]


def test_an_existing_output_is_kept_before_any_work(
    source_picture: Path, target_clip: Path, out: Path
) -> None:
    out.write_bytes(b"precious")
    result = tune(source_picture, target_clip, "-o", out, "--checkpoint", "absent.safetensors")
    assert_refused(result, 7, "pair.safetensors", "--overwrite")
    assert out.read_bytes() == b"precious"


def test_a_source_without_a_face(
    target_clip: Path, out: Path, untrained: Path, tmp_path: Path
) -> None:
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), np.full((200, 200, 3), 128, np.uint8))
    result = tune(grey, target_clip, "-o", out, "--checkpoint", untrained)
    assert_refused(result, 5, "grey.png", "no face")
    assert not out.exists()


def test_a_target_without_a_face(
    source_picture: Path, faceless_clip: Path, out: Path, untrained: Path
) -> None:
    result = tune(source_picture, faceless_clip, "-o", out, "--checkpoint", untrained)
    assert_refused(result, 15, "faceless.mp4", "no face found")
    assert not out.exists()


def test_a_target_that_does_not_show_the_chosen_face(
    source_picture: Path, target_clip: Path, out: Path, untrained: Path
) -> None:
    result = tune(
        source_picture, target_clip, "-o", out, "--checkpoint", untrained, "--face", source_picture
    )
    assert_refused(result, 15, "hopper.mp4", "not the person of --face")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "pair.mp4"), ("pair.mp4", ".safetensors")),
        (("--minutes", "0"), ("minutes 0.0", "more than 0")),
        (("--minutes", "nan"), ("minutes nan",)),
        (("--k-shot", "0"), ("k-shot 0",)),
        (("--face", "all"), ("--face all", "PICTURE")),
    ],
)
def test_options_out_of_range(
    source_picture: Path,
    target_clip: Path,
    out: Path,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    assert_refused(tune(source_picture, target_clip, "-o", out, *arguments), 2, *words)


def test_a_target_that_is_a_picture_or_a_folder(source_picture: Path, out: Path) -> None:
    assert_refused(tune(source_picture, source_picture, "-o", out), 2, "is a picture", "clip")
    assert_refused(tune(source_picture, out.parent, "-o", out), 2, "is a folder", "clip")


def test_inputs_that_are_not_there(source_picture: Path, target_clip: Path, out: Path) -> None:
    assert_refused(tune("absent.jpg", target_clip, "-o", out), 3, "absent.jpg")
    assert_refused(tune(source_picture, "absent.mp4", "-o", out), 3, "absent.mp4")
    assert_refused(
        tune(source_picture, target_clip, "-o", out, "--checkpoint", "absent.safetensors"),
        11,
        "absent.safetensors",
    )


def test_a_tuned_checkpoint_is_not_tuned_again(
    source_picture: Path, target_clip: Path, out: Path, untrained: Path
) -> None:
    from tests.models.test_adapter import Adapter, origin

    base = load_generator(untrained)
    about = origin(base)
    save_adapter(Adapter(base.net, 2).tensors(), out, about)
    again = out.with_name("again.safetensors")
    result = tune(source_picture, target_clip, "-o", again, "--checkpoint", out)
    assert_refused(result, 11, "pair.safetensors", "was tuned itself")


def test_only_faces_of_the_source_s_person_are_learnt(
    source_picture: Path, target_clip: Path, tmp_path: Path, reader: SourceReader
) -> None:
    identity = reader.read([source_picture]).identity
    both = tmp_path / "both.png"
    hopper = cv2.resize(grace_hopper(), (432, 512))
    cv2.imwrite(str(both), np.concatenate([astronaut(), hopper], axis=1)[:, :, ::-1])
    shots = read_source_shots(reader, [both, target_clip], identity)
    alone = read_source_shots(reader, [source_picture], identity)
    assert len(shots) == 1
    assert np.abs(shots[0].landmarks - alone[0].landmarks).mean() < 3.0


def test_a_folder_of_photographs_is_read(
    source_picture: Path, tmp_path: Path, reader: SourceReader
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(source_picture.read_bytes())
    identity = reader.read([tmp_path]).identity
    assert len(read_source_shots(reader, [tmp_path], identity)) == 2


def test_settings_are_checked_when_they_are_made() -> None:
    with pytest.raises(BadOptionError):
        TuneOptions(minutes=-1.0)
