"""Train AP-GAN from a dataset of aligned faces: `vidswap train apgan` (AP-GAN, III.C)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.errors import TrainingConfigError
from vidswap.identity.encoder import IdentityEncoder
from vidswap.training.config import TrainConfig
from vidswap.training.data.face_shards import (
    cached_faces,
    cached_visibility,
    read_excluded,
    read_index,
    read_landmarks,
)
from vidswap.training.distributed import join_processes, leave_processes, rank, wait_for_all
from vidswap.training.graph_readers import read_tflite
from vidswap.training.id_targets import (
    MobileFaceNet,
    cached_id_embeddings,
    cached_mobilefacenet,
    shows_held_out,
)
from vidswap.training.identity_loss import IdentityLoss
from vidswap.training.loop import Pace, TrainingLoop, TrainResult, state_to_resume
from vidswap.training.pair_batch import PairBatch, PairConfig
from vidswap.training.pair_draws import read_sides
from vidswap.training.pairs import PairSampler
from vidswap.training.records import RunFolder, read_start
from vidswap.training.swap_sheet import swap_sheet
from vidswap.training.trainer import Trainer

LOG_STEPS = 50  # between two lines of the log
SHEET_STEPS = 500  # between two picture sheets
FIXED_BATCH = 10**9  # the number of the sheets' batch, which training does not reach


@dataclass(frozen=True)
class TrainJob:
    """One run: the dataset `faces`, the folder `run` it lives in, and when it ends.

    `second_encoder` is a TFLite face net for the identity loss, None to do with dlib's alone;
    `cache` holds decoded faces and embeddings (default: beside the run); `start_from` is a state of
    another run, as a 128-pixel one for a 256-pixel one, or an exported checkpoint. `workers`
    processes draw the batches, 0 for threads; by default as many as there are cores to spare on
    a GPU's machine.
    """

    config: TrainConfig
    faces: Path
    run: Path
    second_encoder: Path | None = None
    cache: Path | None = None
    resume: bool = False
    start_from: Path | None = None
    minutes: float = float("inf")
    images: int | None = None
    workers: int | None = None


@dataclass(frozen=True, eq=False)
class TrainingFaces:
    """A dataset ready to train on: the sampler's arrays and the identity loss."""

    pictures: NDArray[np.uint8]
    sampler: PairSampler
    fixed: PairBatch
    identity_loss: IdentityLoss


def train(job: TrainJob, show: Callable[[dict[str, float]], None] | None = None) -> TrainResult:
    """Train until the job's end or a signal, then save. `show` gets every line of the log.

    Raises OutputExistsError when the run has a state and `resume` is not set, CheckpointError when
    a state is damaged or of another architecture, DatasetError, TrainingDivergedError.
    """
    device = join_processes()
    folder = RunFolder(job.run)
    state = state_to_resume(folder, job.resume)
    if state is None and job.start_from is not None:
        state = read_start(job.start_from)
    # The first process fills the cache, the others read it.
    if rank() != 0:
        wait_for_all()
    faces = read_faces(job)
    if rank() == 0:
        wait_for_all()
    trainer = Trainer(job.config, faces.identity_loss, device)
    if state is not None:
        trainer.load_state(state)
    del state
    if rank() == 0:
        folder.write_config(job.config)
    try:
        pace = Pace(job.minutes, job.images, job.workers, LOG_STEPS, SHEET_STEPS)
        sheet = partial(swap_sheet, trainer, faces.pictures, faces.fixed)
        return TrainingLoop(trainer, faces.sampler, folder, pace, sheet, show).go()
    finally:
        leave_processes()


def read_faces(job: TrainJob) -> TrainingFaces:
    """Decode a dataset into its cache, embed its faces, and make its sampler."""
    config, cache = job.config, job.cache or job.run.parent / "cache"
    if job.second_encoder is None and config.weights.identity_mobilefacenet:
        raise TrainingConfigError(
            "weights.identity_mobilefacenet is set but there is no second encoder; give "
            "--second-encoder FILE.tflite, or set the weight to 0"
        )
    records = read_index(job.faces)
    pictures = cached_faces(job.faces, cache, config.pairs.size)
    landmarks, mesh_index = read_landmarks(job.faces)
    full_size = cached_faces(job.faces, cache, 256)
    encoder, second, second_rows = IdentityEncoder(), None, None
    id_rows = torch.from_numpy(np.array(cached_id_embeddings(full_size, encoder, cache)))
    if job.second_encoder is not None:
        second = MobileFaceNet(read_tflite(job.second_encoder))
        second_rows = torch.from_numpy(np.array(cached_mobilefacenet(full_size, second, cache)))
    identity_loss = IdentityLoss(encoder, id_rows, second, second_rows, config.identity_jitter)
    sides = read_sides(job.faces)
    excluded = shows_held_out(id_rows, records) | read_excluded(job.faces, records)
    asks = config.pairs.bare_sources or config.generator.reference  # the paper's setting does not
    visibility = cached_visibility(full_size, cache) if asks else None

    def sampler(pairs: PairConfig, seed: int) -> PairSampler:
        return PairSampler(
            pictures, landmarks, mesh_index, records, pairs, seed, sides, excluded, visibility
        )

    plain = replace(config.pairs, occluded=0.0, degraded=0.0)
    fixed = sampler(plain, 12345).batch(FIXED_BATCH)
    return TrainingFaces(pictures, sampler(config.pairs, config.seed), fixed, identity_loss)
