"""A plan in words, for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import av

from vidswap.media.colour import FULL_RANGE, ColourTags, known_matrix, known_range
from vidswap.media.probing import MediaInfo
from vidswap.runtime.text import escaped, word

if TYPE_CHECKING:
    from vidswap.swap.plan_records import SwapPlan

_MAX_STREAMS, _MAX_WARNINGS, _MAX_LEFT_OUT = 8, 5, 3  # lines
_MATRICES = {1: "BT.709", 4: "FCC", 5: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}


def describe(plan: SwapPlan) -> str:
    """A plan as about 15 to 30 lines, the name of each part at its left."""
    parts = [
        ("target", _target_lines(plan)),
        ("output", [f"{plan.output.path}: {plan.output.encoder}, {plan.output.pixel_format}"]),
        ("streams", _stream_lines(plan)),
        ("colour", [plan.output.colour]),
        ("outside", [f"samples outside the face: {plan.output.samples}"]),
        ("source", _source_lines(plan)),
        ("faces", _face_lines(plan)),
        ("runs on", [_engine_line(plan)]),
        ("time", [f"about {duration_words(plan.estimate.seconds)}, {_basis(plan)}"]),
        ("disk", [_disk_line(plan)]),
        ("marked", [plan.output.provenance]),
        ("warning", _shortened(plan.warnings, _MAX_WARNINGS)),
    ]
    lines = []
    for name, texts in parts:
        for number, text in enumerate(texts):
            heading = "" if number and name != "warning" else name
            lines.append(f"{heading:<9}{escaped(text)}")
    return "\n".join([*lines, "nothing was written"])


def colour_words(info: MediaInfo, tags: ColourTags, encoded: str | None = None) -> str:
    """How a clip's colour is stored, whether it stays so, and what the nets see of it.

    `encoded` is the output's pixel format, None for the clip's own.
    """
    matrix = known_matrix(tags, info.height)
    full = known_range(tags, info.pixel_format) == FULL_RANGE
    standard = " ".join(filter(None, [_MATRICES.get(matrix, f"matrix {matrix}"), _light(info)]))
    if info.pixel_format.startswith(("rgb", "bgr", "gbr", "0rgb", "0bgr", "argb", "abgr")):
        standard = " ".join(filter(None, ["RGB", _light(info)]))
    elif tags.matrix not in _MATRICES and tags.matrix not in (6, 10):
        standard += " (assumed, not tagged)"
    bits = av.VideoFormat(encoded).components[0].bits if encoded else info.bit_depth
    then = "kept" if bits >= info.bit_depth else f"to {bits}-bit"
    words = f"{info.bit_depth}-bit {standard}, {'full' if full else 'limited'} range, {then}"
    return f"{words}; the nets see an SDR version" if tags.is_hdr else words


def duration_words(seconds: float) -> str:
    """A duration as a person says it: "40 s", "4 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def size_words(n_bytes: float) -> str:
    """A size in decimal units, two digits at least."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return (
                f"{n_bytes:.1f} {unit}"
                if n_bytes < 10 and unit != "bytes"
                else (f"{n_bytes:.0f} {unit}")
            )
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def _light(info: MediaInfo) -> str:
    return info.light.transfer or ""


def _target_lines(plan: SwapPlan) -> list[str]:
    target = plan.target
    size = f"{target.width}x{target.height}"
    kind = f"{target.path}: {target.codec} {target.pixel_format} {size}"
    if target.kind == "picture":
        return [kind]
    if target.rotation or target.mirrored:
        mirror = ", mirrored" if target.mirrored else ""
        kind += f" (rotated {target.rotation} degrees for display{mirror})"
    if target.scan != "progressive":
        kind += f", {target.scan}"
    every = "variable frame rate, on average " if target.variable_rate else ""
    rate = f"{every}{target.fps:.6g} frames/s"
    lines = [kind, f"{target.frames} frames, {target.seconds:.2f} s, {rate}"]
    return lines if target.decoder is None else [*lines, f"decoded by {target.decoder}"]


def _stream_lines(plan: SwapPlan) -> list[str]:
    if plan.target.kind == "picture":
        return []
    names = [
        f"{s.index} {s.kind} {word(s.codec)}" + (f" ({word(s.language)})" if s.language else "")
        for s in plan.streams
    ]
    width = max(map(len, names[:_MAX_STREAMS]), default=0)
    lines = [
        f"{name:<{width}}  {stream.fate}" + (f": {stream.why}" if stream.why else "")
        for name, stream in zip(names, plan.streams, strict=True)
    ]
    if len(lines) <= _MAX_STREAMS:
        return lines
    rest = Counter(stream.fate for stream in plan.streams[_MAX_STREAMS:])
    fates = ", ".join(f"{count} {fate}" for fate, count in rest.items())
    return [*lines[:_MAX_STREAMS], f"and {len(lines) - _MAX_STREAMS} more: {fates}"]


def _source_lines(plan: SwapPlan) -> list[str]:
    used = plan.sources.used
    files = [name if count == 1 else f"{count} of {name}" for name, count in used[:4]]
    files += [f"{len(used) - 4} more"] if len(used) > 4 else []
    total = sum(count for _, count in used)
    lines = [f"{total} frame{'s' * (total != 1)} used: {', '.join(files)}"]
    left_out = [f"left out {name}: {reason}" for name, reason in plan.sources.left_out]
    return lines + _shortened(left_out, _MAX_LEFT_OUT)


def _face_lines(plan: SwapPlan) -> list[str]:
    faces = plan.faces
    if not faces.with_face:
        return [f"none in {faces.sampled} sampled frame{'s' * (faces.sampled != 1)}"]
    least, most = min(faces.people), max(faces.people)
    people = f"{most} at a time" if least == most else f"{least} to {most} at a time"
    share = faces.with_face / faces.sampled
    lines = [f"in {faces.with_face} of {faces.sampled} sampled frames ({share:.0%}), {people}"]
    if faces.face_pixels is not None:
        lines.append(f"to swap in {faces.chosen} of them, about {faces.face_pixels} pixels")
    return lines


def _engine_line(plan: SwapPlan) -> str:
    engine = plan.engine
    memory = f", about {size_words(engine.memory)} of memory" if engine.memory else ""
    device = f"{engine.device} ({engine.device_name})" if engine.device_name else engine.device
    return (
        f"{device}, {engine.precision}, {engine.batch_size} faces per batch{memory}; "
        f"{engine.checkpoint}, "
        f"SHA-256 {engine.checkpoint_sha256[:12]}"
    )


def _basis(plan: SwapPlan) -> str:
    return f"estimated from {plan.estimate.seconds_from}"


def _disk_line(plan: SwapPlan) -> str:
    estimate = plan.estimate
    return (
        f"about {size_words(estimate.bytes)}, estimated from {estimate.bytes_from}; up to "
        f"{size_words(estimate.bytes_held)} while finishing, of "
        f"{size_words(estimate.bytes_free)} free in {Path(plan.output.path).parent}"
    )


def _shortened(lines: Sequence[str], limit: int) -> list[str]:
    if len(lines) <= limit:
        return list(lines)
    return [*lines[: limit - 1], f"and {len(lines) - limit + 1} more (see --json)"]
