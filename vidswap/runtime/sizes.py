"""Memory sizes as people write them: 800M, 2G, 1.5GiB."""

import re

from vidswap.errors import BadOptionError

KIB, MIB, GIB = 1024, 1024**2, 1024**3
_UNITS = {"": 1, "K": KIB, "M": MIB, "G": GIB}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?)(?:I?B)?\s*", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of a size such as 800M, 2G or 1.5GiB. Raises BadOptionError."""
    match = _SIZE.fullmatch(text)
    size = float(match[1]) * _UNITS[match[2].upper()] if match else 0.0
    if size < 1:
        raise BadOptionError(f"memory size {text!r}; write it as 800M, 2G or 1.5G")
    return int(size)


def format_size(size: int) -> str:
    """The shortest text that `parse_size` reads back to exactly `size` bytes."""
    for unit, factor in (("G", GIB), ("M", MIB), ("K", KIB)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
