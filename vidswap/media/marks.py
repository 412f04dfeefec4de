"""Marks that say a result is synthetic, and how it was made."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vidswap.media.container import open_clip
from vidswap.media.picture import is_picture, read_picture_metadata
from vidswap.media.picture_text import text_object
from vidswap.runtime.text import first_lines, shown, word

MARK_PREFIX = "vidswap_"
COMMENT = "comment"
_LONGEST_MARK = 2000  # characters that are shown; the settings are several hundred


def synthetic_metadata(
    version: str, checkpoint_sha256: str, settings: Mapping[str, Any]
) -> dict[str, str]:
    """Container metadata of a result.

    `settings` must be what JSON can hold; `checkpoint_sha256` is in hexadecimal digits.
    """
    return {
        f"{MARK_PREFIX}synthetic": "true",
        f"{MARK_PREFIX}version": version,
        f"{MARK_PREFIX}checkpoint": checkpoint_sha256,
        f"{MARK_PREFIX}settings": json.dumps(dict(settings), sort_keys=True),
        COMMENT: (
            f"Synthetic: face swapped by vidswap {version}, checkpoint {checkpoint_sha256[:12]}"
        ),
    }


def read_marks(path: Path) -> dict[str, str]:
    """The marks in a clip or picture, keys in lower case; empty where there are none."""
    if is_picture(path):
        return marks_in(read_picture_metadata(path))
    container, _ = open_clip(path)
    with container:
        return marks_in(container.metadata)


def marks_in(metadata: Mapping[str, str]) -> dict[str, str]:
    """The marks among container metadata; Matroska gives keys back in capitals.

    A GIF holds a comment alone, in which all of them are packed as JSON.
    """
    lower = {key.lower(): value for key, value in metadata.items()}
    if lower.get(COMMENT, "").startswith("{"):
        lower |= text_object(lower[COMMENT])
    if not any(key.startswith(MARK_PREFIX) for key in lower):
        return {}
    return {
        key: value for key, value in lower.items() if key.startswith(MARK_PREFIX) or key == COMMENT
    }


def mark_lines(marks: Mapping[str, str]) -> Iterator[str]:
    """Marks for people to read, whoever wrote them."""
    told = (f"  marked: {word(key)} = {shown(v, _LONGEST_MARK)}" for key, v in marks.items())
    return first_lines(told)
