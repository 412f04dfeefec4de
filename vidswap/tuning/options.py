"""What a tuning is asked to do."""

# ruff: noqa: RUF009 -- `option` and `same_option` make fields

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidswap.choices import DetectorName, DeviceName
from vidswap.errors import BadOptionError
from vidswap.options import TRAINING, check_ranges, described, option, same_option
from vidswap.swap.options import SwapOptions

if TYPE_CHECKING:
    from vidswap.tuning.pair_training import TuneConfig


@described
@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """How to tune. `training` holds the examples and the losses with their weights, None for
    those measured to be good. Raises BadOptionError for values that are not allowed.
    """

    minutes: float = option(
        10.0, help="Training time, without reading the clips.", group=TRAINING, metavar="MINUTES"
    )
    k_shot: int = same_option(SwapOptions, "k_shot")
    source_face: str | Path | None = same_option(SwapOptions, "source_face")
    face: str | Path = same_option(
        SwapOptions,
        "face",
        help="Face of the target to tune for; PICTURE: the most similar person.",
        words=("largest",), metavar="largest|PICTURE",
    )  # fmt: skip
    detector: DetectorName = same_option(SwapOptions, "detector")
    checkpoint: Path | None = same_option(
        SwapOptions, "checkpoint", help="Generator to start from.", group=TRAINING
    )
    device: DeviceName = same_option(SwapOptions, "device", help="Device to use for training.")
    overwrite: bool = same_option(SwapOptions, "overwrite")
    training: "TuneConfig | None" = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise BadOptionError(f"--minutes {self.minutes}; it must be more than 0")
        check_ranges(self)
        if str(self.face) == "all":
            raise BadOptionError("--face all: a pair is tuned for one face; give a PICTURE of it")
