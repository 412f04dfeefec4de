"""Train AP-GAN from a dataset of aligned faces: `vidswap train apgan` (AP-GAN, III.C)."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.errors import (
    DiskFullError,
    MissingLibraryError,
    OutputExistsError,
    TrainingConfigError,
)
from vidswap.identity.encoder import IdentityEncoder
from vidswap.training.config import TrainConfig
from vidswap.training.data.face_shards import (
    cached_faces,
    cached_visibility,
    read_excluded,
    read_index,
    read_landmarks,
)
from vidswap.training.distributed import (
    any_process,
    join_processes,
    leave_processes,
    n_processes,
    rank,
    wait_for_all,
)
from vidswap.training.graph_readers import read_tflite
from vidswap.training.id_targets import (
    MobileFaceNet,
    cached_id_embeddings,
    cached_mobilefacenet,
    shows_held_out,
)
from vidswap.training.identity_loss import IdentityLoss
from vidswap.training.pair_batch import PairBatch, PairConfig
from vidswap.training.pair_draws import read_sides
from vidswap.training.pairs import PairSampler, prefetched
from vidswap.training.records import RunFolder, read_start
from vidswap.training.trainer import Trainer

logger = logging.getLogger(__name__)

SAVE_MINUTES = 8.0  # between two writes of the state
LOG_STEPS = 50  # between two lines of the log
SHEET_STEPS = 500  # between two picture sheets
FIXED_BATCH = 10**9  # the number of the sheets' batch, which training does not reach


@dataclass(frozen=True)
class TrainJob:
    """One run: the dataset `faces`, the folder `run` it lives in, and when it ends.

    `second_encoder` is a TFLite face net for the identity loss, None to do with dlib's alone;
    `cache` holds decoded faces and embeddings (default: beside the run); `start_from` is a state of
    another run, as a 128-pixel one for a 256-pixel one, or an exported checkpoint.
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


@dataclass(frozen=True)
class TrainResult:
    """What a run has seen in all, and how often a value was not finite."""

    images: int
    steps: int
    steps_back: int
    seconds: float


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
    state = folder.read_state()
    if state is not None and not job.resume:
        raise OutputExistsError(
            f"{job.run}: holds a run of {state['images']} images; give --resume to go on with it, "
            "or another folder"
        )
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
        return _Run(job, folder, trainer, faces, show).go()
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


class _Run:
    """The loop around `Trainer.step`: batches in order, log, sheets, states, and the end."""

    def __init__(
        self,
        job: TrainJob,
        folder: RunFolder,
        trainer: Trainer,
        faces: TrainingFaces,
        show: Callable[[dict[str, float]], None] | None,
    ) -> None:
        self.job, self.folder, self.trainer, self.faces = job, folder, trainer, faces
        self.show = show
        self.sums: dict[str, list[float]] = {}

    def go(self) -> TrainResult:
        """Train to the end."""
        trainer, job = self.trainer, self.job
        first = trainer.steps * n_processes() + rank()
        start = saved = lapped = time.monotonic()
        lap_images = trainer.images
        with _stop_on_signal() as stop_requested:
            for batch in prefetched(self.faces.sampler, first, n_processes()):
                ended = time.monotonic() - start > 60 * job.minutes or stop_requested()
                ended = ended or (job.images is not None and trainer.images >= job.images)
                if any_process(ended):
                    break
                self._add(trainer.step(batch))
                if trainer.steps % LOG_STEPS == 0:
                    now = time.monotonic()
                    self._write_log((trainer.images - lap_images) / (now - lapped))
                    lapped, lap_images = now, trainer.images
                if trainer.steps % SHEET_STEPS == 0 and rank() == 0:
                    self._write_pictures()
                if time.monotonic() - saved > 60 * SAVE_MINUTES:
                    self._save(last=False)
                    saved = time.monotonic()
        self._save(last=True)
        seconds = time.monotonic() - start
        return TrainResult(trainer.images, trainer.steps, trainer.steps_back, seconds)

    def _add(self, losses: dict[str, float] | None) -> None:
        for name, value in (losses or {}).items():
            self.sums.setdefault(name, []).append(value)

    def _write_log(self, rate: float) -> None:
        means = {name: round(float(np.mean(values)), 5) for name, values in self.sums.items()}
        self.sums = {}
        if rank() == 0:
            line = {
                "images": self.trainer.images,
                "images_per_second": round(rate, 2),
                "steps_back": self.trainer.steps_back,
                **means,
            }
            self.folder.log(line)
            if self.show is not None:
                self.show(line)

    def _write_pictures(self) -> None:
        self.folder.write_sheet(self.trainer, self.faces.pictures, self.faces.fixed)
        try:
            self.folder.write_curves()
        except MissingLibraryError as error:
            # The log has the numbers; a run is not ended for want of a plot.
            logger.warning("%s", error)

    def _save(self, last: bool) -> None:
        if rank() != 0:
            return
        try:
            self.folder.save_state(self.trainer)
        except DiskFullError as error:
            # There may be room again by the next time; minutes of training are not thrown away.
            if last:
                raise
            logger.warning("%s", error)


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or Ctrl-C has come; the loop then saves and leaves."""
    requested = False

    def request(_number: int, _frame: FrameType | None) -> None:
        nonlocal requested
        requested = True

    before = {n: signal.signal(n, request) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
