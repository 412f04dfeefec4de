"""Train a model of the shared loop: `vidswap train inpainter` and `vidswap train recogniser`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vidswap.errors import InputNotFoundError
from vidswap.training.distributed import join_processes, leave_processes, rank
from vidswap.training.inpainting.kinds import (
    InpaintJob,
    config_as_json,
    configured,
    stored_training,
)
from vidswap.training.loop import Pace, TrainingLoop, TrainResult, state_to_resume
from vidswap.training.records import STATE_FILE, RunFolder, read_state

LOG_STEPS = 50  # between two lines of the log
SHEET_STEPS = 500  # between two picture sheets


def train_inpainter(
    job: InpaintJob, show: Callable[[dict[str, float]], None] | None = None
) -> TrainResult:
    """Train until the job's end or a signal, then save. `show` gets every line of the log.

    Raises OutputExistsError when the run has a state and `resume` is not set, CheckpointError
    when a state is damaged or of another architecture, TrainingConfigError, DatasetError,
    TrainingDivergedError.
    """
    base, kind, config = configured(job.config)
    folder = RunFolder(job.run)
    state = state_to_resume(folder, job.resume)
    if state is None and job.start_from is not None:
        state = {**read_state(job.start_from), "steps": 0}
    device = join_processes()
    try:
        training = kind.begin(job, config, device)
        if state is not None:
            training.trainer.load_state(state)
        del state
        if rank() == 0:
            folder.write_text(config_as_json(base, config))
        pace = Pace(job.minutes, job.images, job.workers, LOG_STEPS, SHEET_STEPS)
        loop = TrainingLoop(training.trainer, training.sampler, folder, pace, training.sheet, show)
        return loop.go()
    finally:
        leave_processes()


def export_inpainter(run: Path, output: Path) -> int | None:
    """Write the model of a run folder as a checkpoint; returns the images it has seen.

    None, and nothing is written, where the run is of another kind. Raises InputNotFoundError where
    the run has no state, CheckpointError where it is damaged.
    """
    for path in (run / STATE_FILE, run / "config.json"):
        if not path.is_file():
            raise InputNotFoundError(f"{path}: no such file; give the folder of a training run")
    stored = stored_training(run)
    if stored is None:
        return None
    kind, config = stored
    state = read_state(run / STATE_FILE)
    kind.export(state, config, output)
    return int(state["images"])
