"""Hostile versions of good inputs, from a seed: the same case is the same bytes everywhere."""

from __future__ import annotations

import random
from typing import Any

CASES = 500

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e308,
    float("nan"), float("inf"), "", "a", "\x1b[2J\n", "\u202e", "\ud800", "../../x", "\0",
    "x" * 5000, [], {}, [None], {"a": {}}, [[[[[]]]]], "9" * 5000,
)  # fmt: skip


def chance(*case: object) -> random.Random:
    """The dice of one case."""
    return random.Random(repr(case))


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Bytes changed, a stretch zeroed, cut out, doubled or put in elsewhere, or the end missing."""
    changed = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(max(1, len(changed)))
        length = dice.randint(1, 64)
        kind = dice.randrange(7)
        if kind == 0:
            for _ in range(dice.randint(1, 8)):
                changed[dice.randrange(len(changed))] = dice.randrange(256)
        elif kind == 1:
            changed[at : at + length] = bytes(len(changed[at : at + length]))
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length]
        elif kind == 4:
            changed[at : at + 4] = dice.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4)))
        elif kind == 5:
            changed[at:at] = dice.randbytes(length)
        else:
            del changed[dice.randrange(len(changed)) :]
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def altered(value: Any, dice: random.Random) -> Any:
    """A JSON value with one thing in it exchanged, removed, added or nested."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(sorted(value))
        kind = dice.randrange(8)
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return {**value, dice.choice(("more", "\x1b", "", "\ud800")): dice.choice(_VALUES)}
        return {**value, key: altered(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.8:
        at = dice.randrange(len(value))
        kind = dice.randrange(6)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return [*value, value[at]]
        return [*value[:at], altered(value[at], dice), *value[at + 1 :]]
    if dice.random() < 0.05:
        nested: Any = value
        for _ in range(400):
            nested = [nested]
        return nested
    return dice.choice(_VALUES)
