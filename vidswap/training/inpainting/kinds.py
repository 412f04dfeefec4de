"""Which module trains what: a configuration's name begins with the kind of model it trains."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vidswap.errors import TrainingConfigError
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.training.config import config_of_json, read_config_of
from vidswap.training.guarded_trainer import GuardedTrainer
from vidswap.training.loop import Sampler

# The module of a kind is imported when a configuration first asks for it; its `KIND` is a `Kind`.
_MODULES = {
    "content": "vidswap.training.inpainting.content",
    "context": "vidswap.training.inpainting.context",
    "dcgan": "vidswap.training.inpainting.dcgan",
    "idgan": "vidswap.training.inpainting.idgan",
    "parsing": "vidswap.training.inpainting.parsing",
    "recogniser": "vidswap.training.recogniser.run",
    "swapinpaint": "vidswap.training.inpainting.swapinpaint",
}


@dataclass(frozen=True)
class InpaintJob:
    """One run: the dataset `faces`, the folder `run` it lives in, and when it ends.

    `cache` holds decoded faces and embeddings (default: beside the run). `parsing` and
    `second_encoder` are for the kinds that need them: a checkpoint of the parsing net, and a
    TFLite face net; so is `content`, a checkpoint of SwapInpaint's C. `augmented` is a dataset that
    `vidswap context` made of `faces`, for a recogniser. `start_from` is the state of another run
    of the same nets. `workers` processes draw the batches, 0 for threads; by default as many as
    there are cores to spare on a GPU's machine.
    """

    config: str
    faces: Path
    run: Path
    cache: Path | None = None
    parsing: Path | None = None
    content: Path | None = None
    second_encoder: Path | None = None
    augmented: Path | None = None
    start_from: Path | None = None
    resume: bool = False
    minutes: float = float("inf")
    images: int | None = None
    workers: int | None = None

    @property
    def cache_folder(self) -> Path:
        """Where decoded faces lie."""
        return self.cache or self.run.parent / "cache"


@dataclass(frozen=True, eq=False)
class Training:
    """A run that is ready to step; `sheet` draws what it has come to."""

    trainer: GuardedTrainer[Any]
    sampler: Sampler[Any]
    sheet: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class Kind:
    """How one kind of model is trained, and written as a checkpoint.

    configs: frozen dataclasses by name. begin: nets and data of a job, with its configuration.
    export: writes the checkpoint of a state, by the job's configuration and dataset.
    """

    configs: Mapping[str, Callable[[], Any]]
    begin: Callable[[InpaintJob, Any, torch.device], Training]
    export: Callable[[dict[str, Any], Any, Path], None]


def averaged(build: Callable[[Any], nn.Module]) -> Callable[[dict[str, Any], Any, Path], None]:
    """A kind's `export` that writes the averaged weights of the net it builds of `config.net`."""

    def export(state: dict[str, Any], config: Any, output: Path) -> None:
        net = build(config.net)
        net.load_state_dict(state["average"])
        save_inpainter(net, output, int(state["images"]))

    return export


def kinds() -> tuple[str, ...]:
    """The names of all kinds."""
    return tuple(_MODULES)


def kind_of(config: str) -> Kind:
    """The kind that a configuration's name begins with. Raises TrainingConfigError."""
    name = config.split("-")[0]
    if name not in _MODULES:
        raise TrainingConfigError(
            f"{config}: no configuration begins so; the first word is one of {', '.join(_MODULES)}"
        )
    found: Kind = importlib.import_module(_MODULES[name]).KIND
    return found


def configured(name_or_path: str) -> tuple[str, Kind, Any]:
    """The base's name, the kind and the configuration of a name or JSON file.

    Raises TrainingConfigError.
    """
    path = Path(name_or_path)
    base = name_or_path
    if path.suffix == ".json" and path.is_file():
        try:
            base = str(json.loads(path.read_text(encoding="utf-8"))["base"])
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingConfigError(
                f"{path}: no JSON object with a base, the configuration that it changes"
            ) from error
    kind = kind_of(base)
    return base, kind, read_config_of(name_or_path, kind.configs, base)


def config_as_json(base: str, config: Any) -> str:
    """A configuration in full, as `configured` reads it back."""
    return json.dumps({"base": base, **asdict(config)}, indent=1)


def stored_training(run: Path) -> tuple[Kind, Any] | None:
    """The kind and configuration of a run folder, None where it is none of these kinds.

    Raises TrainingConfigError.
    """
    text = (run / "config.json").read_text(encoding="utf-8")
    try:
        base = str(json.loads(text).get("base", ""))
    except (ValueError, AttributeError) as error:
        raise TrainingConfigError(f"{run / 'config.json'}: not JSON ({error})") from error
    if base.split("-")[0] not in _MODULES:
        return None
    kind = kind_of(base)
    return kind, config_of_json(text, kind.configs, base)
