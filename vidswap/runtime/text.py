"""Strings out of other people's files, made safe to show: they print no line of their own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice

LONGEST = 200  # characters of a foreign string that are shown
MOST_LINES = 40  # lines of one kind that a file can bring about

# Controls, direction marks and other invisible characters, halves of surrogate pairs, line ends.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(text: object, limit: int = LONGEST) -> str:
    """A foreign string on one line: escaped, at most `limit` characters of it, in quotes."""
    whole = str(text)
    quote = "'" if '"' in whole[:limit] and "'" not in whole[:limit] else '"'
    inner = escaped(whole[:limit].replace("\\", "\\\\").replace(quote, f"\\{quote}"))
    rest = f" (the first {limit} of {len(whole)} characters)" if len(whole) > limit else ""
    return f"{quote}{inner}{rest and '...'}{quote}{rest}"


def word(text: object) -> str:
    """A foreign string that is usually a plain word, such as a language: quoted where it is not."""
    return str(text) if _WORD.fullmatch(str(text)[:100]) else shown(text)


def escaped(text: str, *, keep: str = "") -> str:
    """Text with all escaped that moves the cursor, turns the writing or cannot be encoded.

    keep: characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escape(c) for c in text)


def printable(text: str) -> str:
    """Lines as a terminal may have them: `escaped` but for the line ends."""
    return escaped(text, keep="\n\t")


def first_lines(lines: Iterable[str], most: int = MOST_LINES) -> Iterator[str]:
    """At most so many lines; what is left out is counted in one more."""
    remaining = iter(lines)
    yield from islice(remaining, most)
    if left_out := sum(1 for _ in remaining):
        yield f"  and {left_out} more"


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _UNSEEN:
        return character
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
