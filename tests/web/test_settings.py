"""The form is made from the options, and what it sends is checked as theirs."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_options import OTHERS, changed
from vidswap.commands.main import main
from vidswap.errors import BadOptionError
from vidswap.options import option_of, options_of
from vidswap.swap.command_line import arguments_of, command_line
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest
from vidswap.web.options import UiOptions
from vidswap.web.roots import Roots
from vidswap.web.settings import OFFERED, fields, options_of_page, output_for, request_of_page
from vidswap.web.uploads import safe_name


def parsed(arguments: list[str]) -> dict[str, Any]:
    """What the command line makes of arguments."""
    command = main.get_command(None, arguments[0])  # type: ignore[arg-type]
    assert command is not None
    return command.make_context("run", arguments[1:]).params


@pytest.mark.parametrize("name", [each.name for each in options_of(SwapOptions)])
def test_the_command_line_does_what_the_request_does(name: str, tmp_path: Path) -> None:
    options = changed(name, tmp_path)
    request = SwapRequest.of(["a b.jpg", "-c.jpg"], "it's.mp4", "out.mp4", options)
    arguments = shlex.split(command_line(request))
    assert arguments == ["vidswap", *arguments_of(request)]
    found = parsed(arguments[1:])
    assert found["sources"] == (Path("a b.jpg"), Path("-c.jpg"))
    assert (found["target"], found["output"]) == (Path("it's.mp4"), Path("out.mp4"))
    own = {each.name for each in options_of(SwapOptions) if each.text.on_command_line}
    given = {key: value for key, value in found.items() if key in own}
    if name not in ("sign_key", "sign_cert"):  # refused one without the other
        assert SwapOptions(**given) == replace(options, segment_frames=250)
    elif name in own:
        assert given[name] == getattr(options, name)


def test_a_command_of_defaults_is_short() -> None:
    assert command_line(SwapRequest.of(["a.jpg"], "b.mp4", "c.mp4")) == (
        "vidswap run a.jpg b.mp4 -o c.mp4"
    )


def test_every_field_is_an_option_with_its_words_and_its_range() -> None:
    shown = {field.name: field for own in fields().values() for field in own}
    assert set(shown) == set(OFFERED) - {"overwrite"}
    for name, field in shown.items():
        each = option_of(SwapOptions, name)
        assert field.help == each.text.help and field.flag == each.flag
        assert field.default == each.default
    assert shown["mask"].choices == ("face", "outline", "square")
    assert (shown["colour_match"].least, shown["colour_match"].greatest) == (0, 1)
    smoothing = shown["temporal_smoothing"]
    assert smoothing.greatest is not None and smoothing.greatest < 1
    for name in ("mask", "colour_match", "temporal_smoothing", "reference", "checkpoint"):
        assert shown[name].shows == "frame"
    assert shown["codec"].shows == shown["crf"].shows == "coded"


@pytest.mark.parametrize("name", OFFERED)
def test_a_value_of_the_page_becomes_the_option(name: str, tmp_path: Path) -> None:
    value = Path("cast") if name == "cast" else OTHERS[name]
    if isinstance(value, Path):
        value = tmp_path / value
    sent = str(value) if isinstance(value, Path) else value
    options = options_of_page({name: sent}, Roots([tmp_path]), 250)
    assert getattr(options, name) == value


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("mask", "oval", "one of face"), ("colour_match", 1.5, "from 0 to 1"),
        ("colour_match", "0.5", "from 0 to 1"), ("crf", -1, "0 or more"), ("crf", 1.5, "0 or more"),
        ("temporal_smoothing", 1, "below 1"), ("reference", "yes", "true or false"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed_is_named(
    name: str, value: object, words: str, tmp_path: Path
) -> None:
    with pytest.raises(BadOptionError, match=words):
        options_of_page({name: value}, Roots([tmp_path]), 250)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sources": []}, "no source is chosen"), ({"sources": None}, "no source is chosen"),
        ({"target": None}, "no target is chosen"), ({"sources": ["/x"] * 65}, "65 sources"),
    ],
)  # fmt: skip
def test_what_is_not_chosen_yet_is_asked_for(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    given = {"sources": [str(tmp_path / "a")], "target": str(tmp_path / "b")} | changes
    with pytest.raises(BadOptionError, match=words):
        request_of_page(given, Roots([tmp_path, Path("/x")]), 250)


def test_an_output_is_a_name_that_is_free_and_of_the_targets_kind(tmp_path: Path) -> None:
    target = tmp_path / "shot.MOV"
    assert output_for(target, tmp_path) == tmp_path / "shot-swapped.mov"
    (tmp_path / "shot-swapped.mov").touch()
    assert output_for(target, tmp_path) == tmp_path / "shot-swapped-2.mov"
    assert output_for(tmp_path / "a.avi", tmp_path).suffix == ".mp4"
    assert output_for(tmp_path / "a.png", tmp_path).suffix == ".png"


@pytest.mark.parametrize("name", ["a/b", "a\\b", "..", ".", "", " . ", "a\u202eb", "\ud800", "/"])
def test_a_safe_name_stays_in_its_folder(name: str) -> None:
    safe = safe_name(name)
    assert safe and Path(safe).name == safe and safe.isprintable() and safe not in (".", "..")
    assert safe_name(safe) == safe


def test_ports_of_the_system_are_refused() -> None:
    with pytest.raises(BadOptionError, match="--port 80; it must be 0, or from 1024"):
        UiOptions(port=80)
