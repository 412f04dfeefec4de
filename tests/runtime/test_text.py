"""Foreign strings are shown harmlessly, whatever they hold."""

from __future__ import annotations

import unicodedata

import pytest

from vidswap.runtime.text import first_lines, printable, shown, word

HOSTILE = [
    "a\n  trusted: yes, by this computer's key",
    "\x1b[2J\x1b[H",
    "over\rwritten",
    "abc\u202egnp.exe",
    "\u2066\u2028\u2029\x85\x9b2J",
    "half \ud800 of a pair",
    "\x00",
    "x" * 1_000_000,
    "\"quoted\" \\ and 'again'",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_foreign_string_is_one_bounded_quoted_line_of_what_can_be_seen(text: str) -> None:
    for line in (shown(text), word(text)):
        assert len(line.splitlines()) == 1 and len(line) < 1700
        assert line[0] in "\"'" and not any(unicodedata.category(c)[0] == "C" for c in line)
        line.encode()


def test_the_quotes_cannot_be_closed_from_within() -> None:
    inner = shown('a" = true, \'b\\" c')
    assert inner == '"a\\" = true, \'b\\\\\\" c"'


def test_plain_words_and_letters_of_any_script_stay_as_they_are() -> None:
    assert word("pt-BR") == "pt-BR" and word("de, yes") == '"de, yes"'
    assert shown("Zürich 東京\u3000é") == '"Zürich 東京\u3000é"'
    assert shown('{"a": 1}') == "'{\"a\": 1}'"


def test_a_cut_says_how_long_the_whole_was() -> None:
    assert shown("y" * 500, limit=3) == '"yyy..." (the first 3 of 500 characters)'


def test_lines_of_our_own_stay_lines() -> None:
    assert printable("a\n\tb\x1b[0m") == "a\n\tb\\x1b[0m"


def test_what_is_left_out_is_counted() -> None:
    assert list(first_lines(map(str, range(9)), 3)) == ["0", "1", "2", "  and 6 more"]
