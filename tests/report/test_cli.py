"""The command `report`: what it writes, what it refuses, and when it leaves with 1."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.report.clips import FRAMES, brighter_face, write
from tests.report.examples import example
from vidswap.commands.main import main
from vidswap.commands.report import report
from vidswap.errors import (
    BadOptionError,
    InputNotFoundError,
    OutputExistsError,
    OutputNotWritableError,
)
from vidswap.metrics.record import Report
from vidswap.report import measure as report_measure


class _Nets:
    def close(self) -> None:
        pass


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Names of files that exist; what they hold is not read."""
    paths = [tmp_path / name for name in ("target.mp4", "a.mp4", "b.mp4")]
    for path in paths:
        path.write_bytes(b"clip")
    return paths


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The report made by hand stands for measuring; what was asked for is noted."""
    calls: list[Any] = []

    def measure(
        target: Path,
        swapped: Path,
        source: Sequence[Path],
        options: object,
        progress: Callable[[int, int], None],
        nets: object,
    ) -> Report:
        calls.append((target, swapped, tuple(source), options))
        progress(50, 50)
        return example(target=str(target), swapped=str(swapped))

    monkeypatch.setattr(report_measure, "measure_clip", measure)
    monkeypatch.setattr(report_measure, "load_report_nets", lambda options: _Nets())
    return calls


def run(*arguments: object) -> Result:
    return CliRunner().invoke(report, [str(a) for a in arguments])


def test_a_swap_is_measured_and_written_in_all_forms(tmp_path: Path) -> None:
    target = write(tmp_path / "target.mkv")
    swapped = write(tmp_path / "swap.mkv", brighter_face(40.0))
    page, values, curves = (tmp_path / name for name in ("r.html", "r.json", "r.csv"))
    result = run(
        *("--target", target, "--swapped", swapped, "-o", page, "--json", values, "--csv", curves),
        *("--fail-on", "ssim_outside>=0.9", "--fail-on", "colour_shift<=6"),
    )
    assert result.exit_code == 1, result.output
    assert "colour_shift <= 6 is broken" in result.stderr and "ssim_outside" not in result.stderr
    assert result.stdout.startswith("Breaks ")
    html = page.read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>") and "swap.mkv" in html
    assert html.count("data:image/jpeg") >= 3
    read = json.loads(values.read_text())
    assert read["frames"] == FRAMES and read["figures"]["colour_shift"]["value"] > 6
    assert read["figures"]["cosine_to_source"]["absent"] == "no source was given"
    assert len(list(csv.DictReader(curves.open()))) == FRAMES
    leftovers = [p.name for p in tmp_path.iterdir() if ".part" in p.name]
    assert leftovers == []


def test_swaps_are_compared_on_one_page(
    clips: list[Path], asked: list[Any], tmp_path: Path
) -> None:
    target, a, b = clips
    page, values, table = (tmp_path / name for name in ("c.html", "c.json", "c.csv"))
    result = run(
        *("--target", target, "--compare", a, b, "-o", page, "--json", values, "--csv", table)
    )
    assert result.exit_code == 0, result.output
    assert [call[1] for call in asked] == [a, b]
    assert "2 swaps compared" in page.read_text(encoding="utf-8")
    assert [swap["name"] for swap in json.loads(values.read_text())["swaps"]] == ["a.mp4", "b.mp4"]
    assert "a.mp4" in table.read_text() and "1. a.mp4" in result.stdout


def test_options_reach_the_measuring(clips: list[Path], asked: list[Any]) -> None:
    target, a, b = clips
    result = run(
        *("--target", target, "--swapped", a, "--source", b, "--source", b, "--start", 1.5),
        *(
            "--limit",
            "seam=9",
            "--limit",
            "pose_distance=none",
            "--face",
            b,
            "--id-model",
            "n.onnx",
        ),
    )
    assert result.exit_code == 0, result.output
    _, _, source, options = asked[0]
    assert source == (b, b) and options.start == 1.5 and options.face == b
    assert options.limits == {"seam": 9.0, "pose_distance": None}
    assert options.id_model == Path("n.onnx")


@pytest.mark.parametrize(
    ("limits", "code", "said"),
    [
        (["seam<=6"], 0, ""),
        (["seam<=5"], 1, "seam <= 5 is broken: 5.1"),
        (["seam<=5", "pose_distance<=3"], 1, "pose_distance <= 3 is broken: 3.456"),
        (["lpips<=0.2"], 1, "no value: its weights are in no package"),
        (["verdict"], 1, "flow_warp_ratio <= 1.15 is broken: 1.538"),
    ],
)
def test_fail_on_decides_the_exit_code(
    clips: list[Path], asked: list[Any], limits: list[str], code: int, said: str
) -> None:
    given = [part for limit in limits for part in ("--fail-on", limit)]
    result = run("--target", clips[0], "--swapped", clips[1], "--quiet", *given)
    assert result.exit_code == code and said in result.stderr
    assert result.stdout == ""


def test_fail_on_names_the_swap_that_breaks_it(clips: list[Path], asked: list[Any]) -> None:
    result = run("--target", clips[0], "--compare", *clips[1:], "--fail-on", "seam<=5")
    assert result.exit_code == 1
    assert "vidswap: b.mp4: seam <= 5 is broken" in result.stderr


def test_json_to_the_terminal_is_json_alone(clips: list[Path], asked: list[Any]) -> None:
    result = run("--target", clips[0], "--swapped", clips[1], "--json", "-")
    assert json.loads(result.stdout)["frames"] == 50
    assert "warning: the swap is 2.00 s long" in result.stderr


REFUSED = (
    ((), BadOptionError, "give --swapped"),
    (("--compare", "{a}"), BadOptionError, "give 2 to 6"),
    (("--compare", *["{a}"] * 7), BadOptionError, "give 2 to 6"),
    (("{a}", "{b}"), BadOptionError, "--compare"),
    (("--swapped", "{a}", "--compare", "{a}", "{b}"), BadOptionError, "without --swapped"),
    (("--swapped", "{a}", "-o", "{a}", "--overwrite"), BadOptionError, "would overwrite"),
    (("--swapped", "{a}", "-o", "{b}"), OutputExistsError, "--overwrite"),
    (("--swapped", "{a}", "-o", "none/r.html"), OutputNotWritableError, "no such folder"),
    (("--swapped", "{a}", "-o", "{t}.x", "--csv", "{t}.x"), BadOptionError, "two outputs"),
    (("--swapped", "{a}", "--fail-on", "beauty>=1"), BadOptionError, "beauty"),
    (("--swapped", "{a}", "--limit", "seam"), BadOptionError, "NAME=NUMBER"),
    (("--swapped", "{a}", "--limit", "seam=much"), BadOptionError, "NAME=NUMBER"),
    (("--swapped", "{a}", "--limit", "beauty=1"), BadOptionError, "beauty"),
    (("--swapped", "none.mp4"), InputNotFoundError, "no such file"),
)


@pytest.mark.parametrize(("arguments", "error", "said"), REFUSED)
def test_what_is_wrong_is_refused_before_any_measuring(
    clips: list[Path],
    asked: list[Any],
    arguments: tuple[str, ...],
    error: type[Exception],
    said: str,
) -> None:
    names = {"t": clips[0], "a": clips[1], "b": clips[2]}
    result = run("--target", clips[0], *(a.format(**names) for a in arguments))
    assert isinstance(result.exception, error), result.exception
    assert said in str(result.exception) and asked == []


@pytest.mark.parametrize("page", ["{t}", "{a}", "new.mp4"])
def test_the_page_of_a_run_overwrites_neither_its_inputs_nor_its_output(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = [path.read_bytes() for path in clips[:2]]
    page = page.format(t=clips[0], a=clips[1])
    arguments = [str(clips[1]), str(clips[0]), "-o", "new.mp4", "--overwrite", "--report", page]
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == BadOptionError.exit_code and "would overwrite" in result.output
    assert [path.read_bytes() for path in clips[:2]] == before
    assert not Path("new.mp4").exists()
