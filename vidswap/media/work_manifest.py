"""The manifest of a work folder: what was made so far; read as any other input is."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeGuard

from vidswap.media.packet_file import PacketFile

_FORMAT = 2
_LARGEST = 2**26  # bytes
_MOST_FACTS, _LONGEST_FACT = 10_000, 100_000
_DIGEST = re.compile("[0-9a-f]{64}")
# Least and most of the numbers of a packet file.
_RANGES = {"packets": (1, 10**9), "reordering": (0, 10**4), "size": (0, 2**50)}


@dataclass(frozen=True)
class Segment:
    """Packets, and the state (name and SHA-256 of its file) of the run that goes on after them."""

    packets: PacketFile
    state: str
    state_sha256: str


@dataclass(frozen=True)
class Manifest:
    """facts: what the work was made from and how. segments: in the order of the clip."""

    facts: Mapping[str, str]
    segments: tuple[Segment, ...]


def packets_name(index: int) -> str:
    """File name of a segment's packets."""
    return f"segment-{index:05d}.packets"


def state_name(index: int) -> str:
    """File name of the state after a segment."""
    return f"state-{index:05d}"


def written_manifest(manifest: Manifest, output: str) -> bytes:
    """The manifest as it is written, with a checksum over all of it."""
    content = {
        "format": _FORMAT,
        "output": output,
        "facts": dict(manifest.facts),
        "segments": [asdict(segment) for segment in manifest.segments],
    }
    return json.dumps({**content, "sha256": _checksum(content)}, indent=1).encode()


def read_manifest(path: Path) -> Manifest | None:
    """A manifest that is whole and has only what manifests have; None for anything else."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            return None
        if content.pop("sha256", None) != _checksum(content):
            return None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    facts, entries = content.get("facts"), content.get("segments")
    if not _are_facts(facts) or not isinstance(entries, list):
        return None
    segments = [_segment(index, entry) for index, entry in enumerate(entries)]
    whole = tuple(segment for segment in segments if segment is not None)
    return Manifest(facts, whole) if len(whole) == len(segments) else None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _are_facts(given: Any) -> TypeGuard[dict[str, str]]:
    return (
        isinstance(given, dict)
        and len(given) <= _MOST_FACTS
        and all(isinstance(v, str) and len(v) <= _LONGEST_FACT for v in given.values())
    )


def _segment(index: int, entry: Any) -> Segment | None:
    """An entry, which names the files of its place and no others; None where it is none."""
    if not isinstance(entry, dict) or not isinstance(packets := entry.get("packets"), dict):
        return None
    if set(packets) != {field.name for field in fields(PacketFile)}:
        return None
    digests = [packets["setup"], packets["sha256"], entry.get("state_sha256")]
    names = [packets["name"], entry.get("state")]
    if not all(isinstance(d, str) and _DIGEST.fullmatch(d) for d in digests):
        return None
    if names != [packets_name(index), state_name(index)]:
        return None
    if not all(_is_within(packets[name], *limits) for name, limits in _RANGES.items()):
        return None
    return Segment(PacketFile(**packets), entry["state"], entry["state_sha256"])


def _is_within(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
