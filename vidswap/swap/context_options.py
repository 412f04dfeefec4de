"""What `vidswap context` is asked to do, and what it tells of itself afterwards."""

# ruff: noqa: RUF009 -- `option` makes a field

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidswap.choices import ContextVariantName, DeviceName
from vidswap.errors import BadOptionError
from vidswap.options import HARDWARE, LOOK, OUTPUT, check_ranges, option

BLUR = "blur"


@dataclass(frozen=True, kw_only=True)
class ContextOptions:
    """How to hallucinate what is around faces. Raises BadOptionError for values not allowed."""

    # fmt: off
    variant: ContextVariantName = option(
        "cascaded", help="Blocks one after the other, or the progressively grown last one.",
        group=LOOK,
    )
    background: str | Path | None = option(
        None,
        help="Put behind the person: a picture, a folder of them, a '#rrggbb' colour, or blur.",
        group=LOOK, words=(BLUR,), metavar="PICTURE|FOLDER|COLOUR|blur", unset="hallucinated",
    )
    per_face: int = option(
        1, help="Pictures per face; each differs from the others.", group=LOOK, least=1,
        greatest=64,
    )
    seed: int = option(1, help="Random seed of what differs.", group=LOOK, least=0)
    checkpoint: Path | None = option(
        None, help="Weights of the model.", group=HARDWARE, unset="packaged, by --variant"
    )
    device: DeviceName = option("auto", help="Device of the model.", group=HARDWARE)
    overwrite: bool = option(False, help="Replace existing output.", group=OUTPUT)
    # fmt: on

    def __post_init__(self) -> None:
        check_ranges(self)
        _ = self.colour

    @property
    def colour(self) -> tuple[int, int, int] | None:
        """The colour that `background` names, RGB, or None. Raises BadOptionError."""
        text = str(self.background or "")
        if not text.startswith("#"):
            return None
        digits = text[1:]
        if len(digits) != 6 or any(d not in "0123456789abcdefABCDEF" for d in digits):
            raise BadOptionError(
                f"--background {text[:40]}; a colour is '#' and six hexadecimal digits, as "
                "'#808080'"
            )
        red, green, blue = bytes.fromhex(digits)
        return red, green, blue


@dataclass(frozen=True)
class ContextResult:
    """What was made. left_out: names and reasons of pictures that gave none."""

    output: str
    faces: int
    pictures: int
    left_out: tuple[tuple[str, str], ...]
    variant: str
    checkpoint: str
    checkpoint_sha256: str
    images_trained: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
