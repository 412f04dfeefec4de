"""The picture sheet of AP-GAN's training: what its averaged generator makes of a fixed batch."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.training.id_targets import split_embedding
from vidswap.training.pair_batch import PairBatch
from vidswap.training.records import rows_of_pictures
from vidswap.training.trainer import Trainer


def swap_sheet(trainer: Trainer, faces: NDArray[np.uint8], batch: PairBatch) -> NDArray[np.uint8]:
    """Sources, targets and swaps of the averaged generator, a row each: uint8 RGB."""
    device = trainer.device
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        identity = split_embedding(trainer.id_rows[batch.sources.to(device)])
        outputs = trainer.average(
            batch.targets.to(device), batch.boundary_maps.to(device), identity,
            batch.references.to(device),
        )  # fmt: skip
    size = batch.targets.shape[2]
    sources = [cv2.resize(faces[int(i)], (size, size)) for i in batch.sources]
    shown = np.concatenate(
        [np.concatenate(sources, axis=1), rows_of_pictures([batch.targets, outputs])]
    )
    return shown.astype(np.uint8)
