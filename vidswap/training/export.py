"""Write the averaged generator of a training run as an fp16 checkpoint: `vidswap train export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vidswap.errors import InputNotFoundError
from vidswap.models.apgan.checkpoint import save_generator
from vidswap.models.apgan.generator import Generator
from vidswap.models.spectral import without_spectral_norm
from vidswap.training.config import config_from_json
from vidswap.training.records import STATE_FILE, read_state


def export_generator(run: Path, output: Path) -> int:
    """Export the average of a run folder; returns the images it has seen.

    Raises InputNotFoundError where the run has no state, CheckpointError where it is damaged.
    """
    for path in (run / STATE_FILE, run / "config.json"):
        if not path.is_file():
            raise InputNotFoundError(f"{path}: no such file; give the folder of a training run")
    state = read_state(run / STATE_FILE)
    config = config_from_json((run / "config.json").read_text())
    net = Generator(config.generator)
    net.load_state_dict(state["average"])
    plain = without_spectral_norm(net)
    plain.config = replace(plain.config, spectral_norm=False)
    save_generator(plain, output, state["images"])
    return int(state["images"])
