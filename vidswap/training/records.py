"""The folder of a training run: its state, log, loss curves and picture sheets."""

from __future__ import annotations

import errno
import json
import os
import pickle
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidswap.errors import (
    CheckpointError,
    DiskFullError,
    InputNotFoundError,
    MissingLibraryError,
)
from vidswap.models.checkpoint import load_generator
from vidswap.training.guarded_trainer import GuardedTrainer

STATE_FILE, LOG_FILE, CURVES_FILE = "state.pt", "log.jsonl", "curves.png"
CHECKPOINT_SUFFIX = ".safetensors"
_LOG_COLUMNS_APART = ("images", "images_per_second", "steps_back")  # not losses


class RunFolder:
    """One run on disk. Files appear whole or not at all: a kill leaves the last good state."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    @property
    def state_path(self) -> Path:
        return self.path / STATE_FILE

    def read_state(self) -> dict[str, Any] | None:
        """The last state, or None in a new run; raises CheckpointError when it is damaged."""
        return read_state(self.state_path) if self.state_path.is_file() else None

    def save_state(self, trainer: GuardedTrainer[Any]) -> None:
        """Write the state. Raises DiskFullError; the state before it is then still there."""
        write_state(trainer.state(), self.state_path)

    def write_config(self, config: Any) -> None:
        """Write the configuration, a dataclass, as it was used."""
        self.write_text(json.dumps(asdict(config), indent=1))

    def write_text(self, config: str) -> None:
        """Write the configuration, JSON already."""
        (self.path / "config.json").write_text(config)

    def log(self, line: dict[str, float]) -> None:
        """Append a line to the log, one JSON object."""
        with (self.path / LOG_FILE).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def write_curves(self) -> None:
        """Draw every loss of the log over images seen, as PNG.

        Raises MissingLibraryError without matplotlib.
        """
        if (self.path / LOG_FILE).is_file():
            draw_curves(read_log(self.path), self.path / CURVES_FILE)

    def write_sheet(self, sheet: NDArray[np.uint8], images: int) -> None:
        """Write a sheet of pictures (H, W, 3) uint8 RGB as PNG, named after the images seen."""
        path = self.path / f"sheet-{images:08d}.png"
        cv2.imwrite(str(path), np.ascontiguousarray(sheet[:, :, ::-1]))


def read_log(run: Path) -> list[dict[str, float]]:
    """The lines of a run's log. Raises InputNotFoundError where the run has none."""
    path = run / LOG_FILE
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; give the folder of a training run")
    return [json.loads(text) for text in path.read_text().splitlines()]


def write_state(state: dict[str, Any], path: Path) -> None:
    """Write a training state whole or not at all.

    Raises DiskFullError; the state before it is then still there.
    """
    partial = path.with_suffix(".part")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        # torch's writer reports a failed write as a RuntimeError without its number.
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno != errno.ENOSPC:
            raise
        raise DiskFullError(
            f"{path}: no room to save the state; the one before it is kept: free some space, "
            "then resume"
        ) from error
    partial.replace(path)


def read_state(path: Path) -> dict[str, Any]:
    """A training state; raises CheckpointError when the file is none or is damaged."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        words = (str(error) or type(error).__name__).splitlines()[0]  # of an empty file: none
        raise CheckpointError(
            f"{path}: not a training state, or damaged ({words}); give "
            "another run folder, or remove the file to begin anew"
        ) from error
    return state


def read_start(path: Path) -> dict[str, Any]:
    """The state that a new run starts from: another run's, or one made of an exported checkpoint.

    A checkpoint, told by `.safetensors`, gives the weights of the generator and of its average;
    discriminator and optimisers begin anew. Raises CheckpointError.
    """
    if path.suffix != CHECKPOINT_SUFFIX:
        state = {**read_state(path), "steps": 0}
        state.pop("warmed", None)  # what another run has warmed up is warm here too
        return state
    loaded = load_generator(path)
    weights = loaded.net.state_dict()
    return {"generator": weights, "average": weights, "images": loaded.images_trained, "steps": 0}


def rows_of_pictures(rows: Sequence[Tensor]) -> NDArray[np.uint8]:
    """A sheet (H, W, 3) uint8 RGB of batches (B, 3, S, S) in [-1, 1], each of them a row."""
    drawn = []
    for pictures in rows:
        uint8 = ((pictures.float().cpu().permute(0, 2, 3, 1).numpy() + 1.0) * 127.5).round()
        drawn.append(np.concatenate(list(uint8.clip(0, 255).astype(np.uint8)), axis=1))
    return np.concatenate(drawn, axis=0).astype(np.uint8)


def blank_figure(width: float, height: float) -> Any:
    """A figure to plot in, its sides in inches. Raises MissingLibraryError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingLibraryError(
            "loss curves need matplotlib: pip install 'vidswap[training]'"
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_curves(lines: list[dict[str, float]], path: Path) -> None:
    """Every column of a log over images seen, one small plot each, into a PNG."""
    names = list(dict.fromkeys(n for line in lines for n in line if n not in _LOG_COLUMNS_APART))
    n_rows = -(-len(names) // 3)
    figure = blank_figure(12, 2.4 * n_rows)
    for index, name in enumerate(names):
        shown = [line for line in lines if name in line]
        plot = figure.add_subplot(n_rows, 3, index + 1)
        plot.plot([line["images"] for line in shown], [line[name] for line in shown], lw=1)
        plot.set_title(name, fontsize=9)
        plot.tick_params(labelsize=7)
        plot.grid(alpha=0.3)
    partial = path.with_name(path.stem + ".part.png")
    figure.savefig(partial, dpi=90)
    partial.replace(path)
