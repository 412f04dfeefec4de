"""A generator's config as a checkpoint stores it: each value is checked before a net is built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vidswap.models.apgan.generator import STAGE_OF_RESOLUTION, GeneratorConfig
from vidswap.runtime.text import shown

_SIZES = (128, 256)
_MOST_CHANNELS = 2048
_WIDTHS = {"id_width": (2, 4096), "pe_width": (1, 1024)}  # least and most
_FLAGS = ("pe_blocks", "layer_norm", "spectral_norm", "reference", "gate")
_KEYS = ("size", "channels", "refined", *_WIDTHS, *_FLAGS)
_LONGEST = 2**16  # characters


def config_from_json(text: str | None) -> GeneratorConfig:
    """The config in a checkpoint's metadata. Raises ValueError that names what is not allowed."""
    if text is None:
        raise ValueError("it has no config")
    try:
        given = json.loads(text) if len(text) <= _LONGEST else None
    except (ValueError, RecursionError) as error:
        raise ValueError("its config is no JSON") from error
    if not isinstance(given, dict):
        raise ValueError("its config is no JSON object")
    if unknown := [key for key in given if key not in _KEYS]:
        raise ValueError(f"{shown(unknown[0])} in its config; allowed: {', '.join(_KEYS)}")
    if missing := [key for key in ("channels", "refined") if key not in given]:
        raise ValueError(f"its config has no {missing[0]}")
    return _checked(given)


def _checked(given: Mapping[str, Any]) -> GeneratorConfig:
    values: dict[str, Any] = {}
    if "size" in given:
        values["size"] = _whole(given["size"], "size")
        if values["size"] not in _SIZES:
            raise ValueError(f"size {values['size']}; allowed: 128, 256")
    values["channels"] = _channels(given["channels"])
    widths = dict(values["channels"])
    if missing := [r for r in STAGE_OF_RESOLUTION if r not in widths]:
        raise ValueError(f"channels without one for {missing[0]} pixels")
    if values.get("size", GeneratorConfig.size) not in widths:
        raise ValueError("channels without one for its size")
    if not isinstance(given["refined"], list):
        raise ValueError(f"refined {shown(given['refined'])}; it is a list of resolutions")
    values["refined"] = tuple(_whole(r, "refined") for r in given["refined"])
    if wrong := [r for r in values["refined"] if r not in STAGE_OF_RESOLUTION]:
        raise ValueError(f"refined {wrong[0]}; allowed: {', '.join(map(str, STAGE_OF_RESOLUTION))}")
    for key, (least, most) in _WIDTHS.items():
        if key in given:
            values[key] = _whole(given[key], key, least, most)
    for key in _FLAGS:
        if key in given:
            if not isinstance(given[key], bool):
                raise ValueError(f"{key} {shown(given[key])}; allowed: true, false")
            values[key] = given[key]
    return GeneratorConfig(**values)


def _channels(given: Any) -> tuple[tuple[int, int], ...]:
    pairs_given = isinstance(given, list) and len(given) <= 16
    if not pairs_given or not all(isinstance(p, list) and len(p) == 2 for p in given):
        raise ValueError(f"channels {shown(given)}; it is a list of pairs: resolution, channels")
    pairs = [
        (_whole(r, "a resolution of channels", 1, 4096), _whole(c, "channels", 1, _MOST_CHANNELS))
        for r, c in given
    ]
    if len(dict(pairs)) != len(pairs):
        raise ValueError("channels name a resolution twice")
    return tuple(pairs)


def _whole(value: Any, name: str, least: int = 0, most: int = 10**6) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} {_bounded(value)}; allowed: {least} to {most}")
    return value


def _bounded(value: Any) -> str:
    try:
        return shown(value, 60)
    except ValueError:  # more digits than Python writes
        return "too large"
