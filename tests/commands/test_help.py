"""What `--help` says of every command, and what it does not load for that."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from vidswap.commands.main import main

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "cv2", "numpy", "scipy", "numba", "llvmlite", "av", "PIL", "tqdm")
COMMON = ("--verbose", "--log-file", "--debug", "--help")


def all_commands(
    group: click.Group = main, names: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    yield names
    for name, found in group.commands.items():
        if isinstance(found, click.Group):
            yield from all_commands(found, (*names, name))
        else:
            yield (*names, name)


EVERY = list(all_commands())


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments), env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


def sections(text: str) -> dict[str, str]:
    """What stands under each heading."""
    parts = re.split(r"^(\S.*):$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("names", EVERY, ids=" ".join)
def test_help_fits_a_terminal_of_80_columns(names: tuple[str, ...]) -> None:
    text = shown(*names, "--help")
    assert max(map(len, text.splitlines())) <= 80
    assert "\u00a0" not in text


@pytest.mark.parametrize("names", EVERY, ids=" ".join)
def test_every_command_has_the_message_options_at_the_end(names: tuple[str, ...]) -> None:
    if names == ("help",):
        return
    found = sections(shown(*names, "--help"))
    assert list(found)[-1] == "Messages"
    for flag in COMMON:
        assert flag in found["Messages"]


@pytest.mark.parametrize("names", EVERY, ids=" ".join)
def test_every_option_has_a_short_help(names: tuple[str, ...]) -> None:
    command: click.Command = main
    for name in names:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            words = (parameter.help or "").split()
            assert 2 <= len(words) <= 32 and parameter.help.endswith("."), parameter.name


def test_the_list_of_commands_is_cut_nowhere() -> None:
    assert "..." not in sections(shown("--help"))["Commands"]
    assert "..." not in sections(shown("train", "--help"))["Commands"]


def test_options_of_run_stand_under_their_group() -> None:
    found = sections(shown("run", "--help"))
    assert list(found) == [
        "Output", "Source and target", "Look", "Range", "Sequences and layers", "Encoding",
        "Hardware", "Provenance", "Settings", "Messages",
    ]  # fmt: skip
    for group, flag in (("Look", "--mask"), ("Encoding", "--crf"), ("Hardware", "--hwaccel")):
        assert [name for name, text in found.items() if f"  {flag}" in text] == [group]


def test_older_flags_and_those_that_only_undo_a_setting_are_not_shown() -> None:
    text = shown("run", "--help")
    assert "--temporal-smoothing NUMBER" in text and "--steadiness" not in text
    assert "--no-overwrite" not in text and "--no-resume" in text


def test_the_default_of_an_option_is_not_broken_across_lines() -> None:
    assert "[default: 10]" in shown("run", "--help")


@pytest.mark.parametrize("names", [(), ("run",), ("train",), ("train", "apgan")], ids=" ".join)
def test_help_is_the_same_by_its_alias(names: tuple[str, ...]) -> None:
    usage = shown("help", *names).splitlines()
    assert usage == shown(*names, "--help").splitlines()


def test_help_of_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(main, ["help", "train", "nothing"])
    assert result.exit_code == 2 and "No such command 'train nothing'" in result.stderr


@pytest.mark.parametrize(
    "names", [(), ("run",), ("tune",), ("report",), ("train", "apgan")], ids=" ".join
)
def test_help_loads_nothing_heavy(names: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        "from vidswap.commands.main import main\n"
        f"try: main({[*names, '--help']!r})\n"
        f"finally: print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_completion_knows_commands_and_choices() -> None:
    def completed(words: str, place: int) -> list[str]:
        done = CliRunner().invoke(
            main, [], prog_name="vidswap",
            env={
                "_VIDSWAP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(place),
            },
        )  # fmt: skip
        return [line.partition(",")[2] for line in done.output.splitlines()]

    assert completed("vidswap pre", 1) == ["preview"]
    assert completed("vidswap run --mask ", 3) == ["face", "outline", "square"]
