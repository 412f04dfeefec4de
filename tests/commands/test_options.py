"""An option is written once: flags, ranges, resume key, marks and docs follow from its field."""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pipelines.options_table import page
from vidswap.commands.main import main
from vidswap.errors import BadOptionError
from vidswap.evaluation.evaluate import EvaluationOptions
from vidswap.options import option_of, options_of
from vidswap.provenance.record import recorded_settings
from vidswap.report.measure import ReportOptions
from vidswap.swap.context_options import ContextOptions
from vidswap.swap.inpaint_options import InpaintOptions
from vidswap.swap.options import SwapOptions
from vidswap.swap.resume import facts_of
from vidswap.training.data.build import DatasetOptions
from vidswap.training.run import TrainJob
from vidswap.tuning.options import TuneOptions

REPOSITORY = Path(__file__).resolve().parents[2]
SWAP_OPTIONS = [each.name for each in options_of(SwapOptions)]

# Another allowed value of every option; files are made by the test.
OTHERS: dict[str, Any] = {
    "k_shot": 3, "source_face": "largest", "face": "all", "cast": "auto",
    "detector": "face-alignment", "checkpoint": Path("other.safetensors"), "mask": "square",
    "reference": False, "fill_source": True,
    "colour_match": 0.1, "reference_weight": 0.25, "shape": 0.5, "detail": 0.5,
    "temporal_smoothing": 0.2, "start": 1.0, "end": 2.0, "codec": "ffv1", "crf": 30,
    "preset": "medium", "match_bitrate": True, "audio_codec": "aac", "audio_bitrate": 64,
    "device": "cuda",
    "precision": "fp16", "batch_size": 2, "hwaccel": "cuda", "max_memory": 10**9,
    "max_vram": 10**9, "sign_key": Path("key.pem"), "sign_cert": Path("cert.pem"),
    "fps": 30.0, "first_frame": 1001, "colour_space": "linear",
    "layers": Path("layers"), "face_clip": Path("face.mov"),
    "layer_format": "png", "only_faces": True,
    "no_provenance": "a test", "overwrite": True, "resume": False, "segment_frames": 20,
}  # fmt: skip
PIXELS = {
    "k_shot", "source_face", "face", "cast", "detector", "checkpoint", "mask", "reference",
    "fill_source",
    "colour_match", "reference_weight", "shape", "detail", "temporal_smoothing", "start", "end",
    "codec", "crf", "match_bitrate", "device", "precision", "batch_size", "max_memory",
    "segment_frames", "fps", "first_frame", "colour_space", "layers", "layer_format", "only_faces",
    "preset",
    "face_clip",
}  # fmt: skip
RECORDED = (
    PIXELS
    - {
        "checkpoint",
        "max_memory",
        "segment_frames",
        "fps",
        "first_frame",
        "colour_space",
        "layers",
        "layer_format",
        "only_faces",
        "face_clip",
    }
) | {"no_provenance", "audio_codec", "audio_bitrate"}


def command(*names: str) -> click.Command:
    found: click.Command = main
    for name in names:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return found


def click_defaults(*names: str) -> dict[str, Any]:
    return command(*names).make_context(names[-1], [], resilient_parsing=True).params


@pytest.mark.parametrize(
    ("names", "owner"),
    [
        (("run",), SwapOptions), (("preview",), SwapOptions), (("tune",), TuneOptions),
        (("report",), ReportOptions), (("evaluate",), EvaluationOptions),
        (("dataset", "build"), DatasetOptions), (("train", "apgan"), TrainJob),
        (("inpaint",), InpaintOptions), (("context",), ContextOptions),
    ],
)  # fmt: skip
def test_the_defaults_of_a_command_are_those_of_its_dataclass(
    names: tuple[str, ...], owner: type
) -> None:
    told = click_defaults(*names)
    fields = {f.name: f.default for f in dataclasses.fields(owner)}
    both = {name for name in fields.keys() & told.keys() if fields[name] is not MISSING}
    assert len(both) > 4
    assert {name: told[name] for name in both} == {name: fields[name] for name in both}


def test_run_has_a_flag_for_every_option() -> None:
    flags = {flag for p in command("run").params for flag in (*p.opts, *p.secondary_opts)}
    for each in options_of(SwapOptions):
        assert (each.flag in flags) == (each.name != "segment_frames")


def test_tune_differs_from_run_in_no_default() -> None:
    for each in options_of(TuneOptions):
        if each.name != "minutes":
            assert each.default == option_of(SwapOptions, each.name).default


