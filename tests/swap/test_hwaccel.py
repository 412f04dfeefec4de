"""`--hwaccel`: refused before any work where no device decodes, told where one does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from vidswap import doctor
from vidswap.commands.main import main
from vidswap.media import hardware
from vidswap.media.hardware import decoding_kinds, device_complaint, working_devices
from vidswap.provenance.record import recorded_settings
from vidswap.swap.options import SwapOptions
from vidswap.swap.plan import TargetPlan
from vidswap.swap.plan_text import _target_lines
from vidswap.swap.resume import facts_of


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def told(result: Result, code: int) -> str:
    """The one line of a refusal."""
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("vidswap: ")
    return line


@pytest.fixture
def unnetted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads a net has begun to work."""

    def loads(*_: object, **__: object) -> None:
        raise AssertionError("the nets were loaded")

    monkeypatch.setattr("vidswap.swap.worker.load_nets", loads)


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["run", "plan"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nonsense", "unknown hardware decoder 'nonsense'"),
        ("qsv", "qsv decodes nothing here"),
        ("cuda:99", "cuda"),
    ],
)
@pytest.mark.usefixtures("unnetted")
def test_a_device_that_is_not_here_ends_the_run_before_its_work(
    source_picture: Path,
    target_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    words: str,
    more: tuple[str, ...],
) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    out.mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    result = run(source_picture, target_clip, "-o", out / "o.mp4", "--hwaccel", name, *more)
    line = told(result, 10)
    assert words in line and "leave --hwaccel out" in line
    if name == "cuda:99" and "cuda" in decoding_kinds():
        assert f"({device_complaint(name)})" in line
    assert list(out.iterdir()) == [] and not home.exists()


@pytest.mark.usefixtures("unnetted")
def test_a_picture_is_not_decoded_by_a_device(source_picture: Path, tmp_path: Path) -> None:
    result = run(source_picture, source_picture, "-o", tmp_path / "o.png", "--hwaccel", "cuda")
    assert "is a picture; leave it out" in told(result, 2)
    assert list(tmp_path.iterdir()) == []


def test_work_is_gone_on_with_on_another_decoder(tmp_path: Path) -> None:
    nets: Any = SimpleNamespace(
        generator=SimpleNamespace(sha256="f"), device="cpu", dtype="torch.float32"
    )
    target = tmp_path / "in.mp4"
    by_device, by_processor, other = (
        facts_of(target, {target: "a"}, ["b.png"], vars(SwapOptions(**settings)), nets)
        for settings in ({"hwaccel": "cuda"}, {}, {"crf": 12})
    )
    assert by_device == by_processor != other


def test_marks_do_not_tell_the_decoder() -> None:
    assert recorded_settings({"hwaccel": "vaapi:/dev/dri/renderD128", "crf": 18}) == {"crf": 18}


def test_the_plan_tells_the_decoder_where_one_is_named() -> None:
    plain = TargetPlan(
        "in.mp4", "video", "h264", "yuv420p", 320, 240, 0, False, "progressive", 25.0, False, 12,
        0.48,
    )  # fmt: skip
    named = TargetPlan(**{**vars(plain), "decoder": "cuda:1"})
    lines: list[list[str]] = [
        _target_lines(SimpleNamespace(target=target))  # type: ignore[arg-type]
        for target in (plain, named)
    ]
    assert lines[1] == [*lines[0], "decoded by cuda:1"]


def test_doctor_lists_the_devices_that_can_be_opened() -> None:
    (finding,) = doctor.check_decoders()
    assert (finding.name, finding.state) == ("hardware decoders", "ok")
    if working_devices():
        assert finding.found == ", ".join(working_devices()) and not finding.fix
    else:
        assert finding.found.startswith("none here (") and "driver" in finding.fix
    assert ("decoders", doctor.check_decoders) in doctor.CHECKS


@pytest.mark.parametrize(
    ("complaints", "found"),
    [
        ({"cuda": None, "vaapi": "no such file"}, "cuda"),
        ({"cuda": None, "vaapi": None}, "cuda, vaapi"),
        ({"vaapi": "no such file"}, "none here (vaapi: no such file)"),
        ({}, "none here (PyAV has none)"),
    ],
)
def test_doctor_says_why_there_is_none(
    monkeypatch: pytest.MonkeyPatch, complaints: dict[str, str | None], found: str
) -> None:
    monkeypatch.setattr(hardware, "decoding_kinds", lambda: tuple(complaints))
    monkeypatch.setattr(hardware, "device_complaint", complaints.__getitem__)
    (finding,) = doctor.check_decoders()
    assert finding.found == found
    assert bool(finding.fix) == found.startswith("none")


def test_help_says_what_decodes_without_it() -> None:
    said = " ".join(CliRunner().invoke(main, ["run", "--help"]).output.split())
    assert "--hwaccel DEVICE" in said and "default: the software decoder" in said
