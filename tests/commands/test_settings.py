"""Settings from a TOML file: flags win over it, it wins over the defaults."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from vidswap.commands.main import main
from vidswap.commands.settings import read_settings, settable, settings_as_toml
from vidswap.swap.options import SwapOptions


def printed(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["run", "--print-settings", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return tomllib.loads(result.output)


def refused(*arguments: object) -> tuple[int, str]:
    result: Result = CliRunner().invoke(main, ["run", *map(str, arguments)])
    (line,) = result.stderr.splitlines()
    return result.exit_code, line


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_flags_win_over_the_file_and_the_file_over_the_defaults(file: Path) -> None:
    file.write_text('crf = 14\nk_shot = 3\ncolour-match = 1\nmask = "square"\noverwrite = true\n')
    found = printed("--settings", file, "--k-shot", "5", "--no-overwrite")
    assert found["crf"] == 14 and found["colour-match"] == 1.0 and found["mask"] == "square"
    assert found["k-shot"] == 5 and found["overwrite"] is False
    assert found["temporal-smoothing"] == SwapOptions().temporal_smoothing


def test_printed_settings_are_read_back_as_they_were(file: Path) -> None:
    options = SwapOptions(
        k_shot=7, face=Path('a "quoted"\\\tname 漢字.jpg'), source_face="largest", mask="outline",
        reference=False, colour_match=0.3, temporal_smoothing=0.0, start=1.5, end=2.25,
        codec="hevc", crf=0, device="cpu", precision="fp32", batch_size=3, hwaccel="vaapi",
        max_memory=3 * 2**29, max_vram=1234567, checkpoint=Path("sub/net.safetensors"),
        overwrite=True, resume=False, no_provenance="a \x7f test", detector="face-alignment",
    )  # fmt: skip
    file.write_text(settings_as_toml(options), encoding="utf-8")
    again = SwapOptions(**read_settings(file, SwapOptions))
    assert asdict(again) == asdict(options)


def test_printing_what_was_printed_changes_nothing(file: Path) -> None:
    arguments = ["run", "--print-settings", "--match-bitrate", "--max-vram", "1.5G", "--no-resume"]
    first = CliRunner().invoke(main, arguments).output
    file.write_text(first)
    assert CliRunner().invoke(main, ["run", "--print-settings", "--settings", file]).output == first
    assert 'max-vram = "1536M"' in first.splitlines()


def test_every_setting_is_printed_with_its_help() -> None:
    text = settings_as_toml(SwapOptions())
    for each in settable(SwapOptions):
        assert f"{each.key} =" in text
        assert each.text.help.split(";")[0] in text.replace("\n# ", " ")
    assert max(map(len, text.splitlines())) <= 80


def test_a_quality_by_flag_replaces_the_bit_rate_of_the_file(file: Path) -> None:
    file.write_text("match-bitrate = true\n")
    found = printed("--settings", file, "--crf", "20")
    assert found["crf"] == 20 and found["match-bitrate"] is False
    file.write_text("crf = 20\n")
    assert "crf" not in printed("--settings", file, "--match-bitrate")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("crff = 1", ("unknown setting crff", "allowed: k-shot,", "temporal-smoothing")),
        ('output = "a.mp4"', ("unknown setting output",)),
        ("segment-frames = 1", ("unknown setting segment-frames",)),
        ("k-shot = 0", ("k-shot = 0", "1 or more")),
        ('k-shot = "ten"', ('k-shot = "ten"', "1 or more")),
        ("k-shot = true", ("k-shot = true", "1 or more")),
        ("overwrite = 1", ("overwrite = 1", "true or false")),
        ('mask = "oval"', ('mask = "oval"', "face, outline, square")),
        ("temporal_smoothing = 1", ("temporal_smoothing = 1", "from 0 to below 1")),
        ('max-memory = "2T"', ('max-memory = "2T"', "800M, 2G")),
        ("checkpoint = 3", ("checkpoint = 3", "a path in quotes")),
        ("crf = 1\ncrf = 2", ("not TOML",)),
        ("k-shot = 1\nk_shot = 2", ("k_shot is set twice",)),
    ],
)
def test_a_wrong_setting_is_refused_by_file_and_key(
    file: Path, line: str, words: tuple[str, ...]
) -> None:
    file.write_text(line)
    code, said = refused("--settings", file, "a.jpg", "b.mp4", "-o", "c.mp4")
    assert code == 2 and str(file) in said
    for word in words:
        assert word in said


def test_a_missing_settings_file_is_named(file: Path) -> None:
    code, said = refused("--settings", file)
    assert code == 3 and str(file) in said


@pytest.mark.parametrize(
    ("given", "missing"), [((), "SOURCES"), (("b.mp4",), "SOURCES"), (("a.jpg", "b.mp4"), "-o")]
)
def test_without_printing_the_files_are_required(given: tuple[str, ...], missing: str) -> None:
    code, said = refused(*given)
    assert code == 2 and "Missing" in said and missing in said


def test_preview_takes_the_settings_of_a_run(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[SwapOptions] = []

    def note(sources: object, target: object, output: object, at: object, o: SwapOptions) -> float:
        asked.append(o)
        return 0.0

    monkeypatch.setattr("vidswap.swap.preview.preview_frame", note)
    file.write_text('crf = 14\nmask = "square"\n')
    arguments = ["preview", "a.jpg", "b.mp4", "-o", "c.png", "--settings", str(file)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert asked[0].mask == "square"
