"""The form of the page, made from the options of a swap, and what the page sends back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vidswap.errors import BadOptionError
from vidswap.media.codecs import CODECS, CONTAINERS
from vidswap.media.picture import PICTURE_SUFFIXES
from vidswap.options import Option, groups, option_of
from vidswap.runtime.text import shown
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest, options_from
from vidswap.web.roots import Roots

Widget = Literal["choice", "switch", "slider", "number", "file", "codec", "face"]

# The options that a page may set; the others have their defaults.
OFFERED = (
    "mask", "reference", "fill_source", "reference_weight", "shape", "detail", "colour_match",
    "temporal_smoothing", "checkpoint", "cast", "face", "source_face", "k_shot", "start", "end",
    "codec", "crf", "match_bitrate", "audio_codec", "overwrite",
)  # fmt: skip
# Those that show in one frame by themselves, and those that show in its coded form.
SEEN = frozenset(OFFERED) - {
    "start", "end", "overwrite", "codec", "crf", "match_bitrate", "audio_codec",
}  # fmt: skip
SEEN_CODED = frozenset({"codec", "crf", "match_bitrate"})
FOLDED = frozenset(
    {"k_shot", "fill_source", "source_face", "checkpoint", "match_bitrate", "audio_codec"}
)
_UNIT = {"start": "s", "end": "s"}
_STEP = 0.05
MOST_SOURCES = 64


@dataclass(frozen=True)
class Field:
    """An option as the page shows it. shows: what of it can be seen, frame, coded or nothing."""

    name: str
    label: str
    help: str
    widget: Widget
    default: Any
    unset: str
    choices: tuple[str, ...]
    least: float | None
    greatest: float | None
    step: float
    unit: str
    flag: str
    shows: str
    folded: bool


def fields() -> dict[str, list[Field]]:
    """The form's fields under their headings, in the order of `--help`."""
    offered = [option_of(SwapOptions, name) for name in OFFERED if name != "overwrite"]
    return {name: [_field(each) for each in own] for name, own in groups(offered).items()}


def _field(each: Option) -> Field:
    text = each.text
    shows = "frame" if each.name in SEEN else "coded" if each.name in SEEN_CODED else "nothing"
    greatest = text.greatest if text.greatest is not None else None
    if text.below is not None:
        greatest = text.below - _STEP
    return Field(
        name=each.name,
        label=each.name.replace("_", " ").capitalize().replace("Crf", "Quality (CRF)"),
        help=text.help,
        widget=_widget(each),
        default=each.default,
        unset=text.unset,
        choices=_choices(each),
        least=text.least,
        greatest=greatest,
        step=_STEP if each.kind is float and greatest is not None else 0.01,
        unit=_UNIT.get(each.name, ""),
        flag=each.flag,
        shows=shows,
        folded=each.name in FOLDED,
    )


def _choices(each: Option) -> tuple[str, ...]:
    if each.name == "codec":
        return tuple(CODECS)
    # A cast that is made by itself is looked at first: the page finds the people by a button.
    return each.choices or (() if each.name == "cast" else each.text.words)


def _widget(each: Option) -> Widget:
    if each.name == "codec":
        return "codec"
    if each.choices:
        return "choice"
    if each.kind is bool:
        return "switch"
    if each.text.words:
        return "face"
    if each.kind is Path:
        return "file"
    has_end = each.text.greatest is not None or each.text.below is not None
    return "slider" if each.kind is float and has_end else "number"


def options_of_page(given: Any, roots: Roots, segment_frames: int) -> SwapOptions:
    """Options as the page sends them: names and values; files lie in the roots.

    Raises BadOptionError for all that the page does not offer, and OutsideError.
    """
    if not isinstance(given, Mapping):
        raise BadOptionError("'options' is an object of names and values")
    for name in given:
        if name not in OFFERED:
            raise BadOptionError(
                f"option {shown(name)} is not set by the page; allowed: {', '.join(OFFERED)}"
            )
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("match_bitrate"):
        given.pop("crf", None)
    options = options_from(given)
    files: dict[str, Any] = {}
    if options.cast == "auto":
        raise BadOptionError("a cast is a folder here; press Find the people to make one")
    for name in ("checkpoint", "cast", "face", "source_face"):
        value = getattr(options, name)
        if isinstance(value, Path):
            files[name] = roots.inside(str(value))
    return replace(options, segment_frames=segment_frames, **files)


def request_of_page(given: Any, roots: Roots, segment_frames: int) -> SwapRequest:
    """A request as the page sends it: sources, target, output and options.

    Raises BadOptionError, OutsideError.
    """
    if not isinstance(given, Mapping):
        raise BadOptionError("a request is an object with sources, target, output and options")
    sources = given.get("sources")
    options = options_of_page(given.get("options", {}), roots, segment_frames)
    if options.cast is not None:  # its plan names the sources
        sources = []
    elif not isinstance(sources, list) or not sources:
        raise BadOptionError(
            "no source is chosen; drop a photograph of the person whose face it is"
        )
    if len(sources) > MOST_SOURCES:
        raise BadOptionError(f"{len(sources)} sources; give up to {MOST_SOURCES}, or a folder")
    if not given.get("target"):
        raise BadOptionError("no target is chosen; drop the clip or picture to swap the face in")
    target = roots.inside(given["target"])
    output = given.get("output")
    path = roots.inside(output) if output else output_for(target, target.parent)
    return SwapRequest(tuple(map(roots.inside, sources)), target, path, options)


def output_for(target: Path, folder: Path) -> Path:
    """A name for the swap of a target that no file has yet."""
    suffix = target.suffix.lower()
    if suffix not in CONTAINERS and suffix not in PICTURE_SUFFIXES:
        suffix = ".mp4"
    for number in range(1, 10_000):
        tail = "" if number == 1 else f"-{number}"
        path = folder / f"{target.stem[:150]}-swapped{tail}{suffix}"
        if not path.exists():
            return path
    raise BadOptionError(f"{folder} is full of swaps of {target.name}; name an output")