def changed(name: str, tmp_path: Path) -> SwapOptions:
    """The defaults but for one option, and for what goes with it."""
    values = {name: OTHERS[name]}
    if isinstance(values[name], Path):
        values[name] = tmp_path / values[name]
        values[name].write_bytes(b"other")
    if name == "match_bitrate":
        values["crf"] = None
    options = SwapOptions(**values) if name not in ("sign_key", "sign_cert") else SwapOptions()
    if name in ("sign_key", "sign_cert"):  # refused one without the other
        object.__setattr__(options, name, values[name])
    return options


def resume_key(options: SwapOptions) -> dict[str, str]:
    """The facts, with nets that are what the options ask for."""
    target = Path("target.mp4")
    checkpoint = "packaged" if options.checkpoint is None else options.checkpoint.name
    nets: Any = SimpleNamespace(
        device=options.device, dtype=options.precision, generator=SimpleNamespace(sha256=checkpoint)
    )
    return facts_of(target, {target: "0"}, ["a"], dataclasses.asdict(options), nets)


def test_every_option_has_another_value_here() -> None:
    assert set(OTHERS) == set(SWAP_OPTIONS)
    assert all(OTHERS[each.name] != each.default for each in options_of(SwapOptions))


@pytest.mark.parametrize("name", SWAP_OPTIONS)
def test_the_resume_key_changes_with_what_decides_over_the_pixels(
    name: str, tmp_path: Path
) -> None:
    before, after = resume_key(SwapOptions()), resume_key(changed(name, tmp_path))
    different = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert (name in different) == (name in PIXELS)
    assert different <= {name, "crf"}


@pytest.mark.parametrize("name", SWAP_OPTIONS)
def test_the_marks_tell_what_is_recorded(name: str, tmp_path: Path) -> None:
    options = changed(name, tmp_path)
    told = recorded_settings(dataclasses.asdict(options))
    assert set(told) == RECORDED
    if name in RECORDED:
        assert told[name] == OTHERS[name]


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("--k-shot", "0", "1 or more"), ("--batch-size", "0", "1 or more"),
        ("--crf", "-1", "0 or more"), ("--start", "-0.5", "0 or more"),
        ("--colour-match", "1.01", "from 0 to 1"), ("--colour-match", "nan", "from 0 to 1"),
        ("--temporal-smoothing", "1", "from 0 to below 1"),
        ("--steadiness", "1", "from 0 to below 1"),
        ("--mask", "oval", "'face', 'outline', 'square'"), ("--max-memory", "2T", "800M, 2G"),
        ("--k-shot", "many", "integer"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_in_one_line(flag: str, value: str, allowed: str) -> None:
    result = CliRunner().invoke(main, ["run", "a.jpg", "b.mp4", "-o", "c.mp4", flag, value])
    (line,) = result.stderr.splitlines()
    assert result.exit_code == 2
    assert line.startswith("vidswap: ") and value in line and allowed in line


@pytest.mark.parametrize(("value", "greatest"), [(-0.01, False), (0.0, True), (1.0, False)])
def test_the_ends_of_a_range_hold_in_python_too(value: float, greatest: bool) -> None:
    if greatest:
        assert SwapOptions(temporal_smoothing=value).temporal_smoothing == value
        return
    with pytest.raises(BadOptionError, match=r"--temporal-smoothing .* from 0 to below 1"):
        SwapOptions(temporal_smoothing=value)


def test_a_word_that_is_no_choice_is_refused_in_python_too() -> None:
    with pytest.raises(BadOptionError, match="--mask oval; it must be one of face, outline"):
        SwapOptions(mask="oval")  # type: ignore[arg-type]


def test_options_are_given_by_name_only() -> None:
    with pytest.raises(TypeError):
        SwapOptions(10)  # type: ignore[misc]


def test_the_old_name_of_temporal_smoothing_still_works() -> None:
    result = CliRunner().invoke(main, ["run", "--print-settings", "--steadiness", "0.25"])
    assert "temporal-smoothing = 0.25" in result.output.splitlines()


def test_the_old_name_of_the_detector_still_works(tmp_path: Path) -> None:
    assert SwapOptions(detector="mediapipe").detector == "blazeface"  # type: ignore[arg-type]
    (tmp_path / "old.toml").write_text('detector = "mediapipe"\n')
    for given in (["--detector", "mediapipe"], ["--settings", str(tmp_path / "old.toml")]):
        result = CliRunner().invoke(main, ["run", *given, "--print-settings"])
        assert 'detector = "blazeface"' in result.stdout
    assert "mediapipe" not in CliRunner().invoke(main, ["run", "--help"]).output


def test_the_options_page_is_current() -> None:
    """Otherwise: python -m pipelines.options_table > docs/options.md"""
    assert (REPOSITORY / "docs" / "options.md").read_text(encoding="utf-8") == page()
