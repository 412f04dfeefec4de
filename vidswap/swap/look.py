"""How a face is swapped, where faces of one clip are not all swapped alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidswap.blending.paste import MaskName
from vidswap.models.checkpoint import LoadedGenerator, load_generator
from vidswap.nets import Nets
from vidswap.options import Option, option_of
from vidswap.swap.options import SwapOptions

LOOK_SETTINGS = ("mask", "colour_match", "temporal_smoothing", "reference_weight", "shape",
                 "detail", "checkpoint")  # fmt: skip


@dataclass(frozen=True)
class FaceLook:
    """The settings of one face, as in `SwapOptions`. generator: None is that of the run."""

    mask: MaskName
    colour_match: float
    temporal_smoothing: float
    reference_weight: float
    shape: float
    detail: float
    generator: LoadedGenerator | None = None

    @classmethod
    def of(cls, options: SwapOptions) -> FaceLook:
        """That of a run."""
        return cls(
            options.mask, options.colour_match, options.temporal_smoothing,
            options.reference_weight, options.shape, options.detail,
        )  # fmt: skip

    def changed(
        self, settings: Mapping[str, Any], generators: Mapping[Path, LoadedGenerator]
    ) -> FaceLook:
        """With settings by name; `generators` are those of the checkpoints among them."""
        values = {name: value for name, value in settings.items() if name != "checkpoint"}
        if "checkpoint" in settings:
            values["generator"] = generators[settings["checkpoint"]]
        return replace(self, **values)


def look_options() -> dict[str, Option]:
    """The options that a person, a shot or an override of a cast may set, by name."""
    return {name: option_of(SwapOptions, name) for name in LOOK_SETTINGS}


def load_generators(checkpoints: Iterable[Path], nets: Nets) -> dict[Path, LoadedGenerator]:
    """The generators of checkpoints, each once, where `nets` run. Raises CheckpointError."""
    found: dict[Path, LoadedGenerator] = {}
    for path in checkpoints:
        if path not in found:
            found[path] = load_generator(path, nets.device, nets.dtype).for_inference()
    return found
