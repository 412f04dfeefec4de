"""What `vidswap inpaint` is asked to do, and what it tells of itself afterwards."""

# ruff: noqa: RUF009 -- `option` makes a field

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidswap.choices import InpaintModelName
from vidswap.errors import BadOptionError
from vidswap.options import HARDWARE, LOOK, SOURCE_AND_TARGET, option, same_option
from vidswap.swap.options import SwapOptions

FILLED_REGIONS = (
    "eyes", "mouth", "nose", "lower-face", "face", "centre", "glasses", "occluders",
)  # fmt: skip
# Of a swap's options those that filling has too, in the order of `--help`.
SHARED = (
    "face", "detector", "checkpoint", "temporal_smoothing", "start", "end", "codec", "crf",
    "match_bitrate", "audio_codec", "audio_bitrate", "device", "precision", "batch_size",
    "hwaccel", "max_memory", "max_vram", "sign_key", "sign_cert", "no_provenance", "overwrite",
    "resume",
)  # fmt: skip
OWN = ("model", "region", "seed", "source_face", "k_shot")


@dataclass(frozen=True, kw_only=True)
class InpaintOptions(SwapOptions):
    """How to fill faces: `OWN` and `SHARED` count, the other fields of a swap do not.

    Raises BadOptionError for values that are not allowed or exclude each other.
    """

    # fmt: off
    model: InpaintModelName = option(
        "idgan",
        help="Model that fills.",
        group=LOOK, pixels=True, recorded=True,
    )
    region: str | Path = option(
        "occluders",
        help="Part of the face, '#rrggbb', or a mask whose white is filled.",
        group=LOOK, words=FILLED_REGIONS, metavar="REGION|PICTURE|CLIP|COLOUR",
        pixels=True, recorded=True,
    )
    seed: int = option(
        1,
        help="Random seed of a search.",
        group=LOOK, least=0, pixels=True, recorded=True,
    )
    face: str | Path = same_option(
        SwapOptions, "face", help="Faces to fill; PICTURE: the most similar person."
    )
    checkpoint: Path | None = same_option(
        SwapOptions, "checkpoint", help="Weights of the model.", unset="packaged, by --model"
    )
    batch_size: int | None = same_option(
        SwapOptions, "batch_size", help="Faces per batch of the model.", group=HARDWARE
    )
    source_face: str | Path | None = same_option(SwapOptions, "source_face")
    k_shot: int = same_option(SwapOptions, "k_shot", group=SOURCE_AND_TARGET)
    # fmt: on

    @property
    def colour(self) -> tuple[int, int, int] | None:
        """The colour that `region` names, RGB, or None. Raises BadOptionError."""
        text = str(self.region)
        if not text.startswith("#"):
            return None
        digits = text[1:]
        if len(digits) != 6 or any(d not in "0123456789abcdefABCDEF" for d in digits):
            raise BadOptionError(
                f"--region {text[:40]}; a colour is '#' and six hexadecimal digits, as '#ff00ff'"
            )
        red, green, blue = bytes.fromhex(digits)
        return red, green, blue


@dataclass(frozen=True)
class InpaintResult:
    """What filling did. Times in seconds, memory in MiB; stages overlap, so their sum is longer.

    frames_kept: how many of the frames an earlier run had finished. manifest, signed_by and
    no_provenance are as in `SwapResult`.
    """

    output: str
    frames: int
    faces_filled: int
    frames_without_face: int
    seconds: float
    seconds_by_stage: dict[str, float]
    peak_memory_mib: float
    device: str
    precision: str
    model: str
    checkpoint: str
    checkpoint_sha256: str
    images_trained: int
    source_frames_used: tuple[str, ...]
    warnings: tuple[str, ...]
    frames_kept: int = 0
    manifest: str | None = None
    signed_by: str | None = None
    no_provenance: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
